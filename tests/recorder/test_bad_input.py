"""Broken clients and upstreams: each is recorded as what it was, and nobody else notices."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest

from captures.model import Failure, FailureReason, Response
from tests.recorder.support import WAIT_S, Capture, RawClient, RawServer, Recorder, read_capture

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN_UPSTREAMS: dict[str, tuple[object, ...]] = {
    "/reset-before": ("reset",),
    "/reset-in-head": (b"HTTP/1.1 200 OK\r\nContent-Le", "reset"),
    "/reset-in-body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 400_000, "reset"),
    "/closed-in-chunk": (CHUNKED + b"ff\r\nhalf", None),
    "/bad-chunk": (CHUNKED + b"zz\r\nhi\r\n0\r\n\r\n",),
    "/bad-trailer": (CHUNKED + b"2\r\nhi\r\n0\r\nno colon\r\n\r\n",),
    "/two-lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",),
    "/both-framings": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "/bad-length": (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",),
    "/bad-status": (b"HTTP/1.1 two hundred\r\n\r\n",),
    "/bad-version": (b"HTTP/9 200 OK\r\n\r\n",),
    "/no-http": (b"220 smtp.example ESMTP\r\n\r\n", None),
    "/bad-header": (b"HTTP/1.1 200 OK\r\n: nameless\r\n\r\n",),
}
BROKEN_CLIENTS = (
    b"",
    b"\x16\x03\x01\x02\x00garbage that looks like TLS",
    b"GET\r\n\r\n",
    b"GET / HTTP/1.1",
    b"GET / HTTP/1.1\r\nHost",
    b"GET / SPDY/3\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.1\r\n: nameless\r\n\r\n",
    b"\x00" * 1000,
    b"GET / HTTP/1.1\r\n" + b"X" * 5000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-OpenSSH_9\r\n",
)
BROKEN_REQUESTS = {
    "/c-both-framings": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "/c-two-lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "/c-bad-length": b"Content-Length: -1\r\n\r\n",
    "/c-bad-chunk": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "/c-half": b"Content-Length: 100\r\n\r\nhalf",
    "/c-half-chunk": b"Transfer-Encoding: chunked\r\n\r\nff\r\nhalf",
    "/c-bad-trailer": b"Transfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n",
}


@dataclass
class Aftermath:
    """What is left after all of it."""

    capture: Capture
    statuses: dict[str, int]
    account: dict[str, object]
    exit_code: int
    stderr: str


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


def send_raw(port: int, data: bytes) -> None:
    """Sends, says that nothing more comes, and reads what there is."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as link:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        while link.recv(65536):
            pass


@pytest.fixture(scope="module")
def aftermath(start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]) -> Aftermath:
    server = start_server(answers=dict(BROKEN_UPSTREAMS))
    recorder = start_recorder(server.port)
    statuses = {}
    # A slow loris: heads that never end stay open while everything else happens.
    hanging = [socket.create_connection(("127.0.0.1", recorder.port)) for _ in range(50)]
    for number, link in enumerate(hanging):
        link.sendall(b"GET /never HTTP/1.1\r\nX-Slow: %d" % number)
    for target in BROKEN_UPSTREAMS:
        with RawClient(recorder.port) as client:
            client.socket.sendall(get(target))
            with suppress(OSError, ValueError):  # some of it reaches the client as it came
                statuses[target] = client.answer().status
        with RawClient(recorder.port) as client:
            statuses[f"after {target}"] = client.call(get("/fine")).status
    for data in BROKEN_CLIENTS:
        send_raw(recorder.port, data)
    for target, rest in BROKEN_REQUESTS.items():
        send_raw(recorder.port, b"POST %s HTTP/1.1\r\nHost: h\r\n%s" % (target.encode(), rest))
    for link in hanging:
        link.sendall(b"\r\n")
    with RawClient(recorder.port) as client:
        statuses["last"] = client.call(get("/last")).status
    exit_code = recorder.stop()
    for link in hanging:
        link.close()
    return Aftermath(
        capture=read_capture(recorder.output),
        statuses=statuses,
        account=recorder.account,
        exit_code=exit_code,
        stderr=recorder.stderr,
    )


