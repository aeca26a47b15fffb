"""HTTP/2 without TLS by prior knowledge, as gRPC inside a cluster speaks it, over raw sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import h2.connection
import h2.events
import pytest

from captures.model import Response
from tests.recorder.support import WAIT_S, Recorder, read_capture
from tests.recorder.test_tls import serve_http2

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


def test_grpc_without_tls_is_recorded_with_its_trailers(
    start_recorder: Callable[..., Recorder], plain_http2_server: int
):
    """Two calls on one connection pass both ways as HTTP/2, and both have their grpc-status."""
    recorder = start_recorder(plain_http2_server)
    got: dict[int, bytes] = {1: b"", 3: b""}
    trailers: dict[int, object] = {}
    with socket.create_connection(("127.0.0.1", recorder.port), timeout=WAIT_S) as link:
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
