"""Find many patterns at once in bytes, and in what escapes and base64 inside those bytes stand for."""

from __future__ import annotations

import binascii
import html
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ahocorasick_rs import BytesAhoCorasick

from anonymizer.audit_decode import gunzip
from anonymizer.audit_spans import decode_base64_text
from anonymizer.encodings import Encoding, needs_boundary

_LAYERS_MAX = 3
_SURE_BASE64_BYTES = 12  # 72 bits; a shorter core turns up by chance in a large capture
_WORD_BYTES = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") | frozenset(
    range(0x80, 0x100)
)
_BACKSLASHED = re.compile(rb"((?:\\u[0-9a-fA-F]{4})+)|\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
_PERCENT = re.compile(rb"%[0-9a-fA-F]{2}")
_ENTITY = re.compile(rb"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_BASE64_GZIP = re.compile(rb"H4sI[A-Za-z0-9+/_-]{16,}={0,2}")
_BASE64_TEXT = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}={0,2}(?![A-Za-z0-9+/_=-])")
_BASE64_SPAN = re.compile(rb"[A-Za-z0-9+/_-]*")
_BACK_TO_BASE64 = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """
    A pattern that was found: which original, in which encoding, where.

    ``start:stop`` are bytes of the searched text, or None when it was found in what some
    ``layer`` of escapes stands for.
    """

    original: int
    encoding: str
    size_bytes: int
    start: int | None
    stop: int | None


class Searcher:
    """
    All ``patterns`` at once: bytes to (number of the original, encoding).

    ``values`` are the originals by their number; base64 hits are checked against them.
    """

    def __init__(self, patterns: Mapping[bytes, tuple[int, Encoding]], values: list[bytes]) -> None:
        self._patterns = list(patterns)
        self._owners = list(patterns.values())
        self._needs_boundary = [
            encoding.plain and needs_boundary(pattern) for pattern, (_, encoding) in patterns.items()
        ]
        self._values = values
        self._automaton = BytesAhoCorasick(self._patterns) if self._patterns else None

    def find(self, data: bytes) -> list[Hit]:
        """
        What survives in ``data``: one hit for each original and encoding, the longest of nested ones.

        Backslash, percent and HTML escapes and base64 are undone and searched too, up to three
        of them inside one another, so that partly escaped text hides nothing.
        """
        if self._automaton is None or not data:
            return []
        found: dict[int, Hit] = {}
        for layer, text in (("", data), *layers(data)):
            outside = [self._values[number] for number in found]
            for hit in self._direct(text, layer):
                value = self._values[hit.original]
                if not any(value in other for other in outside):
                    found.setdefault(hit.original, hit)
        return list(found.values())

    def found_in(self, data: bytes) -> bool:
        """Whether anything survives in ``data``."""
        return bool(self.find(data))

    def _direct(self, data: bytes, layer: str) -> list[Hit]:
        assert self._automaton is not None
        accepted: list[tuple[int, int, int]] = []
        for pattern, start, stop in self._automaton.find_matches_as_indexes(data, overlapping=True):
            if self._counts(data, pattern, start, stop):
                accepted.append((start, stop, pattern))
        if not accepted:
            return []
        accepted.sort(key=lambda match: (match[0], -match[1]))
        hits: list[Hit] = []
        reach = -1
        for start, stop, pattern in accepted:
            if stop <= reach:
                continue  # part of a longer original that survived here
            reach = stop
            original, encoding = self._owners[pattern]
            name = encoding.name if not layer else f"{encoding.name} inside {layer}"
            hits.append(
                Hit(
                    original=original,
                    encoding=name,
                    size_bytes=stop - start,
                    start=None if layer else start,
                    stop=None if layer else stop,
                )
            )
        return hits

    def _counts(self, data: bytes, pattern: int, start: int, stop: int) -> bool:
        if self._needs_boundary[pattern]:
            before = start > 0 and data[start - 1] in _WORD_BYTES
            after = stop < len(data) and data[stop] in _WORD_BYTES
            return not before and not after
        original, encoding = self._owners[pattern]
        if not encoding.base64 or stop - start >= _SURE_BASE64_BYTES:
            return True
        return _decodes_to(data, start, stop, self._values[original])


def _decodes_to(data: bytes, start: int, stop: int, value: bytes) -> bool:
    """Whether the base64 around ``start:stop`` really holds ``value``; short cores match by chance."""
    first = start
    while first > 0 and start - first < 8 and _BASE64_SPAN.fullmatch(data, first - 1, first):
        first -= 1
    around = _BASE64_SPAN.match(data, first, min(len(data), stop + 8))
    text = (around[0] if around is not None else b"").translate(_BACK_TO_BASE64)
    for skip in range(4):
        part = text[skip:]
        part = part[:-1] if len(part) % 4 == 1 else part
        try:
            content = b64decode(part + b"=" * (-len(part) % 4))
        except binascii.Error:
            continue
        if value in content or value.lower() in content:
            return True
    return False


def layers(data: bytes) -> Iterator[tuple[str, bytes]]:
    """What the escapes in ``data`` stand for: the name of each layer, outermost last, and its text."""
    queue = [("", data)]
    known = {data}
    for _ in range(_LAYERS_MAX):
        inner: list[tuple[str, bytes]] = []
        for outer, text in queue:
            for name, undone in _undo(text):
                if undone not in known:
                    known.add(undone)
                    inner.append((f"{name} inside {outer}" if outer else name, undone))
        yield from inner
        queue = inner


def _undo(data: bytes) -> Iterator[tuple[str, bytes]]:
    if b"\\" in data:
        yield "JSON escapes", _BACKSLASHED.sub(_unescaped, data)
    if b"%" in data and _PERCENT.search(data):
        yield "percent escapes", unquote_to_bytes(data)
        if b"+" in data:
            yield "form escapes", unquote_to_bytes(data.replace(b"+", b" "))
    if b"&" in data and _ENTITY.search(data):
        yield "HTML entities", _ENTITY.sub(_entity, data)
    for match in _BASE64_GZIP.finditer(data):
        content = _gunzip_base64(match[0])
        if content is not None:
            yield "base64 of gzip", content
    texts = [content for match in _BASE64_TEXT.finditer(data) if (content := _base64_text(match[0]))]
    if texts:
        yield "base64", b"\n".join(texts)


def _base64_text(text: bytes) -> bytes | None:
    """Decode ``text`` if its first bytes are printable: most runs of that alphabet are paths and ids."""
    head = b64decode(text[:12].translate(_BACK_TO_BASE64))
    if any(byte < 32 and byte not in b"\t\r\n" for byte in head):
        return None
    return decode_base64_text(text)


def _gunzip_base64(text: bytes) -> bytes | None:
    core = text.rstrip(b"=").translate(_BACK_TO_BASE64)
    try:
        return gunzip(b64decode(core + b"=" * (-len(core) % 4)))
    except binascii.Error:
        return None


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        units = bytes.fromhex(match[1].replace(b"\\u", b"").decode())
        return units.decode("utf-16-be", "replace").encode()
    if match[2]:
        return bytes.fromhex(match[2].decode())
    return _SHORT_ESCAPES.get(match[3], match[3])


_SHORT_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def _entity(match: re.Match[bytes]) -> bytes:
    return html.unescape(match[0].decode()).encode("utf-8", "replace")
