"""Content codings (RFC 9110 section 8.4): undo them, and apply the same ones again."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]
import zstandard

from captures.units import MIB

MAX_DECODED_BYTES = 256 * MIB
"""A body that decodes to more is a decompression bomb and counts as undecodable."""


_STEP_BYTES = 4096  # fed in steps, so that a bomb is noticed while it opens


class CodingError(Exception):
    """A body does not decode by the content coding its headers name."""


def codings(content_encoding: bytes) -> list[str]:
    """The codings of a Content-Encoding value in the order they were applied, identity left out."""
    names = [part.strip().lower().decode("latin-1") for part in content_encoding.split(b",")]
    return [name for name in names if name not in {"", "identity"}]


def named_by_magic(data: bytes) -> bytes:
    """The coding that ``data`` is in by its first bytes, empty where they say nothing."""
    if data.startswith(b"\x1f\x8b"):
        return b"gzip"
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return b"zstd"
    if len(data) > 6 and data[0] == 0x78 and (data[0] << 8 | data[1]) % 31 == 0:
        return b"deflate"  # RFC 1950, with a window of 32 KiB as everybody writes it
    return b""


def decode(body: bytes, content_encoding: bytes, max_bytes: int = MAX_DECODED_BYTES) -> bytes:
    """
    The body without its content coding.

    Raises:
        CodingError: a coding is unknown, the bytes are damaged or end early, or decode to
            more than ``max_bytes``.

    """
    for name in reversed(codings(content_encoding)):
        if name not in _DECODERS:
            raise CodingError(f"unknown content coding {name!r}")
        try:
            body = _DECODERS[name](body, max_bytes)
        except (OSError, EOFError, zlib.error, brotli.error, zstandard.ZstdError, ValueError) as error:
            raise CodingError(f"damaged {name} body") from error
    return body


def encode(body: bytes, content_encoding: bytes) -> bytes:
    """
    The body with the content coding applied; equal bodies give equal bytes.

    Raises:
        CodingError: a coding is unknown.

    """
    for name in codings(content_encoding):
        if name not in _ENCODERS:
            raise CodingError(f"unknown content coding {name!r}")
        body = _ENCODERS[name](body)
    return body


def _bounded(body: bytes, max_bytes: int, window_bits: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while body:
        stream = zlib.decompressobj(window_bits)
        part = stream.decompress(body, max_bytes - size + 1)
        size += len(part)
        if size > max_bytes:
            raise CodingError("the decoded body is too large")
        if not stream.eof:
            raise EOFError("ends early")
        parts.append(part)
        body = stream.unused_data
    return b"".join(parts)


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    return _bounded(body, max_bytes, 31)


def _inflate(body: bytes, max_bytes: int) -> bytes:
    try:
        return _bounded(body, max_bytes, 15)
    except zlib.error:
        return _bounded(body, max_bytes, -15)  # some servers send raw deflate, which browsers accept too


def _unbrotli(body: bytes, max_bytes: int) -> bytes:
    if not body:
        return body
    stream = brotli.Decompressor()
    parts: list[bytes] = []
    size = 0
    for start in range(0, len(body), _STEP_BYTES):
        parts.append(stream.process(body[start : start + _STEP_BYTES]))
        size += len(parts[-1])
        if size > max_bytes:
            raise CodingError("the decoded body is too large")
    if not stream.is_finished():
        raise EOFError("ends early")
    return b"".join(parts)


def _unzstd(body: bytes, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while body:
        stream = zstandard.ZstdDecompressor(max_window_size=MAX_DECODED_BYTES).decompressobj()
        position = 0
        while position < len(body) and not stream.eof:
            parts.append(stream.decompress(body[position : position + _STEP_BYTES]))
            position += _STEP_BYTES
            size += len(parts[-1])
            if size > max_bytes:
                raise CodingError("the decoded body is too large")
        if not stream.eof:
            raise EOFError("ends early")
        body = stream.unused_data + body[position:]
    return b"".join(parts)


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=6, mtime=0)


def _brotli(body: bytes) -> bytes:
    compressed: bytes = brotli.compress(body, quality=5)
    return compressed


def _zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(body)


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": zlib.compress,
    "br": _brotli,
    "zstd": _zstd,
}
