"""The ends of a recording: asked for, by itself, by force, and for want of room on the disk."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from captures.model import Response
from recorder.stopping import Stopping
from tests.recorder.support import WAIT_S, RawClient, RawServer, Recorder, read_capture

MOST_LOST_S = 1.0
LONG_DRAIN = """
from recorder.settings import RecorderSettings
RecorderSettings.__init__.__kwdefaults__["drain_s"] = 600.0
"""


@dataclass
class Load:
    """Clients that call one after the other until the connection breaks, and note what was answered."""

    port: int
    random_bytes: int = 500  # bodies that do not compress
    clients: int = 6
    pause_s: float = 0.0
    answered: dict[str, float] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._call, args=(n,)) for n in range(self.clients)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> None:
        """Returns when at least ``count`` calls were answered."""
        deadline_s = time.monotonic() + WAIT_S
        while len(self.answered) < count and time.monotonic() < deadline_s:
            self._stop.wait(0.01)
        assert len(self.answered) >= count

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(WAIT_S)

    def _call(self, client_number: int) -> None:
        with suppress(OSError), RawClient(self.port) as client:
            for number in range(1_000_000):
                if self._stop.is_set():
                    return
                body = os.urandom(self.random_bytes)
                target = f"/call/{client_number}/{number}"
                head = f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
                if client.call(head.encode() + body).status != 200:
                    return
                self.answered[target] = time.monotonic()
                if self.pause_s:
                    self._stop.wait(self.pause_s)


def recorded_targets(path: Path) -> set[str]:
    return {item.request.target.decode() for item in read_capture(path).exchanges}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_under_load_loses_nothing_that_was_answered(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer], number: signal.Signals
):
    """Requests on their way are answered, connections closed, and the account adds up."""
    server = start_server()
    recorder = start_recorder(server.port)
    load = Load(recorder.port)
    load.start()
    load.wait_for(200)
    assert recorder.stop(number) == 0
    load.stop()

    capture = read_capture(recorder.output)
    assert capture.complete
    answered = {
        item.request.target.decode() for item in capture.exchanges if isinstance(item.outcome, Response)
    }
    assert set(load.answered) <= answered
    counters = capture.counters
    assert counters["seen"] == counters["written"] + counters["dropped"] + counters["in_flight"]
    assert counters["dropped"] == 0
    assert counters["written"] == len(capture.exchanges)
    assert {name: recorder.account[name] for name in counters} == counters
    assert recorder.account["complete"] is True


def test_what_is_not_answered_in_time_is_in_flight(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """A request that hangs is cut after the limit and counted; an open stream is written without an end."""
    reached = threading.Event()
    release = threading.Event()

    def hang(_connection: socket.socket, _source: object) -> None:
        reached.set()
        release.wait(WAIT_S)

    def stream(connection: socket.socket, _source: object) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        release.wait(WAIT_S)

    server = start_server(answers={"/hang": hang, "/stream": stream})
    recorder = start_recorder(server.port)
    with RawClient(recorder.port) as hanging, RawClient(recorder.port) as streaming:
        hanging.socket.sendall(b"GET /hang HTTP/1.1\r\nHost: h\r\n\r\n")
        streaming.socket.sendall(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
        assert reached.wait(WAIT_S)
        while streaming.source.readline() != b"data: 1\n":
            pass
        assert recorder.stop() == 0
    release.set()
    capture = read_capture(recorder.output)
    assert (capture.counters["seen"], capture.counters["written"], capture.counters["in_flight"]) == (2, 1, 1)
    outcome = capture.at("/stream").outcome
    assert isinstance(outcome, Response)
    assert (outcome.stream, outcome.end_ns) == (True, None)
    assert [message.payload for message in capture.messages] == [b"data: 1\n\n"]


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_a_second_signal_cuts_the_drain(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer], options: tuple[str, ...]
):
    """Who does not want to wait for requests on their way need not; file and account are whole."""
    reached = threading.Event()
    release = threading.Event()

    def hang(_connection: socket.socket, _source: object) -> None:
        reached.set()
        release.wait(WAIT_S)

    server = start_server(answers={"/hang": hang})
    recorder = start_recorder(server.port, *options, prelude=LONG_DRAIN)
    with RawClient(recorder.port) as client, RawClient(recorder.port) as hanging:
        client.call(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        hanging.socket.sendall(b"GET /hang HTTP/1.1\r\nHost: h\r\n\r\n")
        assert reached.wait(WAIT_S)
        recorder.process.send_signal(signal.SIGINT)
        told = recorder.next_note()
        assert recorder.stop(signal.SIGINT) == 130
    release.set()
    assert told == "Waiting up to 600 s for 1 request; Ctrl-C again stops now."
    account = [recorder.account[name] for name in ("seen", "written", "in_flight")]
    assert account == [2, 1, 1]
    capture = read_capture(recorder.output)
    assert capture.complete
    assert capture.counters["in_flight"] == 1
    assert isinstance(capture.at("/a").outcome, Response)


def test_nothing_is_said_when_there_is_nothing_to_wait_for(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """An idle recorder stops without a word about waiting."""
    recorder = start_recorder(start_server().port)
    with RawClient(recorder.port) as client:
        assert client.call(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").status == 200
        assert recorder.stop() == 0
    assert recorder.stderr == ""


@pytest.mark.parametrize(
    ("signals", "waiting", "expected"),
    [
        (1, 3, ["Waiting up to 5 s for 3 requests; Ctrl-C again stops now."]),
        (1, 1, ["Waiting up to 5 s for 1 request; Ctrl-C again stops now."]),
        (0, 2, ["Waiting up to 5 s for 2 requests."]),
        (1, 0, []),
    ],
)
def test_what_is_waited_for_is_told(signals: int, waiting: int, expected: list[str]):
    """How many requests for how long; who did not press Ctrl-C is not told about it."""
    stopping, told = Stopping(), list[str]()
    for _ in range(signals):
        stopping.on_signal()
    stopping.tell(told.append, waiting, 5.0)
    assert told == expected


def test_only_the_second_signal_hurries():
    """A full capture that asks for the end is not the user's first signal."""
    stopping = Stopping()
    stopping.asked.set()
    stopping.on_signal()
    assert not stopping.hurried.is_set()
    stopping.on_signal()
    assert stopping.hurried.is_set()


