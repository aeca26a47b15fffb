from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from captures.encryption import Identities
from captures.errors import HookreelError, WriteError
from captures.model import Counters, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header
from recorder import worker, workers
from recorder.account import Account
from recorder.facts import TlsTally
from recorder.latency import LatencyHistogram
from recorder.library import FileRecorder
from recorder.settings import Recording
from recorder.stopping import Stopping
from recorder.workers import Worker, WorkerPool, merge_parts
from tests.recorder.made import made_exchange
from tests.recorder.memory import MemoryWriter, offer, start
from tests.recorder.support import WAIT_S, RawClient, RawServer, Recorder, read_capture, run_command

GET = b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n"


def parts_of(output: Path) -> list[Path]:
    return sorted(output.parent.glob(f"{output.name}.part*"))


def children_of(pid: int) -> list[int]:
    """Worker processes (the one that tracks shared resources is not one)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def status_or_gone(client: RawClient) -> int:
    try:
        return client.call(GET % b"/which").status
    except ConnectionError:
        return 0


def test_workers_share_connections_and_their_parts_become_one_capture(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """Connections are dealt out in turn; the file has all exchanges in the order they were sent."""
    server = start_server()
    recorder = start_recorder(server.port, "--workers", "3")
    assert len(parts_of(recorder.output)) == 3
    clients = [RawClient(recorder.port) for _ in range(6)]
    targets = []
    for turn in range(5):
        for number, client in enumerate(clients):
            targets.append(f"/{turn}/{number}")
            assert client.call(GET % targets[-1].encode()).status == 200
    for client in clients:
        client.close()
    assert recorder.stop() == 0
    assert recorder.stderr == ""
    assert parts_of(recorder.output) == []
    capture = read_capture(recorder.output)
    assert capture.complete
    assert [item.request.target.decode() for item in capture.exchanges] == targets
    assert [item.seq for item in capture.exchanges] == list(range(30))
    assert [item.connection for item in capture.exchanges] == list(range(6)) * 5
    assert capture.counters["seen"] == capture.counters["written"] == 30
    assert (recorder.account["written"], recorder.account["connections"]) == (30, 6)
    assert recorder.account["added_ns"]["exchanges"] == 30
    with CaptureReader.open(recorder.output) as reader:
        assert (reader.header.lineage, reader.header.source) == ((), f"record {recorder.ready['mode']}")


def test_a_signal_drains_every_worker(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """A request on its way in a worker is answered after SIGTERM; Ctrl-C to the whole group is no harm."""
    reached, release = threading.Event(), threading.Event()

    def slow(connection: socket.socket, _source: object) -> None:
        reached.set()
        release.wait(WAIT_S)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    recorder = start_recorder(start_server(answers={"/slow": slow}).port, "--workers", "2")
    with RawClient(recorder.port) as client:
        client.socket.sendall(GET % b"/slow")
        assert reached.wait(WAIT_S)
        for child in children_of(recorder.process.pid):
            os.kill(child, signal.SIGINT)
        recorder.process.send_signal(signal.SIGTERM)
        release.set()
        assert client.answer().body == b"late"
    assert recorder.wait() == 0
    outcome = read_capture(recorder.output).at("/slow").outcome
    assert isinstance(outcome, Response)


def test_a_worker_that_dies_takes_only_its_own_with_it(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """The others go on, the loss is told, and what was written of the dead one is in the capture."""
    recorder = start_recorder(start_server().port, "--workers", "2")
    clients = [RawClient(recorder.port) for _ in range(2)]
    for number, client in enumerate(clients):
        assert client.call(GET % b"/before/%d" % number).status == 200
    victim = children_of(recorder.process.pid)[0]
    os.kill(victim, signal.SIGKILL)
    assert sorted(status_or_gone(client) for client in clients) == [0, 200]
    with RawClient(recorder.port) as first, RawClient(recorder.port) as second:
        assert first.call(GET % b"/after/1").status == 200
        assert second.call(GET % b"/after/2").status == 200
    for client in clients:
        client.close()
    assert recorder.stop() == 1
    assert "worker process ended" in recorder.stderr
    assert recorder.account["complete"] is False
    targets = {item.request.target for item in read_capture(recorder.output).exchanges}
    assert {b"/after/1", b"/after/2", b"/which"} <= targets


def scrape(url: str) -> str:
    port = int(url.split(":")[2].split("/", maxsplit=1)[0])
    with RawClient(port) as client:
        return client.call(GET % b"/metrics").body.decode()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_counters_are_served_for_all_workers_together(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer], workers: str
):
    """What each worker has seen is added up, within about a second."""
    recorder = start_recorder(start_server().port, "--workers", workers, "--metrics", "127.0.0.1:0")
    assert "hookreel_exchanges_seen_total 0" in scrape(recorder.ready["metrics"])
    for _ in range(4):
        with RawClient(recorder.port) as client:
            assert client.call(GET % b"/a").status == 200
    deadline_s = time.monotonic() + WAIT_S
    while "hookreel_exchanges_seen_total 4" not in scrape(recorder.ready["metrics"]):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)  # workers tell it in their own time
    assert recorder.stop() == 0
    assert recorder.account["written"] == 4


def test_metrics_on_a_port_in_use_leave_nothing_behind(tmp_path: Path, confdir: Path):
    """Neither the output nor a worker's part stays."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run_command(
            *("record", "--mode", "regular@0", "--workers", "2", "--confdir", confdir),
            *("--metrics", f"127.0.0.1:{taken.getsockname()[1]}", "-o", tmp_path / "a.reel"),
        )
    assert result.returncode == 2
    assert "--metrics" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_left_part_is_not_overwritten(tmp_path: Path, confdir: Path):
    """Parts of a recording that was killed are the user's; nothing is started over them."""
    output = tmp_path / "a.reel"
    FileRecorder(tmp_path / "a.reel.part2").done()
    result = run_command(
        *("record", "--mode", "regular@0", "--workers", "2", "--confdir", confdir, "-o", output)
    )
    assert result.returncode == 2
    assert "a.reel.part2" in result.stderr
    assert not output.exists()


