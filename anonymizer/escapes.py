"""Texts with escapes for single characters, undone, with how to write a new value in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from anonymizer.packings import is_text
from captures.bodies import entities, json, percent
from captures.bodies.edits import Unescaped

Escape = Callable[[bytes, bytes], bytes]
"""A new value and the bytes it stands for to the new one as it is written there."""

_BACKSLASH = re.compile(
    rb"\\u[0-9a-fA-F]{4}"
    rb"|\\u\{[0-9a-fA-F]{1,6}\}"
    rb"|\\x[c-fC-F][0-9a-fA-F](?:\\x[89abAB][0-9a-fA-F]){1,3}"  # a character in UTF-8, as Python shows bytes
    rb"|\\x[0-9a-fA-F]{2}"
    rb"|\\3[0-7]{2}(?:\\2[0-7]{2}){1,3}"  # the same as shells and databases show it
    rb"|\\[0-3][0-7]{2}"
)
_UNIT = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|([0-7]{3}))")
_BACKSLASHED = re.compile(rb"\\[ux0-3]")

# RFC 2045, section 6.7. Queries have an equals sign before two digits too, so a run or a break has to tell.
_QUOTED = re.compile(rb"=(?:\r?\n|([0-9A-Fa-f]{2}))")
_TELLS_QUOTED = re.compile(
    rb"(?:=[0-9A-Fa-f]{2}){3}|=\r?\n|=[CDE][0-9A-F]=[89AB][0-9A-F]|=3D|=40|=20(?:\s|\Z)"
)
_ENCODED_WORD = re.compile(
    rb"=\?[\w-]+\?[qb]\?", re.IGNORECASE
)  # RFC 2047, which has its own way with spaces
_PLAIN_BYTE = re.compile(rb"[A-Za-z0-9.@+-]")

INVISIBLE = re.compile(rb"\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xef\xbb\xbf")
"""What no reader sees: a soft hyphen, a space of no width, a joiner, a mark."""

_WIDE = rb"\xef\xbc[\x81-\xbf]|\xef\xbd[\x80-\x9e]"  # letters as wide as ideographs
_UNSEEN = re.compile(INVISIBLE.pattern + rb"|" + _WIDE)
_WIDE_LETTER = re.compile(_WIDE)
_TO_WIDE = 0xFEE0


def escapes(text: bytes) -> Iterator[tuple[Unescaped, Escape]]:
    """``text`` without its escapes of each sort that it has."""
    if b"%" in text:
        yield percent.unescape(text), lambda new, raw: percent.escape(new, raw=raw)
    if b"&" in text and b";" in text:
        yield entities.unescape(text), lambda new, _raw: entities.escape(new)
    if b"\\" in text and _BACKSLASHED.search(text):
        yield Unescaped(text, _BACKSLASH, _undo_backslash), _escape_backslash
    if b"=" in text and _TELLS_QUOTED.search(text) and not _ENCODED_WORD.search(text):
        yield Unescaped(text, _QUOTED, _undo_quoted), quoted
    if not text.isascii() and _UNSEEN.search(text):
        yield Unescaped(text, _UNSEEN, _undo_unseen), _as_wide


def quoted(new: bytes, _raw: bytes) -> bytes:
    """``new`` in quoted-printable, with an escape for whatever is no letter or digit."""
    return b"".join(bytes((byte,)) if _PLAIN_BYTE.match(b"%c" % byte) else b"=%02X" % byte for byte in new)


def _undo_quoted(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),)) if match[1] else b""


def _undo_backslash(match: re.Match[bytes]) -> bytes | None:
    escape = match[0]
    if escape[1:2] == b"u":
        number = int(escape[2:].strip(b"{}"), 16)
        return None if 0xD800 <= number <= 0xDFFF or number > 0x10FFFF else chr(number).encode()
    data = bytes(int(hexed, 16) if hexed else int(octal, 8) for hexed, octal in _UNIT.findall(escape))
    if len(data) == 1:
        return chr(data[0]).encode()
    return data if is_text(data) else None


def _escape_backslash(new: bytes, _raw: bytes) -> bytes:
    return json.escape(new, ascii_only=True)


def _undo_unseen(match: re.Match[bytes]) -> bytes:
    if not _WIDE_LETTER.fullmatch(match[0]):
        return b""
    return bytes((ord(match[0].decode()) - _TO_WIDE,))


def _as_wide(new: bytes, raw: bytes) -> bytes:
    if not _WIDE_LETTER.search(raw):
        return new
    return "".join(chr(byte + _TO_WIDE) if 0x21 <= byte <= 0x7E else chr(byte) for byte in new).encode()
