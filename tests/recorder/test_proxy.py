"""One recording of many kinds of HTTP/1.1 traffic; each test looks at one kind of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import wsproto
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from captures.model import Exchange, Failure, FailureReason, Message, MessageKind, Response
from tests.recorder.support import (
    Answer,
    Capture,
    RawClient,
    RawServer,
    Recorder,
    header_values,
    raw_pairs,
    read_capture,
)

MAX_BODY_BYTES = 300_000
BIG = bytes(range(256)) * 2000  # 512,000 bytes
ZIPPED = gzip.compress(b'{"ok":true}' * 50, mtime=0)
EVENTS = [b"event: log\ndata: one\n\n", b": ping\n\n", b"id: 3\r\ndata: three\r\n\r\n"]
FRAMES = ["héllo", b"\x00\xff" * 10, "x" * 70_000]


@dataclass
class Traffic:
    """What was sent, what was seen, what was answered, what was recorded."""

    sent: dict[str, bytes]
    answers: dict[str, Answer]
    server: RawServer
    capture: Capture
    account: dict[str, object]
    exit_code: int
    stderr: str

    def response(self, target: str) -> tuple[Exchange, Response]:
        """The recorded exchange for a target, and its response."""
        exchange = self.capture.at(target)
        assert isinstance(exchange.outcome, Response)
        return exchange, exchange.outcome

    def failure(self, target: str) -> Failure:
        """The recorded failure for a target."""
        outcome = self.capture.at(target).outcome
        assert isinstance(outcome, Failure)
        return outcome

    def messages(self, target: str) -> list[Message]:
        """The messages of a target's exchange."""
        seq = self.capture.at(target).seq
        return [message for message in self.capture.messages if message.exchange == seq]


