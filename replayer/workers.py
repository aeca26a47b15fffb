"""
A replay by several processes that share its schedule, its start and its results.

A session belongs to one worker: a connection, with those that chains tie to it. The workers connect first and
wait; then all get the same run time 0 on CLOCK_MONOTONIC, which is one clock for the machine.
Results are written into memory that all share, so that what a worker that died had found out
is not lost with it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from time import monotonic_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captures.errors import HookreelError
from captures.units import NS_PER_MS
from replayer.board import Board, Share
from replayer.columns import Cells, joined, make_cells, unsent
from replayer.generator import GeneratorFacts, GeneratorWatch, together
from replayer.keeping import Came, Gathered
from replayer.results import ChainCounts, Outcome
from replayer.rewrite import Tally
from replayer.schedule import Schedule
from replayer.sending import Offered
from replayer.sent import Sent
from replayer.stops import why_stopped
from replayer.streams import StreamsSent, merged

_START_DELAY_NS = 100 * NS_PER_MS  # for the word to reach every worker
_PR_SET_PDEATHSIG = 1
_DIED = "a worker process ended unexpectedly"

SendShare = Callable[[Schedule, Callable[[], int], Cells], Offered]
"""Sends a share of a schedule: with when to start, and where results go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """What a worker tells at its end; its rows are in the shared memory."""

    offered: int
    started_wall_ns: int
    stopped: str | None
    spare_connections: int
    spare_exchanges: int
    reconnections: int
    shortages: dict[str, int]
    crowded_out: int
    resent: int
    exact_timer: bool
    generator: GeneratorFacts
    tally: Tally
    unsendable: Counter[str]
    hosts: frozenset[bytes]
    chains: ChainCounts
    fresh_ids: int
    gathered: Gathered
    streams: StreamsSent


@dataclass(slots=True, kw_only=True, eq=False)
class _Worker:
    process: ForkProcess
    pipe: Connection
    rows: NDArray[np.int64]  # of the whole schedule
    cells: Cells
    ready: bool = False
    account: _Account | None = None
    error: HookreelError | None = None
    failed_ns: int = 0  # run time

    @property
    def ended(self) -> bool:
        return self.pipe.closed


def shares_of(session: NDArray[np.int64], workers: int) -> list[NDArray[np.int64]]:
    """
    The row numbers of each worker, ascending; ``session`` numbers the session of each row.

    Every session is in one share. They go to the worker with the fewest rows so far, the largest
    first; there are no more shares than sessions.
    """
    _, owner, counts = np.unique(session, return_inverse=True, return_counts=True)
    loads = [0] * min(workers, len(counts))
    share_of = np.zeros(len(counts), np.int64)
    for number in np.argsort(-counts, kind="stable").tolist():
        least = loads.index(min(loads))
        share_of[number] = least
        loads[least] += int(counts[number])
    shares = share_of[owner]
    return [np.flatnonzero(shares == share) for share in range(len(loads))]


def send_in_workers(
    schedule: Schedule,
    board: Board,
    send_share: SendShare,
) -> Offered:
    """
    Send ``schedule`` from a process for each share of ``board``; what they found out comes back as of one.

    Raises:
        HookreelError: a worker could not begin, so nothing was sent.

    """
    crew = _Crew(schedule, board, send_share)
    with _forwarding(crew.interrupt):
        try:
            crew.start()
            while crew.attend(None):
                pass
        finally:
            crew.close()
    return crew.offered()


