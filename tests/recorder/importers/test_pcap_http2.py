from __future__ import annotations

import struct
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

from captures.model import Exchange, Failure, FailureReason, MessageKind, Response
from tests.recorder.importers.packets import MS, Talk, data_packets, frames, write_pcap
from tests.recorder.importers.traffic import read_pcap

REQUEST = [(":method", "POST"), (":scheme", "http"), (":authority", "grpc.test"), (":path", "/a.B/C")]
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Peers:
    """A client and a server of the h2 library, whose bytes go over a made connection."""

    def __init__(self, mss: int = 1460) -> None:
        self.talk = Talk(mss=mss).open()
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.client.initiate_connection()
        self.server.initiate_connection()
        self.pass_on()

    def pass_on(self) -> None:
        for _ in range(3):
            if data := self.client.data_to_send():
                self.talk.client(data)
                self.server.receive_data(data)
            if data := self.server.data_to_send():
                self.talk.server(data)
                self.client.receive_data(data)

    def ask(self, stream: int, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.client.send_headers(stream, [*REQUEST, *headers], end_stream=not body)
        if body:
            self.client.send_data(stream, body, end_stream=True)
        self.pass_on()

    def answer(self, stream: int, body: bytes, trailers: tuple[tuple[str, str], ...] = ()) -> None:
        self.server.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self.server.send_data(stream, body, end_stream=not trailers)
        if trailers:
            self.server.send_headers(stream, trailers, end_stream=True)
        self.pass_on()


@pytest.fixture
def imported(tmp_path: Path):
    def run(packets):
        return read_pcap(write_pcap(tmp_path / "made.pcap", frames(packets)))

    return run


def body_of(exchange: Exchange) -> bytes | None:
    return exchange.outcome.body if isinstance(exchange.outcome, Response) else None


@pytest.mark.parametrize("mss", [1, 10, 1460])
def test_grpc_call(imported, mss: int) -> None:
    """A gRPC call has its body, its trailers, its pseudo-headers in their places and its own times."""
    peers = Peers(mss)
    peers.ask(1, b"\x00\x00\x00\x00\x03abc", (("te", "trailers"),))
    peers.talk.pause(9 * MS)
    peers.answer(1, b"\x00\x00\x00\x00\x03xyz", (("grpc-status", "0"), ("grpc-message", "")))
    (exchange,), _, source = imported(peers.talk.close().packets)
    request, response = exchange.request, exchange.outcome
    assert (request.method, request.target, request.authority) == (b"POST", b"/a.B/C", b"grpc.test")
    assert (request.http_version, request.body) == (b"HTTP/2.0", b"\x00\x00\x00\x00\x03abc")
    assert request.headers == ((b"te", b"trailers"),)
    assert isinstance(response, Response)
    assert (response.status, response.body) == (200, b"\x00\x00\x00\x00\x03xyz")
    assert response.trailers == ((b"grpc-status", b"0"), (b"grpc-message", b""))
    assert exchange.offset_ns <= exchange.request_end_ns < response.offset_ns - 9 * MS
    assert source.tally.remarks == {}


def test_many_streams_at_once(imported) -> None:
    """Streams that are answered in another order each keep their own response and one connection."""
    peers = Peers()
    for stream in range(1, 21, 2):
        peers.ask(stream, b"%d" % stream * 3000, (("x-stream", str(stream)),))
    for stream in (19, 1, 7, 3, 5, 17, 9, 11, 15, 13):
        peers.answer(stream, b"answer to %d" % stream)
    exchanges, _, _ = imported(peers.talk.close().packets)
    assert [body_of(exchange) for exchange in exchanges] == [b"answer to %d" % at for at in range(1, 21, 2)]
    assert [exchange.request.body for exchange in exchanges] == [b"%d" % at * 3000 for at in range(1, 21, 2)]
    assert {exchange.connection for exchange in exchanges} == {0}


def test_large_headers_continue(imported) -> None:
    """Header blocks that need CONTINUATION frames are joined."""
    peers = Peers()
    peers.ask(1, b"", (("x-long", "v" * 40_000),))
    peers.answer(1, b"ok")
    (exchange,), _, _ = imported(peers.talk.packets)
    assert dict(exchange.request.headers)[b"x-long"] == b"v" * 40_000


def test_padding_interim_responses_and_pushes(imported) -> None:
    """Padding is no body, 1xx answers nothing, and a pushed stream is nobody's request."""
    peers = Peers()
    peers.client.send_headers(1, REQUEST)
    peers.client.send_data(1, b"padded", pad_length=50, end_stream=True)
    peers.pass_on()
    peers.server.send_headers(1, [(":status", "103"), ("link", "</x>")])
    peers.server.push_stream(1, 2, [*REQUEST[1:], (":method", "GET")])
    peers.pass_on()
    peers.answer(1, b"ok")
    peers.answer(2, b"pushed")
    (exchange,), _, _ = imported(peers.talk.packets)
    assert (exchange.request.body, body_of(exchange)) == (b"padded", b"ok")


@pytest.mark.parametrize("side", ["client", "server"])
def test_reset_stream(imported, side: str) -> None:
    """A stream that is reset fails; others go on."""
    peers = Peers()
    peers.ask(1)
    peers.ask(3)
    getattr(peers, side).reset_stream(1)
    peers.pass_on()
    peers.answer(3, b"ok")
    exchanges, _, _ = imported(peers.talk.packets)
    assert isinstance(exchanges[0].outcome, Failure)
    wanted = FailureReason.CLIENT_DISCONNECTED if side == "client" else FailureReason.UPSTREAM_RESET
    assert exchanges[0].outcome.reason is wanted
    assert body_of(exchanges[1]) == b"ok"


def test_gap_in_a_body(imported) -> None:
    """Missing bytes inside a DATA frame cut that body; the connection is read on."""
    peers = Peers(mss=500)
    peers.ask(1)
    peers.answer(1, b"x" * 5000)
    peers.ask(3)
    peers.answer(3, b"whole")
    packets = peers.talk.close().packets
    packets.pop(data_packets(packets, ("10.0.0.2", 80))[6])
    exchanges, _, _ = imported(packets)
    damaged = exchanges[0].outcome
    assert isinstance(damaged, Response)
    assert damaged.body == b"x" * len(damaged.body)
    assert 0 < len(damaged.body) < 5000
    assert len(damaged.body) + damaged.truncated_bytes == 5000
    assert body_of(exchanges[1]) == b"whole"


def test_gap_in_headers(imported) -> None:
    """Without a header block the compression cannot be followed, so the rest is left out, and remarked."""
    peers = Peers()
    peers.ask(1)
    peers.answer(1, b"one")
    peers.ask(3)
    peers.answer(3, b"two")
    peers.ask(5)
    peers.answer(5, b"three")
    packets = peers.talk.close().packets
    packets.pop(data_packets(packets, ("10.0.0.1", 40000))[4])
    exchanges, _, source = imported(packets)
    assert body_of(exchanges[0]) == b"one"
    assert source.tally.remarks["HTTP/2 connection with bytes missing, its rest left out"] == 1


def test_closed_and_cut_connections(imported) -> None:
    """A connection that ends before the answer is a Failure; a file that does so too, or is in flight."""
    peers = Peers()
    peers.ask(1)
    half = len(peers.talk.packets)
    peers.talk.close()
    (exchange,), _, _ = imported(peers.talk.packets)
    assert isinstance(exchange.outcome, Failure)
    assert exchange.outcome.reason is FailureReason.CLIENT_DISCONNECTED
    (exchange,), _, _ = imported(peers.talk.packets[:half])
    assert isinstance(exchange.outcome, Failure)
    assert exchange.outcome.reason is FailureReason.OTHER
    peers = Peers()
    peers.client.send_headers(1, REQUEST)
    peers.pass_on()
    exchanges, _, source = imported(peers.talk.packets)
    assert (exchanges, source.tally.in_flight) == ([], 1)


def test_event_stream(imported) -> None:
    """Server-sent events over HTTP/2 are messages."""
    peers = Peers()
    peers.ask(1)
    peers.server.send_headers(1, [(":status", "200"), ("content-type", "text/event-stream")])
    peers.server.send_data(1, b"data: 1\n\n")
    peers.pass_on()
    peers.server.send_data(1, b"data: 2\n\n", end_stream=True)
    peers.pass_on()
    (exchange,), messages, _ = imported(peers.talk.packets)
    assert isinstance(exchange.outcome, Response)
    assert exchange.outcome.stream
    kinds = [message.kind for message in messages]
    assert kinds == [MessageKind.EVENT, MessageKind.EVENT, MessageKind.END]


def test_upgrade_from_http1(imported) -> None:
    """A request that asked for h2c is answered on stream 1 of the HTTP/2 connection."""
    peers = Peers()
    peers.ask(1)
    peers.answer(1, b"after upgrade")
    server = b"".join(packet.payload for packet in peers.talk.packets if packet.source[1] == 80)
    asked = b"GET /up HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    talk = Talk().open().client(asked)
    talk.server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + server)
    talk.client(PREFACE + SETTINGS)
    (exchange,), _, _ = imported(talk.close().packets)
    assert (exchange.request.target, body_of(exchange)) == (b"/up", b"after upgrade")


