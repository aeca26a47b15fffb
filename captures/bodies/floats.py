"""Floats of 32 and 64 bits as JSON writes them, and back."""

from __future__ import annotations

import struct

SIZES = (4, 8)
"""In bytes."""

_SINGLE_DIGITS = range(1, 10)  # nine tell all floats of 32 bits apart
_MAX_WHOLE = 2**53  # below it each integer is a float


def to_text(content: bytes, order: str = ">") -> bytes:
    """The float in ``content`` (of 4 or 8 bytes in ``order``), in as few digits as read back as the same."""
    packing = _packing(content, order)
    value: float = packing.unpack(content)[0]
    if len(content) == 4:
        texts = (f"{value:.{digits}g}" for digits in _SINGLE_DIGITS)
        value = next((float(text) for text in texts if _packed(packing, float(text)) == content), value)
    whole = value.is_integer() and abs(value) < _MAX_WHOLE
    return b"%d" % value if whole else repr(value).encode("ascii")


def from_text(text: bytes, like: bytes, order: str = ">") -> tuple[bytes, bool]:
    """
    The float that ``text`` says in as many bytes as ``like`` has, and whether it reads back as the same.

    What is no number counts as 0, and what is too large for 32 bits is 0 there.
    """
    packing = _packing(like, order)
    value = _value(text)
    made = _packed(packing, value) or bytes(len(like))
    return made, _value(to_text(made, order)) == value


def _packing(content: bytes, order: str) -> struct.Struct:
    return struct.Struct(order + ("f" if len(content) == 4 else "d"))


def _packed(packing: struct.Struct, value: float) -> bytes | None:
    try:
        return bytes(packing.pack(value))
    except OverflowError:
        return None


def _value(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
