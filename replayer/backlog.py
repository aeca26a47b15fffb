"""What happens to rows that find no connection free: how long they wait, and who sends them then."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from captures.units import NS_PER_US

if TYPE_CHECKING:
    from replayer.compile import Window
    from replayer.pool import AnyConnection

_MOST_LOOKS = 2  # the second comes after the loop has looked at its sockets
_OPENING_NS = 100 * NS_PER_US  # a connection that is free so soon is sooner than a new one
_LINE_MAX = 4096  # rows
_SPECIAL = re.compile(rb"[^\0]")  # a row with a trait


@dataclass(slots=True, kw_only=True)
class Backlog:
    """
    The next row to send of all, and those that wait for a connection.

    Rows from ``row`` to before ``stop`` are late, and any of ``spares`` that becomes free may take the next
    without further thought: row ``first + i`` is ``wires[bounds[i] : bounds[i + 1]]``.
    """

    row: int = 0
    stop: int = 0
    spares: list[AnyConnection] | None = None
    first: int = 0
    wires: memoryview = field(default=memoryview(b""), repr=False)
    bounds: array[int] = field(default_factory=lambda: array("Q", [0]), repr=False)

    def line_up(self, window: Window, due_ns: memoryview, late_ns: int, spares: list[AnyConnection]) -> None:
        """Give the rows of ``window`` that were due by ``late_ns`` to ``spares``, up to one with a trait."""
        first = window.first
        stop = bisect_right(due_ns, late_ns, self.row, min(window.stop, self.row + _LINE_MAX))
        special = _SPECIAL.search(window.traits, self.row - first, stop - first)
        self.stop = stop if special is None else first + special.start()
        self.spares = spares
        self.first, self.wires, self.bounds = first, window.wires, window.bounds


class _Progress(Protocol):
    """How far a run is: run time, and how many rows have no outcome."""

    unfinished: int

    def now_ns(self) -> int:
        """Run time."""


class Patience:
    """
    How long the next row waits for a response that frees a connection, before one is opened for it.

    A new connection costs more than a look at what came in: perhaps a response has only not been read
    yet. Without this a backlog would open connections faster than it sends, and grow. Responses that free
    no connection for the row do not make it wait longer. Rows that are late anyway, and for which any
    connection will do, wait for as long as opening takes.
    """

    def __init__(self, columns: _Progress) -> None:
        self._columns = columns
        self._looks = 0  # how often the row has waited for responses and found no connection
        self._unfinished = 0  # rows, when a late one looked last
        self._answered_ns = 0  # when that had changed

    def begin(self) -> None:
        """Begin anew: a row found a connection."""
        self._looks = 0

    def until_ns(self, *, late: bool) -> int | None:
        """
        Until when to wait (run time; 0: for one look at the sockets); None to wait no longer.

        ``late`` says that the row is, and that it may take any connection.
        """
        if late:
            now_ns = self._columns.now_ns()
            if self._columns.unfinished != self._unfinished:
                self._unfinished = self._columns.unfinished
                self._answered_ns = now_ns
            until_ns = self._answered_ns + _OPENING_NS
            if now_ns < until_ns:
                return until_ns
            self._answered_ns = now_ns
            return None
        if self._looks < _MOST_LOOKS:
            self._looks += 1
            return 0
        self._looks = 0
        return None