class _Crew:
    """The workers of one replay."""

    def __init__(self, schedule: Schedule, board: Board, send_share: SendShare) -> None:
        self._schedule = schedule
        self._interrupted = False
        self._zero_ns = 0
        self._workers: list[_Worker] = []
        for share in board.shares:
            self._workers.append(self._fork(share, send_share))

    def _fork(self, share: Share, send_share: SendShare) -> _Worker:
        # Forked, not spawned: keys, TLS contexts and the open capture go along as they are.
        context = get_context("fork")
        ours, theirs = context.Pipe()
        rows = np.arange(len(self._schedule))[share.rows]
        part = _part(self._schedule, rows)
        parents = [*(worker.pipe for worker in self._workers), ours]
        process = context.Process(
            target=_work, args=(part, share.cells, send_share, theirs, parents, os.getpid()), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process=process, pipe=ours, rows=rows, cells=share.cells)

    def start(self) -> None:
        """Wait until every worker is connected, then let all begin."""
        while not all(worker.ready for worker in self._workers):
            self.attend(None)
            for worker in self._workers:
                if worker.error is not None:
                    raise worker.error
                if worker.ended:
                    if self._interrupted:
                        raise KeyboardInterrupt
                    raise HookreelError("A replay worker could not start; replay with fewer --workers.")
        self._zero_ns = monotonic_ns() + _START_DELAY_NS
        for worker in self._workers:
            with suppress(OSError):  # of one that died just now its pipe tells
                worker.pipe.send(self._zero_ns)

    def attend(self, timeout_s: float | None) -> bool:
        """Take what the workers say; whether one is still at work."""
        open_pipes = {worker.pipe: worker for worker in self._workers if not worker.ended}
        for pipe in wait(list(open_pipes), timeout_s):
            self._hear(open_pipes[pipe])  # type: ignore[index]  # only connections are waited for
        return any(not worker.ended for worker in self._workers)

    def _hear(self, worker: _Worker) -> None:
        try:
            said: Any = worker.pipe.recv()
        except (EOFError, OSError):
            worker.pipe.close()
            if worker.account is None and worker.error is None and self._zero_ns:
                self._failed(worker, HookreelError(_DIED))
            return
        if isinstance(said, _Account):
            worker.account = said
            if said.stopped is not None:
                self.interrupt()
        elif isinstance(said, HookreelError):
            self._failed(worker, said)
        else:
            worker.ready = True

    def _failed(self, worker: _Worker, error: HookreelError) -> None:
        """Without its part the run proves nothing, so in mid-run the others end, too."""
        worker.error = error
        if self._zero_ns:
            worker.failed_ns = monotonic_ns() - self._zero_ns
            self.interrupt()

    def interrupt(self) -> None:
        """End the run in good order."""
        if self._interrupted:
            return
        self._interrupted = True
        for worker in self._workers:
            if not worker.ended and worker.account is None and worker.process.pid is not None:
                os.kill(worker.process.pid, signal.SIGTERM)

    def close(self) -> None:
        """Leave no process behind."""
        for worker in self._workers:
            if not worker.ended:
                worker.process.terminate()
                worker.pipe.close()
        for worker in self._workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def offered(self) -> Offered:
        """What all of them sent, in due order."""
        offered = np.zeros(len(self._schedule), np.bool_)
        whole = make_cells(len(self._schedule))
        accounts = [worker.account for worker in self._workers if worker.account is not None]
        for worker in self._workers:
            stop = self._settled(worker) if worker.account is None else worker.account.offered
            offered[worker.rows[:stop]] = True
            for name, column in whole.items():
                column[worker.rows] = worker.cells[name]
        errors = [str(worker.error).rstrip(".") for worker in self._workers if worker.error is not None]
        stopped = next((text for text in (*errors, *(one.stopped for one in accounts)) if text), None)
        tally, chains = Tally(), ChainCounts()
        for account in accounts:
            tally.merge(account.tally)
            chains.merge(account.chains)
        sent = Sent(
            rows=joined(self._schedule, whole, offered),
            started_wall_ns=min(
                (one.started_wall_ns for one in accounts),
                default=time.time_ns() - monotonic_ns() + self._zero_ns,
            ),
            stopped=stopped,
            spare_connections=sum(one.spare_connections for one in accounts),
            spare_exchanges=sum(one.spare_exchanges for one in accounts),
            reconnections=sum(one.reconnections for one in accounts),
            shortages=dict(sum((Counter(one.shortages) for one in accounts), Counter[str]())),
            crowded_out=sum(one.crowded_out for one in accounts),
            resent=sum(one.resent for one in accounts),
            exact_timer=all(one.exact_timer for one in accounts),
            generator=together([one.generator for one in accounts] or [GeneratorWatch().facts()]),
            streams=merged(self._streams(offered)),
        )
        return Offered(
            sent=sent,
            tally=tally,
            unsendable=sum((one.unsendable for one in accounts), Counter[str]()),
            hosts=frozenset().union(*(one.hosts for one in accounts)),
            chains=chains,
            fresh_ids=sum(one.fresh_ids for one in accounts),
            gathered=self._gathered(offered),
        )

    def _gathered(self, offered: NDArray[np.bool_]) -> Gathered:
        """The responses to keep of all workers, by the rows of the run."""
        place = np.cumsum(offered) - 1
        came: list[Came] = []
        over_budget = 0
        for worker in self._workers:
            if worker.account is not None:
                rows, gathered = place[worker.rows], worker.account.gathered
                came += (one._replace(row=int(rows[one.row])) for one in gathered.came)
                over_budget += gathered.over_budget
        return Gathered(came=came, over_budget=over_budget)

    def _streams(self, offered: NDArray[np.bool_]) -> Iterator[tuple[StreamsSent, NDArray[np.int64]]]:
        """What each worker's streams came to, with the number in the run of each of its rows."""
        place = np.cumsum(offered) - 1
        for worker in self._workers:
            if worker.account is not None:
                yield worker.account.streams, place[worker.rows]

    def _settled(self, worker: _Worker) -> int:
        """How many rows came due to a worker that failed; those that it had not sent were dropped."""
        due_ns = self._schedule.due_ns[worker.rows]
        stop = int(np.searchsorted(due_ns, worker.failed_ns, side="right"))
        worker.cells["outcome"][unsent(worker.cells, stop)] = Outcome.DROPPED
        return stop