def test_nothing_else_is_lost(aftermath: Aftermath):
    """Every request after a broken one is answered, and the account adds up."""
    fine = [status for name, status in aftermath.statuses.items() if name.startswith(("after", "last"))]
    assert set(fine) == {200}
    assert aftermath.exit_code == 0
    counters = aftermath.capture.counters
    assert counters["seen"] == counters["written"] == len(aftermath.capture.exchanges)
    assert aftermath.account["complete"] is True
    assert len([item for item in aftermath.capture.exchanges if item.request.target == b"/fine"]) == len(
        BROKEN_UPSTREAMS
    )


def test_nothing_crashed(aftermath: Aftermath):
    """Bad input is told apart from an error of the proxy's own."""
    assert "Traceback" not in aftermath.stderr
    assert "An error inside the proxy" not in aftermath.stderr


@pytest.mark.parametrize("target", BROKEN_UPSTREAMS)
def test_a_broken_upstream_is_a_recorded_failure(aftermath: Aftermath, target: str):
    """Whatever it did, the exchange is there with a reason that blames the upstream or its message."""
    outcome = aftermath.capture.at(target).outcome
    assert isinstance(outcome, Failure)
    assert outcome.reason in {FailureReason.UPSTREAM_RESET, FailureReason.PROTOCOL_ERROR}
    assert "smtp" not in outcome.detail


@pytest.mark.parametrize("target", BROKEN_REQUESTS)
def test_a_broken_request_is_a_recorded_failure(aftermath: Aftermath, target: str):
    """A request whose head could be read is there, with who is to blame."""
    outcome = aftermath.capture.at(target).outcome
    assert isinstance(outcome, Failure)
    assert outcome.reason in {FailureReason.CLIENT_DISCONNECTED, FailureReason.PROTOCOL_ERROR}


def mutated(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(out) + 1)
        kind = rng.random()
        if kind < 0.4 and place < len(out):
            out[place] = rng.randrange(256)
        elif kind < 0.6:
            del out[place : place + rng.randrange(1, 20)]
        elif kind < 0.8:
            out[place:place] = rng.randbytes(rng.randrange(1, 20))
        else:
            out[place:place] = rng.choice(
                (b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b":", b"chunked", b"\x00", b" " * 9)
            )
        if not out:
            out += b"x"
    return bytes(out)


def test_mutated_requests_and_responses_never_break_the_recorder(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """Hundreds of messages with random damage on both sides: all is accounted for, nothing crashes."""
    rng = random.Random(20)
    good = (
        OK,
        CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n",
    )
    requests = (
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: 1\r\n\r\n",
        b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" + get("/c"),
        b"GET /d HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    )

    def damaged(connection: socket.socket, _source: object) -> None:
        connection.sendall(mutated(rng, rng.choice(good)))

    server = start_server(answers={"/damaged": damaged})
    recorder = start_recorder(server.port)
    for _ in range(200):
        send_raw(recorder.port, mutated(rng, rng.choice(requests)))
        with RawClient(recorder.port) as client, suppress(OSError, ValueError, IndexError):
            client.call(get("/damaged"))
    with RawClient(recorder.port) as client:
        assert client.call(get("/last")).status == 200
    assert recorder.stop() == 0
    assert recorder.stderr.count("An error inside the proxy") == 0
    capture = read_capture(recorder.output)
    assert capture.counters["seen"] == capture.counters["written"] == len(capture.exchanges)
    damaged_ones = [item for item in capture.exchanges if item.request.target == b"/damaged"]
    assert len(damaged_ones) == 200
    assert {type(item.outcome) for item in damaged_ones} == {Failure, Response}
