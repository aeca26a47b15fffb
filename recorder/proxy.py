"""Records in this process, or has worker processes do it: from bound sockets to a closed capture."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from captures.encryption import ephemeral_identity
from captures.errors import HookreelError, UsageError
from captures.limits import raise_file_limit
from captures.model import CaptureHeader
from captures.writer import CaptureWriter, new_header
from recorder.addon import RecorderAddon
from recorder.assembly import make_addon, start_proxy, until_stopped
from recorder.ca import ensure_authority
from recorder.embedding import Note
from recorder.facts import facts_of
from recorder.latency import LatencyHistogram
from recorder.listening import Listening, bind_all
from recorder.metrics import MetricsServer, Snapshot, serve_metrics, snapshot_of, total
from recorder.options import OpenPart, open_sink
from recorder.settings import LARGEST_MAX_BODY_BYTES, RecorderSettings, Recording
from recorder.sink import Sink
from recorder.stopping import Stopping
from recorder.tuning import new_event_loop
from recorder.worker import Job
from recorder.workers import WorkerPool, make_jobs, merge_parts

_ACCEPT_RETRY_S = 0.05

OnListening = Callable[[Sequence[str], str], None]
"""Told the modes' URLs and that of the metrics, empty without any."""


def run_recorder(
    settings: RecorderSettings, *, on_listening: OnListening, note: Note, open_part: OpenPart | None = None
) -> Recording:
    """
    Records until SIGINT, SIGTERM or the duration's end, and gives the account.

    A second signal is for who does not want to wait for requests on their way.
    ``on_listening`` is called once connections are accepted; ``note`` gets sentences meant for
    the user. ``open_part`` opens the capture in place of a plain writer. Only one
    recording runs in a process, in its main thread.

    Raises:
        UsageError: the output exists, the port is in use, a file is absent; nothing was done.
        WriteError: the output cannot be created.

    """
    if settings.upstream_ca is not None and not settings.upstream_ca.is_file():
        raise UsageError(f"The CA file {settings.upstream_ca} is absent; name an existing one.")
    if settings.max_body_bytes > LARGEST_MAX_BODY_BYTES:
        raise UsageError("A capture holds bodies of up to 60MiB; give --max-body that or less.")
    raise_file_limit()
    ensure_authority(settings.confdir)
    listening = bind_all(settings.modes)
    front = Front(listening=listening, on_listening=on_listening, note=note)
    record = _record_here if settings.workers == 1 else _record_in_workers
    try:
        return replace(record(settings, front, open_part), hurried=front.stopping.hurried.is_set())
    finally:
        front.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What faces clients and the user: bound sockets, who is told what, and how the user ends it."""

    listening: tuple[Listening, ...]
    on_listening: OnListening
    note: Note
    stopping: Stopping = field(default_factory=Stopping)

    def tell_listening(self, settings: RecorderSettings, metrics: MetricsServer | None) -> None:
        """Says where connections are accepted, and who can make them."""
        metrics_url = ""
        if metrics is not None and settings.metrics is not None:
            metrics_url = f"{settings.metrics.url(metrics.port)}/metrics"
            if not settings.metrics.loopback:
                self.note(f"Everyone who can reach {settings.metrics.host} can read the metrics.")
        self.on_listening([item.url for item in self.listening], metrics_url)
        for item in self.listening:
            if not item.listen.loopback:
                self.note(f"Everyone who can reach {item.listen.host} port {item.port} can use this proxy.")

    def close(self) -> None:
        """Accepts no more."""
        for item in self.listening:
            item.close()


def _record_here(settings: RecorderSettings, front: Front, open_part: OpenPart | None) -> Recording:
    started_ns, header = time.monotonic_ns(), _new_header(settings)
    sink = open_sink(settings.choices, settings.output, header, note=front.note, open_part=open_part)
    sink.fork(release=front.close)
    addon = make_addon(settings, sink, started_ns=started_ns, note=front.note)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            added = runner.run(_serve(settings, addon, sink, front))
    except UsageError:
        sink.discard()  # nothing was recorded
        raise
    except BaseException:
        sink.close(in_flight=addon.end(), connections=addon.connections)
        raise
    facts = facts_of(added, [addon.tls])
    account = sink.close(in_flight=addon.end(), connections=addon.connections, facts=facts)
    return Recording(account=account, added=added, tls=addon.tls)


async def _serve(
    settings: RecorderSettings, addon: RecorderAddon, sink: Sink, front: Front
) -> LatencyHistogram:
    own_addresses = {(item.listen.host, item.port) for item in front.listening}
    proxy = await start_proxy(settings, addon, own_addresses=own_addresses, note=front.note)
    stopping = front.stopping
    metrics: MetricsServer | None = None

    def take() -> Snapshot:
        accepting = not stopping.asked.is_set()
        return snapshot_of(sink, connections=addon.connections, accepting=accepting, added=proxy.added)

    try:
        stopping.listen()
        loop = asyncio.get_running_loop()
        sink.when_full(lambda: loop.call_soon_threadsafe(stopping.asked.set))
        metrics = None if settings.metrics is None else await serve_metrics(settings.metrics, take)
        await proxy.acceptor.accept_from(front.listening)
        front.tell_listening(settings, metrics)
        await until_stopped(stopping.asked, proxy.running, settings.duration_ns)
        stopping.tell(front.note, proxy.in_flight, settings.drain_s)
        await proxy.drain(settings.drain_s, stopping.hurried)
    finally:
        await proxy.stop()
        if metrics is not None:
            await metrics.close()
    return proxy.added


def _record_in_workers(settings: RecorderSettings, front: Front, open_part: OpenPart | None) -> Recording:
    started_ns, header = time.monotonic_ns(), _new_header(settings)
    identities, recipient = ephemeral_identity()
    choices = settings.choices.for_workers(settings.workers, recipient)
    if open_part is None and not settings.choices.recipients:
        choices = settings.choices  # the parts may be as readable as what they become
    jobs = make_jobs(settings, choices, front.listening, started_ns=started_ns, header=header)
    if open_part is None:
        writer = CaptureWriter.create(settings.output, header, recipients=settings.choices.recipients)
    else:
        opened = open_part(settings.output, header)
        assert isinstance(opened, CaptureWriter)
        writer = opened
    try:
        pool = asyncio.run(_share(settings, jobs, front))
    except BaseException as error:
        writer.discard()
        if isinstance(error, UsageError):
            for job in jobs:
                job.path.unlink(missing_ok=True)  # nothing was recorded
        raise
    return merge_parts(pool, writer, identities, readable=open_part is None)


async def _share(settings: RecorderSettings, jobs: Sequence[Job], front: Front) -> WorkerPool:
    pool = WorkerPool(note=front.note)
    stopping = front.stopping
    stopping.listen()
    accepting: list[asyncio.Task[None]] = []
    metrics: MetricsServer | None = None

    def take() -> Snapshot:
        return replace(total(pool.snapshots()), accepting=not stopping.asked.is_set())

    try:
        await pool.start(jobs)
        metrics = None if settings.metrics is None else await serve_metrics(settings.metrics, take)
        accepting = [
            asyncio.create_task(_accept(pool, number, bound))
            for number, item in enumerate(front.listening)
            for bound in item.sockets
        ]
        front.tell_listening(settings, metrics)
        gone = asyncio.create_task(pool.all_gone())
        with suppress(HookreelError):  # all workers are gone: what they wrote is merged
            await until_stopped(stopping.asked, gone, settings.duration_ns)
    finally:
        for task in accepting:
            task.cancel()
        front.close()
        await pool.drain(stopping, settings.drain_s)
        if metrics is not None:
            await metrics.close()
        pool.close()
    return pool


async def _accept(pool: WorkerPool, mode: int, bound: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            accepted, _ = await loop.sock_accept(bound)
        except OSError:
            await asyncio.sleep(_ACCEPT_RETRY_S)  # no descriptors left, or the client is gone again
            continue
        await pool.hand_over(mode, accepted)


def _new_header(settings: RecorderSettings) -> CaptureHeader:
    return new_header(
        source=settings.source,
        started_wall_ns=time.time_ns(),
        fingerprint_salt=settings.choices.fingerprint_salt,
    )
