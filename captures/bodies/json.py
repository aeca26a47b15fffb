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
    rb'|([^\s"{}\[\],:]++(?:[ \t]*+[^\s"{}\[\],:]++)*+)'  # 4 a number, a literal or stray text
    rb'|(")',  # 5 the quote of a string without an end
    re.DOTALL,
)
_NAMED_LEVELS = 32  # with all of them the paths of a deep document would take the square of its size
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LITERALS = frozenset({b"true", b"false", b"null"})
BUFFER = b'"Buffer"'
"""The type of bytes as Node writes them in JSON."""
MARKS = (b"\x01", b"\x02", b"\x03", b"\x04")
"""Bytes that no JSON text holds; the first two are free for whoever works on a `Cut`."""
_BACKSLASH_MARK, _QUOTE_MARK = MARKS[2:]
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a surrogate pair is one character
    rb"|\\u[0-9a-fA-F]{4}|\\."
)


class LeafRole(StrEnum):
    """What a leaf is in its document."""

    KEY = "key"
    STRING = "string"
    NUMBER = "number"
    OTHER = "other"  # text that is no JSON token, as the rest of a body that was cut in a string


class JsonLeaf(NamedTuple):
    """
    One key, string, number or stray piece of text; ``start:stop`` excludes quotes.

    ``key`` is the object key it stands under (an array's elements have the array's key),
    ``path`` the keys above that one from the root on (the last 32 of them), ``holder`` the number of
    the object it is in. Keys are raw, with their escapes.
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
    """
    Every leaf of ``data`` in order, without the literals true, false and null.

    All that follows the quote of a string without an end is one leaf.
    Time and memory are in proportion to the bytes.
    """
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
                if stack:
                    above = path if len(path) < _NAMED_LEVELS else path[1:]
                    stack.append((key, path, holder))
                    path = (*above, key)
                else:
                    stack.append((key, path, holder))
                objects += 1
                key, holder = b"", objects
            elif bracket == b"[":
                stack.append((key, path, holder))
            elif stack:
                key, path, holder = stack.pop()
        elif which == 4:
            if match[4] not in _LITERALS:
                role = LeafRole.NUMBER if _NUMBER.fullmatch(match[4]) else LeafRole.OTHER
                start, stop = match.span(4)
                add(new(JsonLeaf, (role, start, stop, key, path, holder)))
        else:  # no quote after it begins a string: each is escaped, or it would end this one
            if match.end() < len(data):
                add(JsonLeaf(LeafRole.OTHER, match.end(), len(data), key, path, holder))
            break
    return leaves


class Cut(NamedTuple):
    """
    A document cut at its quotes: ``b'"'.join(parts)`` is the document, every other part a string.

    Where ``marked``, the second bytes of escaped backslashes and quotes are marks: see `unmarked`.
    """

    parts: list[bytes]
    marked: bool


def cut(data: bytes) -> Cut | None:
    """
    Cut ``data`` at the quotes of its strings, which takes a fraction of a scan.

    None when it holds control characters that are used as marks or when a string has no end.
    Whether all of it is JSON is known by the `shape` of what is between the strings.
    """
    if any(mark in data for mark in MARKS):
        return None
    marked = b'\\"' in data
    if marked:
        data = with_marks(data)
    parts = data.split(b'"')
    return Cut(parts, marked) if len(parts) % 2 else None


def with_marks(data: bytes) -> bytes:
    """``data``, which has no marks, as it is written in a marked `Cut`."""
    return data.replace(b"\\\\", b"\\" + _BACKSLASH_MARK).replace(b'\\"', b"\\" + _QUOTE_MARK)


def unmarked(part: bytes) -> bytes:
    """``part`` of a marked `Cut`, or all of it, as it was written."""
    return part.replace(_QUOTE_MARK, b'"').replace(_BACKSLASH_MARK, b"\\")


def zeroed(rest: bytes) -> bytes:
    """What is between the strings of a document (joined by quotes) with every digit a zero."""
    return rest.translate(_ZEROS)


def shape(zeros: bytes) -> bytes:
    """
    What is between the strings (as `zeroed` gives it) with the numbers short.

    Equal shapes have the same tokens at the same places, whatever the digits of their numbers.
    """
    return zeros.replace(b"0000", b"0").replace(b"00", b"0").replace(b"00", b"0").replace(b"00", b"0")


def is_number(text: bytes) -> bool:
    """Whether ``text`` is a number, as one may stand in a document."""
    return _NUMBER.fullmatch(text) is not None


def is_text(value: bytes) -> bool:
    """Whether ``value`` is UTF-8 (halves of surrogate pairs included), so that `escape` takes it."""
    try:
        value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


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
    """``text`` (UTF-8) as the inside of a JSON string; bytes of it that are no UTF-8 stay as they are."""
    try:
        decoded = text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:  # there is no escape for a byte that is no character
        decoded = text.decode("utf-8", "surrogateescape")
        return json.dumps(decoded, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape")
    return json.dumps(decoded, ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogatepass")
