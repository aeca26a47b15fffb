from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mitmproxy import flow, http, websocket
from mitmproxy.test import tflow
from wsproto.frame_protocol import Opcode

from captures.errors import CaptureError
from captures.model import Failure, FailureReason, MessageKind
from recorder.importers.tnet import DamagedStretch, FrameReader, find
from recorder.mitm_io import FlowWriter, tnetstring


def make_flow(
    path: str = "/a", *, start: float = 1000.0, response: bool = True, client: Any = None
) -> http.HTTPFlow:
    made = tflow.tflow(resp=response, client_conn=client)
    made.request.path = path
    made.request.timestamp_start, made.request.timestamp_end = start, start + 0.5
    if made.response is not None:
        made.response.timestamp_start, made.response.timestamp_end = start + 1, start + 2
    return made


def written(*flows: Any) -> bytes:
    file = io.BytesIO()
    writer = FlowWriter(file)
    for one in flows:
        writer.add(one)
    return file.getvalue()


def test_flows_come_in_the_order_of_their_requests(take: Callable[..., Any]) -> None:
    """Flows stand in a file as they completed; the capture has them as they were sent."""
    result = take(written(make_flow("/late", start=1005.0), make_flow("/early", start=1001.25)))
    assert [exchange.request.target for exchange in result.exchanges] == [b"/early", b"/late"]
    assert [exchange.seq for exchange in result.exchanges] == [0, 1]
    assert result.header.started_wall_ns == 1_001_250_000_000
    early = result.exchanges[0]
    assert early.request_end_ns == 500_000_000
    assert (early.outcome.offset_ns, early.outcome.end_ns) == (1_000_000_000, 2_000_000_000)


def test_everything_of_a_message_is_kept(take: Callable[..., Any]) -> None:
    """Header order, case and duplicates, reason, trailers and raw bodies are those of the flow."""
    made = make_flow()
    made.request.headers = http.Headers([(b"X-b", b"1"), (b"host", b"h.example:81"), (b"X-B", b"\xff")])
    made.response.headers = http.Headers([(b"Content-Encoding", b"gzip"), (b"A", b"")])
    made.response.raw_content = b"\x1f\x8bnot really"
    made.response.reason = "Fine"
    made.response.trailers = http.Headers([(b"grpc-status", b"0")])
    [exchange] = take(written(made)).exchanges
    assert exchange.request.headers == ((b"X-b", b"1"), (b"host", b"h.example:81"), (b"X-B", b"\xff"))
    assert exchange.request.authority == (made.request.data.authority or b"h.example:81")
    assert exchange.outcome.headers == ((b"Content-Encoding", b"gzip"), (b"A", b""))
    assert exchange.outcome.body == b"\x1f\x8bnot really"
    assert exchange.outcome.reason == b"Fine"
    assert exchange.outcome.trailers == ((b"grpc-status", b"0"),)


@pytest.mark.parametrize("start", [-(2.0**31), 2.0**33, float("inf"), float("nan")])
def test_a_time_that_cannot_be_is_made_up(take: Callable[..., Any], start: float) -> None:
    """A flow of another century keeps its place, and no other flow's offset counts from there."""
    result = take(written(make_flow("/a"), make_flow("/b", start=start)))
    assert [exchange.request.target for exchange in result.exchanges] == [b"/a", b"/b"]
    assert result.header.started_wall_ns == 1_000_000_000_000
    assert result.exchanges[1].offset_ns == 1_000_000
    assert result.remarks == {"flow without a time, its offset is made up": 1}


