"""Long streams: constant memory, and messages at their own times."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import wsproto
from wsproto.events import TextMessage

from captures.model import MessageKind, Response
from captures.units import MIB
from tests.recorder.support import RawClient, RawServer, Recorder, read_capture
from tests.recorder.test_proxy import accept_websocket

MESSAGES = 8_000
TOPIC = "realtime:public:workflow_runs"
UPGRADE = (
    b"GET /realtime/v1/websocket?vsn=1.0.0 HTTP/1.1\r\nHost: h\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def phoenix(event: str, ref: int, payload: object) -> str:
    """A Phoenix channel message as Supabase Realtime's clients send it."""
    message = {"topic": TOPIC, "event": event, "payload": payload, "ref": str(ref), "join_ref": "1"}
    return json.dumps(message, separators=(",", ":"))


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def exchange_text(client: RawClient, peer: wsproto.Connection, texts: list[str]) -> list[str]:
    client.socket.sendall(b"".join(peer.send(TextMessage(text)) for text in texts))
    got: list[str] = []
    part = ""
    while len(got) < len(texts):
        peer.receive_data(client.socket.recv(65536))
        for event in peer.events():
            part += event.data
            if event.message_finished:
                got.append(part)
                part = ""
    return got


def test_a_phoenix_channel_is_kept_message_by_message_in_constant_memory(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """Joins, heartbeats and changes of one socket are rows in order, and the recorder does not grow."""
    recorder = start_recorder(start_server(answers={"/realtime/v1/websocket": accept_websocket}).port)
    change = {"data": {"type": "INSERT", "table": "workflow_runs", "record": {"id": 1, "state": "x" * 500}}}
    sent = [phoenix("phx_join", 1, {"config": {"postgres_changes": [{"event": "*", "schema": "public"}]}})]
    sent += [phoenix("postgres_changes", ref, change) for ref in range(2, MESSAGES)]
    sent.append(phoenix("heartbeat", MESSAGES, {}))
    sizes = []
    with RawClient(recorder.port) as client:
        assert client.call(UPGRADE).status == 101
        peer = wsproto.Connection(wsproto.ConnectionType.CLIENT)
        for start in range(0, MESSAGES, 100):
            batch = sent[start : start + 100]
            assert exchange_text(client, peer, batch) == batch
            sizes.append(resident_bytes(recorder.process.pid))
    assert recorder.stop() == 0
    # The first tenth warms caches and the writer's blocks up; some 5 MB passed each way after it.
    assert max(sizes) - sizes[len(sizes) // 10] < 4 * MIB
    capture = read_capture(recorder.output)
    (exchange,) = capture.exchanges
    assert isinstance(exchange.outcome, Response)
    assert exchange.outcome.stream
    for from_client in (True, False):
        rows = [item for item in capture.messages if item.from_client is from_client and item.kind != "end"]
        assert [row.payload.decode() for row in rows] == sent
        assert [row.offset_ns for row in rows] == sorted(row.offset_ns for row in rows)
    assert capture.messages[-1].kind is MessageKind.END
    assert capture.messages[-1].offset_ns == exchange.outcome.end_ns


def test_bytes_after_another_upgrade_pass(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """A protocol that is no WebSocket goes on over the connection; its 101 is what is recorded."""

    def switch(connection: socket.socket, _source: object) -> None:
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"
        )
        while data := connection.recv(65536):
            connection.sendall(data)

    recorder = start_recorder(start_server(answers={"/echo": switch}).port)
    with RawClient(recorder.port) as client:
        head = b"GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"
        assert client.call(head).status == 101
        client.socket.sendall(b"\x00any bytes\xff")
        assert client.source.read(11) == b"\x00any bytes\xff"
    assert recorder.stop() == 0
    outcome = read_capture(recorder.output).at("/echo").outcome
    assert isinstance(outcome, Response)
    assert (outcome.status, outcome.stream) == (101, False)
