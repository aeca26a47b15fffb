"""The rows inside a block: a table of their lengths, then the rows."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from captures.errors import CaptureError


@dataclass(frozen=True, slots=True)
class OpenBlock:
    """A block's raw payload and where its rows start (one more entry than rows)."""

    payload: memoryview
    starts: list[int]


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
