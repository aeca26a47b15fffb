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
_BETWEEN = re.compile(rb"[\s,:]*")
_LEADS = {b',"': b'"', b', "': b'"', b",\n": b""}
_JOINTS = tuple(_LEADS)
_HEAD_BYTES = 2_048
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


class Pieces(NamedTuple):
    """
    A document cut at the commas before its strings: ``joint.join(texts)`` is the document.

    ``lead`` is what belongs to every piece but the first and stands in the joint. The first one
    begins with a NUL byte instead, which stands for nothing.
    """

    joint: bytes
    lead: bytes
    texts: list[bytes]


class Token(NamedTuple):
    """A key or a value of a piece; ``role`` is None for true, false and null."""

    role: LeafRole | None
    start: int
    stop: int


def pieces(data: bytes) -> Pieces:
    """
    Cut ``data`` at commas as its own writer sets them, which takes a fraction of a scan.

    Whether no string was cut is known once `outline` took every piece.
    """
    joint = _JOINTS[0]
    if data.find(joint, 0, _HEAD_BYTES) < 0:
        joint = next((other for other in _JOINTS if data.find(other, 0, _HEAD_BYTES) >= 0), joint)
    texts = data.split(joint)
    texts[0] = b"\0" + texts[0]
    return Pieces(joint, _LEADS[joint], texts)


def outline(piece: bytes) -> tuple[bytes, list[Token]] | None:
    """
    The keys and brackets of a piece (with its lead) as JSON text, and its keys and values in order.

    Every value is a 0 in it, so that `scan` tells the place of each in the joined outlines of
    a document. None when the piece is not made of whole JSON tokens.
    """
    parts: list[bytes] = []
    tokens: list[Token] = []
    position = 1 if piece[:1] == b"\0" else 0
    for match in _TOKEN.finditer(piece, position):
        which = match.lastindex
        start, stop = match.span(4 if which == 4 else 1)
        if _BETWEEN.fullmatch(piece, position, match.start()) is None:
            return None
        position = match.end()
        if which == 3:
            parts.append(match[3])
            continue
        if which == 2:
            tokens.append(Token(LeafRole.KEY, start, stop))
            parts.append(b'"%b":' % match[1])
            continue
        if which == 1:
            role: LeafRole | None = LeafRole.STRING
        elif match[4] in _LITERALS:
            role = None
        elif _NUMBER.fullmatch(match[4]):
            role = LeafRole.NUMBER
        else:
            return None
        tokens.append(Token(role, start, stop))
        parts.append(b"0,")
    if _BETWEEN.fullmatch(piece, position) is None:
        return None
    return b"".join(parts), tokens


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
