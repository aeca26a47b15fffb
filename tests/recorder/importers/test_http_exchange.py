from __future__ import annotations

import pytest

from captures.model import Exchange, Failure, FailureReason, Message, MessageKind, Response
from recorder.importers.http_exchange import Body, OpenExchange, Output, request_head, server_address
from recorder.importers.tcp_half import Memory


def output(*, memory_bytes: int = 1000, max_body_bytes: int = 100) -> Output:
    return Output(Memory(memory_bytes), max_body_bytes=max_body_bytes)


def opened(out: Output) -> OpenExchange:
    head = request_head(b"GET", b"/", b"HTTP/1.1", (), server=b"a")
    return OpenExchange(out, connection=out.next_connection(), offset_ns=10, request=head)


def test_body_is_kept_up_to_the_limit() -> None:
    """What is above the limit is counted, and memory is given back."""
    out = output()
    body = Body(out)
    for _ in range(3):
        body.add(b"x" * 40)
    assert (body.stored_bytes, body.truncated_bytes, out.memory.used_bytes) == (100, 20, 100)
    assert body.take() == b"x" * 100
    assert out.memory.used_bytes == 0


def test_body_is_kept_up_to_a_gap() -> None:
    """After a gap nothing more is stored, so that what is stored is a true beginning."""
    body = Body(output())
    body.add(b"abc")
    body.missed(5)
    body.add(b"def")
    assert (body.take(), body.truncated_bytes) == (b"abc", 8)


def test_body_in_pieces_of_any_size() -> None:
    """Tiny pieces are put together, large ones kept, and all come out in order."""
    body = Body(output(memory_bytes=10_000, max_body_bytes=10_000))
    pieces = [b"%d" % at * size for at, size in enumerate((1, 1, 500, 600, 2, 3, 1, 700))]
    for piece in pieces:
        body.add(piece)
    assert body.take() == b"".join(pieces)


def test_bodies_share_their_memory() -> None:
    """Together bodies store no more than the bound on all of them."""
    out = output(memory_bytes=150)
    first, second = Body(out), Body(out)
    first.add(b"x" * 100)
    second.add(b"y" * 100)
    assert (second.stored_bytes, second.truncated_bytes) == (50, 50)


def test_exchange_is_written_once_both_sides_are_done() -> None:
    """A response that is whole before its request waits for it."""
    out = output()
    exchange = opened(out)
    exchange.begin_response(20, 413, b"Too Large", b"HTTP/1.1", ())
    exchange.end_response(30)
    assert out.items == []
    exchange.end_request(40, ((b"X", b"1"),))
    (item,) = out.items
    assert isinstance(item, Exchange)
    assert (item.offset_ns, item.request_end_ns, item.request.trailers) == (10, 40, ((b"X", b"1"),))
    exchange.fail(FailureReason.OTHER, 50, "too late")
    assert len(out.items) == 1


def test_times_never_go_back() -> None:
    """Captures with a clock that was set back give offsets that can be used."""
    out = output()
    exchange = opened(out)
    exchange.end_request(5)
    exchange.begin_response(4, 200, b"OK", b"HTTP/1.1", ())
    exchange.end_response(3)
    (item,) = out.items
    assert isinstance(item, Exchange)
    assert isinstance(item.outcome, Response)
    assert (item.request_end_ns, item.outcome.offset_ns, item.outcome.end_ns) == (10, 10, 10)


def test_abandoned_exchange_is_in_flight() -> None:
    """A request that never came whole, without an outcome, is counted and not written."""
    out = output()
    exchange = opened(out)
    exchange.request_body.add(b"half")
    exchange.abandon()
    exchange.end_request(20)
    exchange.fail(FailureReason.OTHER, 20, "")
    assert (out.items, out.tally.in_flight, out.memory.used_bytes) == ([], 1, 0)


@pytest.mark.parametrize("how", ["end", "fail", "open"])
def test_event_stream(how: str) -> None:
    """Events are messages; the stream ends with END, unless the file ends first."""
    out = output()
    exchange = opened(out)
    exchange.end_request(10)
    exchange.begin_response(20, 200, b"OK", b"HTTP/1.1", ((b"Content-Type", b"Text/Event-Stream; x"),))
    exchange.response_data(b"data: 1\n\ndata: 2", 30)
    exchange.response_missed(7, 35)
    exchange.response_data(b"data: 3", 40)
    if how == "end":
        exchange.end_response(50)
    elif how == "fail":
        exchange.fail(FailureReason.UPSTREAM_RESET, 50, "")
    else:
        exchange.leave_open(50, 0)
    first, *messages = out.items
    assert isinstance(first, Exchange)
    assert isinstance(first.outcome, Response)
    assert first.outcome.stream
    said = [
        (message.payload, message.truncated_bytes) for message in messages if isinstance(message, Message)
    ]
    assert said[:3] == [(b"data: 1\n\n", 0), (b"data: 2", 7), (b"data: 3", 0)]
    ended = [message for message in messages if isinstance(message, Message)][-1].kind is MessageKind.END
    assert ended is (how != "open")


@pytest.mark.parametrize(
    "headers",
    [
        ((b"Content-Type", b"text/event-stream"), (b"Content-Encoding", b"gzip")),
        ((b"Content-Type", b"text/plain"),),
        (),
    ],
)
def test_what_is_no_event_stream(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """Compressed events cannot be told apart and stay a body."""
    out = output()
    exchange = opened(out)
    exchange.end_request(10)
    exchange.begin_response(20, 200, b"OK", b"HTTP/1.1", headers)
    exchange.response_data(b"data: 1\n\n", 30)
    exchange.fail(FailureReason.UPSTREAM_RESET, 40, "cut")
    (item,) = out.items
    assert isinstance(item, Exchange)
    assert item.outcome == Failure(reason=FailureReason.UPSTREAM_RESET, offset_ns=40, detail="cut")
    assert out.memory.used_bytes == 0


@pytest.mark.parametrize(
    ("method", "target", "headers", "wanted"),
    [
        (b"GET", b"/a?b", ((b"HOST", b"h.test:1"),), (b"http", b"h.test:1", b"/a?b")),
        (b"GET", b"/a?b", ((b"Host", b""),), (b"http", b"srv", b"/a?b")),
        (b"GET", b"HTTPS://u:p@h.test?x", ((b"Host", b"other"),), (b"https", b"h.test", b"/?x")),
        (b"CONNECT", b"h.test:443", ((b"Host", b"other"),), (b"http", b"h.test:443", b"/")),
        (b"OPTIONS", b"*", (), (b"http", b"srv", b"*")),
    ],
)
def test_request_head(method: bytes, target: bytes, headers, wanted: tuple[bytes, bytes, bytes]) -> None:
    """The target gets its origin form, and the authority comes from it, from Host or from the server."""
    head = request_head(method, target, b"HTTP/1.1", headers, server=b"srv")
    assert (head.scheme, head.authority, head.target) == wanted
    assert head.headers == headers


def test_server_address() -> None:
    """The server is the other side than the client, without the port that goes without saying."""
    key = bytes([10, 0, 0, 1, 10, 0, 0, 2, 0x9C, 0x40, 0, 80])
    assert server_address(key, 0) == b"10.0.0.2"
    assert server_address(key, 1) == b"10.0.0.1:40000"
    long_key = bytes(15) + b"\x01" + bytes(15) + b"\x02" + bytes([0x9C, 0x40, 0x1F, 0x90])
    assert server_address(long_key, 0) == b"[::2]:8080"
