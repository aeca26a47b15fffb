"""Undo what can be undone without knowing what is looked for: escapes, hex, base64, compression."""

from __future__ import annotations

import html
import re
import string
from base64 import b64decode
from binascii import unhexlify
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from anonymizer.audit_decode import inflate_base64
from anonymizer.audit_printable import ADOBE, BASE85_LETTERS, BASE85_MIN_BYTES, text_in_base64, text_in_base85

_LAYERS_MAX = 3
_BACKSLASHED = re.compile(rb"((?:\\u[0-9a-fA-F]{4})+)|\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
_PERCENT = re.compile(rb"%[0-9a-fA-F]{2}")
_ENTITY = re.compile(rb"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Five bytes of text or more: originals that are no text are searched in hex by their patterns.
_TEXT = re.compile(rb"(?:[\t\n\r -~]|[\xc2-\xf4][\x80-\xbf]{1,3}){5,}")
_PACKED_HEADS = (b"H4sI", b"eJ", b"eN", b"eAE", b"eF4", b"KLUv")
_PACKED_BEGINNINGS = np.array([head[:2] for head in _PACKED_HEADS])
_BACK_TO_BASE64 = bytes.maketrans(b"-_", b"+/")
_BASE64_MIN_BYTES = 16
_HEAD_CHARS, _HEAD_BYTES = 12, 9
_IN_TEXT = np.isin(np.arange(256), [*b"\t\r\n", *range(32, 127), *range(128, 245)])


class _Runs:
    """Finds runs of at least ``least_bytes`` bytes of an alphabet."""

    def __init__(self, alphabet: bytes, least_bytes: int) -> None:
        self._inside = bytes(byte in alphabet for byte in range(256))
        self._least_bytes = least_bytes

    def spans(self, data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where runs start and where they stop."""
        inside = np.frombuffer(b"\0%b\0" % data.translate(self._inside), np.bool_)
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        starts, stops = edges[::2], edges[1::2]
        long = stops - starts >= self._least_bytes
        return starts[long], stops[long]


def _distinct(data: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> list[bytes]:
    """The texts there, each once, in the order of ``data``."""
    spans = zip(starts.tolist(), stops.tolist(), strict=True)
    return list(dict.fromkeys([data[start:stop] for start, stop in spans]))


_HEX = _Runs(b"0123456789abcdefABCDEF", 10)
_BASE85 = _Runs(BASE85_LETTERS, BASE85_MIN_BYTES)
_BASE85_VALUES = np.array([max(BASE85_LETTERS.find(byte), 0) for byte in range(256)], np.int64)
_BASE85_POWERS = 85 ** np.arange(4, -1, -1)
# Units of four bytes of which the first or last two say little: letters of most languages.
_UTF32 = {
    "utf-32-le": re.compile(rb"(?:[^\0][\s\S][\0-\x10]\0){5,}"),
    "utf-32-be": re.compile(rb"(?:\0[\0-\x10][\s\S][^\0]){5,}"),
}
_BASE64 = _Runs(string.ascii_letters.encode() + string.digits.encode() + b"+/_-", 14)


def layers(data: bytes, escaped: bytes | None = None) -> Iterator[tuple[str, bytes]]:
    """
    What stands under the encodings of ``data``: the name of each layer, outermost last, and its text.

    ``escaped`` is what there is of ``data`` that may hold escapes; without it all of it may.
    """
    queue = [("", data)]
    known = {data}
    for depth in range(_LAYERS_MAX):
        inner: list[tuple[str, bytes]] = []
        for outer, text in queue:
            marked = text if depth or escaped is None else escaped
            for name, undone in (*_undo_escapes(marked), *_undo_codings(text)):
                if undone not in known:
                    known.add(undone)
                    inner.append((f"{name} inside {outer}" if outer else name, undone))
        yield from inner
        queue = inner


def may_hold_escapes(data: bytes) -> bool:
    """Whether ``data`` has a sign with which an escape begins."""
    return b"\\" in data or b"%" in data or b"&" in data


def _undo_escapes(data: bytes) -> Iterator[tuple[str, bytes]]:
    if b"\\" in data:
        yield "JSON escapes", _BACKSLASHED.sub(_unescaped, data)
    if b"%" in data and _PERCENT.search(data):
        yield "percent escapes", unquote_to_bytes(data)
        if b"+" in data:
            yield "form escapes", unquote_to_bytes(data.replace(b"+", b" "))
    if b"&" in data and _ENTITY.search(data):
        yield "HTML entities", _ENTITY.sub(_entity, data)


def _undo_codings(data: bytes) -> Iterator[tuple[str, bytes]]:
    if b"\0" in data:
        yield "UTF-16", data.replace(b"\0", b"")
        wide = [run.decode(name, "replace") for name, runs in _UTF32.items() for run in runs.findall(data)]
        if wide:
            yield "UTF-32", "\n".join(wide).encode("utf-8", "replace")
    texts = _from_hex(_distinct(data, *_HEX.spans(data)))
    if texts:
        yield "hex", b"\n".join(texts)
    runs = _likely_base64(data)
    for run in runs:
        content = inflate_base64(run) if run.startswith(_PACKED_HEADS) else None
        if content is not None:
            yield "base64 of compressed text", content
    texts = [text for text in map(text_in_base64, runs) if text is not None]
    if texts:
        yield "base64", b"\n".join(texts)
    texts = [text for text in map(text_in_base85, _likely_base85(data)) if text is not None]
    if texts:
        yield "base85", b"\n".join(texts)


def _from_hex(runs: list[bytes]) -> list[bytes]:
    """The stretches of text under hex, for both ways to pair the digits: one before it may be chance."""
    texts: list[bytes] = []
    for start in (0, 1):
        even = [run[start : len(run) - (len(run) - start) % 2] for run in runs]
        texts += _TEXT.findall(unhexlify(b"00".join(even)))  # no text goes on behind a zero
    return texts


def _likely_base64(data: bytes) -> list[bytes]:
    """
    The runs that may be base64 of text or of what is compressed.

    The first bytes of all are judged at once, as most runs are paths and ids.
    """
    starts, stops = _BASE64.spans(data)
    columns = starts[:, None] + np.arange(_HEAD_CHARS)
    heads = np.frombuffer(data, np.uint8)[columns].tobytes()
    contents = np.frombuffer(b64decode(heads.translate(_BACK_TO_BASE64)), np.uint8)
    likely = _begin_as_text(contents.reshape(-1, _HEAD_BYTES)) & (stops - starts >= _BASE64_MIN_BYTES)
    likely |= np.isin(np.frombuffer(heads, "S2")[:: _HEAD_CHARS // 2], _PACKED_BEGINNINGS)
    return _distinct(data, starts[likely], stops[likely])


def _likely_base85(data: bytes) -> list[bytes]:
    """The runs that may be base85 of text, judged by their first group."""
    starts, stops = _BASE85.spans(data)
    heads = np.frombuffer(data, np.uint8)[starts[:, None] + np.arange(len(_BASE85_POWERS))]
    numbers = _BASE85_VALUES[heads] @ _BASE85_POWERS
    contents = numbers.astype(">u4").view(np.uint8).reshape(-1, 4)
    likely = (numbers < 1 << 32) & _begin_as_text(contents)
    marked = [match[0] for match in ADOBE.finditer(data)] if b"<~" in data else []
    return marked + _distinct(data, starts[likely], stops[likely])


def _begin_as_text(heads: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which rows may be the first bytes of printable UTF-8; chance makes few of them."""
    leads, follows = heads >= 0xC2, (heads & 0xC0) == 0x80
    fits = _IN_TEXT[heads]
    fits[:, 0] &= ~follows[:, 0]
    fits[:, 1:] &= (follows[:, 1:] | ~leads[:, :-1]) & ((heads[:, :-1] >= 0x80) | ~follows[:, 1:])
    likely: NDArray[np.bool_] = np.asarray(fits.all(axis=1), np.bool_)
    return likely


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
