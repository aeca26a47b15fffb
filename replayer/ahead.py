"""What can be done before a row is due: its window, its connection, a signature over the time."""

from __future__ import annotations

from collections import deque

from captures.units import NS_PER_MS, NS_PER_S, NS_PER_US
from replayer.columns import Columns
from replayer.compile import Trait, Window
from replayer.feed import WindowFeed
from replayer.pool import Pool
from replayer.results import UInt32s
from replayer.schedule import Schedule

LOOK_AHEAD_NS = 250 * NS_PER_MS
_QUIET_NS = 150 * NS_PER_US  # preparing stops when a send is nearer than this
_SLICE = 32  # rows prepared before responses get their turn
_UNSENDABLE = int(Trait.UNSENDABLE)
_HTTP2 = int(Trait.HTTP2)


class Ahead:
    """
    Prepares the rows of a schedule up to ``LOOK_AHEAD_NS`` before they are due.

    ``started_wall_ns``, for signatures, is known once the run starts. ``server_names`` asks for the
    recorded ones.
    """

    def __init__(
        self,
        schedule: Schedule,
        connection: UInt32s,
        feed: WindowFeed,
        *,
        pool: Pool,
        columns: Columns,
        server_names: bool,
    ) -> None:
        self.started_wall_ns = 0
        self._feed = feed
        self._pool = pool
        self._columns = columns
        self._server_names = server_names
        self._total = len(schedule)
        self._due_ns = schedule.due_ns.data
        self._connection = connection.data
        self._next = 0  # the next to prepare
        self._signed: dict[int, bytes] = {}
        self._windows: deque[Window] = deque()

    def first(self) -> Window | None:
        """The first window; None for an empty schedule."""
        return self._window_of(0, wait=False) if self._total else None

    def warm_up(self) -> None:
        """Open the connections of the rows that are due first; handshakes are no part of a run."""
        while self._next < self._total and self._due_ns[self._next] <= LOOK_AHEAD_NS:
            window = self._window_of(self._next, wait=False)
            if window is None:
                break
            self._announce(window, self._next)
            self._next += 1

    def start(self, started_wall_ns: int) -> None:
        """Sign what was warmed up, as the time to sign for is known now."""
        self.started_wall_ns = started_wall_ns
        for row in range(self._next):
            window = self._window_of(row, wait=False)
            if window is not None:
                self._sign(window, row)

    def prepare(self, row: int, next_due_ns: int) -> int:
        """Prepare rows behind ``row`` until the next send is near; the run time at which to go on."""
        now_ns, due_ns = self._columns.now_ns, self._due_ns
        self._next = max(self._next, row)
        for _ in range(_SLICE):
            time_ns = now_ns()
            if self._next >= self._total or next_due_ns - time_ns < _QUIET_NS:
                return next_due_ns
            wake_ns = due_ns[self._next] - LOOK_AHEAD_NS
            if wake_ns > time_ns:
                return min(next_due_ns, wake_ns)
            window = self._window_of(self._next, wait=False)
            if window is None:
                return min(next_due_ns, time_ns + NS_PER_MS)
            self._announce(window, self._next)
            self._sign(window, self._next)
            self._next += 1
        return now_ns()

    def window_at(self, row: int) -> Window | None:
        """
        The window that holds ``row``, which is sent now; those before it are let go.

        None when the capture ended before its schedule.

        Raises:
            HookreelError: the capture could not be compiled further.

        """
        while self._windows and row >= self._windows[0].stop:
            self._windows.popleft()
        return self._window_of(row, wait=True)

    def signed(self, window: Window, row: int) -> bytes:
        """The bytes of a row whose signature covers the time of sending."""
        self._sign(window, row)
        return self._signed.pop(row)

    def server_name(self, window: Window, row: int) -> str:
        """The name that the connection of ``row`` asks for in TLS."""
        named = window.server_names[row - window.first] if self._server_names else ""
        return named or self._pool.default_name(self._connection[row])

    def _announce(self, window: Window, row: int) -> None:
        trait = window.traits[row - window.first]
        if not trait & _UNSENDABLE and not self._pool.announce(self._connection[row]):
            http2 = trait & _HTTP2 != 0
            self._pool.prepare(self._connection[row], self.server_name(window, row), http2=http2)

    def _sign(self, window: Window, row: int) -> None:
        """Finish a request whose signature covers the time of sending, unless that is done."""
        if row in window.unsigned and row not in self._signed:
            due_wall_s = (self.started_wall_ns + self._due_ns[row]) // NS_PER_S
            self._signed[row] = window.unsigned[row].wire(due_wall_s)

    def _window_of(self, row: int, *, wait: bool) -> Window | None:
        """The window that holds ``row``, taken from the feed if need be."""
        for window in self._windows:
            if window.first <= row < window.stop:
                return window
        while (window_or_none := self._feed.next(wait=wait)) is not None:
            self._windows.append(window_or_none)
            if row < window_or_none.stop:
                return window_or_none
        return None