def _part(schedule: Schedule, rows: NDArray[np.int64]) -> Schedule:
    """Some rows of a schedule, at the same due times."""
    return replace(
        schedule,
        seq=schedule.seq[rows],
        due_ns=schedule.due_ns[rows],
        endpoint=schedule.endpoint[rows],
        connection=schedule.connection[rows],
        recorded_status=schedule.recorded_status[rows],
        instance=schedule.instance[rows],
    )


def _work(
    share: Schedule,
    cells: Cells,
    send_share: SendShare,
    pipe: Connection,
    parents: Sequence[Connection],
    parent: int,
) -> None:
    """The whole life of a worker process; ``parents`` are ends of pipes that are the parent's."""
    for end in parents:  # else no worker would see its pipe end when the parent closes it or is gone
        end.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent passes it on
    started = False
    # The engine takes SIGTERM while it sends; before, the worker just ends, and after, it has to tell.
    signal.signal(signal.SIGTERM, lambda *_: None if started else os._exit(1))
    _end_with_parent(parent)

    def start() -> int:
        nonlocal started
        pipe.send(None)
        zero_ns = int(pipe.recv())
        started = True
        return zero_ns

    try:
        offered = send_share(share, start, cells)
    except Exception as error:  # noqa: BLE001  whatever it was, the parent tells it
        with suppress(OSError):  # a parent that has gone wants no word
            pipe.send(_telling(error))
        return
    sent = offered.sent
    pipe.send(
        _Account(
            offered=len(sent.rows),
            started_wall_ns=sent.started_wall_ns,
            stopped=sent.stopped,
            spare_connections=sent.spare_connections,
            spare_exchanges=sent.spare_exchanges,
            reconnections=sent.reconnections,
            shortages=sent.shortages,
            crowded_out=sent.crowded_out,
            resent=sent.resent,
            exact_timer=sent.exact_timer,
            generator=sent.generator,
            tally=offered.tally,
            unsendable=offered.unsendable,
            hosts=offered.hosts,
            chains=offered.chains,
            fresh_ids=offered.fresh_ids,
            gathered=offered.gathered,
            streams=sent.streams,
        )
    )


def _telling(error: Exception) -> HookreelError:
    """What failed in a worker, for its parent."""
    if isinstance(error, HookreelError):
        return error
    return HookreelError(
        f"A worker process had to end, as {why_stopped(error)}; replay without --workers, with --debug, and "
        "report what that prints."
    )


def _end_with_parent(parent: int, platform: str = sys.platform) -> None:
    """A worker must not go on sending when whoever started it was killed."""
    if platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


@contextmanager
def _forwarding(interrupt: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM go to the workers while this is open."""
    numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, lambda *_: interrupt()) for number in numbers]
    except ValueError:  # not in the main thread: whoever runs us there handles signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