def test_start_in_the_middle(imported) -> None:
    """A connection whose preface is before the capture cannot be read and gives nothing."""
    peers = Peers()
    peers.ask(1)
    before = len(peers.talk.packets)
    peers.answer(1, b"ok")
    exchanges, _, _ = imported(peers.talk.packets[before:])
    assert exchanges == []


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x05\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff\xff",
        b"\x00\x00\x01\x00\x08\x00\x00\x00\x01\xff",
        b"\x00\x00\x00\x00\x08\x00\x00\x00\x01",
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(100),
        b"\x00\x00\x00\x01\x2d\x00\x00\x00\x01",
    ],
)
def test_broken_frames(imported, data: bytes) -> None:
    """Frames that are not what they say end the reading of the connection, and nothing else."""
    peers = Peers()
    peers.talk.client(data).server(SETTINGS).close()
    other = Talk(client=("10.0.0.9", 1), start_ns=peers.talk.now_ns).open()
    other.client(b"GET / HTTP/1.1\r\n\r\n").server(b"HTTP/1.1 204 No Content\r\n\r\n")
    exchanges, _, _ = imported(peers.talk.packets + other.packets)
    assert [exchange.request.method for exchange in exchanges if exchange.connection] in ([], [b"GET"])
    assert any(isinstance(exchange.outcome, Response) for exchange in exchanges)


def test_too_long_header_block(imported) -> None:
    """A header block without an end is not collected for ever."""
    frame = struct.pack("!I", 16_000)[1:] + b"\x09\x00\x00\x00\x00\x01" + bytes(16_000)
    peers = Peers()
    peers.talk.client(b"\x00\x00\x00\x01\x00\x00\x00\x00\x01" + frame * 30)
    exchanges, _, source = imported(peers.talk.packets)
    assert exchanges == []
    assert sum(source.tally.remarks.values()) == 1