@pytest.mark.parametrize("workers", ["0", "65", "many"])
def test_the_number_of_workers_is_checked(tmp_path: Path, workers: str):
    """One to 64."""
    result = run_command("record", "--mode", "regular", "--workers", workers, "-o", tmp_path / "a.reel")
    assert result.returncode == 2
    assert "--workers" in result.stderr


@pytest.mark.parametrize("readable", [True, False])
def test_parts_that_cannot_be_merged_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: bool
):
    """A disk without room for the merged file leaves what can be read, and no output that looks whole."""
    header = new_header(source="record", started_wall_ns=1)
    paths = [tmp_path / f"out.reel.part{number}" for number in (1, 2)]
    pool = SimpleNamespace(workers=[], lost=False)
    for number, path in enumerate(paths):
        with CaptureWriter.create(path, replace(header, capture_id=f"{number:032x}")) as part:
            part.write(made_exchange(number))
        account = Account(counters=Counters(seen=1, written=1), connections=1, messages=0, messages_dropped=0)
        recording = Recording(account=account, added=LatencyHistogram(), tls=TlsTally())
        pool.workers.append(SimpleNamespace(path=path, finished=True, latest=recording))
    pool.latest = lambda: [worker.latest for worker in pool.workers]
    writer = CaptureWriter.create(tmp_path / "out.reel", header)

    def full(_self: object) -> None:
        raise WriteError("The disk is full.")

    monkeypatch.setattr(CaptureWriter, "_write_footer", full)
    account = merge_parts(cast("WorkerPool", pool), writer, Identities(keys=()), readable=readable).account
    assert "The disk is full." in account.cut_by
    assert ("hookreel merge" in account.cut_by) is readable
    assert account.parts == (tuple(paths) if readable else ())
    assert sorted(tmp_path.iterdir()) == (paths if readable else [])
    assert [len(read_capture(path).exchanges) for path in account.parts] == [1] * len(account.parts)


@pytest.mark.parametrize("error", [HookreelError("The proxy ended by itself."), ValueError("quotes traffic")])
def test_a_worker_whose_proxy_ended_says_that_it_failed(error: Exception, monkeypatch: pytest.MonkeyPatch):
    """Its part is closed in order, but the recording is not whole."""

    async def fail(*_: object) -> None:
        raise error

    sink = start(MemoryWriter())
    offer(sink)
    monkeypatch.setattr(sink, "fork", lambda release: None)
    monkeypatch.setattr(worker, "open_sink", lambda *_, **__: sink)
    monkeypatch.setattr(worker, "_work", fail)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    reports, theirs = Pipe(duplex=False)
    settings = SimpleNamespace(max_body_bytes=1)
    job = SimpleNamespace(settings=settings, choices=None, path=Path("part"), header=None, started_ns=0)
    with socket.socket() as control, suppress(ValueError):
        worker.run_worker(cast("worker.Job", job), control, theirs)
    assert reports.recv() == ("closing", None)
    kind, recording = reports.recv()
    assert (kind, recording.account.counters) == ("failed", Counters(seen=1, written=1))
    if isinstance(error, HookreelError):
        assert reports.recv() == ("note", str(error))
    with pytest.raises(EOFError):
        reports.recv()
    reports.close()


@pytest.mark.parametrize(("end", "lost"), [("finished", False), ("failed", True)])
def test_a_failed_worker_makes_the_recording_one_that_is_not_whole(end: str, lost: bool):
    """The parent counts what the worker wrote, and knows that more may have been."""

    async def hear() -> WorkerPool:
        pool = WorkerPool(note=lambda _text: None)
        reports, theirs = Pipe(duplex=False)
        one = Worker(path=Path("part"), process=None, control=cast("socket.socket", None), reports=reports)
        theirs.send((end, "what it came to"))
        theirs.close()
        pool._hear(one)
        pool._hear(one)
        reports.close()
        assert one.ended.is_set()
        assert one.latest == "what it came to"
        return pool

    assert asyncio.run(hear()).lost is lost


@pytest.mark.parametrize("closes", [True, False])
def test_a_worker_that_closes_its_part_is_waited_for(closes: bool, monkeypatch: pytest.MonkeyPatch):
    """A slow disk may take its time with what was recorded; only a proxy that does not end is given up."""
    monkeypatch.setattr(workers, "END_S", 0.01)

    async def drain() -> None:
        pool = WorkerPool(note=lambda _text: None)
        with socket.socket() as control:
            one = Worker(path=Path("part"), process=None, control=control, reports=cast("Connection", None))
            one.draining.set()
            if closes:
                one.closing.set()
            pool.workers.append(one)
            draining = asyncio.create_task(pool.drain(Stopping(), 1))
            done, _ = await asyncio.wait({draining}, timeout=0.2 if closes else WAIT_S)
            assert bool(done) is not closes
            one.ended.set()
            await asyncio.wait_for(draining, WAIT_S)

    asyncio.run(drain())
