"""
Several recorder processes behind one address.

The parent accepts connections and hands them to the workers in turn, so that every worker has
its share however few connections there are. Each worker writes a part of its own on the
parent's clock; at the end the parent merges the parts by time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import secrets
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from captures.encryption import Identities
from captures.errors import CaptureError, HookreelError, UsageError
from captures.merge import merge_captures, sum_counters
from captures.model import CaptureHeader, Counters
from captures.reader import CaptureReader
from captures.writer import CaptureWriter
from recorder.account import Account
from recorder.embedding import Note
from recorder.facts import TlsTally, facts_of
from recorder.latency import LatencyHistogram
from recorder.listening import Listening
from recorder.metrics import Snapshot
from recorder.options import Choices
from recorder.settings import RecorderSettings, Recording
from recorder.stopping import Stopping
from recorder.worker import DRAIN, Job, run_worker

END_S = 60.0  # a worker whose proxy has not ended this long after its drain began is killed
_FULL_RETRY_S = 0.005
_LOST = "A worker process ended by itself; what it had not written is lost."


@dataclass
class Worker:
    """A worker as its parent sees it."""

    path: Path
    process: Any
    control: socket.socket
    reports: Connection
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    latest: Recording | None = None
    snapshot: Snapshot | None = None
    finished: bool = False


class WorkerPool:
    """
    Starts workers, gives them connections, ends them.

    It belongs to the running event loop. A worker that dies takes its open connections with it;
    the others go on and its part is merged as far as it was written.
    """

    def __init__(self, *, note: Note) -> None:
        self.workers: list[Worker] = []
        self.lost = False
        self._note = note
        self._told: set[str] = set()
        self._next = 0
        self._loop = asyncio.get_running_loop()

    async def start(self, jobs: Sequence[Job]) -> None:
        """
        Starts one worker for each job and waits until all are ready.

        Raises:
            HookreelError: one of them did not start.

        """
        context = multiprocessing.get_context("spawn")
        for job in jobs:
            mine, theirs = socket.socketpair()
            reports, sender = context.Pipe(duplex=False)
            process = context.Process(target=run_worker, args=(job, theirs, sender), name="recorder-worker")
            process.start()
            theirs.close()
            sender.close()
            mine.setblocking(False)
            worker = Worker(path=job.path, process=process, control=mine, reports=reports)
            self.workers.append(worker)
            self._loop.add_reader(reports.fileno(), self._hear, worker)
        await asyncio.gather(*(worker.ready.wait() for worker in self.workers))
        if self.lost:
            for job in jobs:
                job.path.unlink(missing_ok=True)  # nothing was recorded
            raise HookreelError("A worker process did not start; record without --workers and report this.")

    async def hand_over(self, mode: int, accepted: socket.socket) -> None:
        """Gives a connection of the mode with this number to the next worker that takes it."""
        with accepted:
            while True:
                for _ in self.workers:
                    worker = self.workers[self._next % len(self.workers)]
                    self._next += 1
                    try:
                        socket.send_fds(worker.control, [bytes((mode,))], [accepted.fileno()])
                    except OSError:
                        continue  # its buffer is full, or it is gone
                    return
                await asyncio.sleep(_FULL_RETRY_S)

    async def drain(self, stopping: Stopping, limit_s: float) -> None:
        """
        Has every worker end: requests on their way get ``limit_s``, then its part is closed.

        A worker gives up on a disk that takes nothing, so a part may take as long as it needs.
        """
        for worker in self.workers:
            try:
                worker.control.send(DRAIN)
            except OSError:  # its buffer is full: the end of all orders means the same
                self._end_orders(worker)
        closing = asyncio.create_task(self._all_closing())
        hurried = asyncio.create_task(stopping.hurried.wait())
        try:
            async with asyncio.timeout(END_S):
                await asyncio.gather(*(worker.draining.wait() for worker in self.workers))
                stopping.tell(self._note, sum(worker.waiting for worker in self.workers), limit_s)
                await asyncio.wait({closing, hurried}, return_when=asyncio.FIRST_COMPLETED)
                for worker in self.workers:
                    self._end_orders(worker)
                await closing
            await self.all_gone()
        except TimeoutError:
            pass  # close() ends what is left
        finally:
            closing.cancel()
            hurried.cancel()

    @staticmethod
    def _end_orders(worker: Worker) -> None:
        with suppress(OSError):
            worker.control.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Leaves no process behind."""
        for worker in self.workers:
            self._loop.remove_reader(worker.reports.fileno())
            worker.control.close()
            worker.reports.close()
            worker.process.join(END_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    async def all_gone(self) -> None:
        """Waits until no worker is left."""
        await asyncio.gather(*(worker.ended.wait() for worker in self.workers))

    async def _all_closing(self) -> None:
        await asyncio.gather(*(worker.closing.wait() for worker in self.workers))

    def latest(self) -> list[Recording]:
        """What each worker that has ended came to."""
        return [worker.latest for worker in self.workers if worker.latest is not None]

    def snapshots(self) -> list[Snapshot]:
        """Each worker's counters as it told them last."""
        return [worker.snapshot for worker in self.workers if worker.snapshot is not None]

    def _hear(self, worker: Worker) -> None:
        try:
            kind, value = worker.reports.recv()
        except (EOFError, OSError):
            self._loop.remove_reader(worker.reports.fileno())
            if not worker.finished:
                self.lost = True
                self._note(_LOST)
            worker.ready.set()
            worker.draining.set()
            worker.closing.set()
            worker.ended.set()
            return
        if kind == "ready":
            worker.ready.set()
        elif kind == "note":
            if value not in self._told:  # each worker says what concerns them all
                self._told.add(value)
                self._note(value)
        elif kind == "waiting":
            worker.waiting = value
            worker.draining.set()
        elif kind == "closing":
            worker.closing.set()
        elif kind == "state":
            worker.snapshot = value
        else:
            worker.latest = value
            worker.finished = True
            self.lost = self.lost or kind == "failed"


def make_jobs(
    settings: RecorderSettings,
    choices: Choices,
    listening: Sequence[Listening],
    *,
    started_ns: int,
    header: CaptureHeader,
) -> list[Job]:
    """
    What each worker has to do; its part lies beside the output and keeps what ``choices`` say.

    Raises:
        UsageError: a part of an earlier recording is in the way.

    """
    jobs = []
    for number in range(1, settings.workers + 1):
        path = settings.output.with_name(f"{settings.output.name}.part{number}")
        if path.exists():
            raise UsageError(
                f"{path} is left from a recording that was killed; "
                "merge the parts with `hookreel merge`, or move them away."
            )
        jobs.append(
            Job(
                settings=settings,
                choices=choices,
                path=path,
                header=replace(header, capture_id=secrets.token_hex(16)),
                started_ns=started_ns,
                specs=tuple(item.mode.spec for item in listening),
                addresses=tuple((item.listen.host, item.port) for item in listening),
            )
        )
    return jobs


def merge_parts(
    pool: WorkerPool, writer: CaptureWriter, identities: Identities, *, readable: bool
) -> Recording:
    """
    Merges the workers' parts into ``writer``, removes them, and gives the account of all of them together.

    ``identities`` open the parts where they are sealed. Parts that cannot be merged are kept when they
    are ``readable`` to the user.
    """
    accounts = [recording.account for recording in pool.latest()]
    added = LatencyHistogram()
    tls = TlsTally()
    for recording in pool.latest():
        added.merge(recording.added)
        tls.client += recording.tls.client
        tls.server += recording.tls.server
    writer.facts = facts_of(added, [tls])
    cut_by = next((account.cut_by for account in accounts if account.cut_by), _LOST if pool.lost else "")
    try:
        counters = _merge(pool.workers, writer, identities)
    except HookreelError as error:
        counters = sum_counters([account.counters for account in accounts])
        parts = tuple(worker.path for worker in pool.workers) if readable else ()
        cut_by = f"The workers' parts could not be merged ({error}) " + (
            f"They are kept: {', '.join(map(str, parts))}; free space and run `hookreel merge` on them."
            if readable
            else "They were sealed for this recording alone and are gone; free space and record again."
        )
        writer.discard()
    else:
        parts = writer.parts
    for worker in pool.workers:
        if worker.path not in parts:
            worker.path.unlink(missing_ok=True)
    account = Account(
        counters=counters,
        connections=sum(account.connections for account in accounts),
        messages=sum(account.messages for account in accounts),
        messages_dropped=sum(account.messages_dropped for account in accounts),
        # The same credential has the same stand-in in every worker.
        withheld_names=frozenset().union(*(account.withheld_names for account in accounts)),
        withheld_uses=sum(account.withheld_uses for account in accounts),
        parts=parts,
        cut_by=cut_by,
    )
    return Recording(account=account, added=added, tls=tls)


def _merge(workers: Sequence[Worker], writer: CaptureWriter, identities: Identities) -> Counters:
    with ExitStack() as stack:
        readers = []
        for worker in workers:
            try:
                readers.append(stack.enter_context(CaptureReader.open(worker.path, identities=identities)))
            except (CaptureError, UsageError):
                if worker.finished:
                    raise
                continue  # it died before there was anything in its part
        counters = merge_captures(readers, writer)
        finals = [worker.latest.account.counters for worker in workers if worker.latest and worker.finished]
        if len(finals) == len(workers):
            counters = sum_counters(finals)
        writer.close(counters)
    return counters
