"""Compare the URLs of a document segment by segment, all at once: they name the same few things."""

from __future__ import annotations

import re
from itertools import compress, repeat
from operator import ne

PLAIN_URL = re.compile(rb"https?://[^\s?#%@]*")
"""A URL without query, fragment, escapes and user."""

_SLASHES = repeat(b"/")
_BETWEEN = b"/\n/"


def changed_segments(urls: list[tuple[bytes, bytes]], least_bytes: int) -> list[tuple[bytes, bytes]] | None:
    """
    The segments that differ of plain URLs and their counterparts, each pair once.

    None where one of them has less than ``least_bytes``, or no counterpart: it must then be seen
    with the URL around it.
    """
    befores, afters = [before for before, _ in urls], [after for _, after in urls]
    if any(map(ne, map(bytes.count, befores, _SLASHES), map(bytes.count, afters, _SLASHES))):
        return None
    lefts, rights = _BETWEEN.join(befores).split(b"/"), _BETWEEN.join(afters).split(b"/")
    changed = list(dict.fromkeys(compress(zip(lefts, rights, strict=True), map(ne, lefts, rights))))
    return changed if all(len(left) >= least_bytes for left, _ in changed) else None
