"""Undo what can be undone without knowing what is looked for: escapes, hex, base64, compression."""

from __future__ import annotations

import html
import re
from base64 import b64decode
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from anonymizer.audit_decode import inflate_base64
from anonymizer.audit_spans import decode_base64_text

_LAYERS_MAX = 3
_BACKSLASHED = re.compile(rb"((?:\\u[0-9a-fA-F]{4})+)|\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
_PERCENT = re.compile(rb"%[0-9a-fA-F]{2}")
_ENTITY = re.compile(rb"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_HEX = re.compile(rb"[0-9a-fA-F]{10,}")
# Five bytes of text or more: originals that are no text are searched in hex by their patterns.
_TEXT = re.compile(rb"(?:[\t\n\r -~]|[\xc2-\xf4][\x80-\xbf]{1,3}){5,}")
_BASE64_PACKED = re.compile(rb"(?<![A-Za-z0-9+/_-])(?:H4sI|eJ|eN|eAE|eF4)[A-Za-z0-9+/_-]{12,}={0,2}")
_BASE64_TEXT = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}={0,2}(?![A-Za-z0-9+/_=-])")
_BACK_TO_BASE64 = bytes.maketrans(b"-_", b"+/")
_NO_CONTROL = bytes({*range(32, 256), *b"\t\r\n"})
_NO_TEXT: set[bytes] = set()  # runs known not to be base64 text: paths and ids come again in every exchange
_NO_TEXT_MAX = 100_000
_NO_TEXT_MAX_BYTES = 128


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
    texts = [text for run in dict.fromkeys(_HEX.findall(data)) for text in _from_hex(run)]
    if texts:
        yield "hex", b"\n".join(texts)
    for match in _BASE64_PACKED.finditer(data):
        content = inflate_base64(match[0])
        if content is not None:
            yield "base64 of compressed text", content
    texts = [content for run in sorted(set(_BASE64_TEXT.findall(data)) - _NO_TEXT) for content in _texts(run)]
    if texts:
        yield "base64", b"\n".join(texts)


def _from_hex(run: bytes) -> Iterator[bytes]:
    """The stretches of text under hex, for both ways to pair the digits: one before it may be chance."""
    digits = run.decode()
    for start in (0, 1):
        stop = len(digits) - (len(digits) - start) % 2
        yield from _TEXT.findall(bytes.fromhex(digits[start:stop]))


def _texts(run: bytes) -> Iterator[bytes]:
    content = _base64_text(run)
    if content is not None:
        yield content
    elif len(run) <= _NO_TEXT_MAX_BYTES and len(_NO_TEXT) < _NO_TEXT_MAX:
        _NO_TEXT.add(run)


def _base64_text(text: bytes) -> bytes | None:
    """Decode ``text`` if its first bytes are printable: most runs of that alphabet are paths and ids."""
    head = b64decode(text[:12].translate(_BACK_TO_BASE64))
    if head.translate(None, _NO_CONTROL):
        return None
    return decode_base64_text(text)


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
