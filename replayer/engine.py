"""
The sender: everything that is due goes out at each wake of one absolute timer.

Due times are absolute, so a late send never makes the next one late, and nothing waits for a
response. What can be done ahead (connections, signatures over the time) is done up to
``LOOK_AHEAD_NS`` before due, in the gaps between sends.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from time import monotonic_ns
from typing import Any

import numpy as np

from captures.errors import CaptureError, HookreelError
from captures.units import NS_PER_MS, NS_PER_S, NS_PER_US
from replayer.board import soon
from replayer.chaining import Chaining
from replayer.clock import finest_timer_slack, make_timer, shortest_time_slice
from replayer.columns import Cells, Columns
from replayer.compile import Trait, Window, begin_with_http2
from replayer.dial import Dials
from replayer.feed import WindowFeed
from replayer.generator import GeneratorWatch
from replayer.guard import ended_by_signals, fatal_error, no_collector
from replayer.holding import NEVER_DUE_NS, Holding
from replayer.keeping import Keeper
from replayer.manners import Connections, Manners
from replayer.pool import Pool
from replayer.results import NEVER_NS, Outcome
from replayer.schedule import Schedule
from replayer.sent import Sent, Start
from replayer.spoken import FreshWords
from replayer.streams import Streams

LOOK_AHEAD_NS = 250 * NS_PER_MS
_QUIET_NS = 150 * NS_PER_US  # preparing stops when a send is nearer than this
_SLICE = 32  # rows prepared before responses get their turn
_MOST_YIELDS = 2  # the second comes after the loop has looked at its sockets
_USUAL_MANNERS = Manners()
_TIMED = int(Trait.TIMED)
_UNSENDABLE = int(Trait.UNSENDABLE)
_CHAINED = int(Trait.CHAINED)
_HTTP2 = int(Trait.HTTP2)


class Engine:
    """Sends one schedule once. Make it inside a running event loop."""

    def __init__(
        self,
        *,
        schedule: Schedule,
        feed: WindowFeed,
        dials: Dials,
        server_names: bool = False,
        start: Start = soon,
        chaining: Chaining | None = None,
        cells: Cells | None = None,
        fresh: FreshWords | None = None,
        manners: Manners = _USUAL_MANNERS,
        keeper: Keeper | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[None] = self._loop.create_future()
        self._columns = Columns(schedule, self._all_finished, cells)
        connection = schedule.connection
        if manners.connections is Connections.NEW:
            connection = np.arange(len(schedule), dtype=np.uint32)
        self._pool = Pool(
            dials=dials,
            columns=self._columns,
            connection=connection,
            pump=self._pump,
            pooled=manners.connections is Connections.POOL,
        )
        self._manners = manners
        self._max_in_flight = manners.max_in_flight or len(schedule)
        self.crowded_out = 0
        self._holding: Holding | None = None
        if chaining is not None:
            self._holding = Holding(
                connection=connection,
                chaining=chaining,
                columns=self._columns,
                pool=self._pool,
                wake=self._wake_by,
            )
        self._streams = Streams(
            schedule=schedule, fresh=fresh, columns=self._columns, pool=self._pool, wake=self._wake_by
        )
        if keeper is not None:
            self._pool.answered = keeper.beside(self._pool.answered)
        self._feed = feed
        self._dials = dials
        self._server_names = server_names
        self._start_time = start
        self._total = len(schedule)
        self._due_ns = schedule.due_ns.data
        self._connection = connection.data
        self._row = 0  # the next to send
        self._ahead = 0  # the next to prepare
        self._yields = 0  # how often the next row has waited for responses at hand
        self._signed: dict[int, bytes] = {}
        self._windows: deque[Window] = deque()
        self._started_wall_ns = 0
        self._stopped: str | None = None
        self._stopped_ns: int | None = None
        self._timer = make_timer(self._loop, self._pump)
        self._watch = GeneratorWatch()
        self._sweep_due_ns = 0
        self._sweep_handle: asyncio.TimerHandle | None = None

    async def run(self) -> Sent:
        """
        Connect, send everything when it is due, and wait for what comes back.

        Raises:
            HookreelError: the target cannot be reached at the start, or the first exchange cannot
                be compiled; nothing was sent.

        """
        self._loop.set_exception_handler(self._on_exception)
        try:
            first = self._window_of(0, wait=False) if self._total else None
            http2 = set() if first is None else begin_with_http2(first, self._dials.service)
            await self._pool.probe(http2)
            self._pool.open_reserve(http2)
            await self._warm_up()
            with ended_by_signals(self._loop, self.stop), no_collector():
                self._start()
                await self._finished
                facts = self._watch.facts()
        finally:
            self._timer.close()
            if self._sweep_handle is not None:
                self._sweep_handle.cancel()
            await self._pool.close()
        rows = self._columns.rows(self._row)
        return Sent(
            rows=rows,
            started_wall_ns=self._started_wall_ns,
            stopped=self._stopped,
            spare_connections=len(self._pool.spares_used),
            spare_exchanges=self._pool.spare_exchanges,
            reconnections=self._pool.reconnections,
            shortages=dict(self._pool.shortages),
            crowded_out=self.crowded_out,
            resent=self._pool.resent,
            exact_timer=self._timer.exact,
            generator=facts,
            streams=self._streams.account(rows.outcome != Outcome.DROPPED, self._stopped_ns),
        )

    def stop(self, reason: str) -> None:
        """End the run now: what is due and unsent is dropped, what waits is interrupted."""
        if self._finished.done():
            return
        self._stopped = reason
        self._stopped_ns = now_ns = self._columns.now_ns()
        while self._row < self._total and self._due_ns[self._row] <= now_ns:
            self._columns.finish(self._row, Outcome.DROPPED, NEVER_NS)
            self._row += 1
        self._pool.next_due_ns = NEVER_DUE_NS
        self._all_finished()

    def _stop_with(self, error: HookreelError) -> None:
        """A run of which nothing was sent is none, so the error comes out; else it says why it ended."""
        if self._row:
            self.stop(str(error).rstrip("."))
        else:
            self._end_with(error)

    def _end_with(self, error: Exception) -> None:
        if not self._finished.done():
            self._finished.set_exception(error)

    # -- before time 0 ---------------------------------------------------------------------

    async def _warm_up(self) -> None:
        """Open the connections of the first exchanges; handshakes are no part of a run."""
        for row in range(self._total):
            if self._due_ns[row] > LOOK_AHEAD_NS:
                break
            window = self._window_of(row, wait=False)
            if window is None:
                break
            self._announce(window, row)
            self._ahead = row + 1
        await self._pool.dialled()

    def _start(self) -> None:
        finest_timer_slack()
        shortest_time_slice()
        zero_ns = self._start_time()
        self._columns.zero_ns = zero_ns
        self._started_wall_ns = time.time_ns() + zero_ns - monotonic_ns()
        if self._holding is not None:
            self._holding.started_wall_ns = self._started_wall_ns
        for row in range(self._ahead):  # their connections stand; the time to sign for is known only now
            window = self._window_of(row, wait=False)
            if window is not None:
                self._sign(window, row)
        self._watch.start()
        self._sweep_due_ns = self._columns.now_ns()
        self._sweep()
        if self._total:
            self._pump()
        else:
            self._all_finished()

    # -- sending ---------------------------------------------------------------------------

    def _pump(self) -> None:
        """Send all that is due, prepare what comes next, and set the timer."""
        try:
            self._send_due()
        except Exception as error:  # noqa: BLE001  whoever called may keep an error to itself
            self._end_with(error)

    def _send_due(self) -> None:
        if self._finished.done():
            return
        due_ns, total, zero_ns, holding = self._due_ns, self._total, self._columns.zero_ns, self._holding
        streams = self._streams
        row = self._row
        now_ns = monotonic_ns() - zero_ns
        while row < total:
            if due_ns[row] > now_ns:
                now_ns = monotonic_ns() - zero_ns
                if due_ns[row] > now_ns:
                    break
            if holding is not None and holding.next_due_ns <= due_ns[row]:
                holding.send(due_ns[row])
            if streams.next_due_ns <= due_ns[row]:
                streams.send(due_ns[row])
            if not self._send(row):
                return
            row += 1
            self._row = row
        next_ns = due_ns[row] if row < total else NEVER_DUE_NS
        if holding is not None:
            holding.send(now_ns)
            next_ns = min(next_ns, holding.next_due_ns)
        streams.send(now_ns)
        next_ns = min(next_ns, streams.next_due_ns)
        self._pool.next_due_ns = next_ns
        if row < total:
            self._timer.arm(zero_ns + self._prepare(next_ns))
        elif next_ns != NEVER_DUE_NS:
            self._timer.arm(zero_ns + next_ns)

    def _wake_by(self, due_ns: int) -> None:
        """Send what is due at ``due_ns`` then, unless something is due before."""
        if due_ns < self._pool.next_due_ns:
            self._pool.next_due_ns = due_ns
            self._timer.arm(self._columns.zero_ns + due_ns)

    def _send(self, row: int) -> bool:
        """Send a row; False when it has to wait for the responses at hand, or the run was stopped."""
        window = self._windows[0] if self._windows else None
        while window is None or row >= window.stop:
            if window is not None:
                self._windows.popleft()
            try:
                window = self._window_of(row, wait=True)
            except HookreelError as error:
                self._stop_with(error)
                return False
            if window is None:
                self._stop_with(CaptureError("The capture ended before its schedule; verify it."))
                return False
        place = row - window.first
        trait = window.traits[place]
        number, server_name = self._connection[row], self._server_name(window, row)
        http2 = trait & _HTTP2 != 0
        unfinished = self._columns.unfinished - (self._total - row)
        crowded = unfinished >= self._max_in_flight and self._in_flight(row) >= self._max_in_flight
        if trait & _UNSENDABLE or crowded:
            self.crowded_out += crowded
            self._pool.skip(number)
            self._columns.finish(row, Outcome.DROPPED, NEVER_NS)
            return True
        if trait & _CHAINED and self._holding is not None:
            self._holding.hold(row, window, server_name)
            return True
        if self._yields < _MOST_YIELDS and self._pool.must_open(number, server_name, http2=http2):
            # A new connection costs more than a look at what came in: perhaps a response that
            # frees one has only not been read yet. Without this a backlog would open
            # connections faster than it sends, and grow.
            self._yields += 1
            self._pool.next_due_ns = NEVER_DUE_NS
            self._loop.call_soon(self._pump)
            return False
        self._yields = 0
        wire: memoryview | bytes
        if trait & _TIMED:
            self._sign(window, row)
            wire = self._signed.pop(row)
        else:
            bounds = window.bounds
            wire = memoryview(window.buffer)[bounds[place] : bounds[place + 1]]
        connection = self._pool.take(number, server_name, http2=http2)
        connection.send(row, wire, trait, window.stream_ns.get(row) if trait else None)
        return True

    def _in_flight(self, row: int) -> int:
        """Exchanges before ``row`` that wait for a response; an open stream has its own."""
        return self._columns.unfinished - (self._total - row) - self._pool.streams

    def _prepare(self, next_due_ns: int) -> int:
        """Prepare rows until the next send is near; the run time at which to wake again."""
        self._ahead = max(self._ahead, self._row)
        for _ in range(_SLICE):
            now_ns = self._columns.now_ns()
            if self._ahead >= self._total or next_due_ns - now_ns < _QUIET_NS:
                return next_due_ns
            wake_ns = self._due_ns[self._ahead] - LOOK_AHEAD_NS
            if wake_ns > now_ns:
                return min(next_due_ns, wake_ns)
            window = self._window_of(self._ahead, wait=False)
            if window is None:
                return min(next_due_ns, now_ns + NS_PER_MS)
            self._announce(window, self._ahead)
            self._sign(window, self._ahead)
            self._ahead += 1
        return self._columns.now_ns()

    def _announce(self, window: Window, row: int) -> None:
        trait = window.traits[row - window.first]
        if not trait & _UNSENDABLE:
            http2 = trait & _HTTP2 != 0
            self._pool.prepare(self._connection[row], self._server_name(window, row), http2=http2)

    def _sign(self, window: Window, row: int) -> None:
        """Finish a request whose signature covers the time of sending, unless that is done."""
        if window.traits[row - window.first] & _TIMED and row not in self._signed:
            due_wall_s = (self._started_wall_ns + self._due_ns[row]) // NS_PER_S
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

    def _server_name(self, window: Window, row: int) -> str:
        named = window.server_names[row - window.first] if self._server_names else ""
        return named or self._pool.default_name(self._connection[row])

    # -- housekeeping ----------------------------------------------------------------------

    def _sweep(self) -> None:
        """Look for timeouts a few times in each timeout's length."""
        now_ns = self._columns.now_ns()
        self._watch.looked(now_ns - self._sweep_due_ns)
        self._pool.sweep(now_ns, self._dials.timeout_ns)
        self._abort_if_asked(now_ns)
        if self._row >= self._total:
            self._pool.end_endless_streams(self._columns.unfinished)
        interval_s = min(0.25, max(0.01, self._dials.timeout_ns / NS_PER_S / 20))
        self._sweep_due_ns = self._columns.now_ns() + int(interval_s * NS_PER_S)
        self._sweep_handle = self._loop.call_later(interval_s, self._sweep)

    def _abort_if_asked(self, now_ns: int) -> None:
        columns, row = self._columns, self._row
        lag_ns = now_ns - self._due_ns[row] if row < self._total else 0
        reason = self._manners.abort_on.reason(
            errors=columns.errors, finished=self._total - columns.unfinished, lag_ns=lag_ns
        )
        if reason is not None:
            self.stop(reason)

    def _all_finished(self) -> None:
        if not self._finished.done():
            self._finished.set_result(None)

    def _on_exception(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Errors of a transport are rows already; anything else ends the run, as it must not hang."""
        error = fatal_error(context)
        if error is not None:
            self._end_with(error)
