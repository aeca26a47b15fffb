"""Text inside text: escapes, URL queries, base64, base32 and hex, each with the way back."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

import hyperscan

from anonymizer import documents, runs
from anonymizer.detectors.base import Context, normal_key
from anonymizer.escapes import escapes, quoted
from anonymizer.packings import has_notes, is_opaque, is_text, unpack
from captures.bodies import percent, url
from captures.bodies.edits import Edit, Unescaped, splice

# also after the signs of databases and ledgers, 0x and \x
_HEX = re.compile(
    rb"(?:(?<![0-9A-Za-z])|(?<=\b0x)|(?<=\\x))(?:(?:[0-9a-f]{2}){6,}|(?:[0-9A-F]{2}){6,})(?![0-9A-Za-z])"
)
_BASE32 = re.compile(
    rb"(?<![A-Za-z0-9+_-])(?:[A-Z2-7]{16,}|[a-z2-7]{16,}|[A-Z2-7]{8,}(?==)|[a-z2-7]{8,}(?==))={0,6}"
    rb"(?![A-Za-z0-9+=_-])"
)
# Lines of base64 as mail and keys have them; the last one is shorter.
_WRAPPED = re.compile(
    rb"(?<![A-Za-z0-9+/_=-])([A-Za-z0-9+/_-]{40,}+)(\r?\n[ \t]*)"
    rb"(?:[A-Za-z0-9+/_-]{40,}+\2)*[A-Za-z0-9+/_-]++={0,2}(?![A-Za-z0-9+/_=-])"
)
_BYTE = rb"(?:0x)?[0-9A-Fa-f]{2}"
_HEX_LIST = re.compile(
    rb"(?<![0-9A-Za-z:-])" + _BYTE + rb"([ :-]|, ?)" + _BYTE + rb"(?:\1" + _BYTE + rb"){6,}(?![0-9A-Za-z:-])"
)
_NUMBER_LIST = re.compile(rb"(?<![0-9.-])[0-9]{1,3}(\s*,\s*)[0-9]{1,3}(?:\s*,\s*[0-9]{1,3}){6,}(?![0-9.])")
_ONE_BYTE = re.compile(rb"[0-9A-Fa-f]{2}(?![0-9A-Fa-fx])")
_ASCII85 = re.compile(rb"<~([!-uz\s]{10,})~>")
_MIN_BASE85_TEXT_BYTES = 8
_MIN_RUN_BYTES = 10
# What stands in each text that holds the encoding, looked for all at once.
_HINTS = (
    (_HEX, rb"(?:[0-9a-f]{2}){6}|(?:[0-9A-F]{2}){6}"),
    (_BASE32, rb"[A-Z2-7]{16}|[a-z2-7]{16}|[A-Z2-7]{8}=|[a-z2-7]{8}="),
    (_HEX_LIST, rb"[0-9A-Fa-f]{2}(?:(?:[ :-]|, ?)(?:0x)?[0-9A-Fa-f]{2}){7}"),
    (_NUMBER_LIST, rb"[0-9]{1,3}(?:\s*,\s*[0-9]{1,3}){7}"),
    (
        runs.BASE85,
        rb"<~|[0-9A-Za-z!#-&(-+;-@^_`{-~-]{5}[!#-&(-*;-@^`{-~]|[!#-&(-*;-@^`{-~][0-9A-Za-z!#-&(-+;-@^_`{-~-]{5}",
    ),
)

# A word of a header in other letters (RFC 2047), in the form that escapes single bytes.
_ENCODED_WORD = re.compile(rb"=\?utf-8\?q\?([^?\s]*)\?=", re.IGNORECASE)
_QUOTED = re.compile(rb"=([0-9A-Fa-f]{2})|_")


_SPACE = re.compile(rb"\s+")
_DIGITS = re.compile(rb"[0-9]+")

UNDECODABLE = "undecodable"
"""The label of an edit that takes away bytes which cannot be read."""

Blank = Callable[[bytes], bytes]
"""Bytes that cannot be read to what stands for them."""


class Layer(NamedTuple):
    """A text found in another one. ``back`` turns its edits into edits of the outer text."""

    text: bytes
    context: Context
    back: Callable[[list[Edit]], list[Edit]]


def layers(text: bytes, context: Context, blank: Blank) -> Iterator[Layer]:
    """
    Every text that is written inside ``text`` in some encoding, and the values of its URLs' queries.

    ``blank`` gives what stands for bytes under base64 that cannot be read.
    """
    for unescaped, escape in escapes(text):
        yield from _whole(unescaped, context, escape)
    for piece in documents.pieces(text):
        if piece.text == text:  # tags that were looked at for what they are
            continue
        yield Layer(piece.text, piece.context, piece.back)
    words = list(_ENCODED_WORD.finditer(text)) if b"=?" in text else []
    for match in words:
        word = Unescaped(match[1], _QUOTED, _undo_quoted)
        yield Layer(word.text, context, _quoted_back(word, match.start(1)))
    for pair in url.query_pairs(text):
        start, stop = pair.value_start, pair.value_stop
        if stop > start and not any(word.start() < start < word.end() for word in words):
            key = normal_key(text[pair.name_start : pair.name_stop])
            yield Layer(text[start:stop], Context(key=key), _mover(start))
    for name, password in url.user_infos(text):
        yield from _user_info(text, *name, Context(key="username"))
        yield from _user_info(text, *password, Context(credential=True))
    for match in _WRAPPED.finditer(text) if b"\n" in text else ():
        yield from _decoded(match, runs.plain(_SPACE.sub(b"", match[0])), _to_wrapped, blank)
    for match in runs.BASE64.finditer(text) if len(text) >= 8 else ():
        yield from _base64_run(text, match, blank)
    hinted = _hinted(text) if len(text) >= _MIN_RUN_BYTES else frozenset()
    for match in _HEX.finditer(text) if _HEX in hinted else ():
        yield from _decoded(match, bytes.fromhex(match[0].decode()), _to_hex, blank)
    for match in _BASE32.finditer(text) if _BASE32 in hinted else ():
        yield from _decoded(match, runs.plain32(match[0]), _to_base32, blank)
    for match in _HEX_LIST.finditer(text) if _HEX_LIST in hinted else ():
        yield from _listed(match, _ONE_BYTE, 16)
    if _NUMBER_LIST in hinted:
        yield from number_lists(text)
    if runs.BASE85 in hinted:
        yield from _in_base85(text)


def _hinted(text: bytes) -> set[re.Pattern[bytes]]:
    """Which of the rarer encodings ``text`` may hold."""
    numbers: set[int] = set()
    _automaton().scan(text, match_event_handler=lambda number, *_: numbers.add(number))
    return {_HINTS[number][0] for number in numbers}


@cache
def _automaton() -> hyperscan.Database:
    database = hyperscan.Database()
    flags = hyperscan.HS_FLAG_SINGLEMATCH
    database.compile(
        expressions=[hint for _, hint in _HINTS], ids=list(range(len(_HINTS))), flags=[flags] * len(_HINTS)
    )
    return database


def number_lists(text: bytes) -> Iterator[Layer]:
    """The texts whose bytes ``text`` lists as numbers, as Node writes a ``Buffer`` in JSON."""
    for match in _NUMBER_LIST.finditer(text):
        yield from _listed(match, _DIGITS, 10)


def _listed(match: re.Match[bytes], unit: re.Pattern[bytes], base: int) -> Iterator[Layer]:
    numbers = [int(digits, base) for digits in unit.findall(match[0])]
    data = bytes(numbers) if max(numbers) < 256 else b""
    if not data or not is_text(data):
        return
    first = unit.search(match[0])
    sign = match[0][: first.start()] if first else b""
    spell = b"%d" if base == 10 else b"%02X" if match[0].isupper() else b"%02x"

    def back(edits: list[Edit]) -> list[Edit]:
        if not edits:
            return []
        new = match[1].join(sign + spell % byte for byte in splice(data, edits))
        return [Edit(*match.span(), new, edits[0].label)]

    yield Layer(data, Context(), back)


def _in_base85(text: bytes) -> Iterator[Layer]:
    for match in _ASCII85.finditer(text) if b"<~" in text else ():
        yield from _decoded85(match, base64.a85decode, lambda new: b"<~" + base64.a85encode(new) + b"~>", 1)
    for match in runs.BASE85.finditer(text):
        yield from _decoded85(match, base64.b85decode, base64.b85encode, 0)


def _decoded85(
    match: re.Match[bytes], decode: Callable[[bytes], bytes], encode: Callable[[bytes], bytes], group: int
) -> Iterator[Layer]:
    try:
        if not is_text(decode(match[group][:5])):
            return
        data = decode(match[group])
    except ValueError:
        return
    if len(data) < _MIN_BASE85_TEXT_BYTES or not is_text(data):
        return

    def back(edits: list[Edit]) -> list[Edit]:
        return [Edit(*match.span(), encode(splice(data, edits)), edits[0].label)] if edits else []

    yield Layer(data, Context(), back)


def _base64_run(text: bytes, match: re.Match[bytes], blank: Blank) -> Iterator[Layer]:
    """The text under base64; of what is a path in that alphabet, the texts under its segments."""
    whole = list(_decoded(match, runs.plain(match[0]), runs.written, blank))
    if whole or b"/" not in match[0]:
        yield from whole
        return
    for segment in runs.SEGMENT.finditer(text, *match.span()):
        yield from _decoded(segment, runs.plain(segment[0]), runs.written, blank)


def _user_info(text: bytes, start: int, stop: int, context: Context) -> Iterator[Layer]:
    if stop > start:
        part = percent.unescape(text[start:stop])
        edits_of = partial(part.raw_edits, escape=lambda new, raw: percent.escape(new, raw=raw))
        yield Layer(part.text, context, lambda edits: [edit.moved(start) for edit in edits_of(edits)])


def _mover(by: int) -> Callable[[list[Edit]], list[Edit]]:
    return lambda edits: [edit.moved(by) for edit in edits]


def _whole(
    unescaped: Unescaped, context: Context, escape: Callable[[bytes, bytes], bytes]
) -> Iterator[Layer]:
    if unescaped.changed:
        yield Layer(unescaped.text, context, lambda edits: unescaped.raw_edits(edits, escape))


def _decoded(
    match: re.Match[bytes], data: bytes | None, encode: Callable[[bytes, bytes], bytes], blank: Blank
) -> Iterator[Layer]:
    if not data:
        return
    mixed = runs.is_mixed(match[0])
    if is_opaque(data):
        edit = Edit(*match.span(), encode(blank(data), match[0]), UNDECODABLE)
        yield Layer(b"", Context(), lambda _edits: [edit])
        return
    unpacked = unpack(data, unmarked=mixed)
    if unpacked is None:
        return
    plain, pack = unpacked
    noted = has_notes(data)

    def back(edits: list[Edit]) -> list[Edit]:
        if not edits and not noted:
            return []
        new = encode(pack(splice(plain, edits)), match[0])
        return [Edit(*match.span(), new, edits[0].label if edits else UNDECODABLE)]

    yield Layer(plain, Context(), back)


def _to_base32(data: bytes, raw: bytes) -> bytes:
    new = base64.b32encode(data)
    new = new if raw.endswith(b"=") or len(raw) % 8 == 0 else new.rstrip(b"=")
    return new if raw == raw.upper() else new.lower()


def _to_wrapped(plain: bytes, raw: bytes) -> bytes:
    """Base64 in lines as wide as the first one of ``raw``."""
    first = _WRAPPED.match(raw)
    new = runs.written(plain, _SPACE.sub(b"", raw))
    if first is None:
        return new
    wide = len(first[1])
    return first[2].join(new[at : at + wide] for at in range(0, len(new), wide))


def _to_hex(plain: bytes, raw: bytes) -> bytes:
    digits = plain.hex().encode()
    return digits if raw == raw.lower() else digits.upper()


def _undo_quoted(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),)) if match[1] else b" "


def _quoted_back(word: Unescaped, by: int) -> Callable[[list[Edit]], list[Edit]]:
    return lambda edits: [edit.moved(by) for edit in word.raw_edits(edits, quoted)]
