"""HTTP/2 without TLS by prior knowledge, as gRPC inside a cluster speaks it, over raw sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import h2.connection
import h2.events
import pytest
import trustme

from captures.model import Response
from tests.recorder.support import WAIT_S, Recorder, read_capture
from tests.recorder.test_tls import TlsServer, serve_http2

MESSAGE = b"\x00\x00\x00\x00\x05hello"  # gRPC: not compressed, five bytes


@pytest.fixture
def plain_http2_server():
    """The port of an HTTP/2 server that echoes bodies and ends with a grpc-status trailer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                link, _ = listener.accept()
                threading.Thread(target=serve, args=(link,), daemon=True).start()

    def serve(link: socket.socket) -> None:
        with suppress(OSError), link:
            serve_http2(link)

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def call(port: int, streams: Sequence[int]) -> dict[int, bytes]:
    """The answers to a gRPC call on each of the streams of one connection, which all have trailers."""
    got = dict.fromkeys(streams, b"")
    trailers: dict[int, object] = {}
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as link:
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        for stream in got:
            head = [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "localhost"),
                (":path", f"/s.S/{stream}"),
            ]
            connection.send_headers(stream, [*head, ("content-type", "application/grpc"), ("te", "trailers")])
            connection.send_data(stream, MESSAGE, end_stream=True)
        link.sendall(connection.data_to_send())
        while len(trailers) < len(got):
            for event in connection.receive_data(link.recv(65536)):
                if isinstance(event, h2.events.DataReceived):
                    got[event.stream_id] += event.data
                elif isinstance(event, h2.events.TrailersReceived):
                    trailers[event.stream_id] = event.headers
            link.sendall(connection.data_to_send())
    return got


def test_grpc_without_tls_is_recorded_with_its_trailers(
    start_recorder: Callable[..., Recorder], plain_http2_server: int
):
    """Two calls on one connection pass both ways as HTTP/2, and both have their grpc-status."""
    recorder = start_recorder(plain_http2_server)
    got = call(recorder.port, [1, 3])
    assert recorder.stop() == 0
    assert set(got.values()) == {MESSAGE}
    capture = read_capture(recorder.output)
    assert len(capture.exchanges) == 2
    for exchange in capture.exchanges:
        assert (exchange.request.http_version, exchange.request.scheme) == (b"HTTP/2.0", b"http")
        assert exchange.request.body == MESSAGE
        assert isinstance(exchange.outcome, Response)
        assert exchange.outcome.body == MESSAGE
        assert exchange.outcome.trailers == ((b"grpc-status", b"0"),)


def test_grpc_without_tls_reaches_an_upstream_with_tls_as_http2(
    start_recorder: Callable[..., Recorder], tmp_path: Path
):
    """Behind a recorder that is spoken to in plain text, the upstream is still asked for HTTP/2."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = TlsServer(authority)
    recorder = start_recorder(
        f"reverse:https://localhost:{server.port}", "--upstream-ca", str(tmp_path / "ca.pem")
    )
    assert call(recorder.port, [1]) == {1: MESSAGE}
    assert recorder.stop() == 0, recorder.stderr
    server.close()
    assert server.versions == ["h2"]
