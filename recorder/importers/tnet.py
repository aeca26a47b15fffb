"""
The frames of a tnetstring file, and single values inside them without decoding the rest.

mitmproxy writes each flow as one tnetstring (``LENGTH:DATA}``). Its own reader stops at the first
damaged one; this one goes on at the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from captures.units import MIB

MAX_FRAME_BYTES = 512 * MIB
_CHUNK_BYTES = 256 * 1024
_PREFIX = re.compile(rb"(\d{1,12}):")
# A frame is a dict, so a key of a few letters comes first.
_RESTART = re.compile(rb"(?<!\d)\d{1,10}:(?=\d{1,2}:[a-z_]{2,30}[;,])")
_OVERLAP_BYTES = 64


@dataclass(frozen=True, slots=True)
class DamagedStretch:
    """Bytes that are no frame; ``cut`` when nothing whole comes after them."""

    cut: bool


class FrameReader:
    """Gives the dict frames of one file, each as the bytes between its length and its closing brace."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = b""
        self._at = 0

    def frames(self) -> Iterator[bytes | DamagedStretch]:
        """Every frame in file order, with the damaged stretches between them."""
        while self._has(1):
            frame = self._frame()
            if frame is not None:
                yield frame
                continue
            found = self._restart()
            yield DamagedStretch(cut=not found)
            if not found:
                return

    def _has(self, size_bytes: int) -> bool:
        """Whether so many bytes follow; reads on as needed."""
        missing = self._at + size_bytes - len(self._buffer)
        if missing <= 0:
            return True
        parts = [self._buffer[self._at :]]
        self._at = 0
        while missing > 0:
            data = self._file.read(max(_CHUNK_BYTES, min(missing, 16 * MIB)))
            if not data:
                break
            parts.append(data)
            missing -= len(data)
        self._buffer = b"".join(parts)
        return missing <= 0

    def _frame(self) -> bytes | None:
        self._has(13)
        prefix = _PREFIX.match(self._buffer, self._at)
        if prefix is None:
            return None
        size, head = int(prefix[1]), len(prefix[0])
        if size > MAX_FRAME_BYTES or not self._has(head + size + 1):
            return None
        start = self._at + head
        if self._buffer[start + size : start + size + 1] != b"}":
            return None
        self._at = start + size + 1
        return self._buffer[start : start + size]

    def _restart(self) -> bool:
        """Go to the next place where a whole frame of a flow starts."""
        self._at += 1
        while True:
            found = _RESTART.search(self._buffer, self._at)
            if found is None:
                self._at = max(self._at, len(self._buffer) - _OVERLAP_BYTES)
                left = len(self._buffer) - self._at
                if not self._has(left + 1):
                    return False
                continue
            self._at = found.start()
            frame = self._frame()
            if frame is not None and find(frame, b"request") is not None:
                self._at -= len(found[0]) + len(frame) + 1
                return True
            self._at += 1  # _has keeps its place at the start of what it tried


def find(data: bytes, *keys: bytes) -> bytes | float | None:
    """
    The value at a path of dict keys: numbers as such, anything else as its raw bytes.

    None where there is none, or where the data is no dict. Costs a step per key, not per byte.
    """
    kind = b"}"
    for key in keys:
        if kind != b"}":
            return None
        value = _entry(data, key)
        if value is None:
            return None
        data, kind = value
    if kind in {b"#", b"^"}:
        try:
            return int(data) if kind == b"#" else float(data)
        except ValueError:
            return None
    return data


def _entry(data: bytes, key: bytes) -> tuple[bytes, bytes] | None:
    at = 0
    while at < len(data):
        name = _span(data, at)
        value = None if name is None else _span(data, name[1] + 1)
        if name is None or value is None:
            return None
        if data[name[0] : name[1]] == key:
            return data[value[0] : value[1]], data[value[1] : value[1] + 1]
        at = value[1] + 1
    return None


def _span(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the value whose length stands at ``at`` starts and ends (its type byte comes then)."""
    prefix = _PREFIX.match(data, at)
    if prefix is None:
        return None
    end = prefix.end() + int(prefix[1])
    return (prefix.end(), end) if end < len(data) else None
