"""The rows of a run while it goes on: preallocated columns, each cell written once."""

from __future__ import annotations

from collections.abc import Callable, Container
from time import monotonic_ns
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from replayer.results import ERROR_STATUS, NEVER_NS, Outcome, RunRows
from replayer.schedule import Schedule

Cells: TypeAlias = dict[str, NDArray[Any]]
"""What a run finds out about each row, by column name."""

_UNKNOWN: dict[str, tuple[type[np.generic], int]] = {
    "sent_ns": (np.int64, NEVER_NS),
    "first_byte_ns": (np.int64, NEVER_NS),
    "done_ns": (np.int64, NEVER_NS),
    "waited_ns": (np.int64, 0),
    "response_bytes": (np.uint32, 0),
    "status": (np.uint16, 0),
    "outcome": (np.uint8, Outcome.INTERRUPTED),
}  # the widest first, so that each column lies on a boundary of its own width
_ALIGNED_BYTES = 8


def cells_bytes(rows: int) -> int:
    """The memory that the cells of ``rows`` rows take."""
    size = rows * sum(np.dtype(kind).itemsize for kind, _ in _UNKNOWN.values())
    return -(-size // _ALIGNED_BYTES) * _ALIGNED_BYTES


def make_cells(rows: int, memory: memoryview | None = None) -> Cells:
    """Cells of ``rows`` rows of which nothing is known yet, in ``memory`` (of ``cells_bytes``) if given."""
    taken = 0
    cells: Cells = {}
    for name, (kind, unknown) in _UNKNOWN.items():
        if memory is None:
            cells[name] = np.full(rows, unknown, kind)
            continue
        cells[name] = np.frombuffer(memory, kind, count=rows, offset=taken)
        cells[name][:] = unknown
        taken += cells[name].nbytes
    return cells


def unsent(cells: Cells, stop: int) -> NDArray[np.int64]:
    """The rows before ``stop`` that were never sent and have no outcome, such as a failure to connect."""
    never = (cells["sent_ns"][:stop] == NEVER_NS) & (cells["outcome"][:stop] == Outcome.INTERRUPTED)
    return np.flatnonzero(never)


def joined(schedule: Schedule, cells: Cells, chosen: int | NDArray[np.bool_]) -> RunRows:
    """The rows of a run: what was offered and what came of it; the first ones, or where a mask is true."""
    part: Any = slice(chosen) if isinstance(chosen, int) else chosen
    return RunRows(
        seq=schedule.seq[part],
        endpoint=schedule.endpoint[part],
        connection=schedule.connection[part],
        due_ns=schedule.due_ns[part] + cells["waited_ns"][part],
        recorded_status=schedule.recorded_status[part],
        instance=schedule.instance[part],
        **{name: column[part] for name, column in cells.items()},
    )


def _nobody(_row: int, _outcome: Outcome, _done_ns: int) -> None:
    """Nobody asks."""


class Columns:
    """
    Results by schedule row. Times are ns since ``zero_ns``, run time 0 on CLOCK_MONOTONIC.

    The memoryviews are written directly, as nothing is quicker; an outcome is set by ``finish``, or by
    the intake for a response that it knows. ``unfinished`` counts rows without outcome, ``dropped`` those
    that were not sent, ``errors`` those that failed or were answered with 500 or above; ``on_finished`` is
    called when ``unfinished`` comes to 0, ``on_done`` for each row of ``watched``.
    """

    __slots__ = (
        "_arrays", "_on_finished", "_schedule", "done_ns", "dropped", "due_ns", "errors", "first_byte_ns",
        "on_done", "outcome", "response_bytes", "sent_ns", "status", "unfinished", "waited_ns", "watched",
        "zero_ns",
    )  # fmt: skip

    def __init__(
        self, schedule: Schedule, on_finished: Callable[[], None], cells: Cells | None = None
    ) -> None:
        rows = len(schedule)
        self._schedule = schedule
        self._on_finished = on_finished
        self._arrays = make_cells(rows) if cells is None else cells
        self.due_ns = schedule.due_ns.data
        self.sent_ns = self._arrays["sent_ns"].data
        self.first_byte_ns = self._arrays["first_byte_ns"].data
        self.done_ns = self._arrays["done_ns"].data
        self.status = self._arrays["status"].data
        self.outcome = self._arrays["outcome"].data
        self.response_bytes = self._arrays["response_bytes"].data
        self.waited_ns = self._arrays["waited_ns"].data
        self.watched: Container[int] = ()
        self.on_done: Callable[[int, Outcome, int], None] = _nobody
        self.dropped = self.errors = 0
        self.unfinished = rows
        self.zero_ns = monotonic_ns()

    def now_ns(self) -> int:
        """Run time."""
        return monotonic_ns() - self.zero_ns

    def finish(
        self, row: int, outcome: Outcome, done_ns: int, status: int = 0, response_bytes: int = 0
    ) -> None:
        """Say how a row ended; must be called once per row."""
        self.outcome[row] = outcome
        self.done_ns[row] = done_ns
        if outcome is Outcome.COMPLETED:
            self.status[row] = status
            self.response_bytes[row] = min(response_bytes, 0xFFFFFFFF)
            if status >= ERROR_STATUS:
                self.errors += 1
        elif outcome is Outcome.DROPPED:
            self.dropped += 1
        else:
            self.errors += 1
        if row in self.watched:
            self.on_done(row, outcome, done_ns)
        self.unfinished -= 1
        if not self.unfinished:
            self._on_finished()

    def drop_unsent(self, stop: int) -> None:
        """Drop the rows before ``stop`` that were never sent and have no outcome."""
        for row in unsent(self._arrays, stop).tolist():
            self.finish(row, Outcome.DROPPED, NEVER_NS)

    def rows(self, stop: int) -> RunRows:
        """The first ``stop`` rows, as they stand."""
        return joined(self._schedule, self._arrays, stop)