def test_the_duration_ends_a_recording(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """--duration stops by itself, like a signal would."""
    recorder = start_recorder(start_server().port, "--duration", "700ms")
    with RawClient(recorder.port) as client:
        assert client.call(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").status == 200
    assert recorder.wait() == 0
    assert recorder.account["written"] == 1
    assert read_capture(recorder.output).complete


@pytest.mark.parametrize("flowing_s", [0.3, 1.7])
def test_kill_9_loses_at_most_a_second(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer], flowing_s: float
):
    """After kill -9 under load the file opens, says that it is not whole, and lacks only the last second."""
    recorder = start_recorder(start_server().port)
    load = Load(recorder.port, pause_s=0.002)
    load.start()
    load.wait_for(1)
    time.sleep(flowing_s)  # the moment of the kill is what the test is about
    os.kill(recorder.process.pid, signal.SIGKILL)
    killed_s = time.monotonic()
    load.stop()
    capture = read_capture(recorder.output)
    assert not capture.complete
    assert capture.problems
    recorded = {item.request.target.decode() for item in capture.exchanges}
    missing = {target: at_s for target, at_s in load.answered.items() if target not in recorded}
    assert all(at_s > killed_s - MOST_LOST_S for at_s in missing.values())


def test_a_full_disk_ends_the_recording_and_not_the_traffic(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """When the file cannot grow, requests still pass, the loss is counted, exit 1 says so, the file opens."""
    server = start_server()
    recorder = start_recorder(server.port, size_limit=3_000_000)
    load = Load(recorder.port, random_bytes=20_000, clients=3)
    load.start()
    load.wait_for(300)  # 6 MB: far more than fits
    load.stop()
    assert recorder.stop() == 1
    assert len(server.seen) == len(load.answered)

    assert recorder.account["complete"] is False
    capture = read_capture(recorder.output)
    assert 0 < len(capture.exchanges) < len(load.answered)
    assert recorder.account["written"] == len(capture.exchanges)
    assert recorder.account["seen"] == len(load.answered)
    assert recorder.account["dropped"] == len(load.answered) - len(capture.exchanges)
    last = recorder.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert "cannot be written" in last
    assert sum("traffic still passes" in line for line in recorder.stderr.splitlines()) == 1


@pytest.mark.nginx
def test_nginx_as_the_upstream(start_recorder: Callable[..., Recorder], tmp_path: Path):
    """A real web server behind the recorder: files, ranges, conditional requests, compression."""
    body = "".join(f"line {number}\n" for number in range(5000)).encode()
    (tmp_path / "file.txt").write_bytes(body)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "nginx.conf").write_text(
        f"""
        daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;
        events {{}}
        http {{
            access_log off; gzip on; gzip_types text/plain; types {{ text/plain txt; }}
            client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;
            fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;
            server {{ listen 127.0.0.1:{port}; root {tmp_path}; }}
        }}
        """
    )
    arguments = ["nginx", "-p", str(tmp_path), "-e", str(tmp_path / "error.log"), "-c", "nginx.conf"]
    with subprocess.Popen(arguments) as nginx:
        try:
            recorder = start_recorder(port)
            requests = {
                "plain": b"",
                "range": b"Range: bytes=10-19\r\n",
                "gzip": b"Accept-Encoding: gzip\r\n",
            }
            answers = {}
            with RawClient(recorder.port) as client:
                for name, header in requests.items():
                    request = b"GET /file.txt?%s HTTP/1.1\r\nHost: h\r\n%s\r\n" % (name.encode(), header)
                    answers[name] = client.call(request)
            assert recorder.stop() == 0
        finally:
            nginx.terminate()
    assert {name: answer.status for name, answer in answers.items()} == {
        "plain": 200,
        "range": 206,
        "gzip": 200,
    }
    assert (answers["plain"].body, answers["range"].body) == (body, body[10:20])
    capture = read_capture(recorder.output)
    for name, answer in answers.items():
        outcome = capture.at(f"/file.txt?{name}").outcome
        assert isinstance(outcome, Response)
        assert outcome.body == answer.body
        assert outcome.headers[0][0] == b"Server"
