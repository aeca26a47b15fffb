"""WebSockets of captures that went over HTTP/2, beside requests that still do."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

from captures.model import Exchange, Message, MessageKind, Response
from captures.writer import CaptureWriter, new_header
from replayer.replay import Replayed
from replayer.results import Outcome

MS = 1_000_000
HTTP2 = b"HTTP/2.0"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


@dataclass
class BothVersions:
    """A server that takes HTTP/2 and upgrades to WebSocket on one port, and keeps what it was asked."""

    requests: list[bytes] = field(default_factory=list)
    upgrades: list[bytes] = field(default_factory=list)
    frames: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    clients: list[socket.socket] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.clients.append(client)
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with suppress(OSError):
            data = client.recv(65_536)
            if data.startswith(b"PRI "):
                self._speak_http2(client, data)
            elif data:
                self._open_socket(client, data)

    def _speak_http2(self, client: socket.socket, data: bytes) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        while data:
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self.requests.append(dict(event.headers)[b":path"])
                    connection.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
            client.sendall(connection.data_to_send())
            data = client.recv(65_536)

    def _open_socket(self, client: socket.socket, data: bytes) -> None:
        self.upgrades.append(data.split(b" ", 2)[1])
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", data)
        assert key is not None
        accepted = base64.b64encode(hashlib.sha1(key[1] + _GUID, usedforsecurity=False).digest())
        client.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accepted
        )
        if client.recv(65_536):
            self.frames += 1
        while client.recv(65_536):
            pass


@pytest.fixture
def server() -> Iterator[BothVersions]:
    """A server of both versions; it is closed after the test."""
    made = BothVersions()
    threading.Thread(target=made.serve, daemon=True).start()
    yield made
    for one in (made.listener, *made.clients):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_socket_goes_over_http1_beside_requests_over_http2(
    exchange: Callable[..., Exchange],
    send: Callable[..., Replayed],
    server: BothVersions,
    tmp_path: Path,
    order: str,
) -> None:
    """The session of a browser's log is opened by an upgrade, whichever came first on the connection."""
    headers = ((b"sec-websocket-version", b"13"),)
    ask = exchange(target=b"/a", http_version=HTTP2, headers=())
    speak = exchange(target=b"/socket", http_version=HTTP2, headers=headers, status=101, stream_ns=60 * MS)
    again = exchange(target=b"/b", http_version=HTTP2, headers=())
    recorded = [speak, ask, again] if order == "first" else [ask, speak, again]
    path = tmp_path / "both.reel"
    with CaptureWriter.create(path, new_header(source="test", started_wall_ns=0)) as writer:
        for seq, one in enumerate(recorded):
            offset_ns = seq * 10 * MS
            assert isinstance(one.outcome, Response)
            outcome = replace(one.outcome, offset_ns=offset_ns + 1, end_ns=offset_ns + 60 * MS)
            writer.write(
                replace(one, seq=seq, offset_ns=offset_ns, request_end_ns=offset_ns, outcome=outcome)
            )
        writer.write_message(
            Message(
                exchange=recorded.index(speak),
                offset_ns=25 * MS,
                from_client=True,
                kind=MessageKind.TEXT,
                payload=b"hello",
            )
        )
    run = send(path, server.url).run
    assert run.rows.outcome.tolist() == [Outcome.COMPLETED] * 3
    assert sorted(run.rows.status.tolist()) == [101, 200, 200]
    assert (sorted(server.requests), server.upgrades, server.frames) == ([b"/a", b"/b"], [b"/socket"], 1)
