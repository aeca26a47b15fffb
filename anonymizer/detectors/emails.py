"""E-mail addresses by their shape (RFC 5321 as it is used)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind
from anonymizer.reserved import is_robot_address

HINT = re.compile(rb"@")
"""Found in every text that holds an address."""

# 41898282+github-actions[bot]@users.noreply.github.com is a real author address, so [bot] may stand in it.
_EMAIL = re.compile(
    rb"(?:\"(?:[^\"\\\r\n]|\\.){1,64}\"|(?:[A-Za-z0-9!#$%*+^_~\x80-\xff'-]|\[bot\]|\.(?=[^.@]))++)"
    rb"@(?:(?:[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff-]{0,61}[A-Za-z0-9\x80-\xff])?\.)+"
    rb"(xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24}|(?:[\xc2-\xf4][\x80-\xbf]{1,3}){2,20})"
    rb"|\[(?:IPv6:)?[0-9A-Fa-f.:]{3,45}\])(?![A-Za-z0-9]|-+[A-Za-z0-9-]*\.[A-Za-z0-9])"
)
_KEY = re.compile(r"(?:^|_)(?:e_?)?mail(?:_?addr(?:ess)?)?$")
_WITHOUT_DOT = re.compile(rb"\s*([^\s@\"'<>(),;:]{1,64}@[A-Za-z0-9][A-Za-z0-9-]{0,62})\s*")
_USER_INFO = re.compile(rb"(?::|\A)//[^\s/?#@\"'<>]*\Z")  # of a URL, whose host is none of an address
_USER_INFO_BYTES = 256
_FILE_TYPES = frozenset({b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"mjs", b"git"})


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every e-mail address in ``text``; SSH remotes such as git@host:path are none."""
    if b"@" not in text:
        return
    local = _WITHOUT_DOT.fullmatch(text) if _KEY.search(context.key) else None
    if local:  # user@host, as systems without a domain name have them
        yield Finding(Kind.EMAIL, *local.span(1))
        return
    for match in _EMAIL.finditer(text):
        start, stop = match.span()
        while start < stop and text[start] in b"'.-!*":
            start += 1  # quotes and list marks before an address
        if text[start : start + 1] == b"@" or (match[1] or b"").lower() in _FILE_TYPES:
            continue
        if text[stop : stop + 1] == b":" and text[stop + 1 : stop + 2].isalnum():
            continue  # git@github.com:owner/repo.git
        if _USER_INFO.search(text, max(0, start - _USER_INFO_BYTES), start):
            continue  # ssh://git@host/path
        if is_robot_address(text[start:stop]):
            continue
        yield Finding(Kind.EMAIL, start, stop)
