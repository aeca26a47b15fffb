"""
The fields of a Protocol Buffers message without its schema (the encoding guide's wire format).

The wire tells field numbers and lengths, not what a length-delimited field is: text, bytes,
another message or packed numbers. ``looks_like_message`` guesses the way a reader of dumps does.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from typing import NamedTuple

from captures.bodies import floats

_MAX_NUMBER = (1 << 29) - 1
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")
_MAX_ONE_BYTE = 0x7F
_SMALLEST_FLOAT, _LARGEST_FLOAT = 1e-6, 1e9  # of those that people write
_MAX_DIGITS = 20
_MIN_EXACT_BYTES = 32  # a length that is itself a printable character


class ProtobufError(Exception):
    """The bytes are no message."""


class Wire(IntEnum):
    """The wire types."""

    VARINT = 0
    FIXED64 = 1
    BYTES = 2
    GROUP = 3
    GROUP_END = 4
    FIXED32 = 5


_WIRES = tuple(Wire)
_FIXED_BYTES = (0, 8, 0, 0, 0, 4)  # by wire type


class Field(NamedTuple):
    """One field: its number and wire type, where its tag begins, and its content ``start:stop``."""

    number: int
    wire: Wire
    tag: int
    start: int
    stop: int


def fields(data: bytes) -> list[Field]:
    """
    The fields of the message ``data`` in order; groups are not nested, their ends are fields too.

    Raises:
        ProtobufError: ``data`` is no message.

    """
    found: list[Field] = []
    groups: list[int] = []
    position, end = 0, len(data)
    while position < end:
        tag, after = data[position], position + 1
        if tag > _MAX_ONE_BYTE:
            tag, after = varint(data, position)
        number, wire = tag >> 3, tag & 7
        if not 1 <= number <= _MAX_NUMBER or wire >= len(_WIRES):
            raise ProtobufError("no such tag")
        kind = _WIRES[wire]
        start = after
        if kind is Wire.VARINT:
            stop = varint(data, after)[1]
        elif kind is Wire.BYTES:
            size, start = varint(data, after)
            stop = start + size
        else:
            stop = after + _FIXED_BYTES[wire]
        if stop > end:
            raise ProtobufError("cut short")
        if kind is Wire.GROUP:
            groups.append(number)
        elif kind is Wire.GROUP_END and (not groups or groups.pop() != number):
            raise ProtobufError("a group ends that did not begin")
        found.append(Field(number, kind, position, start, stop))
        position = stop
    if groups:
        raise ProtobufError("a group does not end")
    return found


def varint(data: bytes, at: int) -> tuple[int, int]:
    """
    The number at ``at`` and where it ends.

    Raises:
        ProtobufError: it is cut short or longer than ten bytes.

    """
    value = 0
    for count, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            if value >= 1 << 64:
                break
            return value, at + count + 1
    raise ProtobufError("no number")


def to_varint(value: int) -> bytes:
    """``value`` in as few bytes as it takes."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def fixed(content: bytes) -> bytes:
    """
    The number that ``content`` (of four or eight bytes) is, as JSON writes it.

    The wire does not tell floats from integers. The bytes of an integer are a float next to
    nothing, or immense: what is neither is a float.
    """
    return floats.to_text(content, "<") if _is_float(content) else b"%d" % int.from_bytes(content, "little")


def to_fixed(text: bytes, like: bytes) -> bytes:
    """The number that ``text`` says as `fixed` gives it, written as ``like`` is; what is none is 0."""
    if _is_float(like):
        return floats.from_text(text, like, "<")[0]
    value = int(text) if text.isdigit() and len(text) <= _MAX_DIGITS else 0
    return (value % (1 << (8 * len(like)))).to_bytes(len(like), "little")


def _is_float(content: bytes) -> bool:
    value: float = struct.unpack("<f" if len(content) == 4 else "<d", content)[0]
    return _SMALLEST_FLOAT < abs(value) < _LARGEST_FLOAT


def looks_like_message(data: bytes) -> bool:
    """
    Whether ``data`` is a message rather than text or bytes.

    Text often reads as fields by chance. Printable text without line breaks counts as a message
    only if it is nothing but length-delimited fields, whose lengths would have to fit by chance.
    """
    if not data or data[0] < 1 << 3 or data[0] & 7 > Wire.FIXED32 or data[0] & 7 == Wire.GROUP_END:
        return False
    try:
        found = fields(data)
    except ProtobufError:
        return False
    return not _is_printable(data) or all(
        field.wire is Wire.BYTES and field.stop - field.start >= _MIN_EXACT_BYTES for field in found
    )


def _is_printable(data: bytes) -> bool:
    try:
        return _PRINTABLE.fullmatch(data.decode("utf-8")) is not None
    except UnicodeDecodeError:
        return False
