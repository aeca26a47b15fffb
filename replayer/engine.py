"""
The sender: everything that is due goes out at each wake of one absolute timer.

Due times are absolute, so a late send never makes the next one late, and nothing waits for a
response. What can be done ahead (connections, signatures over the time) is done up to
``LOOK_AHEAD_NS`` before due, in the gaps between sends.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from bisect import bisect_right
from time import monotonic_ns
from typing import Any

import numpy as np

from captures.errors import CaptureError, HookreelError
from captures.units import NS_PER_MS, NS_PER_S
from replayer.ahead import Ahead
from replayer.backlog import Backlog, Patience
from replayer.board import soon
from replayer.chaining import Chaining
from replayer.clock import finest_timer_slack, make_timer, shortest_time_slice
from replayer.columns import Cells, Columns
from replayer.compile import Trait, Window, begin_with_http2
from replayer.dial import Dials
from replayer.feed import WindowFeed
from replayer.generator import GeneratorWatch
from replayer.guard import ended_by_signals, fatal_error, no_collector
from replayer.holding import Holding
from replayer.intake import make_intake
from replayer.keeping import Keeper
from replayer.manners import Connections, Manners
from replayer.pool import AnyConnection, Pool
from replayer.results import NEVER_DUE_NS, NEVER_NS, Outcome
from replayer.schedule import Schedule
from replayer.sent import Sent, Start
from replayer.spoken import FreshWords
from replayer.stops import why_stopped
from replayer.streams import Streams

_BEHIND_NS = NS_PER_MS  # so late, what keeps us from sending is our own work
_USUAL_MANNERS = Manners()
_UNSENDABLE = int(Trait.UNSENDABLE)
_CHAINED = int(Trait.CHAINED)
_HTTP2 = int(Trait.HTTP2)
_APART = _UNSENDABLE | _CHAINED | _HTTP2
_NO_WINDOW = Window(
    first=0,
    wires=memoryview(b""),
    bounds=array("Q", [0]),
    traits=b"",
    unsigned={},
    chained={},
    stream_ns={},
    server_names=(),
)


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
        self._backlog = Backlog()
        self._pool = Pool(
            dials=dials,
            columns=self._columns,
            connection=connection,
            pump=self._pump,
            pooled=manners.connections is Connections.POOL,
        )
        self._pool.intake = make_intake(self._loop, self._pool, self._columns, self._backlog)
        self._manners = manners
        self._max_in_flight = manners.max_in_flight
        self.crowded_out = 0
        self._holding: Holding | None = None
        if chaining is not None:
            self._holding = Holding(
                connection=connection,
                chaining=chaining,
                columns=self._columns,
                pool=self._pool,
                wake=self._wake_by,
                crowded=self._crowded,
            )
        self._streams = Streams(
            schedule=schedule, fresh=fresh, columns=self._columns, pool=self._pool, wake=self._wake_by
        )
        if keeper is not None:
            self._pool.answered = keeper.beside(self._pool.answered)
        self._dials = dials
        self._start_time = start
        self._total = len(schedule)
        self._due_ns = schedule.due_ns.data
        self._connection = connection.data
        self._ahead = Ahead(
            schedule, connection, feed, pool=self._pool, columns=self._columns, server_names=server_names
        )
        self._window = _NO_WINDOW  # that of the row sent last
        self._patience = Patience(self._columns)
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

        Whatever fails after the first send ends the run early, and what was measured is kept.

        Raises:
            HookreelError: the target cannot be reached at the start, or the first exchange cannot
                be compiled; nothing was sent.

        """
        self._loop.set_exception_handler(self._on_exception)
        try:
            first = self._ahead.first()
            http2 = set() if first is None else begin_with_http2(first, self._dials.service)
            await self._pool.probe(http2)
            self._pool.open_reserve(http2)
            self._ahead.warm_up()
            await self._pool.dialled()
            with ended_by_signals(self._loop, self.stop), no_collector():
                self._start()
                await self._finished
                facts = self._watch.facts()
        finally:
            self._timer.close()
            if self._sweep_handle is not None:
                self._sweep_handle.cancel()
            try:
                await self._pool.close()
            except Exception as error:  # noqa: BLE001  the rows are there already
                self._stopped = self._stopped or why_stopped(error)
            if self._pool.intake is not None:
                self._pool.intake.close()
        rows = self._columns.rows(self._backlog.row)
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
        """
        End the run now: what waits for a response is interrupted, what came up and is unsent is dropped.

        That goes for chained exchanges, too, which are held back until their parents are done.
        """
        if self._finished.done():
            return
        self._stopped = reason
        self._stopped_ns = now_ns = self._columns.now_ns()
        self._pool.next_due_ns = NEVER_DUE_NS
        self._pool.starved = False
        self._backlog.stop = 0
        self._backlog.row = max(self._backlog.row, bisect_right(self._due_ns, now_ns))
        self._all_finished()
        self._columns.drop_unsent(self._backlog.row)

    def _stop_with(self, error: Exception) -> None:
        """A run of which nothing was sent is none, so the error comes out; else it says why it ended."""
        if self._backlog.row:
            self.stop(why_stopped(error))
        elif not self._finished.done():
            self._finished.set_exception(error)

    # -- before time 0 ---------------------------------------------------------------------

    def _start(self) -> None:
        finest_timer_slack()
        shortest_time_slice()
        zero_ns = self._start_time()
        self._columns.zero_ns = zero_ns
        self._started_wall_ns = time.time_ns() + zero_ns - monotonic_ns()
        if self._holding is not None:
            self._holding.started_wall_ns = self._started_wall_ns
        self._ahead.start(self._started_wall_ns)
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
            self._stop_with(error)

    def _send_due(self) -> None:
        if self._finished.done():
            return
        due_ns, total, zero_ns, holding = self._due_ns, self._total, self._columns.zero_ns, self._holding
        streams = self._streams
        row = self._backlog.row
        self._backlog.stop = 0
        self._pool.starved = False
        now_ns = monotonic_ns() - zero_ns
        self._pool.behind = row < total and now_ns - due_ns[row] > _BEHIND_NS
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
            self._backlog.row = row
        next_ns = due_ns[row] if row < total else NEVER_DUE_NS
        if holding is not None:
            holding.send(now_ns)
            next_ns = min(next_ns, holding.next_due_ns)
        streams.send(now_ns)
        next_ns = min(next_ns, streams.next_due_ns)
        self._pool.next_due_ns = next_ns
        if row < total:
            self._timer.arm(zero_ns + self._ahead.prepare(row, next_ns))
        elif next_ns != NEVER_DUE_NS:
            self._timer.arm(zero_ns + next_ns)

    def _wake_by(self, due_ns: int) -> None:
        """Send what is due at ``due_ns`` then, unless something is due before or the run has ended."""
        if due_ns < self._pool.next_due_ns and not self._finished.done():
            self._pool.next_due_ns = due_ns
            self._timer.arm(self._columns.zero_ns + due_ns)

    def _send(self, row: int) -> bool:
        """Send a row; False when it has to wait for the responses at hand, or the run was stopped."""
        window = self._window
        if row >= window.stop:
            if not self._next_window(row):
                return False
            window = self._window
        place = row - window.first
        trait = window.traits[place]
        if trait & _APART or self._max_in_flight is not None:
            return self._send_apart(row, window, trait)
        connection: AnyConnection | None = self._pool.take_own(self._connection[row])
        if connection is None:
            server_name = self._ahead.server_name(window, row)
            if self._should_wait(row, server_name, http2=False):
                return False
            connection = self._pool.take(self._connection[row], server_name)
        bounds = window.bounds
        if not trait:
            connection.send(row, window.wires[bounds[place] : bounds[place + 1]])
            return True
        self._send_on(connection, row, window, trait)
        return True

    def _send_apart(self, row: int, window: Window, trait: int) -> bool:
        """Send a row that needs more thought, or drop it; False as for any."""
        number, server_name = self._connection[row], self._ahead.server_name(window, row)
        http2 = trait & _HTTP2 != 0
        if trait & _CHAINED and self._holding is not None:
            self._holding.hold(row, window, server_name)
            return True
        unsendable = trait & _UNSENDABLE != 0
        if unsendable or self._crowded():
            self._pool.skip(number, announced=not unsendable)
            self._columns.finish(row, Outcome.DROPPED, NEVER_NS)
            return True
        if self._should_wait(row, server_name, http2=http2):
            return False
        self._send_on(self._pool.take(number, server_name, http2=http2), row, window, trait)
        return True

    def _send_on(self, connection: AnyConnection, row: int, window: Window, trait: int) -> None:
        wire: memoryview | bytes
        if row in window.unsigned:
            wire = self._ahead.signed(window, row)
        else:
            place = row - window.first
            wire = window.wires[window.bounds[place] : window.bounds[place + 1]]
        connection.send(row, wire, trait, window.stream_ns.get(row))

    def _next_window(self, row: int) -> bool:
        """Take the window of ``row``; False when there is none, and the run ends."""
        try:
            window = self._ahead.window_at(row)
        except HookreelError as error:
            self._stop_with(error)
            return False
        if window is None:
            self._stop_with(CaptureError("The capture ended before its schedule; verify it."))
            return False
        self._window = window
        return True

    def _should_wait(self, row: int, server_name: str, *, http2: bool) -> bool:
        """Whether ``row`` waits for the responses at hand before a connection is opened for it."""
        pool = self._pool
        if not pool.must_open(self._connection[row], server_name, http2=http2):
            self._patience.begin()
            return False
        spares = pool.common_spares if pool.behind else None
        until_ns = self._patience.until_ns(late=spares is not None)
        if until_ns is None:
            return False
        if not until_ns:
            pool.next_due_ns = NEVER_DUE_NS
            self._loop.call_soon(self._pump)
            return True
        pool.starved = True
        pool.next_due_ns = until_ns
        self._timer.arm(self._columns.zero_ns + until_ns)
        if spares is not None and self._holding is None and self._max_in_flight is None:
            late_ns = min(self._columns.now_ns(), self._streams.next_due_ns)
            self._backlog.line_up(self._window, self._due_ns, late_ns, spares)
        return True

    def _crowded(self) -> bool:
        """Whether another exchange is one too many; what is held back or streams waits for no response."""
        if self._max_in_flight is None:
            return False
        came_up = self._columns.unfinished - (self._total - self._backlog.row)
        held = 0 if self._holding is None else len(self._holding)
        crowded = came_up - held - self._pool.streams >= self._max_in_flight
        self.crowded_out += crowded
        return crowded

    # -- housekeeping ----------------------------------------------------------------------

    def _sweep(self) -> None:
        """Look for timeouts a few times in each timeout's length."""
        now_ns = self._columns.now_ns()
        self._watch.looked(now_ns - self._sweep_due_ns)
        self._pool.sweep(now_ns, self._dials.timeout_ns)
        self._abort_if_asked(now_ns)
        if self._backlog.row >= self._total:
            self._pool.end_endless_streams(self._columns.unfinished)
        interval_s = min(0.25, max(0.01, self._dials.timeout_ns / NS_PER_S / 20))
        self._sweep_due_ns = self._columns.now_ns() + int(interval_s * NS_PER_S)
        self._sweep_handle = self._loop.call_later(interval_s, self._sweep)

    def _abort_if_asked(self, now_ns: int) -> None:
        columns, row = self._columns, self._backlog.row
        lag_ns = now_ns - self._due_ns[row] if row < self._total else 0
        finished = (
            self._total - columns.unfinished - columns.dropped
        )  # what we drop says nothing of the target
        reason = self._manners.abort_on.reason(errors=columns.errors, finished=finished, lag_ns=lag_ns)
        if reason is not None:
            self.stop(reason)

    def _all_finished(self) -> None:
        if not self._finished.done():
            self._finished.set_result(None)

    def _on_exception(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Errors of a transport are rows already; anything else ends the run, as it must not hang."""
        error = fatal_error(context)
        if error is not None:
            self._stop_with(error)
