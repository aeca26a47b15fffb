"""The rows of a run while it goes on: preallocated columns, each cell written once."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replayer.results import NEVER_NS, Outcome, RunRows
from replayer.schedule import Schedule


class Columns:
    """
    Results by schedule row. Times are ns since ``zero_ns``, run time 0 on CLOCK_MONOTONIC.

    The memoryviews are written directly by the connections, as nothing is quicker; an outcome
    is set by ``finish`` alone. ``unfinished`` counts rows without outcome; ``on_finished`` is
    called when it comes to 0.
    """

    __slots__ = (
        "_arrays", "_done", "_on_finished", "_outcome", "_response_bytes", "_schedule", "_status",
        "due_ns", "first_byte_ns", "sent_ns", "unfinished", "zero_ns",
    )  # fmt: skip

    def __init__(self, schedule: Schedule, on_finished: Callable[[], None]) -> None:
        rows = len(schedule)
        self._schedule = schedule
        self._on_finished = on_finished
        self._arrays: dict[str, NDArray[Any]] = {
            "sent_ns": np.full(rows, NEVER_NS, np.int64),
            "first_byte_ns": np.full(rows, NEVER_NS, np.int64),
            "done_ns": np.full(rows, NEVER_NS, np.int64),
            "status": np.zeros(rows, np.uint16),
            "outcome": np.full(rows, Outcome.INTERRUPTED, np.uint8),
            "response_bytes": np.zeros(rows, np.uint32),
        }
        self.due_ns = schedule.due_ns.data
        self.sent_ns = self._arrays["sent_ns"].data
        self.first_byte_ns = self._arrays["first_byte_ns"].data
        self._done = self._arrays["done_ns"].data
        self._status = self._arrays["status"].data
        self._outcome = self._arrays["outcome"].data
        self._response_bytes = self._arrays["response_bytes"].data
        self.unfinished = rows
        self.zero_ns = monotonic_ns()

    def now_ns(self) -> int:
        """Run time."""
        return monotonic_ns() - self.zero_ns

    def finish(
        self, row: int, outcome: Outcome, done_ns: int, status: int = 0, response_bytes: int = 0
    ) -> None:
        """Say how a row ended; must be called once per row."""
        self._outcome[row] = outcome
        self._done[row] = done_ns
        if outcome is Outcome.COMPLETED:
            self._status[row] = status
            self._response_bytes[row] = min(response_bytes, 0xFFFFFFFF)
        self.unfinished -= 1
        if not self.unfinished:
            self._on_finished()

    def rows(self, stop: int) -> RunRows:
        """The first ``stop`` rows, as they stand."""
        schedule = self._schedule
        return RunRows(
            seq=schedule.seq[:stop],
            endpoint=schedule.endpoint[:stop],
            connection=schedule.connection[:stop],
            due_ns=schedule.due_ns[:stop],
            recorded_status=schedule.recorded_status[:stop],
            instance=schedule.instance[:stop],
            sent_ns=self._arrays["sent_ns"][:stop],
            first_byte_ns=self._arrays["first_byte_ns"][:stop],
            done_ns=self._arrays["done_ns"][:stop],
            status=self._arrays["status"][:stop],
            outcome=self._arrays["outcome"][:stop],
            response_bytes=self._arrays["response_bytes"][:stop],
        )