def ok(body: bytes = b"ok", *headers: bytes) -> bytes:
    head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def post(target: str, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST %s HTTP/1.1" % target.encode(), b"Host: h", *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(target: str, *headers: bytes, method: bytes = b"GET") -> bytes:
    return b"\r\n".join([b"%s %s HTTP/1.1" % (method, target.encode()), b"Host: h", *headers]) + b"\r\n\r\n"


def serve_websocket(connection: socket.socket, _source: object) -> None:
    """Echoes messages until the client closes; the request was read already."""
    server = wsproto.Connection(wsproto.ConnectionType.SERVER)
    while data := connection.recv(65536):
        server.receive_data(data)
        for event in server.events():
            if isinstance(event, CloseConnection):
                connection.sendall(server.send(event.response()))
                return
            connection.sendall(server.send(event))


def accept_websocket(connection: socket.socket, source: object) -> None:
    key = b"dGhlIHNhbXBsZSBub25jZQ=="
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    serve_websocket(connection, source)


def talk_websocket(port: int) -> list[str | bytes]:
    """Sends FRAMES over /socket; what came back."""
    upgrade = (b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13")
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    got: list[str | bytes] = []
    with RawClient(port) as client:
        assert client.call(get("/socket", *upgrade, key)).status == 101
        peer = wsproto.Connection(wsproto.ConnectionType.CLIENT)
        for frame in FRAMES:
            event = TextMessage(frame) if isinstance(frame, str) else BytesMessage(frame)
            client.socket.sendall(peer.send(event))
            parts: list[str | bytes] = []
            whole = False
            while not whole:
                peer.receive_data(client.socket.recv(65536))
                for event in peer.events():
                    parts.append(event.data)
                    whole = whole or event.message_finished
            got.append(parts[0][:0].join(parts))
        client.socket.sendall(peer.send(CloseConnection(1000)))
        while client.socket.recv(65536):
            pass
    return got


REQUESTS: dict[str, bytes] = {
    "/plain?a=%2F&b=c+d&b=%c3%a9": get(
        "/plain?a=%2F&b=c+d&b=%c3%a9",
        b"X-oDD-Case: one",
        b"Accept: */*",
        b"x-odd-case: two",
        b"X-Latin: caf\xe9",
        b"X-Utf8: caf\xc3\xa9",
        b"X-Empty: ",
    ),
    "/head": get("/head", method=b"HEAD"),
    "/none": get("/none", method=b"DELETE"),
    "/unchanged": get("/unchanged", b'If-None-Match: "v1"'),
    "/expect": post("/expect", b"after the 100", b"Expect: 100-continue"),
    "/chunked-up": b"POST /chunked-up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n7;ext=1\r\n, world\r\n0\r\n\r\n",
    "/chunked-down": get("/chunked-down"),
    "/gzip": post("/gzip", ZIPPED, b"Content-Encoding: gzip"),
    "/big-up": post("/big-up", BIG),
    "/big-down": get("/big-down"),
    "/middle": post("/middle", BIG[:MAX_BODY_BYTES]),
    "/binary": post("/binary", bytes(range(256))),
    "/events": get("/events", b"Accept: text/event-stream"),
    "/reason": get("/reason"),
}
FAILING: dict[str, bytes] = {
    "/reset": get("/reset"),
    "/closed": get("/closed"),
    "/cut": get("/cut"),
    "/garbage": get("/garbage"),
}


def answers(aborted: threading.Event) -> dict[str, object]:
    def wait_for_abort(_connection: socket.socket, _source: object) -> None:
        aborted.wait(20)

    return {
        "/head": (b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n",),
        "/none": (b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",),
        "/unchanged": (b'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\n\r\n',),
        "/chunked-down": (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"3\r\nabc\r\n",
            b"4\r\ndefg\r\n0\r\n\r\n",
        ),
        "/gzip": (ok(ZIPPED, b"Content-Encoding: gzip", b"set-cookie: a=1", b"Set-Cookie: b=2"),),
        "/big-down": (ok(BIG),),
        "/binary": (ok(bytes(range(256))),),
        "/events": (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n",
            *EVENTS,
            b"data: unfinished",
            None,
        ),
        "/reason": (b"HTTP/1.1 299 Fine By Me!\r\nContent-Length: 0\r\n\r\n",),
        "/until-end": (b"HTTP/1.1 200 OK\r\n\r\n", b"as long as it lasts", None),
        "/reset": ("reset",),
        "/closed": (None,),
        "/cut": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", None),
        "/garbage": (b"220 smtp.example ESMTP\r\n\r\n", None),
        "/abort": wait_for_abort,
        "/socket": accept_websocket,
    }


def send_all(port: int, aborted: threading.Event) -> dict[str, Answer]:
    got: dict[str, Answer] = {}
    with RawClient(port) as client:
        for target, request in REQUESTS.items():
            if target == "/expect":
                head, _, body = request.partition(b"\r\n\r\n")
                client.socket.sendall(head + b"\r\n\r\n")
                assert client.answer().status == 100
                client.socket.sendall(body)
                got[target] = client.answer()
            else:
                got[target] = client.call(request)
            if target == "/events":
                break
    for target in ("/until-end", "/reason", *FAILING):
        with RawClient(port) as client:
            got[target] = client.call(get(target))
    with RawClient(port) as client:
        client.socket.sendall(get("/abort"))
    with RawClient(port) as client:
        client.socket.sendall(post("/half", b"x" * 100)[:-50])
    return got


@pytest.fixture(scope="module")
def traffic(start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]) -> Traffic:
    aborted = threading.Event()
    server = start_server(answers=answers(aborted))
    recorder = start_recorder(server.port, "--max-body", str(MAX_BODY_BYTES))
    got = send_all(recorder.port, aborted)
    frames = talk_websocket(recorder.port)
    assert frames == FRAMES
    exit_code = recorder.stop()
    aborted.set()
    return Traffic(
        sent=REQUESTS,
        answers=got,
        server=server,
        capture=read_capture(recorder.output),
        account=recorder.account,
        exit_code=exit_code,
        stderr=recorder.stderr,
    )


def test_the_account_is_exact(traffic: Traffic):
    """Every request that was sent is in the file once, and the numbers say so."""
    sent = len(REQUESTS) + len(FAILING) + len(("/until-end", "/abort", "/half", "/socket"))
    assert traffic.exit_code == 0
    assert traffic.capture.counters == {
        "seen": sent,
        "written": sent,
        "sampled_out": 0,
        "truncated": 3,
        "dropped": 0,
        "in_flight": 0,
    }
    assert {name: traffic.account[name] for name in traffic.capture.counters} == traffic.capture.counters
    assert len(traffic.capture.exchanges) == sent
    assert traffic.capture.complete
    assert traffic.capture.problems == ()
    assert sorted(item.seq for item in traffic.capture.exchanges) == list(range(sent))


def test_what_the_server_sees_is_what_the_client_sent(traffic: Traffic):
    """Heads reach the server byte for byte; only Expect and chunk boundaries are the proxy's own."""
    for target, request in REQUESTS.items():
        head = request.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        assert traffic.server.at(target).head == head.replace(b"Expect: 100-continue\r\n", b"")
    assert traffic.server.at("/chunked-up").body == b"hello, world"
    assert traffic.server.at("/big-up").body == BIG


def test_request_headers_are_kept_as_sent(traffic: Traffic):
    """Order, case, duplicates, non-ASCII bytes and the query's escapes are in the capture."""
    for target in REQUESTS:
        request = traffic.capture.at(target).request
        assert request.headers == raw_pairs(traffic.server.at(target).head)
        assert (request.scheme, request.authority, request.http_version) == (b"http", b"h", b"HTTP/1.1")


def test_response_heads_are_kept_as_sent(traffic: Traffic):
    """Status, reason phrase, header order, case and duplicates are what the client got."""
    for target in REQUESTS:
        _, response = traffic.response(target)
        answer = traffic.answers[target]
        assert response.status == answer.status
        assert response.headers == raw_pairs(answer.head)
    assert traffic.response("/reason")[1].reason == b"Fine By Me!"
    cookies = [value for name, value in traffic.response("/gzip")[1].headers if name.lower() == b"set-cookie"]
    assert cookies == [b"a=1", b"b=2"]


def test_bodies_keep_their_content_coding_and_lose_the_transfer_coding(traffic: Traffic):
    """Compressed, binary and chunked bodies are stored as the application sees them on the wire."""
    gzipped, answer = traffic.response("/gzip")
    assert (gzipped.request.body, answer.body) == (ZIPPED, ZIPPED)
    assert traffic.response("/chunked-up")[0].request.body == b"hello, world"
    assert traffic.response("/chunked-down")[1].body == b"abcdefg" == traffic.answers["/chunked-down"].body
    assert traffic.response("/until-end")[1].body == b"as long as it lasts"
    binary, answer = traffic.response("/binary")
    assert binary.request.body == answer.body == bytes(range(256))


def test_responses_without_a_body(traffic: Traffic):
    """HEAD, 204 and 304 have a head and no body, whatever Content-Length says."""
    for target, status in (("/head", 200), ("/none", 204), ("/unchanged", 304)):
        _, response = traffic.response(target)
        assert (response.status, response.body, response.truncated_bytes) == (status, b"", 0)
    assert header_values(traffic.answers["/head"].head, b"content-length") == [b"1234"]


def test_an_expected_100_is_answered_and_the_header_is_not_stored(traffic: Traffic):
    """Expect: 100-continue is the proxy's affair; the body and the final answer are recorded."""
    exchange, response = traffic.response("/expect")
    assert exchange.request.body == b"after the 100"
    assert response.status == 200


def test_bodies_above_the_limit_pass_whole_and_are_stored_cut(traffic: Traffic):
    """The peers see every byte, the capture holds the beginning and how much is missing."""
    up = traffic.response("/big-up")[0].request
    down = traffic.response("/big-down")[1]
    assert traffic.answers["/big-down"].body == BIG
    for stored in (up, down):
        assert stored.body == BIG[:MAX_BODY_BYTES]
        assert stored.truncated_bytes == len(BIG) - MAX_BODY_BYTES
    half = traffic.capture.at("/half").request  # its client left before it had sent all
    assert len(half.body) + half.truncated_bytes == 100
    whole = traffic.response("/middle")[0].request
    assert (whole.body, whole.truncated_bytes) == (BIG[:MAX_BODY_BYTES], 0)


def test_keep_alive_connections_are_told_apart(traffic: Traffic):
    """Requests on one client connection share a number, which counts up from 0."""
    numbers = [traffic.capture.at(target).connection for target in REQUESTS if target != "/reason"]
    assert set(numbers) == {0}
    others = [traffic.capture.at(target).connection for target in ("/reason", *FAILING, "/until-end")]
    assert len(set(others)) == len(others)
    assert traffic.account["connections"] == max(item.connection for item in traffic.capture.exchanges) + 1


def test_times_are_in_order(traffic: Traffic):
    """Request begins, request ends, response begins, response ends: one clock, never backwards."""
    for exchange in traffic.capture.exchanges:
        assert 0 <= exchange.offset_ns <= exchange.request_end_ns
        if isinstance(exchange.outcome, Response):
            assert exchange.offset_ns <= exchange.outcome.offset_ns
            assert exchange.outcome.end_ns is not None
            assert exchange.outcome.offset_ns <= exchange.outcome.end_ns
    offsets = [item.offset_ns for item in traffic.capture.exchanges]
    assert offsets == sorted(offsets)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/reset", FailureReason.UPSTREAM_RESET),
        ("/closed", FailureReason.UPSTREAM_RESET),
        ("/cut", FailureReason.UPSTREAM_RESET),
        ("/garbage", FailureReason.PROTOCOL_ERROR),
        ("/abort", FailureReason.CLIENT_DISCONNECTED),
        ("/half", FailureReason.CLIENT_DISCONNECTED),
    ],
)
def test_failures_have_their_reason(traffic: Traffic, target: str, reason: FailureReason):
    """Who ended an exchange without a whole response is recorded, and no traffic in the detail."""
    failure = traffic.failure(target)
    assert failure.reason is reason
    assert "smtp" not in failure.detail


def test_events_are_messages_as_they_come(traffic: Traffic):
    """An SSE stream is an exchange without a body, a message for each event, and its end."""
    _, response = traffic.response("/events")
    assert response.stream
    assert response.body == b""
    messages = traffic.messages("/events")
    assert [message.payload for message in messages] == [*EVENTS, b"data: unfinished", b""]
    assert [message.kind for message in messages] == [MessageKind.EVENT] * 4 + [MessageKind.END]
    assert response.end_ns == messages[-1].offset_ns
    assert traffic.answers["/events"].body == b"".join(EVENTS) + b"data: unfinished"


def test_websocket_messages_are_kept_in_both_directions(traffic: Traffic):
    """Text and binary messages of both sides are rows of the exchange that upgraded."""
    _, response = traffic.response("/socket")
    assert (response.status, response.stream) == (101, True)
    messages = traffic.messages("/socket")
    payloads = [frame.encode() if isinstance(frame, str) else frame for frame in FRAMES]
    assert [m.payload for m in messages if m.from_client] == payloads
    assert [m.payload for m in messages if not m.from_client] == [*payloads, b""]
    kinds = [m.kind for m in messages if m.from_client]
    assert kinds == [MessageKind.TEXT, MessageKind.BINARY, MessageKind.TEXT]


def test_notes_hold_no_traffic(traffic: Traffic):
    """What the user is told names no address, header or body."""
    assert len(traffic.stderr.splitlines()) <= 2
    assert "smtp" not in traffic.stderr
    assert "Traceback" not in traffic.stderr
