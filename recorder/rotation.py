"""One recording in several files, and the size at which it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Protocol

from captures.errors import UsageError, WriteError
from captures.model import Counters, Exchange, Message, RecorderFacts, Response
from captures.units import KIB
from recorder.scribe import SizeReached, Writer

_ROW_BYTES = 512  # about what a row takes beside its bodies and headers
_END_BYTES = 4 * KIB  # account, footer and trailer, without what grows with the part
_DIGITS = 4


class Part(Writer, Protocol):
    """A writer of one file that knows its size."""

    @property
    def size_bytes(self) -> int:
        """Bytes that are in the file."""
        ...

    @property
    def open_bytes(self) -> int:
        """Bytes of the open block before compression."""
        ...

    @property
    def end_bytes(self) -> int:
        """At most so many bytes will be added at the end, beside the open block and some KiB in any case."""
        ...

    def flush(self) -> None:
        """Writes the open block now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a part is full (``rotate_...``) and when the recording is; None for never."""

    rotate_every_ns: int | None = None
    rotate_bytes: int | None = None
    max_bytes: int | None = None

    @property
    def rotates(self) -> bool:
        """Whether there may be several parts."""
        return self.rotate_every_ns is not None or self.rotate_bytes is not None

    @property
    def bounded(self) -> bool:
        """Whether any size is."""
        return self.max_bytes is not None or self.rotate_bytes is not None


def part_path(output: Path, number: int) -> Path:
    """``staging-0001.reel`` for the first part of ``staging.reel``."""
    return output.with_name(f"{output.stem}-{number:0{_DIGITS}}{output.suffix}")


def part_paths(output: Path) -> Iterator[Path]:
    """
    Where each part goes, one after the other; numbers whose file exists are passed over.

    Raises:
        UsageError: the first part exists already.

    """
    if part_path(output, 1).exists():
        raise UsageError(
            f"{part_path(output, 1)} exists already; name another file or remove its parts first."
        )
    for number in count(1):
        path = part_path(output, number)
        if not path.exists():
            yield path


class PartedWriter:
    """
    Writes one recording to one part after the other; each opens by itself.

    All parts have one clock and one numbering of exchanges and connections. An exchange stands,
    and is counted, in the part that was open when it ended; so the accounts of all parts add up
    to the recording's. What comes after ``max_bytes`` (all parts together) raises SizeReached.
    """

    def __init__(self, open_part: Callable[[], Part], limits: Limits, *, clock_ns: Callable[[], int]) -> None:
        self._open_part = open_part
        self._limits = limits
        self._clock_ns = clock_ns
        self._part: Part | None = open_part()
        self._begun_ns = clock_ns()
        self._rows = 0  # of this part
        self._closed_bytes = 0
        self._closed_exchanges = 0
        self._done: list[Path] = []
        self._failed = False
        self.facts: RecorderFacts | None = None
        """What the recorder tells of the whole recording; it stands in the last part."""
        self._counters: Counters | None = None
        self._before = Counters()  # what the parts before have

    @property
    def parts(self) -> tuple[Path, ...]:
        """The files, in the order in which they were written."""
        return (*self._done, *(self._part.parts if self._part is not None else ()))

    @property
    def exchanges_flushed(self) -> int:
        """Exchanges that are in the files."""
        return self._closed_exchanges + (self._part.exchanges_flushed if self._part is not None else 0)

    def write(self, exchange: Exchange) -> None:
        """
        Takes one exchange.

        Raises:
            SizeReached: it does not fit into ``max_bytes``; it was not taken.
            WriteError: a file cannot be written any more.

        """
        self._ready(_exchange_bytes(exchange) if self._limits.bounded else 0).write(exchange)
        self._rows += 1

    def write_message(self, message: Message) -> None:
        """Takes one message; raises as ``write`` does."""
        self._ready(_ROW_BYTES + len(message.payload)).write_message(message)
        self._rows += 1

    def flush_if_due(self) -> None:
        """Writes the open block when it is old, and ends a part whose time is over."""
        if self._part is not None:
            self._part.flush_if_due()
        if self._is_over():
            self._end_part()

    def count(self, counters: Counters) -> None:
        """Takes the account of the recording as it stands."""
        self._counters = counters
        if self._part is not None:
            self._part.count(self._of_part(counters))

    def close(self, counters: Counters | None = None) -> None:
        """Ends the last part, with the rest of the account."""
        if self._part is None:
            nothing_left = counters is None or self._of_part(counters) == Counters()
            if self._failed or (nothing_left and self.facts is None):
                return
            # The last part ended, and what came after it was not written, but counted.
            self._begin_part()
        assert self._part is not None
        self._part.facts = self.facts
        self._part.close(None if counters is None else self._of_part(counters))

    def abandon(self) -> None:
        """Ends the part that is open as one that is not whole."""
        if self._part is not None:
            self._part.abandon()

    def discard(self) -> None:
        """Ends and removes the part that is open."""
        if self._part is not None:
            self._part.discard()

    def _ready(self, row_bytes: int) -> Part:
        """The part that takes a row of about ``row_bytes``."""
        if self._is_over():
            self._end_part()
        part = self._part if self._part is not None else self._begin_part()
        rotate_bytes, max_bytes = self._limits.rotate_bytes, self._limits.max_bytes
        if rotate_bytes is not None and self._rows and not self._fits(part, row_bytes, rotate_bytes):
            self._end_part()
            part = self._begin_part()
        if max_bytes is not None and not self._fits(part, row_bytes, max_bytes - self._closed_bytes):
            raise SizeReached
        return part

    def _fits(self, part: Part, row_bytes: int, limit_bytes: int) -> bool:
        room_bytes = limit_bytes - _END_BYTES - row_bytes
        if part.size_bytes + part.open_bytes + part.end_bytes <= room_bytes:
            return True
        # Compressed, the open block takes a fraction of what it does in memory: look again.
        part.flush()
        return part.size_bytes + part.end_bytes <= room_bytes

    def _is_over(self) -> bool:
        every_ns = self._limits.rotate_every_ns
        if every_ns is None or self._part is None or not self._rows:
            return False
        return self._clock_ns() - self._begun_ns >= every_ns

    def _begin_part(self) -> Part:
        try:
            self._part = self._open_part()
        except UsageError as error:  # its folder is gone, and with it the place for all that follows
            raise WriteError(str(error)) from error
        self._begun_ns = self._clock_ns()
        self._rows = 0
        return self._part

    def _end_part(self) -> None:
        part = self._part
        assert part is not None
        self._part = None
        self._done.extend(part.parts)
        counters = None
        if self._counters is not None:
            # What is in flight now is counted in the part it will end in.
            counters = self._of_part(self._counters)
            counters = replace(counters, in_flight=0, seen=counters.seen - counters.in_flight)
            before = self._before
            self._before = Counters(
                seen=before.seen + counters.seen,
                written=before.written + counters.written,
                sampled_out=before.sampled_out + counters.sampled_out,
                truncated=before.truncated + counters.truncated,
                dropped=before.dropped + counters.dropped,
            )
        self._failed = True
        try:
            part.close(counters)
        finally:
            self._closed_exchanges += part.exchanges_flushed
        self._failed = False
        self._closed_bytes += part.size_bytes

    def _of_part(self, counters: Counters) -> Counters:
        before = self._before
        return Counters(
            seen=counters.seen - before.seen,
            written=counters.written - before.written,
            sampled_out=counters.sampled_out - before.sampled_out,
            truncated=counters.truncated - before.truncated,
            dropped=counters.dropped - before.dropped,
            in_flight=counters.in_flight,
        )


def _exchange_bytes(exchange: Exchange) -> int:
    request, outcome = exchange.request, exchange.outcome
    size = _ROW_BYTES + 2 * len(request.target) + len(request.body)  # the path is in the index, too
    headers = request.headers + request.trailers
    if isinstance(outcome, Response):
        size += len(outcome.body)
        headers += outcome.headers + outcome.trailers
    return size + sum(len(name) + len(value) + 8 for name, value in headers)
