"""What became of a recording: the numbers while it runs, and the account at its end."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from enum import IntEnum, auto
from pathlib import Path

from captures.model import Counters


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    What became of a recording.

    ``connections`` are client connections that carried at least one request. ``messages`` are
    the rows of WebSocket messages and SSE events written; ``messages_dropped`` are those that
    were lost. ``withheld_names`` tell the credentials that were withheld apart (one is known by
    its stand-in, never by its value), and they were replaced ``withheld_uses`` times; the names
    are known at the end. ``parts`` are the files, in the order in which they were written.
    ``cut_by`` says in one sentence why the recording is not whole, or is empty.
    """

    counters: Counters
    connections: int
    messages: int
    messages_dropped: int
    withheld_names: frozenset[bytes] = field(default=frozenset(), repr=False)
    withheld_uses: int = 0
    parts: tuple[Path, ...] = ()
    cut_by: str = ""

    @property
    def withheld(self) -> int:
        """How many different credentials were withheld."""
        return len(self.withheld_names)


class Count(IntEnum):
    """What a tally counts: exchanges, where nothing else is said."""

    SEEN = 0
    REFUSED = auto()  # not put into the queue
    MESSAGES_REFUSED = auto()
    WRITTEN = auto()  # taken by the capture's writer
    FLUSHED = auto()  # in the file
    TRUNCATED = auto()
    SAMPLED_OUT = auto()
    LOST = auto()  # taken from the queue and not written
    MESSAGES = auto()
    MESSAGES_LOST = auto()
    WITHHELD_USES = auto()


class Tally:
    """
    The numbers of one recording, in memory that the proxy and its writer share.

    Each is changed by one side only, so none needs a lock.
    """

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, 8 * len(Count))).cast("q")

    def __getitem__(self, count: Count) -> int:
        return self._cells[count]

    def __setitem__(self, count: Count, number: int) -> None:
        self._cells[count] = number

    def cell(self, count: Count) -> memoryview[int]:
        """The one number of ``count``, for who changes it most often."""
        return self._cells[count : count + 1]

    def numbers(self) -> tuple[int, ...]:
        """All of them; while two looks differ, something is done."""
        return tuple(self._cells)

    def add(self, count: Count, number: int = 1) -> None:
        """Counts ``number`` more."""
        self._cells[count] += number

    def counters(self, in_flight: int | None, *, cut: bool) -> Counters:
        """
        The account of exchanges; without ``in_flight``, that is what has no outcome yet.

        When the file was ``cut``, what its open block held is lost although it was taken.
        """
        taken = self[Count.WRITTEN]
        written = min(taken, self[Count.FLUSHED]) if cut else taken
        dropped = self[Count.REFUSED] + self[Count.LOST] + taken - written
        sampled_out, seen = self[Count.SAMPLED_OUT], self[Count.SEEN]
        return Counters(
            seen=seen,
            written=written,
            sampled_out=sampled_out,
            truncated=min(self[Count.TRUNCATED], written),
            dropped=dropped,
            in_flight=seen - written - dropped - sampled_out if in_flight is None else in_flight,
        )
