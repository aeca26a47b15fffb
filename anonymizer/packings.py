"""Text in bytes that are not text: compressed, or in UTF-16; each with the way back."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import partial

from captures.bodies import coding

Pack = Callable[[bytes], bytes]
"""Text in UTF-8 to the bytes it is packed as."""

_PRINTABLE = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]+")
_GZIP = b"\x1f\x8b"
_ZLIB_METHOD = 0x78  # RFC 1950: deflate with a window of 32 KiB, as everybody writes it


def unpack(data: bytes) -> tuple[bytes, Pack] | None:
    """The text that ``data`` holds and how to pack another one; None when there is none."""
    if is_text(data):
        return data, bytes
    if data.startswith(_GZIP):
        return _coded(data, b"gzip")
    if len(data) > 6 and data[0] == _ZLIB_METHOD and (data[0] << 8 | data[1]) % 31 == 0:
        return _coded(data, b"deflate")
    for charset in ("utf-16-le", "utf-16-be"):
        text = _utf16(data, charset)
        if text is not None:
            return text, partial(_to_charset, charset=charset)
    return None


def is_text(data: bytes) -> bool:
    """Whether ``data`` is printable UTF-8."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return _PRINTABLE.fullmatch(text) is not None


def _coded(data: bytes, name: bytes) -> tuple[bytes, Pack] | None:
    try:
        text = coding.decode(data, name)
    except (coding.CodingError, zlib.error):
        return None
    if not is_text(text):
        return None
    if name != b"gzip" or data[3]:
        return text, lambda new: coding.encode(new, name)
    # time and system of the head (RFC 1952) stay as they were
    return text, lambda new: _GZIP + data[2:10] + coding.encode(new, name)[10:]


def _utf16(data: bytes, charset: str) -> bytes | None:
    high = data[1::2] if charset == "utf-16-le" else data[::2]
    if len(data) % 2 or len(data) < 8 or high.count(0) * 4 < len(high) * 3:
        return None  # at least three quarters Latin letters: anything else is noise more often than text
    try:
        text = data.decode(charset).encode("utf-8")
    except UnicodeError:
        return None
    return text if is_text(text) else None


def _to_charset(text: bytes, charset: str) -> bytes:
    return text.decode("utf-8", "replace").encode(charset)
