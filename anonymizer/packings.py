"""Text in bytes that are not text: compressed, in UTF-16, in a binary document; with the way back."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Callable
from functools import partial

from anonymizer import charsets
from anonymizer.binaries import BROKEN, Rebuild, Value, rebuilt_protobuf, texts_in
from captures.bodies import coding, protobuf
from captures.units import MIB

Pack = Callable[[bytes], bytes]
"""Text in UTF-8 to the bytes it is packed as."""

_PRINTABLE = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]+")
_GZIP = b"\x1f\x8b"
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BETWEEN = b"\n\x00\n"  # the texts of a binary document: nothing is found across it
_GZIP_NOTES = 0b0001_1100  # extra fields, a file's name, a comment (RFC 1952)
_MIN_TEXT_BYTES = 4
_RAW_DEFLATE = -15
_MAX_PACKED_TEXT_BYTES = MIB
# What begins like these holds no text that can be replaced in place: archives, images, documents, programs.
_OPAQUE = re.compile(
    rb"PK(?:\x03\x04|\x05\x06|\x07\x08)|\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|%PDF-1\.|\xfd7zXZ\0"
    rb"|7z\xbc\xaf\x27\x1c|BZh[1-9]1AY&SY|Rar!\x1a\x07|\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1|SQLite format 3\0"
    rb"|\x7fELF|OggS\0|fLaC\0|ID3[\x02-\x04]\0|....ftyp|\0asm\x01",
    re.DOTALL,
)
_STRING = re.compile(rb"[\t -~]{6,}")  # a text among bytes


def unpack(data: bytes, *, unmarked: bool = False) -> tuple[bytes, Pack] | None:
    """
    The text that ``data`` holds and how to pack another one; None when there is none.

    With ``unmarked`` it is also tried as what no first byte tells, and searched for texts among bytes.
    """
    is_message = len(data) >= 8 and protobuf.looks_like_message(data)
    if is_text(data) and not is_message:
        return data, bytes
    name = coding.named_by_magic(data)
    if name:
        return _coded(data, name) or (_strings(data) if unmarked else None)
    if len(data) >= 8 and (b"\x00" in data or data.startswith(_MARKS)):
        charset = charsets.of(data, b"")
        if charset is not None:
            return _in_charset(data, charset)
    rebuild = texts_in(data)
    if rebuild is None and is_message:
        rebuild = rebuilt_protobuf
    joined = None if rebuild is None else _joined(data, rebuild)
    return joined or ((_unmarked(data) or _strings(data)) if unmarked else None)


def is_opaque(data: bytes) -> bool:
    """Whether ``data`` is an archive, an image or the like by its first bytes."""
    return _OPAQUE.match(data) is not None


def holds_strings(data: bytes) -> bool:
    """Whether a text of some length stands among the bytes of ``data``."""
    return _STRING.search(data) is not None


def is_text(data: bytes) -> bool:
    """Whether ``data`` is printable UTF-8."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return _PRINTABLE.fullmatch(text) is not None


def has_notes(packed: bytes) -> bool:
    """Whether the head of ``packed`` names a file, or is a frame of zstd that a reader skips."""
    in_gzip = packed[:2] == _GZIP and bool(packed[3:4] and packed[3] & _GZIP_NOTES)
    return in_gzip or (packed[1:4] == b"\x2a\x4d\x18" and packed[0] & 0xF0 == 0x50)


def _coded(data: bytes, name: bytes) -> tuple[bytes, Pack] | None:
    try:
        text = coding.decode(data, name)
    except coding.CodingError:
        return None
    if not is_text(text):
        return None
    if name != b"gzip" or data[3]:
        return text, lambda new: coding.encode(new, name)
    # time and system of the head (RFC 1952) stay as they were
    return text, lambda new: _GZIP + data[2:10] + coding.encode(new, name)[10:]


def _unmarked(data: bytes) -> tuple[bytes, Pack] | None:
    """The text of raw deflate or Brotli, which no first byte tells: it has to fit to the last byte."""
    stream = zlib.decompressobj(_RAW_DEFLATE)
    try:
        text = stream.decompress(data, _MAX_PACKED_TEXT_BYTES)
    except zlib.error:
        text = b""
    if text and stream.eof and not stream.unused_data and is_text(text):
        return text, _deflated
    try:
        text = coding.decode(data, b"br")
    except coding.CodingError:
        return None
    return (text, partial(coding.encode, content_encoding=b"br")) if text and is_text(text) else None


def _deflated(text: bytes) -> bytes:
    stream = zlib.compressobj(wbits=_RAW_DEFLATE)
    return stream.compress(text) + stream.flush()


def _strings(data: bytes) -> tuple[bytes, Pack] | None:
    """Bytes of no known sort with texts among them, each byte as a character."""
    if not holds_strings(data):
        return None
    return data.decode("latin-1").encode(), partial(_to_charset, charset="latin-1")


def _in_charset(data: bytes, charset: str) -> tuple[bytes, Pack] | None:
    try:
        text = data.decode(charset).encode("utf-8")
    except UnicodeError:
        return None
    return (text, partial(_to_charset, charset=charset)) if is_text(text) else None


def _to_charset(text: bytes, charset: str) -> bytes:
    return text.decode("utf-8", "replace").encode(charset, "replace")


def _joined(data: bytes, rebuild: Rebuild) -> tuple[bytes, Pack] | None:
    """The texts of a binary document as one; those that are packed themselves stay as they are."""
    texts: list[bytes] = []

    def collect(value: Value) -> bytes:
        if _is_leaf(value):
            texts.append(value.data)
        return value.data

    try:
        rebuild(data, collect)
    except BROKEN:
        return None
    if not any(len(text) >= _MIN_TEXT_BYTES for text in texts):
        return None

    def pack(new: bytes) -> bytes:
        parts = iter(new.split(_BETWEEN))

        def put(value: Value) -> bytes:
            return next(parts, b"") if _is_leaf(value) else value.data

        return rebuild(data, put)

    return _BETWEEN.join(texts), pack


def _is_leaf(value: Value) -> bool:
    return not value.context.number and is_text(value.data)
