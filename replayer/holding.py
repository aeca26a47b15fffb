"""Chained exchanges that came up in the schedule and wait: for a parent, or for their think time."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from captures.units import NS_PER_S
from replayer.chaining import Chaining
from replayer.columns import Columns
from replayer.compile import Trait, Window
from replayer.pool import Pool
from replayer.results import NEVER_DUE_NS, NEVER_NS, Outcome, UInt32s
from replayer.unfinished import ChainedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    request: ChainedRequest
    trait: int
    stream_ns: int | None
    server_name: str


class Holding:
    """
    Holds chained rows back and sends them; ``wake`` is told when one becomes due.

    One that is due while it is ``crowded`` is dropped, as any other is. Times are run time.
    ``started_wall_ns``, for signatures, is known once the run starts.
    """

    def __init__(
        self,
        *,
        connection: UInt32s,
        chaining: Chaining,
        columns: Columns,
        pool: Pool,
        wake: Callable[[int], None],
        crowded: Callable[[], bool],
    ) -> None:
        self.started_wall_ns = 0
        self._connection = connection.data
        self._chaining = chaining
        self._columns = columns
        self._pool = pool
        self._wake = wake
        self._crowded = crowded
        self._held: dict[int, _Held] = {}
        self._due: list[tuple[int, int]] = []  # (due, row) of those that know when, a heap
        columns.watched = chaining.parent_rows
        columns.on_done = self._parent_done
        pool.answered = chaining.answered

    def __len__(self) -> int:
        """How many are held back."""
        return len(self._held)

    @property
    def next_due_ns(self) -> int:
        """When the next held row is due."""
        return self._due[0][0] if self._due else NEVER_DUE_NS

    def hold(self, row: int, window: Window, server_name: str) -> None:
        """Keep a row that came up until its parents are done and its think time is over."""
        self._held[row] = _Held(
            request=window.chained.pop(row),
            trait=window.traits[row - window.first],
            stream_ns=window.stream_ns.get(row),
            server_name=server_name,
        )
        due_ns = self._chaining.due_ns(row)
        if due_ns is not None:
            heapq.heappush(self._due, (due_ns, row))

    def send(self, until_ns: int) -> None:
        """Send the held rows that are due by ``until_ns``."""
        while self._due and self._due[0][0] <= until_ns:
            due_ns, row = heapq.heappop(self._due)
            crowded = self._crowded()  # while it is held it does not count itself
            held = self._held.pop(row)
            number = self._connection[row]
            if crowded:
                self._pool.skip(number)
                self._columns.finish(row, Outcome.DROPPED, NEVER_NS)
                continue
            self._columns.waited_ns[row] = self._chaining.waited(row, due_ns)
            finish = partial(self._chaining.finish, row)
            wire = held.request.wire((self.started_wall_ns + due_ns) // NS_PER_S, finish)
            http2 = held.trait & Trait.HTTP2 != 0
            connection = self._pool.take(number, held.server_name, http2=http2)
            connection.send(row, wire, held.trait, held.stream_ns)

    def _parent_done(self, row: int, outcome: Outcome, done_ns: int) -> None:
        """Let those go that waited for ``row`` alone; their connection may be the one it came on."""
        done_ns = self._columns.now_ns() if done_ns == NEVER_NS else done_ns
        for child in self._chaining.done(row, outcome, done_ns):
            due_ns = self._chaining.due_ns(child)
            if child in self._held and due_ns is not None:
                heapq.heappush(self._due, (due_ns, child))
                self._wake(due_ns)
