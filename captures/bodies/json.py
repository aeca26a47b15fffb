"""
The leaves of JSON text as byte spans (RFC 8259).

The scanner is tolerant: it takes several values in a row (NDJSON), values cut short and text
that only resembles JSON, since nothing may pass by it unseen. It decides nothing about validity.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import NamedTuple

from captures.bodies.edits import Unescaped

_TOKEN = re.compile(
    rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"(\s*:)?'  # 1 a string, 2 it is a key
    rb"|([{}\[\]])"  # 3
    rb'|([^\s"{}\[\],:]++(?:[ \t]*+[^\s"{}\[\],:]++)*+)',  # 4 a number, a literal or stray text
    re.DOTALL,
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LITERALS = frozenset({b"true", b"false", b"null"})
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a surrogate pair is one character
    rb"|\\u[0-9a-fA-F]{4}|\\."
)


class LeafRole(StrEnum):
    """What a leaf is in its document."""

    KEY = "key"
    STRING = "string"
    NUMBER = "number"
    OTHER = "other"  # text that is no JSON token, as in a body cut in a string


class JsonLeaf(NamedTuple):
    """
    One key, string, number or stray piece of text; ``start:stop`` excludes quotes.

    ``key`` is the object key it stands under (an array's elements have the array's key),
    ``path`` the keys above that one from the root on, ``holder`` the number of the object it is
    in. Keys are raw, with their escapes.
    """

    role: LeafRole
    start: int
    stop: int
    key: bytes
    path: tuple[bytes, ...]
    holder: int


def looks_like_json(data: bytes) -> bool:
    """Whether ``data`` starts like an object or an array."""
    return data[:64].lstrip()[:1] in {b"{", b"["}


def scan(data: bytes) -> list[JsonLeaf]:
    """Every leaf of ``data`` in order, without the literals true, false and null."""
    leaves: list[JsonLeaf] = []
    add, new = leaves.append, tuple.__new__  # a third faster than JsonLeaf(...), measured on webhooks
    stack: list[tuple[bytes, tuple[bytes, ...], int]] = []
    key, holder, objects = b"", 0, 0
    path: tuple[bytes, ...] = ()
    for match in _TOKEN.finditer(data):
        which = match.lastindex
        if which == 1:
            start, stop = match.span(1)
            add(new(JsonLeaf, (LeafRole.STRING, start, stop, key, path, holder)))
        elif which == 2:
            key = match[1]
            start, stop = match.span(1)
            add(new(JsonLeaf, (LeafRole.KEY, start, stop, key, path, holder)))
        elif which == 3:
            bracket = match[3]
            if bracket == b"{":
                stack.append((key, path, holder))
                path = (*path, key) if stack[:-1] else path
                objects += 1
                key, holder = b"", objects
            elif bracket == b"[":
                stack.append((key, path, holder))
            elif stack:
                key, path, holder = stack.pop()
        elif match[4] not in _LITERALS:
            role = LeafRole.NUMBER if _NUMBER.fullmatch(match[4]) else LeafRole.OTHER
            start, stop = match.span(4)
            add(new(JsonLeaf, (role, start, stop, key, path, holder)))
    return leaves


def unescape(raw: bytes) -> Unescaped:
    """The text of a JSON string's inside, in UTF-8; what is no valid escape stays as it is."""
    return Unescaped(raw, _ESCAPE, _undo)


def _undo(match: re.Match[bytes]) -> bytes | None:
    try:
        text: str = json.loads(b'"' + match[0] + b'"')
    except ValueError:
        return None
    return text.encode("utf-8", "surrogatepass")


def escape(text: bytes, *, ascii_only: bool = False) -> bytes:
    """``text`` (UTF-8) as the inside of a JSON string."""
    decoded = text.decode("utf-8", "surrogatepass")
    return json.dumps(decoded, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogatepass")
