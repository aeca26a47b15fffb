"""The rows inside a block: a table of their lengths, then the rows."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from captures.codec import build_exchange, build_message, unpack_row
from captures.errors import CaptureError
from captures.migrate import MigrationPath
from captures.model import Exchange, Message


@dataclass(frozen=True, slots=True)
class OpenBlock:
    """A block's raw payload and where its rows start (one more entry than rows)."""

    payload: memoryview
    starts: list[int]

    def rows(self, path: MigrationPath) -> Iterator[Row]:
        """Each row, to be decoded by ``path``."""
        for start, stop in pairwise(self.starts):
            yield Row(self.payload[start:stop], path)


@dataclass(frozen=True, slots=True)
class Row:
    """An exchange or message as packed bytes, decoded on demand; valid while the reader is open."""

    packed: memoryview
    _path: MigrationPath

    def exchange(self) -> Exchange:
        """
        Decode.

        Raises:
            CaptureError: the row is damaged, or no exchange.

        """
        return build_exchange(self._path.exchange(unpack_row(self.packed)))

    def message(self) -> Message:
        """
        Decode.

        Raises:
            CaptureError: the row is damaged, or no message.

        """
        return build_message(self._path.message(unpack_row(self.packed)))


def split_rows(payload: bytes, rows: int, position: int) -> OpenBlock:
    """
    Find ``rows`` rows in the payload of the block at ``position``.

    Raises:
        CaptureError: the lengths do not add up to the payload.

    """
    if rows * 4 > len(payload):
        raise CaptureError(f"The block at byte {position} claims too many rows; the file is damaged.")
    lengths = array("I")
    lengths.frombytes(payload[: rows * 4])
    start = rows * 4
    starts = [start]
    for length in lengths:
        start += length
        starts.append(start)
    if start != len(payload):
        raise CaptureError(f"The rows of the block at byte {position} do not add up; the file is damaged.")
    return OpenBlock(memoryview(payload), starts)


class RowBuffer:
    """Packed rows of the open block: lengths and bytes, and the offsets they span."""

    __slots__ = ("bytes", "first_ns", "last_ns", "rows")

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.bytes = 0
        self.first_ns = 0
        self.last_ns = 0

    def add(self, row: bytes, offset_ns: int) -> None:
        """One more row."""
        if not self.rows:
            self.first_ns = self.last_ns = offset_ns
        self.first_ns = min(self.first_ns, offset_ns)
        self.last_ns = max(self.last_ns, offset_ns)
        self.rows.append(row)
        self.bytes += len(row) + 4

    def payload(self) -> bytes:
        """The block's payload, as ``split_rows`` takes it apart."""
        return struct.pack(f"<{len(self.rows)}I", *map(len, self.rows)) + b"".join(self.rows)
