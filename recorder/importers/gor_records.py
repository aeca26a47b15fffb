"""
The records of a GoReplay file: a header line, an HTTP/1 message, a separator.

The separator may stand inside a body, where GoReplay itself cuts. It counts here only where the
file ends or a header line follows, and, in a body of known length, where that length is reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from captures.units import MIB

SEPARATOR = "\n🐵🙈🙉\n".encode()
HEADER = re.compile(rb"([123]) ([0-9A-Za-z_\-]{1,128}) (\d{1,19})(?: (-?\d{1,19}))?[^\n]{0,128}\n")
MAX_RECORD_BYTES = 256 * MIB
_CHUNK_BYTES = 256 * 1024
_HEADER_BYTES = 512
_MAX_NS = 2**62  # the year 2116
_MAX_LATENCY_NS = 2**50  # 13 days
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,12})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:[^\r\n]*chunked", re.IGNORECASE | re.MULTILINE)
_MAX_HEAD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """
    One record: ``kind`` is 1 for a request, 2 for a response, 3 for a replayed response.

    ``timing_ns`` is Unix time, or, in a response of an old version, how long it took;
    ``latency_ns`` is None where the version writes none or says -1.
    """

    kind: int
    id: bytes
    timing_ns: int
    latency_ns: int | None
    payload: bytes


class RecordReader:
    """Gives the records of one file, and None for each stretch that is none."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = b""
        self._at = 0
        self._ended = False

    def records(self) -> Iterator[Record | None]:
        """Every record in file order."""
        while self._fill(_HEADER_BYTES) or self._at < len(self._buffer):
            header = HEADER.match(self._buffer, self._at)
            if header is None or int(header[3]) >= _MAX_NS:
                self._skip()
                yield None
                continue
            self._at, start = header.start(), header.end() - header.start()
            end = self._end(start)
            latency = int(header[4]) if header[4] is not None else -1
            yield Record(
                kind=int(header[1]),
                id=header[2],
                timing_ns=int(header[3]),
                latency_ns=latency if 0 <= latency < _MAX_LATENCY_NS else None,
                payload=self._buffer[self._at + start : self._at + end],
            )
            self._at += end + len(SEPARATOR)

    # Positions below count from the start of the record, since filling moves the buffer.

    def _fill(self, size_bytes: int) -> bool:
        """Whether so many bytes stand behind the record's start; reads on as needed."""
        while len(self._buffer) - self._at < size_bytes and not self._ended:
            data = self._file.read(max(_CHUNK_BYTES, len(self._buffer) - self._at))
            self._ended = not data
            self._buffer = self._buffer[self._at :] + data
            self._at = 0
        return len(self._buffer) - self._at >= size_bytes

    def _find(self, start: int) -> int | None:
        """The next separator with a header line, or the end of the file, behind it."""
        while True:
            found = self._buffer.find(SEPARATOR, self._at + start)
            if found < 0:
                start = max(start, len(self._buffer) - self._at - len(SEPARATOR))
                if self._ended or start > MAX_RECORD_BYTES:
                    return None
                self._fill(len(self._buffer) - self._at + 1)
                continue
            place = found - self._at
            if self._is_boundary(place):
                return place
            start = place + 1

    def _is_boundary(self, place: int) -> bool:
        behind = place + len(SEPARATOR)
        self._fill(behind + _HEADER_BYTES)
        at = self._at + behind
        return at >= len(self._buffer) or HEADER.match(self._buffer, at) is not None

    def _end(self, start: int) -> int:
        first = self._find(start)
        if first is None:
            return len(self._buffer) - self._at  # the file was cut, or lacks its last separator
        stated = self._stated_end(start, first)
        if stated is None or stated <= first or stated > MAX_RECORD_BYTES:
            return first
        if not self._fill(stated + len(SEPARATOR)) and not self._fill(stated):
            return first
        at = self._at + stated
        # The body goes on behind the separator only if it really ends where it says.
        whole = self._buffer.startswith(SEPARATOR, at) and self._is_boundary(stated)
        return stated if whole or len(self._buffer) == self._at + stated else first

    def _stated_end(self, start: int, first: int) -> int | None:
        """Where the message ends by its Content-Length, or by its chunks."""
        begin = self._at + start
        head_end = self._buffer.find(b"\r\n\r\n", begin, min(self._at + first, begin + _MAX_HEAD_BYTES) + 4)
        if head_end < 0:
            return None
        head = self._buffer[begin:head_end]
        body = head_end + 4 - self._at
        if _CHUNKED.search(head):
            return self._chunks_end(body)
        length = _LENGTH.search(head)
        return body + int(length[1]) if length else None

    def _chunks_end(self, place: int) -> int | None:
        """The end of a chunked body without trailers; None where it is not chunked after all."""
        while self._fill(place + 1):
            self._fill(place + 32)
            line_end = self._buffer.find(b"\r\n", self._at + place, self._at + place + 32)
            size = self._buffer[self._at + place : line_end].split(b";")[0].strip() if line_end >= 0 else b""
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
                return None
            place = line_end - self._at + 2 + int(size, 16) + 2
            if int(size, 16) == 0 or place > MAX_RECORD_BYTES:
                return place
        return None

    def _skip(self) -> None:
        """Go behind the next separator that a header line follows."""
        found = self._find(0)
        self._at = len(self._buffer) if found is None else self._at + found + len(SEPARATOR)
