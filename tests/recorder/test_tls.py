"""HTTP/2 and TLS on both sides, and the forward mode."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import h2.config
import h2.connection
import h2.events
import pytest
import trustme

from captures.model import Exchange, Failure, FailureReason, Response
from recorder.ca import ensure_authority
from tests.recorder.support import RawClient, RawServer, Recorder, read_capture, read_head

BODY = b'{"page":1}'
LARGE = BODY * 4000  # several frames, within the windows that HTTP/2 starts with


class TlsServer:
    """Speaks HTTP/2 or HTTP/1.1 as ALPN says; answers each request with its own body and a trailer."""

    def __init__(self, authority: trustme.CA, speaks: Sequence[str] = ("h2", "http/1.1")) -> None:
        self.versions: list[str] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(self._context)
        self._context.set_alpn_protocols(list(speaks))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as link:
            version = link.selected_alpn_protocol() or "none"
            self.versions.append(version)
            if version == "h2":
                serve_http2(link)
                return
            source = link.makefile("rb")
            while read_head(source):
                link.sendall(b"HTTP/1.1 200 OK\r\nX-Case: Kept\r\nContent-Length: 3\r\n\r\none")


def serve_http2(link: ssl.SSLSocket) -> None:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    link.sendall(connection.data_to_send())
    bodies: dict[int, bytes] = {}
    while data := link.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                connection.send_headers(event.stream_id, [(":status", "200"), ("x-a", "1"), ("x-a", "2")])
                body = bodies.get(event.stream_id, b"") or b"none"
                for start in range(0, len(body), 16384):
                    connection.send_data(event.stream_id, body[start : start + 16384])
                connection.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
        link.sendall(connection.data_to_send())


class Http2Client:
    """An HTTP/2 connection over TLS with the recorder's CA trusted."""

    def __init__(
        self, port: int, ca_file: Path, *, offers: Sequence[str] = ("h2",), connect_to: str = ""
    ) -> None:
        context = ssl.create_default_context(cafile=str(ca_file))
        context.set_alpn_protocols(list(offers))
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        if connect_to:
            plain.sendall(f"CONNECT {connect_to} HTTP/1.1\r\nHost: {connect_to}\r\n\r\n".encode())
            assert read_head(plain.makefile("rb", buffering=0)).split(b" ")[1] == b"200"
        self.link = context.wrap_socket(plain, server_hostname="localhost")
        assert self.link.selected_alpn_protocol() == "h2"
        self.connection = h2.connection.H2Connection()
        self.connection.initiate_connection()
        self.link.sendall(self.connection.data_to_send())

    def start(self, path: str, body: bytes = b"", *, authority: str = "localhost:1") -> int:
        """Sends one request; its stream."""
        stream = self.connection.get_next_available_stream_id()
        method = "POST" if body else "GET"
        head = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)]
        self.connection.send_headers(stream, [*head, ("x-b", "2"), ("x-b", "3")], end_stream=not body)
        for start in range(0, len(body), 16384):
            last = start + 16384 >= len(body)
            self.connection.send_data(stream, body[start : start + 16384], end_stream=last)
        self.link.sendall(self.connection.data_to_send())
        return stream

    def bodies(self, streams: set[int]) -> dict[int, bytes]:
        """Reads until all ``streams`` have ended; their bodies."""
        got = dict.fromkeys(streams, b"")
        waiting = set(streams)
        while waiting:
            for event in self.connection.receive_data(self.link.recv(65536)):
                if isinstance(event, h2.events.DataReceived):
                    got[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    waiting.discard(event.stream_id)
            self.link.sendall(self.connection.data_to_send())
        return got

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def reset(self, stream: int) -> None:
        """Cancels one request."""
        self.connection.reset_stream(stream, error_code=8)
        self.link.sendall(self.connection.data_to_send())


@pytest.fixture(scope="module")
def upstream_ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def upstream_ca_file(upstream_ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upstream") / "ca.pem"
    upstream_ca.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def tls_server(upstream_ca: trustme.CA):
    server = TlsServer(upstream_ca)
    yield server
    server.close()


def response_of(exchange: Exchange) -> Response:
    assert isinstance(exchange.outcome, Response)
    return exchange.outcome


def test_http2_on_both_sides(
    start_recorder: Callable[..., Recorder], tls_server: TlsServer, upstream_ca_file: Path, confdir: Path
):
    """Streams of one HTTP/2 connection are exchanges of one connection, with bodies and trailers."""
    mode = f"reverse:https://localhost:{tls_server.port}"
    recorder = start_recorder(mode, "--upstream-ca", str(upstream_ca_file))
    with Http2Client(recorder.port, ensure_authority(confdir).path) as client:
        streams = {client.start("/a?x=1", BODY), client.start("/b"), client.start("/c", LARGE)}
        assert set(client.bodies(streams).values()) == {BODY, b"none", LARGE}
    assert recorder.stop() == 0, recorder.stderr
    assert set(tls_server.versions) == {"h2"}

    capture = read_capture(recorder.output)
    assert capture.counters["written"] == 3
    exchange = capture.at("/a?x=1")
    assert exchange.request.body == BODY
    assert exchange.request.authority == b"localhost:1"
    assert (exchange.request.scheme, exchange.request.http_version) == (b"https", b"HTTP/2.0")
    assert exchange.request.headers == ((b"x-b", b"2"), (b"x-b", b"3"))
    response = response_of(exchange)
    assert response.headers == ((b"x-a", b"1"), (b"x-a", b"2"))
    assert response.trailers == ((b"grpc-status", b"0"),)
    assert (response.status, response.body, response.reason) == (200, BODY, b"")
    assert capture.at("/c").request.body == LARGE
    assert {item.connection for item in capture.exchanges} == {0}


@pytest.mark.parametrize("mode", ["reverse", "regular"])
@pytest.mark.parametrize("speaks", [("h2", "http/1.1"), ("http/1.1",)])
def test_a_client_that_offers_http2_second_gets_it(
    start_recorder: Callable[..., Recorder],
    upstream_ca: trustme.CA,
    upstream_ca_file: Path,
    confdir: Path,
    mode: str,
    speaks: Sequence[str],
):
    """Whoever offers HTTP/2 at all has it with the recorder, and it is what the upstream is asked for."""
    server = TlsServer(upstream_ca, speaks)
    place = f"localhost:{server.port}"
    recorder = start_recorder(
        f"reverse:https://{place}" if mode == "reverse" else mode, "--upstream-ca", str(upstream_ca_file)
    )
    connect_to = place if mode == "regular" else ""
    authority = ensure_authority(confdir).path
    with Http2Client(
        recorder.port, authority, offers=("http/1.1", "h2"), connect_to=connect_to
    ) as client:  # asserts that h2 was agreed on
        streams = {client.start("/a", BODY, authority=place), client.start("/b", authority=place)}
        bodies = set(client.bodies(streams).values())
    assert recorder.stop() == 0, recorder.stderr
    server.close()
    http2_upstream = "h2" in speaks
    assert set(server.versions) == {"h2" if http2_upstream else "http/1.1"}
    assert bodies == ({BODY, b"none"} if http2_upstream else {b"one"})
    for exchange in read_capture(recorder.output).exchanges:
        assert exchange.request.http_version == b"HTTP/2.0"
        assert response_of(exchange).http_version == b"HTTP/2.0"


def test_http2_clients_of_an_http1_server(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer], confdir: Path
):
    """The response is recorded as the HTTP/2 client got it; a stream it cancels is its own failure."""
    held = threading.Event()
    served = threading.Event()

    def hold(_connection: socket.socket, _source: object) -> None:
        served.set()
        held.wait(20)

    answer = b"HTTP/1.1 200 Fine\r\nX-Case: Kept\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    server = start_server(default=(answer,), answers={"/held": hold})
    recorder = start_recorder(server.port)
    with Http2Client(recorder.port, ensure_authority(confdir).path) as client:
        stream = client.start("/plain", BODY)
        assert client.bodies({stream}) == {stream: b"ok"}
        cancelled = client.start("/held")
        assert served.wait(20)
        client.reset(cancelled)
        stream = client.start("/after")
        assert client.bodies({stream}) == {stream: b"ok"}
    assert recorder.stop() == 0
    held.set()

    capture = read_capture(recorder.output)
    assert capture.counters["seen"] == capture.counters["written"] == 3
    response = response_of(capture.at("/plain"))
    assert (response.http_version, response.reason) == (b"HTTP/2.0", b"")
    assert response.headers == ((b"x-case", b"Kept"), (b"content-length", b"2"))
    failure = capture.at("/held").outcome
    assert isinstance(failure, Failure)
    assert failure.reason is FailureReason.CLIENT_DISCONNECTED


def test_an_upstream_whose_certificate_is_not_trusted(
    start_recorder: Callable[..., Recorder], tls_server: TlsServer
):
    """Verification is on by default: the request fails, says why, and the user is told what to do."""
    recorder = start_recorder(f"reverse:https://localhost:{tls_server.port}")
    with RawClient(recorder.port) as client:
        assert client.call(b"GET /x HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n").status == 502
    assert recorder.stop() == 0
    failure = read_capture(recorder.output).at("/x").outcome
    assert isinstance(failure, Failure)
    assert failure.reason is FailureReason.UPSTREAM_UNREACHABLE
    assert "certificate" in failure.detail
    assert "--upstream-ca" in recorder.stderr


@pytest.mark.parametrize("upstream", ["localhost", "127.0.0.1"])
def test_a_plain_client_of_a_tls_server(
    start_recorder: Callable[..., Recorder], tls_server: TlsServer, upstream_ca_file: Path, upstream: str
):
    """The server's certificate is checked by the upstream's name or address although Host is the client's."""
    mode = f"reverse:https://{upstream}:{tls_server.port}"
    recorder = start_recorder(mode, "--upstream-ca", str(upstream_ca_file))
    with RawClient(recorder.port) as client:
        assert client.call(b"GET /x HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n").status == 200
    assert recorder.stop() == 0
    exchange = read_capture(recorder.output).at("/x")
    assert exchange.request.authority == b"elsewhere.example"
    assert response_of(exchange).headers == ((b"X-Case", b"Kept"), (b"Content-Length", b"3"))


def test_the_forward_mode(
    start_recorder: Callable[..., Recorder],
    start_server: Callable[..., RawServer],
    tls_server: TlsServer,
    confdir: Path,
):
    """A client that uses the recorder as its proxy is recorded, over HTTP and through CONNECT."""
    server = start_server()
    recorder = start_recorder("regular", "--ssl-insecure")
    with RawClient(recorder.port) as client:
        url = b"http://127.0.0.1:%d/plain?q=1" % server.port
        request = b"GET " + url + b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Odd: 1\r\n\r\n" % server.port
        assert client.call(request).status == 200
    with RawClient(recorder.port) as client:
        connect = b"CONNECT localhost:%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % tls_server.port
        client.socket.sendall(connect)
        assert read_head(client.source).startswith(b"HTTP/1.1 200")
        context = ssl.create_default_context(cafile=str(ensure_authority(confdir).path))
        with context.wrap_socket(client.socket, server_hostname="localhost") as link:
            link.sendall(b"GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_head(link.makefile("rb")).startswith(b"HTTP/1.1 200")
    assert recorder.stop() == 0
    assert server.at("/plain?q=1").head.startswith(b"GET /plain?q=1 HTTP/1.1\r\nHost: 127.0.0.1:")

    capture = read_capture(recorder.output)
    assert capture.counters["seen"] == capture.counters["written"] == 2
    plain, secret = capture.at("/plain?q=1"), capture.at("/secret")
    assert (plain.request.scheme, plain.request.authority) == (b"http", b"127.0.0.1:%d" % server.port)
    assert (secret.request.scheme, secret.request.authority) == (b"https", b"localhost")


def test_only_what_was_asked_for_is_listened_on(start_recorder: Callable[..., Recorder]):
    """A TLS upstream does not open a UDP port for HTTP/3 beside the one that is printed."""
    recorder = start_recorder("reverse:https://localhost:1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", recorder.port))  # raises when somebody has it
    assert recorder.stop() == 0


def test_a_client_that_does_not_trust_the_recorder_is_pointed_to_the_ca(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """A refused certificate is no exchange, and the user is told about `hookreel ca`."""
    recorder = start_recorder(start_server().port)
    with (
        socket.create_connection(("127.0.0.1", recorder.port)) as plain,
        pytest.raises(ssl.SSLError),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    assert recorder.stop() == 0
    assert recorder.account["seen"] == 0
    assert "hookreel ca" in recorder.stderr
