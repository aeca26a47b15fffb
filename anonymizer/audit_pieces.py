"""Cut bodies where JSON is usually cut, since most pieces of a body stood in an earlier one too."""

from __future__ import annotations

import re
from itertools import compress, filterfalse, repeat
from operator import ne
from typing import TypeAlias

SEPARATORS = (b',"', b', "', b"\n")
"""Between the fields of JSON as it is usually written, and between lines."""

Seen: TypeAlias = set[tuple[str, str] | tuple[bytes, bytes]]
"""Pairs of fields, JSON leaves or pieces, before and after, whose spans have been given."""

SEEN_MAX = 200_000
"""Above so many it is begun again."""

_SAMPLE_BYTES = 256
_PIECE_MAX_BYTES = 1_024
_QUOTES = repeat(b'"')
_NO_STRING = re.compile(rb"[\s:,\[\]{}0-9.+\-eEtrufalsn]*")


def separator_of(data: bytes) -> bytes:
    """The one of ``SEPARATORS`` at which ``data`` falls into most pieces, judged by its beginning."""
    return max(SEPARATORS, key=data[:_SAMPLE_BYTES].count)


def changed_strings(before: bytes, after: bytes, seen: Seen) -> list[tuple[bytes, bytes]] | None:
    """
    The strings of the JSON document ``before`` that differ in ``after``, with their counterparts.

    Without parsing, at the speed of ``bytes.split``: strings in pieces that are in ``seen`` are
    left out, and all pieces are added to it. None when only parsing can tell (escapes, changed
    numbers, another structure); the caller must then take all of ``before``.
    """
    separator = separator_of(before)
    lefts, rights = before.split(separator), after.split(separator)
    if len(lefts) != len(rights):
        return None
    if len(seen) >= SEEN_MAX:
        seen.clear()
    # a dictionary, since the order of a set differs from run to run
    changed = compress(zip(lefts, rights, strict=True), map(ne, lefts, rights))
    pairs = list(dict.fromkeys(filterfalse(seen.__contains__, changed)))
    if not pairs:
        return []
    seen.update([pair for pair in pairs if len(pair[0]) <= _PIECE_MAX_BYTES])
    return _strings([left for left, _ in pairs], [right for _, right in pairs], separator)


def _strings(lefts: list[bytes], rights: list[bytes], separator: bytes) -> list[tuple[bytes, bytes]] | None:
    left, right = separator.join(lefts), separator.join(rights)
    if b"\\" in left or b"\\" in right:
        return None
    if any(map(ne, map(bytes.count, lefts, _QUOTES), map(bytes.count, rights, _QUOTES))):
        return None
    parts, others = left.split(b'"'), right.split(b'"')
    changed = list(compress(zip(parts, others, strict=True), map(ne, parts, others)))
    return None if any(map(_NO_STRING.fullmatch, [part for part, _ in changed])) else changed
