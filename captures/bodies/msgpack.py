"""The leaves of a MessagePack document as byte spans (the specification of 2017)."""

from __future__ import annotations

import re
from contextlib import suppress
from enum import StrEnum
from typing import NamedTuple

from captures.bodies import floats

_MAX_DEPTH = 200
_FIXED_BYTES = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_SIZE_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_COUNT_BYTES = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_TIMESTAMP = 0xFF  # the only extension that the specification defines
_TIMESTAMP_BYTES = frozenset({4, 8, 12})
_MAX_SECONDS = (1 << 34) - 1  # of a time of eight bytes
_INTEGER = re.compile(rb"-?\d{1,20}")


class MsgpackError(Exception):
    """The bytes are not MessagePack, end early or go on after the end."""


class MsgpackRole(StrEnum):
    """What a leaf is in its document."""

    KEY = "key"
    STRING = "string"
    BINARY = "binary"
    NUMBER = "number"  # an integer that does not fit in its head
    SMALL = "small"  # an integer that does
    FLOAT = "float"
    TIMESTAMP = "timestamp"  # the bytes after its type
    EXTENSION = "extension"  # of an application; the bytes after its type


NUMBERS = frozenset({MsgpackRole.NUMBER, MsgpackRole.SMALL, MsgpackRole.FLOAT, MsgpackRole.TIMESTAMP})
"""What `number` reads."""


class MsgpackLeaf(NamedTuple):
    """
    One value: its head begins at ``head``, its content is ``start:stop``.

    ``key`` is the map key it stands under (an array's elements have the array's key), ``path``
    the keys above that one, ``holder`` the number of the map it is in.
    """

    role: MsgpackRole
    head: int
    start: int
    stop: int
    key: bytes
    path: tuple[bytes, ...]
    holder: int


_NO_KEYS = NUMBERS - {MsgpackRole.NUMBER}  # fields by their numbers, which stay


class _Level:
    """A container that is being read: ``left`` values are still to come."""

    __slots__ = ("holder", "key", "left", "maps", "path")

    def __init__(self, left: int, key: bytes, path: tuple[bytes, ...], holder: int, *, maps: bool) -> None:
        self.left = left
        self.key = key
        self.path = path
        self.holder = holder
        self.maps = maps


def looks_like_msgpack(data: bytes) -> bool:
    """Whether ``data`` is one map or array that fills it, with something in it."""
    if not data or not (0x81 <= data[0] <= 0x8F or 0x91 <= data[0] <= 0x9F or 0xDC <= data[0] <= 0xDF):
        return False
    try:
        return any(leaf.role not in _NO_KEYS for leaf in scan(data, documents=1))
    except MsgpackError:
        return False


def scan(data: bytes, *, documents: int = 1_000_000) -> list[MsgpackLeaf]:
    """
    Every key, string, number, time and piece of binary of at most ``documents`` values in a row.

    Raises:
        MsgpackError: ``data`` is anything else, or is cut short.

    """
    leaves: list[MsgpackLeaf] = []
    position = holders = 0
    levels: list[_Level] = []
    while position < len(data) or levels:
        if not levels:
            documents -= 1
            if documents < 0:
                raise MsgpackError("there is more than one value")
            levels.append(_Level(1, b"", (), 0, maps=False))
        level = levels[-1]
        if level.left == 0:
            levels.pop()
            continue
        is_key = level.maps and level.left % 2 == 0
        level.left -= 1
        kind, start, size, count = _head(data, position)
        if count is not None:
            if len(levels) > _MAX_DEPTH or is_key:
                raise MsgpackError("the document is too deep, or a key is no plain value")
            maps = kind is MsgpackRole.KEY
            holders += maps
            path = (*level.path, level.key) if maps and level.key else level.path
            key = b"" if maps else level.key
            levels.append(_Level(count * (1 + maps), key, path, holders if maps else level.holder, maps=maps))
            position = start
            continue
        stop = start + size
        if stop > len(data):
            raise MsgpackError("the document is cut short")
        if is_key:
            level.key = data[start:stop] if kind is MsgpackRole.STRING else b""
        if kind is not None and not (is_key and kind in _NO_KEYS):
            role = MsgpackRole.KEY if is_key and kind is MsgpackRole.STRING else kind
            leaves.append(MsgpackLeaf(role, position, start, stop, level.key, level.path, level.holder))
        position = stop
    return leaves


