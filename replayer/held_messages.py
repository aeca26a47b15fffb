"""
Messages of WebSocket clients that carry what the target mints: each waits for the response that it needs.

It is due when that is there and the recorded think time is over, if that is later than its own time. What
its client says and does after it keeps its recorded distance to it, as a conversation goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

from replayer.chaining import rows_of
from replayer.columns import Columns
from replayer.results import NEVER_NS, Outcome
from replayer.schedule import Schedule
from replayer.spoken import FreshWords


@dataclass(frozen=True, slots=True)
class _Either:
    """The rows of one container and of another."""

    one: Container[int]
    other: Container[int]

    def __contains__(self, row: object) -> bool:
        return row in self.one or row in self.other


class HeldMessages:
    """
    Who waits for which response; rows are those of ``schedule``, times run time.

    ``go_on`` is told the row of each session whose next message waited and may be looked at again.
    """

    def __init__(
        self, schedule: Schedule, fresh: FreshWords, columns: Columns, go_on: Callable[[int], None]
    ) -> None:
        self._schedule = schedule
        self._fresh = fresh
        self._columns = columns
        self._go_on = go_on
        self._rows = rows_of(schedule, fresh.parents)
        self._left = set(self._rows.values())
        self._done_ns: dict[int, int] = {}
        self._waiting: dict[int, list[int]] = {}
        self.waited = 0
        self.waited_ns = 0
        self._others, self._others_done = columns.watched, columns.on_done
        if self._left:
            columns.watched = _Either(self._others, self._left)
            columns.on_done = self._done

    def due_ns(self, row: int, number: int, own_ns: int) -> int | None:
        """
        When a message, by its number in the session of ``row``, is due that has ``own_ns`` as its own time.

        None while a response that it needs is not there; its session is told of.
        """
        due_ns = own_ns
        for one in self._fresh.carried(row, number):
            parent = self._rows.get((int(self._schedule.instance[row]), one.parent))
            if parent is None:
                continue  # it is not sent, so nothing comes of it
            if parent in self._left:
                self._waiting.setdefault(parent, []).append(row)
                return None
            think_ns = self._schedule.scale_ns(row, one.think_ns)
            due_ns = max(due_ns, self._done_ns[parent] + think_ns)
        if due_ns > own_ns:
            self.waited += 1
            self.waited_ns += due_ns - own_ns
        return due_ns

    def _done(self, row: int, outcome: Outcome, done_ns: int) -> None:
        if row in self._others:
            self._others_done(row, outcome, done_ns)
        if row in self._left:
            self._left.remove(row)
            self._done_ns[row] = self._columns.now_ns() if done_ns == NEVER_NS else done_ns
            for session in self._waiting.pop(row, ()):
                self._go_on(session)
