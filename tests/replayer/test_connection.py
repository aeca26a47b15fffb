"""One connection: every way in which an exchange can end, over real sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from captures.model import Exchange
from replayer.replay import Replayed
from replayer.results import NEVER_NS, Outcome

Make = Callable[..., Exchange]
Send = Callable[..., Replayed]
Serve = Callable[..., Any]


def outcomes(replayed: Replayed) -> list[tuple[str, int, int]]:
    rows = replayed.run.rows
    return [
        (Outcome(outcome).name, status, size)
        for outcome, status, size in zip(
            rows.outcome.tolist(), rows.status.tolist(), rows.response_bytes.tolist(), strict=True
        )
    ]


@pytest.mark.parametrize(
    ("parts", "status", "body_bytes"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"], 200, 5),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\nX-T: 1\r\n\r\n"],
            200,
            3,
        ),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, 0),
        ([b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"], 304, 0),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx"], 201, 1),
        (
            [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"],
            500,
            0,
        ),
        ([bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], 200, 2),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", b"x" * 200_000], 200, 200_000),
    ],
)
def test_whole_responses_complete_and_keep_the_connection(
    exchange: Make, send: Send, serve: Serve, answer: Any, parts: list[bytes], status: int, body_bytes: int
) -> None:
    """Status and body size are those of the final response, and the connection is used again."""
    server = serve(lambda _seen: answer(parts))
    replayed = send([exchange(0), exchange(1, offset_ns=120_000_000)], server.url)
    assert outcomes(replayed) == [("COMPLETED", status, body_bytes)] * 2
    assert {one.connection for one in server.seen if one.request.target} == {server.seen[0].connection}
    rows = replayed.run.rows
    assert (rows.due_ns <= rows.sent_ns).all()
    assert (rows.sent_ns <= rows.first_byte_ns).all()
    assert (rows.first_byte_ns <= rows.done_ns).all()


def test_head_responses_have_no_body(exchange: Make, send: Send, serve: Serve, answer: Any) -> None:
    """A HEAD answer with a length completes at its head and leaves the connection usable."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"
    server = serve(lambda seen: answer([head]) if seen.request.method == b"HEAD" else answer())
    exchanges = [
        exchange(0, method=b"HEAD"),
        exchange(1, offset_ns=120_000_000),
        exchange(2, offset_ns=240_000_000, method=b"HEAD"),
    ]
    replayed = send(exchanges, server.url)
    assert outcomes(replayed) == [("COMPLETED", 200, 0), ("COMPLETED", 200, 2), ("COMPLETED", 200, 0)]
    assert len({one.connection for one in server.seen}) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nX: content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ],
)
def test_a_body_may_end_with_the_connection(
    exchange: Make, send: Send, serve: Serve, answer: Any, head: bytes
) -> None:
    """Without a length the end of the connection completes the response, whatever the body looks like."""
    body = b"some\r\nContent-Length: 5\r\n\r\nbody"
    server = serve(lambda _seen: answer([head + body], close=True))
    assert outcomes(send([exchange(0)], server.url)) == [("COMPLETED", 200, len(body))]


@pytest.mark.parametrize(
    ("parts", "outcome"),
    [
        ([], "RESET"),
        ([b"HTTP/1.1 200 OK\r\nContent-"], "RESET"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"], "RESET"),
        ([b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nabc"], "RESET"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"], "RESET"),
        ([b"this is not HTTP at all\r\n\r\n"], "BAD_RESPONSE"),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n"], "BAD_RESPONSE"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"a" * 2_000_000], "BAD_RESPONSE"),
    ],
)
def test_broken_responses_are_failures_with_a_reason(
    exchange: Make, send: Send, serve: Serve, answer: Any, parts: list[bytes], outcome: str
) -> None:
    """A response that is cut or not HTTP has no status and is never a completed one."""
    server = serve(lambda _seen: answer(parts, close=True))
    replayed = send([exchange(0)], server.url)
    assert outcomes(replayed) == [(outcome, 0, 0)]
    assert replayed.run.rows.sent_ns[0] != NEVER_NS


def test_bytes_behind_a_response_cost_the_connection_only(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """The response counts; what follows unasked closes the connection, and the next request takes another."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    for extra in (whole, b"garbage", b"HTTP/1.1 20"):
        server = serve(lambda _seen, extra=extra: answer([whole + extra]))
        replayed = send([exchange(0), exchange(1, offset_ns=60_000_000)], server.url)
        assert outcomes(replayed) == [("COMPLETED", 200, 2)] * 2
        assert len({one.connection for one in server.seen}) == 2


def test_an_upgrade_nobody_asked_for_completes_and_closes(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """101 is a final response here."""
    reply = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n\x00\x01"
    server = serve(lambda _seen: answer([reply]))
    assert outcomes(send([exchange(0)], server.url)) == [("COMPLETED", 101, 0)]


def test_an_answer_before_the_request_was_read_costs_the_connection(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """A large request that is refused early completes with the refusal."""
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def refuse() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            accepted.append(client)
            threading.Thread(target=early, args=(client,), daemon=True).start()

    def early(client: socket.socket) -> None:
        if client.recv(100):
            client.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    try:
        large = exchange(0, method=b"POST", body=b"x" * 20_000_000)
        replayed = send([large], f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert outcomes(replayed) == [("COMPLETED", 413, 0)]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for client in accepted:
            client.close()
        thread.join(5)


def test_a_silent_target_is_a_timeout(exchange: Make, send: Send, serve: Serve, answer: Any) -> None:
    """No byte, and a response that never ends, are given up after the timeout."""
    server = serve(
        lambda seen: answer(
            [] if seen.request.target == b"/0" else [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"]
        )
    )
    exchanges = [exchange(number, target=b"/%d" % number, connection=number) for number in range(2)]
    replayed = send(exchanges, server.url, timeout_s=0.2)
    assert outcomes(replayed) == [("TIMEOUT", 0, 0)] * 2
    rows = replayed.run.rows
    assert ((rows.done_ns - rows.sent_ns) >= 200_000_000).all()