@pytest.mark.parametrize("stated", [float("inf"), float("nan"), -(10**30), 10**30, 1.5, "text"])
def test_a_start_that_cannot_be_is_no_start(take: Callable[..., Any], stated: Any) -> None:
    """What a flow says of the capture it came from is used only where it is a time."""
    made = make_flow()
    made.metadata["hookreel"] = {"started_wall_ns": stated}
    result = take(written(made))
    assert result.header.started_wall_ns == 1_000_000_000_000
    assert len(result.exchanges) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(metadata=5),
        lambda state: state.update(error=[]),
        lambda state: state["websocket"]["messages"].append([1, 7, b"a", 5.0, False, False]),
        lambda state: state["websocket"]["messages"].append([1, True, "a", 5.0, False, False]),
        lambda state: state["websocket"]["messages"].append([1, True, 10**30, 5.0, False, False]),
    ],
    ids=["metadata", "error", "side", "text", "number"],
)
def test_a_flow_with_a_value_of_another_type_costs_only_itself(
    take: Callable[..., Any], change: Callable[[dict[str, Any]], object]
) -> None:
    """What mitmproxy does not look at is looked at, before it makes a capture that does not open."""
    odd = tflow.twebsocketflow().get_state()
    odd["websocket"]["messages"] = list(odd["websocket"]["messages"])
    change(odd)
    result = take(written(make_flow()) + tnetstring.dumps(odd))
    assert len(result.exchanges) == 1
    assert result.messages == []
    assert result.remarks == {"flow that mitmproxy cannot read": 1}


def test_connections_are_the_clients(take: Callable[..., Any]) -> None:
    """Flows of one client connection are exchanges of one connection."""
    client = tflow.tclient_conn()
    other = tflow.tclient_conn()
    other.id = "another"
    flows = [make_flow(start=1000.0 + n, client=conn) for n, conn in enumerate((client, other, client))]
    assert [exchange.connection for exchange in take(written(*flows)).exchanges] == [0, 1, 0]


def test_errors_become_failures(take: Callable[..., Any]) -> None:
    """A flow with an error, or without a response, is a failure with its reason, without the error's text."""
    failed = make_flow("/f", start=1.0, response=False)
    failed.error = flow.Error("server closed connection secret", 3.0)
    open_ended = make_flow("/o", start=2.0, response=False)
    result = take(written(failed, open_ended))
    first, second = (exchange.outcome for exchange in result.exchanges)
    assert first == Failure(reason=FailureReason.UPSTREAM_RESET, offset_ns=2_000_000_000)
    assert isinstance(second, Failure)
    assert result.remarks["flow without a response, kept as a failure"] == 1


def test_websocket_flow(take: Callable[..., Any]) -> None:
    """WebSocket messages keep direction, kind, bytes and times; the end of the socket closes the stream."""
    made = tflow.twebsocketflow()
    made.request.timestamp_start = made.request.timestamp_end = 1000.0
    made.response.timestamp_start = made.response.timestamp_end = 1001.0
    made.websocket.messages = [
        websocket.WebSocketMessage(Opcode.TEXT, True, "é".encode(), 1002.0),
        websocket.WebSocketMessage(Opcode.BINARY, False, b"\xff\x00", 1003.0),
    ]
    made.websocket.timestamp_end = 1004.0
    result = take(written(made))
    [exchange] = result.exchanges
    text, binary, end = result.messages
    assert (text.from_client, text.kind, text.payload, text.offset_ns) == (
        True, MessageKind.TEXT, "é".encode(), 2_000_000_000,
    )  # fmt: skip
    assert (binary.from_client, binary.kind, binary.payload) == (False, MessageKind.BINARY, b"\xff\x00")
    assert end.kind is MessageKind.END
    assert (exchange.outcome.stream, exchange.outcome.end_ns) == (True, 4_000_000_000)


def test_other_flows_are_left_out_and_counted(take: Callable[..., Any]) -> None:
    """TCP, UDP and DNS flows are no exchanges; a note counts them."""
    result = take(written(tflow.ttcpflow(), make_flow(), tflow.tdnsflow(), tflow.tudpflow()))
    assert len(result.exchanges) == 1
    assert result.remarks["flow that is not HTTP, left out"] == 3
    assert result.counters.dropped == 0


def test_body_that_was_streamed_is_marked(take: Callable[..., Any]) -> None:
    """A body that mitmproxy did not keep counts as truncated, by its declared length."""
    made = make_flow()
    made.response.raw_content = None
    made.response.headers["content-length"] = "77"
    result = take(written(made))
    assert result.exchanges[0].outcome.truncated_bytes == 77
    assert result.counters.truncated == 1


