"""Text inside text: escapes, URL queries, base64, base32 and hex, each with the way back."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from anonymizer import documents
from anonymizer.detectors.base import Context, normal_key
from anonymizer.packings import is_text, unpack
from captures.bodies import entities, json, percent, url
from captures.bodies.edits import Edit, Unescaped, splice

_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{8,}={0,2}(?![A-Za-z0-9+/_=-])")
_SEGMENT = re.compile(rb"(?=[a-z_-]*[A-Z0-9])[A-Za-z0-9_-]{16,}")  # of a path; text in base64 has capitals
# also after the signs of databases and ledgers, 0x and \x
_HEX = re.compile(
    rb"(?:(?<![0-9A-Za-z])|(?<=\b0x)|(?<=\\x))(?:(?:[0-9a-f]{2}){6,}|(?:[0-9A-F]{2}){6,})(?![0-9A-Za-z])"
)
_BASE32 = re.compile(
    rb"(?<![A-Za-z0-9+/=_-])(?:[A-Z2-7]{16,}|[a-z2-7]{16,}|[A-Z2-7]{8,}(?==)|[a-z2-7]{8,}(?==))={0,6}"
    rb"(?![A-Za-z0-9+/=_-])"
)
_BACKSLASH = re.compile(
    rb"\\u[0-9a-fA-F]{4}"
    rb"|\\x[c-fC-F][0-9a-fA-F](?:\\x[89abAB][0-9a-fA-F]){1,3}"  # a character in UTF-8, as Python shows bytes
    rb"|\\x[0-9a-fA-F]{2}"
)

# A word of a header in other letters (RFC 2047), in the form that escapes single bytes.
_ENCODED_WORD = re.compile(rb"=\?utf-8\?q\?([^?\s]*)\?=", re.IGNORECASE)
_QUOTED = re.compile(rb"=([0-9A-Fa-f]{2})|_")
_PLAIN_BYTE = re.compile(rb"[A-Za-z0-9.@+-]")


class Layer(NamedTuple):
    """A text found in another one. ``back`` turns its edits into edits of the outer text."""

    text: bytes
    context: Context
    back: Callable[[list[Edit]], list[Edit]]


def layers(text: bytes, context: Context) -> Iterator[Layer]:
    """Every text that is written inside ``text`` in some encoding, and the values of its URLs' queries."""
    if b"%" in text:
        yield from _whole(percent.unescape(text), context, lambda new, raw: percent.escape(new, raw=raw))
    if b"&" in text and b";" in text:
        yield from _whole(entities.unescape(text), context, lambda new, _raw: entities.escape(new))
    if b"\\u" in text or b"\\x" in text:
        yield from _whole(Unescaped(text, _BACKSLASH, _undo_backslash), context, _escape_backslash)
    for piece in documents.pieces(text):
        yield Layer(piece.text, piece.context, piece.back)
    for match in _ENCODED_WORD.finditer(text) if b"=?" in text else ():
        word = Unescaped(match[1], _QUOTED, _undo_quoted)
        yield Layer(word.text, context, _quoted_back(word, match.start(1)))
    for pair in url.query_pairs(text):
        start, stop = pair.value_start, pair.value_stop
        if stop > start:
            key = normal_key(text[pair.name_start : pair.name_stop])
            yield Layer(text[start:stop], Context(key=key), _mover(start))
    for name, password in url.user_infos(text):
        if name[1] > name[0]:
            yield Layer(text[slice(*name)], Context(key="username"), _mover(name[0]))
        yield Layer(text[slice(*password)], Context(credential=True), _mover(password[0]))
    for match in _BASE64.finditer(text) if len(text) >= 8 else ():
        yield from _base64_run(text, match)
    for match in _HEX.finditer(text) if len(text) >= 12 else ():
        yield from _decoded(match, bytes.fromhex(match[0].decode()), _to_hex)
    for match in _BASE32.finditer(text) if len(text) >= 10 else ():
        yield from _decoded(match, _from_base32(match[0]), _to_base32)


def _base64_run(text: bytes, match: re.Match[bytes]) -> Iterator[Layer]:
    """The text under base64; of what is a path in that alphabet, the texts under its segments."""
    whole = list(_decoded(match, _from_base64(match[0]), _to_base64))
    if whole or b"/" not in match[0]:
        yield from whole
        return
    for segment in _SEGMENT.finditer(text, *match.span()):
        yield from _decoded(segment, _from_base64(segment[0]), _to_base64)


def _mover(by: int) -> Callable[[list[Edit]], list[Edit]]:
    return lambda edits: [edit.moved(by) for edit in edits]


def _whole(
    unescaped: Unescaped, context: Context, escape: Callable[[bytes, bytes], bytes]
) -> Iterator[Layer]:
    if unescaped.changed:
        yield Layer(unescaped.text, context, lambda edits: unescaped.raw_edits(edits, escape))


def _decoded(
    match: re.Match[bytes], data: bytes | None, encode: Callable[[bytes, bytes], bytes]
) -> Iterator[Layer]:
    unpacked = unpack(data) if data else None
    if unpacked is None:
        return
    plain, pack = unpacked

    def back(edits: list[Edit]) -> list[Edit]:
        if not edits:
            return []
        new = encode(pack(splice(plain, edits)), match[0])
        return [Edit(*match.span(), new, edits[0].label)]

    yield Layer(plain, Context(), back)


def _from_base64(raw: bytes) -> bytes | None:
    body = raw.rstrip(b"=")
    if len(body) % 4 == 1:
        return None
    try:
        return base64.b64decode(body.translate(_TO_STANDARD) + b"=" * (-len(body) % 4), validate=True)
    except binascii.Error:
        return None


def _from_base32(raw: bytes) -> bytes | None:
    body = raw.rstrip(b"=")
    try:
        data = base64.b32decode(body + b"=" * (-len(body) % 8), casefold=True)
    except binascii.Error:
        return None
    return data if is_text(data) else None


def _to_base32(data: bytes, raw: bytes) -> bytes:
    new = base64.b32encode(data)
    new = new if raw.endswith(b"=") or len(raw) % 8 == 0 else new.rstrip(b"=")
    return new if raw == raw.upper() else new.lower()


_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def _to_base64(plain: bytes, raw: bytes) -> bytes:
    new = base64.b64encode(plain)
    if b"-" in raw or b"_" in raw:
        new = new.translate(_TO_URL_SAFE)
    if not raw.endswith(b"=") and (len(raw) % 4 or b"-" in raw or b"_" in raw):
        new = new.rstrip(b"=")
    return new


def _to_hex(plain: bytes, raw: bytes) -> bytes:
    digits = plain.hex().encode()
    return digits if raw == raw.lower() else digits.upper()


def _undo_quoted(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),)) if match[1] else b" "


def _quoted_back(word: Unescaped, by: int) -> Callable[[list[Edit]], list[Edit]]:
    def escape(new: bytes, _raw: bytes) -> bytes:
        return b"".join(
            bytes((byte,)) if _PLAIN_BYTE.match(b"%c" % byte) else b"=%02X" % byte for byte in new
        )

    return lambda edits: [edit.moved(by) for edit in word.raw_edits(edits, escape)]


def _undo_backslash(match: re.Match[bytes]) -> bytes | None:
    if len(match[0]) > 6:
        data = bytes.fromhex(match[0].replace(b"\\x", b"").decode())
        return data if is_text(data) else None
    digits = match[0][2:]
    number = int(digits, 16)
    return None if 0xD800 <= number <= 0xDFFF else chr(number).encode()


def _escape_backslash(new: bytes, _raw: bytes) -> bytes:
    return json.escape(new, ascii_only=True)
