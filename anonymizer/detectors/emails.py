"""E-mail addresses by their shape (RFC 5321 as it is used)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind
from anonymizer.reserved import is_robot_address

# 41898282+github-actions[bot]@users.noreply.github.com is a real author address, so [bot] may stand in it.
_EMAIL = re.compile(
    rb"(?:[A-Za-z0-9!#$%*+^_~\x80-\xff'-]|\[bot\]|\.(?=[^.@]))++"
    rb"@(?:[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff-]{0,61}[A-Za-z0-9\x80-\xff])?\.)+"
    rb"([A-Za-z]{2,24})(?![A-Za-z0-9_-])"
)
_FILE_TYPES = frozenset({b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"mjs", b"git"})


def find(text: bytes, _context: Context) -> Iterator[Finding]:
    """Every e-mail address in ``text``; SSH remotes such as git@host:path are none."""
    if b"@" not in text:
        return
    for match in _EMAIL.finditer(text):
        start, stop = match.span()
        while start < stop and text[start] in b"'.-!*":
            start += 1  # quotes and list marks before an address
        if text[start : start + 1] == b"@" or match[1].lower() in _FILE_TYPES:
            continue
        if text[stop : stop + 1] == b":" and text[stop + 1 : stop + 2].isalnum():
            continue  # git@github.com:owner/repo.git
        if text[max(0, start - 3) : start] == b"://":
            continue  # ssh://git@host/path
        if is_robot_address(text[start:stop]):
            continue
        yield Finding(Kind.EMAIL, start, stop)
