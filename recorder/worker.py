"""One worker process: takes connections that its parent accepted, and records them to a part of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from captures.errors import HookreelError
from captures.model import CaptureHeader
from recorder.addon import RecorderAddon
from recorder.assembly import make_addon, start_proxy, until_stopped
from recorder.latency import LatencyHistogram
from recorder.metrics import Snapshot, snapshot_of
from recorder.options import Choices, open_sink
from recorder.settings import RecorderSettings, Recording
from recorder.sink import Sink
from recorder.tuning import new_event_loop

STATE_PERIOD_S = 0.5
DRAIN = b"\xff"  # on the control socket, where other bytes are the numbers of modes


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    What one worker does.

    ``path`` and ``header`` are its part's, ``choices`` say what it keeps. Offsets count from
    ``started_ns`` on the monotonic clock, which all processes of a machine share. ``specs`` are
    the modes by their number; ``addresses`` are the (host, port) pairs the parent listens on.
    """

    settings: RecorderSettings
    choices: Choices
    path: Path
    header: CaptureHeader
    started_ns: int
    specs: tuple[str, ...]
    addresses: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The parent process as a worker sees it."""

    control: socket.socket
    reports: Connection

    def tell(self, kind: str, value: object) -> None:
        """Reports something; a parent that is gone hears nothing."""
        with suppress(OSError):
            self.reports.send((kind, value))

    def note(self, text: str) -> None:
        """Reports a sentence meant for the user."""
        self.tell("note", text)


def run_worker(job: Job, control: socket.socket, reports: Connection) -> None:
    """
    A worker process from start to end.

    ``control`` brings a byte, the mode's number, and a descriptor for each connection. DRAIN is the
    order to stop, and its end the order to wait for nothing more. ``reports`` takes ("ready", None),
    ("note", sentence), ("state", Snapshot) when metrics are served, ("waiting", requests that the
    drain begins with), ("closing", None) when the proxy has ended, and at last ("finished", Recording),
    or ("failed", Recording) when the proxy did not start or ended by itself.
    """
    # Ctrl-C reaches every process of a terminal; only the parent decides what it means. When the
    # parent is gone, the control socket says so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    parent = Parent(control=control, reports=reports)
    try:
        _record(job, parent)
    except HookreelError as error:
        parent.note(str(error))
    finally:
        reports.close()


def _record(job: Job, parent: Parent) -> None:
    sink = open_sink(job.choices, job.path, job.header, note=parent.note)
    # The other end of ``reports`` is at its end only when the part is, too.
    sink.fork(release=parent.control.close)
    addon = make_addon(job.settings, sink, started_ns=job.started_ns, note=parent.note)
    added, end = LatencyHistogram(), "failed"
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            added = runner.run(_work(job, sink, addon, parent))
        end = "finished"
    finally:
        parent.tell("closing", None)
        account = sink.close(in_flight=addon.end(), connections=addon.connections)
        parent.tell(end, Recording(account=account, added=added, tls=addon.tls))


async def _keep_telling(parent: Parent, take: Callable[[], Snapshot]) -> None:
    while True:
        await asyncio.sleep(STATE_PERIOD_S)
        parent.tell("state", take())


async def _work(job: Job, sink: Sink, addon: RecorderAddon, parent: Parent) -> LatencyHistogram:
    proxy = await start_proxy(job.settings, addon, own_addresses=job.addresses, note=parent.note)
    control = parent.control
    loop = asyncio.get_running_loop()
    stop, hurried = asyncio.Event(), asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()  # a loop keeps no reference to its tasks

    def hear() -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            loop.remove_reader(control.fileno())
            if stop.is_set():
                hurried.set()
            stop.set()  # a parent that is gone gives no order before
            return
        if data == DRAIN:
            stop.set()
            return
        for descriptor in descriptors:
            accepted = socket.socket(fileno=descriptor)
            accepted.setblocking(False)
            task = loop.create_task(proxy.acceptor.take(job.specs[data[0]], accepted))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    control.setblocking(False)
    loop.add_reader(control.fileno(), hear)
    telling: asyncio.Task[None] | None = None
    if job.settings.metrics is not None:
        take = partial(snapshot_of, sink, accepting=True, added=proxy.added)
        parent.tell("state", take(connections=0))
        telling = asyncio.create_task(_keep_telling(parent, lambda: take(connections=addon.connections)))
    parent.tell("ready", None)
    try:
        await until_stopped(stop, proxy.running, None)
        parent.tell("waiting", proxy.in_flight)
        await proxy.drain(job.settings.drain_s, hurried)
    finally:
        if telling is not None:
            telling.cancel()
        await proxy.stop()
    return proxy.added