def _head(data: bytes, at: int) -> tuple[MsgpackRole | None, int, int, int | None]:
    """Role, start and size of the content, and a container's count; role KEY says that it is a map."""
    if at >= len(data):
        raise MsgpackError("the document is cut short")
    head = data[at]
    if head <= 0x7F or head >= 0xE0:
        return MsgpackRole.SMALL, at, 1, None
    if head in {0xC0, 0xC2, 0xC3}:
        return None, at + 1, 0, None  # nil and booleans
    if head <= 0x8F:
        return MsgpackRole.KEY, at + 1, 0, head & 15
    if head <= 0x9F:
        return None, at + 1, 0, head & 15
    if head <= 0xBF:
        return MsgpackRole.STRING, at + 1, head & 31, None
    if head in _FIXED_BYTES:
        return (MsgpackRole.NUMBER if head >= 0xCC else MsgpackRole.FLOAT), at + 1, _FIXED_BYTES[head], None
    if 0xD4 <= head <= 0xD8:
        size = 1 << (head - 0xD4)
        return _extension(data, at + 1, size), at + 2, size, None
    wide = _SIZE_BYTES.get(head) or _COUNT_BYTES.get(head)
    start = at + 1 + (wide or 0)
    if wide is None or start > len(data):
        raise MsgpackError("no such type, or cut short")
    size = int.from_bytes(data[at + 1 : start])
    if head in _COUNT_BYTES:
        return (MsgpackRole.KEY if head >= 0xDE else None), start, 0, size
    if 0xC7 <= head <= 0xC9:
        return _extension(data, start, size), start + 1, size, None
    return (MsgpackRole.STRING if head >= 0xD9 else MsgpackRole.BINARY), start, size, None


def _extension(data: bytes, at: int, size: int) -> MsgpackRole:
    timed = data[at : at + 1] == bytes([_TIMESTAMP]) and size in _TIMESTAMP_BYTES
    return MsgpackRole.TIMESTAMP if timed else MsgpackRole.EXTENSION


def number(data: bytes, leaf: MsgpackLeaf) -> bytes:
    """
    The number that a leaf holds, as JSON writes it: of a TIMESTAMP the seconds since 1970.

    A float is in as few digits as read back as the same one.
    """
    content = data[leaf.start : leaf.stop]
    if leaf.role is MsgpackRole.FLOAT:
        return floats.to_text(content)
    if leaf.role is MsgpackRole.TIMESTAMP:
        return b"%d" % _seconds(content)
    return b"%d" % int.from_bytes(content, signed=data[leaf.head] >= 0xD0)


def _seconds(content: bytes) -> int:
    if len(content) == 12:  # nanoseconds, then seconds
        return int.from_bytes(content[4:], signed=True)
    return int.from_bytes(content) & _MAX_SECONDS  # below the nanoseconds, if it has some


def with_content(data: bytes, leaf: MsgpackLeaf, new: bytes) -> bytes:
    """Head and content of ``leaf`` with other content: the same kind of head where ``new`` fits in it."""
    head = data[leaf.head : leaf.start]
    size = leaf.stop - leaf.start
    if len(new) == size:
        return head + new
    first = head[0]
    if leaf.role is MsgpackRole.EXTENSION:
        return _sized(0xC7, len(new)) + head[-1:] + new
    if first in _SIZE_BYTES:
        wide = _SIZE_BYTES[first]
        if len(new) < 1 << (8 * wide):
            return head[:1] + len(new).to_bytes(wide) + new
        return _sized(0xC4 if first <= 0xC6 else 0xD9, len(new)) + new
    return (bytes([0xA0 | len(new)]) if len(new) < 32 else _sized(0xD9, len(new))) + new


def with_number(data: bytes, leaf: MsgpackLeaf, new: bytes) -> bytes:
    """
    ``leaf`` with another number, as JSON writes it; what is none counts as 0.

    It is as wide as it was where it reads back as the same digits then, else of 64 bits. A time
    keeps its nanoseconds.
    """
    content = data[leaf.start : leaf.stop]
    head = data[leaf.head : leaf.start]
    if leaf.role is MsgpackRole.FLOAT:
        packed, same = floats.from_text(new, content)
        return head + packed if same else b"\xcb" + floats.from_text(new, bytes(8))[0]
    value = int(new) if _INTEGER.fullmatch(new) else 0
    if leaf.role is MsgpackRole.TIMESTAMP:
        return head + _with_seconds(content, value)
    if leaf.role is not MsgpackRole.SMALL:
        with suppress(OverflowError):
            return head + value.to_bytes(len(content), signed=data[leaf.head] >= 0xD0)
    elif -32 <= value <= 127:
        return value.to_bytes(1, signed=value < 0)
    if value < 0:
        return b"\xd3" + max(value, -(2**63)).to_bytes(8, signed=True)
    return b"\xcf" + min(value, 2**64 - 1).to_bytes(8)


def _with_seconds(content: bytes, seconds: int) -> bytes:
    if len(content) == 12:
        return content[:4] + max(-(2**63), min(seconds, 2**63 - 1)).to_bytes(8, signed=True)
    most = min(_MAX_SECONDS, (1 << (8 * len(content))) - 1)
    other_bits = int.from_bytes(content) & ~_MAX_SECONDS
    return (other_bits | max(0, min(seconds, most))).to_bytes(len(content))


def _sized(smallest: int, size: int) -> bytes:
    """The head of a string, binary or extension whose 8-bit form is ``smallest``."""
    for step, wide in enumerate((1, 2, 4)):
        if size < 1 << (8 * wide):
            return bytes([smallest + step]) + size.to_bytes(wide)
    raise MsgpackError("a value of more than 4 GiB")
