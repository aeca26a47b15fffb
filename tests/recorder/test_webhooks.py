"""Real GitHub webhooks, signed, through the recorder to a live server."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from captures.model import Response
from tests.recorder.support import RawClient, RawServer, Recorder, raw_pairs, read_capture

SECRET = b"It's a Secret to Everybody"
CLIENTS = 4


def signed(number: int, event: str, body: bytes) -> bytes:
    """One delivery as GitHub's hook sender writes it, with a few odd headers more."""
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    lines = [
        b"POST /api/hooks/github?delivery=%d HTTP/1.1" % number,
        b"Host: hooks.example:8443",
        b"User-Agent: GitHub-Hookshot/0d1b2c3",
        b"Accept: */*",
        b"Content-Type: application/json",
        b"X-GitHub-Event: " + event.encode(),
        b"x-github-delivery: 72d3162e-cc78-11e3-81ab-%012d" % number,
        b"X-Hub-Signature-256: sha256=" + signature.encode(),
        b"X-DUPLICATE: first",
        b"x-duplicate: second",
        b"X-Raw: \xe2\x82\xac \xff",
        b"Content-Length: %d" % len(body),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_every_webhook_is_recorded_as_it_was_signed(
    start_recorder: Callable[..., Recorder],
    start_server: Callable[..., RawServer],
    webhooks: list[tuple[str, bytes]],
):
    """The server sees exactly the bytes sent, the capture holds them, and each signature still fits."""
    server = start_server(default=(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}",))
    recorder = start_recorder(server.port)
    sent = [signed(number, event, body) for number, (event, body) in enumerate(webhooks)]
    clients = [RawClient(recorder.port) for _ in range(CLIENTS)]
    for number, request in enumerate(sent):
        assert clients[number % CLIENTS].call(request).status == 202
    for client in clients:
        client.close()
    assert recorder.stop() == 0

    assert len(sent) == len(webhooks) >= 329
    assert {item.head + item.body for item in server.seen} == set(sent)
    assert len(server.seen) == len(sent)

    capture = read_capture(recorder.output)
    assert capture.counters["written"] == capture.counters["seen"] == len(sent)
    assert {item.connection for item in capture.exchanges} == set(range(CLIENTS))
    for number, (exchange, request) in enumerate(zip(capture.exchanges, sent, strict=True)):
        head, _, body = request.partition(b"\r\n\r\n")
        assert exchange.request.target == b"/api/hooks/github?delivery=%d" % number
        assert exchange.request.headers == raw_pairs(head + b"\r\n\r\n")
        assert exchange.request.body == body
        signature = dict(exchange.request.headers)[b"X-Hub-Signature-256"].decode()
        assert signature == "sha256=" + hmac.new(SECRET, exchange.request.body, hashlib.sha256).hexdigest()
        assert exchange.connection == number % CLIENTS
        assert isinstance(exchange.outcome, Response)
        assert (exchange.outcome.status, exchange.outcome.body) == (202, b"{}")
