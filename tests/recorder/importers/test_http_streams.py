from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from captures.model import Exchange, Message, MessageKind, Response
from recorder.importers.http_exchange import Output
from recorder.importers.http_streams import HttpStream
from recorder.importers.tcp_half import Memory

KEY = bytes([10, 0, 0, 1, 10, 0, 0, 2, 0x9C, 0x40, 0x1F, 0x90])
ASK = b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPGRADE = b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def stream(opener: int | None = 0) -> tuple[HttpStream, Output]:
    output = Output(Memory(1 << 20))
    return HttpStream(KEY, opener, output), output


def exchanges(output: Output) -> list[Exchange]:
    return [item for item in output.items if isinstance(item, Exchange)]


def test_client_by_content() -> None:
    """When the opening was not seen, the side that asks is the client, whichever speaks first."""
    for first, second in ((ASK, ANSWER), (ANSWER, ASK)):
        connection, output = stream(None)
        client = 0 if first is ASK else 1
        connection.data(0, 1, first, 0, 0)
        connection.data(1, 2, second, 0, 0)
        connection.data(client, 3, ASK, 100, 100)
        connection.data(1 - client, 4, ANSWER, 100, 200)
        connection.finish(5)
        assert len(exchanges(output)) == (2 if client == 0 else 1) or output.tally.dropped == 1
        authority = b"10.0.0.2:8080" if client == 0 else b"10.0.0.1:40000"
        assert {exchange.request.authority for exchange in exchanges(output)} == {authority}


def test_number_is_given_with_the_first_request() -> None:
    """Connections without a request get no number."""
    output = Output(Memory(1 << 20))
    for asks in (False, True, False, True):
        connection = HttpStream(KEY, 0, output)
        if asks:
            connection.data(0, 1, ASK, 0, 0)
            connection.data(1, 2, ANSWER, 0, 0)
        connection.finish(3)
    assert [exchange.connection for exchange in exchanges(output)] == [0, 1]


def test_preface_in_single_bytes() -> None:
    """HTTP/2 and methods that begin like its preface are told apart from the first bytes."""
    connection, output = stream()
    for at in range(len(ASK)):
        connection.data(0, at, ASK[at : at + 1], at, 0)
    connection.data(1, 90, ANSWER, 0, 0)
    connection.finish(99)
    (exchange,) = exchanges(output)
    assert (exchange.offset_ns, exchange.request_end_ns) == (0, len(ASK) - 1)
    connection, output = stream()
    for at in range(len(PREFACE)):
        connection.data(0, at, PREFACE[at : at + 1], at, 0)
    connection.finish(99)
    assert (output.items, output.tally.remarks) == ([], {})


def test_websocket_ends_with_both_sides() -> None:
    """END comes when both sides have ended, at a reset, and not when only the file ends."""
    for how, ended in (("both", True), ("reset", True), ("one", True), ("none", False)):
        connection, output = stream()
        connection.data(0, 1, UPGRADE, 0, 0)
        connection.data(1, 2, SWITCHED + b"\x81\x02hi", 0, 0)
        if how == "reset":
            connection.end(1, 3, reset=True)
        if how in {"both", "one"}:
            connection.end(0, 3, reset=False)
            connection.data(1, 4, b"\x81\x03bye", 0, 0)
        if how == "both":
            connection.end(1, 5, reset=False)
        connection.finish(6)
        messages = [item for item in output.items if isinstance(item, Message)]
        assert messages[0].payload == b"hi"
        assert (messages[-1].kind is MessageKind.END) is ended
        assert sum(message.kind is MessageKind.END for message in messages) == ended


def test_bytes_after_the_end_are_nothing() -> None:
    """A finished stream takes anything and does nothing."""
    connection, output = stream()
    connection.finish(1)
    connection.data(0, 2, ASK, 0, 0)
    connection.gap(1, 3, 5)
    connection.end(0, 4, reset=False)
    connection.finish(5)
    assert output.items == []


@given(
    st.one_of(st.none(), st.integers(0, 1)),
    st.lists(
        st.tuples(
            st.sampled_from(["data", "data", "data", "gap", "end", "reset"]),
            st.integers(0, 1),
            st.one_of(
                st.binary(min_size=1, max_size=40),
                st.sampled_from([ASK, ANSWER, UPGRADE, SWITCHED, PREFACE, ASK[:30], ANSWER[:-1], b"\r\n"]),
            ),
        ),
        max_size=25,
    ),
)
def test_anything_in_any_order(opener: int | None, events: list[tuple[str, int, bytes]]) -> None:
    """Whatever a connection does, nothing breaks, each request is accounted for and no memory is kept."""
    connection, output = stream(opener)
    positions = [0, 0]
    for time_ns, (kind, side, data) in enumerate(events):
        if kind == "data":
            connection.data(side, time_ns, data, positions[side], positions[1 - side])
        elif kind == "gap":
            connection.gap(side, time_ns, len(data))
        else:
            connection.end(side, time_ns, reset=kind == "reset")
        positions[side] += len(data)
    connection.finish(99)
    assert output.memory.used_bytes == 0
    seqs = [exchange.seq for exchange in exchanges(output)]
    assert len(set(seqs)) == len(seqs)
    assert len(seqs) + output.tally.in_flight >= output.next_seq()
    open_streams = {
        exchange.seq
        for exchange in exchanges(output)
        if isinstance(exchange.outcome, Response) and exchange.outcome.stream
    }
    assert {item.exchange for item in output.items if isinstance(item, Message)} <= open_streams
