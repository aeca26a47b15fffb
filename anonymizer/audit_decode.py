"""Undo content codings, for the audit alone: it must not trust the code whose work it checks."""

from __future__ import annotations

import binascii
import codecs
import importlib
import re
import zlib
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import zstandard

from captures.model import Headers
from captures.units import KIB, MIB

DECODED_MAX_BYTES = 256 * MIB
"""More than this is not decoded: a few bytes of a coding can stand for gigabytes."""

_NAME = b"content-encoding"
_NAME_BYTES = len(_NAME)
_BROTLI_STEP_BYTES = 512  # its decoder has no output limit, so it is fed little at a time
_BROTLI: Any = importlib.import_module("brotli")  # comes with mitmproxy and has no types
_ZSTD_WINDOW_MAX_BYTES = 128 * MIB
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MAGIC = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", _ZSTD_MAGIC)
_PACKED_MAX = 3
_MARKS = (  # the longer ones first, since one begins like a shorter one
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BYTE_ORDER_MARKS = tuple(mark for mark, _ in _MARKS)
_SPACES = str.maketrans("", "", "\t\r\n")


class _UndecodableError(Exception):
    """The bytes are not what their content coding says."""


def content_codings(headers: Headers) -> tuple[str, ...]:
    """The codings in the order they were applied (RFC 9110, section 8.4); identity is left out."""
    values = [value for name, value in headers if len(name) == _NAME_BYTES and name.lower() == _NAME]
    if not values:
        return ()
    words = re.split(r"[,\s]+", b",".join(values).decode("latin-1").lower())
    return tuple(word for word in words if word and word != "identity")


def decode_body(body: bytes, headers: Headers) -> bytes | None:
    """
    ``body`` without its content codings, or None when they cannot be undone.

    A body that was cut gives what can be read of it.
    """
    for coding in reversed(content_codings(headers)):
        decoder = _DECODERS.get(coding)
        if decoder is None:
            return None
        try:
            body = decoder(body) if body else body
        except (_UndecodableError, zlib.error, zstandard.ZstdError, _BROTLI.error):
            return None
    return body


def inflate(data: bytes) -> bytes | None:
    """The content of a gzip, zlib or zstd stream, or None when ``data`` is none of them."""
    try:
        return _zstd(data) if data.startswith(_ZSTD_MAGIC) else _inflate(data, 32 + zlib.MAX_WBITS)
    except (_UndecodableError, zlib.error, zstandard.ZstdError):
        return None


def unpacked(data: bytes) -> bytes:
    """``data`` without the compression that its first bytes tell, up to three of them; else itself."""
    for _ in range(_PACKED_MAX):
        content = inflate(data) if data.startswith(_MAGIC) else None
        if content is None:
            break
        data = content
    return data


def narrowed(data: bytes) -> bytes | None:
    """``data`` in UTF-8 if it is text in UTF-16 or UTF-32, by its mark or by its zero bytes, else None."""
    if b"\0" not in data and not data.startswith(_BYTE_ORDER_MARKS):
        return None
    for mark, charset in _MARKS:
        if data.startswith(mark):
            return _in_charset(data[len(mark) :], charset)
    texts = (_in_charset(data, charset) for _, charset in _MARKS)
    return next((text for text in texts if text is not None and text.isascii()), None)


def _in_charset(data: bytes, charset: str) -> bytes | None:
    try:
        text = data.decode(charset)
    except UnicodeDecodeError:
        return None
    return text.encode() if text.translate(_SPACES).isprintable() else None


def inflate_base64(text: bytes) -> bytes | None:
    """The content of a gzip, zlib or zstd stream in base64 or base64url ``text``, or None."""
    core = text.rstrip(b"=").translate(_BACK_TO_BASE64)
    try:
        return inflate(b64decode(core + b"=" * (-len(core) % 4)))
    except binascii.Error:
        return None


def decode_runs(text: bytes) -> bytes:
    """The content of base64 that is padded piece by piece, as gRPC-Web has it; else ``text`` itself."""
    try:
        return b"".join(map(b64decode, _BASE64_RUN.findall(text)))
    except binascii.Error:
        return text


_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_BACK_TO_BASE64 = bytes.maketrans(b"-_", b"+/")


def _inflate(data: bytes, window_bits: int) -> bytes:
    out = []
    left_bytes = DECODED_MAX_BYTES
    while data:  # a gzip body may be several members, one after another
        decoder = zlib.decompressobj(window_bits)
        part = decoder.decompress(data, left_bytes)
        left_bytes -= len(part)
        out.append(part)
        if left_bytes <= 0:
            raise _UndecodableError
        if not decoder.eof or window_bits < 0 or not decoder.unused_data.startswith(b"\x1f\x8b"):
            break
        data = decoder.unused_data
    return b"".join(out)


def _gzip(data: bytes) -> bytes:
    return _inflate(data, 16 + zlib.MAX_WBITS)


def _deflate(data: bytes) -> bytes:
    try:
        return _inflate(data, zlib.MAX_WBITS)
    except zlib.error:
        return _inflate(data, -zlib.MAX_WBITS)  # some senders leave the zlib wrapper out


def _brotli(data: bytes) -> bytes:
    decoder = _BROTLI.Decompressor()
    out, size_bytes = [], 0
    for start in range(0, len(data), _BROTLI_STEP_BYTES):
        part = decoder.process(data[start : start + _BROTLI_STEP_BYTES])
        size_bytes += len(part)
        if size_bytes > DECODED_MAX_BYTES:
            raise _UndecodableError
        out.append(part)
    return b"".join(out)


def _zstd(data: bytes) -> bytes:
    out, size_bytes = [], 0
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_MAX_BYTES)
    with decoder.stream_reader(data, read_across_frames=True) as reader:
        while part := reader.read(256 * KIB):
            size_bytes += len(part)
            if size_bytes > DECODED_MAX_BYTES:
                raise _UndecodableError
            out.append(part)
    return b"".join(out)


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