def old_flow() -> bytes:
    """A flow as format version 4 (mitmproxy 3) has it."""
    message = {
        "http_version": b"HTTP/1.1", "headers": ((b"Host", b"old.example"),), "content": b"hi",
        "timestamp_start": 946681200.0, "timestamp_end": 946681201.0, "is_replay": False,
    }  # fmt: skip
    connection = {
        "address": ("127.0.0.1", 1), "ssl_established": False, "timestamp_start": 946681199.0,
        "timestamp_end": None, "timestamp_ssl_setup": None, "sni": None, "tls_version": None,
        "alpn_proto_negotiated": None,
    }  # fmt: skip
    state = {
        "version": 4, "type": "http", "id": "1", "error": None, "intercepted": False, "marked": False,
        "mode": "regular", "metadata": {},
        "client_conn": {**connection, "mitmcert": None, "cipher_name": None, "clientcert": None},
        "server_conn": {
            **connection, "ip_address": ("192.0.2.1", 80), "source_address": ("127.0.0.1", 2), "cert": None,
            "via": None, "timestamp_tcp_setup": 1.0,
        },
        "request": {
            **message, "method": b"GET", "scheme": b"http", "host": b"old.example", "port": 80,
            "path": b"/old", "first_line_format": "relative",
        },
        "response": {**message, "status_code": 200, "reason": b"OK"},
    }  # fmt: skip
    return tnetstring.dumps(state)


def test_old_versions_are_migrated(take: Callable[..., Any]) -> None:
    """A flow of an old format version is read through mitmproxy's own migrations."""
    result = take(old_flow() + written(make_flow(start=946681202.0)))
    assert result.counters.dropped == 0
    assert result.exchanges[0].request.target == b"/old"
    assert result.exchanges[0].outcome.body == b"hi"


def test_damage_costs_only_itself(take: Callable[..., Any]) -> None:
    """Flows behind a damaged stretch are read, which mitmproxy's own reader does not do."""
    flows = [written(make_flow(f"/{n}", start=1000.0 + n)) for n in range(4)]
    flows[1] = b"99" + flows[1]
    result = take(b"".join(flows))
    assert [exchange.request.target for exchange in result.exchanges] == [b"/0", b"/2", b"/3"]
    assert result.counters.dropped == 1


def test_cut_file_gives_its_whole_flows(take: Callable[..., Any]) -> None:
    """A file that was cut inside a flow gives those before it and counts the cut one."""
    data = written(make_flow("/a"), make_flow("/b"))
    result = take(data[:-10])
    assert len(result.exchanges) == 1
    assert result.remarks["flow that the end of the file cuts"] == 1


def test_flow_that_cannot_be_read_is_counted(take: Callable[..., Any]) -> None:
    """A whole frame that mitmproxy cannot make a flow of is dropped; the next one imports."""
    odd = tnetstring.dumps({"version": 21, "type": "http", "request": {"timestamp_start": 5.0}})
    result = take(odd + written(make_flow()))
    assert (len(result.exchanges), result.counters.dropped) == (1, 1)


def test_no_whole_flow_is_an_error(take: Callable[..., Any]) -> None:
    """A file that only looks like flows is refused."""
    with pytest.raises(CaptureError, match="no mitmproxy flow that is whole"):
        take(b"10:10:x")


def test_find_reads_single_values() -> None:
    """A value is found by its keys, whatever type its keys have; what is not there is None."""
    frame = tnetstring.dumps({"a": {b"b": 5, "c": 1.5}, "d": b"x"})
    data = frame[frame.index(b":") + 1 : -1]
    assert (find(data, b"a", b"b"), find(data, b"a", b"c"), find(data, b"d")) == (5, 1.5, b"x")
    assert find(data, b"a", b"x") is None
    assert find(data, b"d", b"x") is None
    assert find(b"junk", b"a") is None


DAMAGED = written(make_flow("/a"), tflow.twebsocketflow(), make_flow("/b"))


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=300))
def test_any_bytes_end(data: bytes) -> None:
    """Reading frames of arbitrary bytes ends, with frames or damaged stretches."""
    for item in FrameReader(io.BytesIO(data)).frames():
        assert isinstance(item, bytes | DamagedStretch)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_survived(take: Callable[..., Any], data: st.DataObject) -> None:
    """A flow file with bytes changed, cut or put in gives a whole capture or CaptureError, nothing else."""
    content = bytearray(DAMAGED)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=5))
    try:
        result = take(bytes(content))
    except CaptureError:
        return
    assert result.complete
