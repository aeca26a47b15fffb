"""What passes in HTTP/1.1 that stock mitmproxy does not pass: seen by raw peers and in the capture."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h2.connection
import h2.events
import pytest
from mitmproxy.proxy.layers import http as mitmproxy_http

from captures.model import Response
from recorder import http1_layers
from recorder.ca import ensure_authority
from tests.recorder.support import WAIT_S, Answer, Capture, RawClient, RawServer, Recorder, read_capture

LARGE = b"x" * 400_000  # above what is held until it is whole
CHUNKED = b"Transfer-Encoding: chunked\r\n"
TRAILERS = b"X-Sum: 1\r\nx-sum: 2\r\nServer-Timing: db;dur=53\r\n"


def chunks(body: bytes, trailers: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, trailers)


def request(target: str, rest: bytes = b"\r\n", method: bytes = b"GET") -> bytes:
    return b"%s %s HTTP/1.1\r\nHost: h\r\n%s" % (method, target.encode(), rest)


@dataclass
class Passed:
    """What one recorder passed and kept."""

    server: RawServer
    answers: dict[str, Answer]
    capture: Capture

    def response(self, target: str) -> Response:
        outcome = self.capture.at(target).outcome
        assert isinstance(outcome, Response)
        return outcome


def down(body: bytes) -> tuple[bytes, ...]:
    return (b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n" + CHUNKED + b"\r\n" + chunks(body, TRAILERS),)


REQUESTS = {
    "/up": request("/up", CHUNKED + b"\r\n" + chunks(b"hi", TRAILERS), b"POST"),
    "/up-large": request("/up-large", CHUNKED + b"\r\n" + chunks(LARGE, TRAILERS), b"POST"),
    "/down": request("/down"),
    "/down-large": request("/down-large"),
    "/down-empty": request("/down-empty"),
    "/head": request("/head", method=b"HEAD"),
    "/unchanged": request("/unchanged"),
    "/none": request("/none", CHUNKED + b"\r\n" + chunks(b"no trailers", b""), b"POST"),
    "/after": request("/after"),
}


@pytest.fixture(scope="module")
def passed(start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]) -> Passed:
    server = start_server(
        answers={
            "/down": down(b"hi"),
            "/down-large": down(LARGE),
            "/down-empty": (b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n0\r\n" + TRAILERS + b"\r\n",),
            "/head": (b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\n" + CHUNKED + b"\r\n",),
            "/unchanged": (b"HTTP/1.1 304 Not Modified\r\n" + CHUNKED + b"\r\n",),
            "/early": (
                b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
                b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            ),
        }
    )
    recorder = start_recorder(server.port)
    with RawClient(recorder.port) as client:
        answers = {target: client.call(data) for target, data in REQUESTS.items()}
        client.socket.sendall(request("/early"))
        answers["103"], answers["102"] = (read_interim(client) for _ in range(2))
        answers["/early"] = client.answer()
        answers["/blank"] = client.call(b"\r\n\r\n" + request("/blank"))
        pair = request("/first", CHUNKED + b"\r\n" + chunks(b"a", b"X-N: 1\r\n"), b"POST")
        client.socket.sendall(pair + pair.replace(b"/first", b"/second").replace(b"X-N: 1", b"X-N: 2"))
        answers["/first"], answers["/second"] = client.answer(), client.answer()
    assert recorder.stop() == 0
    assert recorder.stderr == ""
    return Passed(server=server, answers=answers, capture=read_capture(recorder.output))


def read_interim(client: RawClient) -> Answer:
    lines = []
    while (line := client.source.readline()) != b"\r\n":
        lines.append(line)
    return Answer(head=b"".join(lines), body=b"")


def pairs(raw: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(tuple(line.split(b": ", 1)) for line in raw.split(b"\r\n") if line)


@pytest.mark.parametrize(("target", "body"), [("/up", b"hi"), ("/up-large", LARGE)])
def test_trailers_of_a_request_pass_and_are_kept(passed: Passed, target: str, body: bytes):
    """Held or streamed, the server gets body and trailers as they were sent, and so does the capture."""
    seen = passed.server.at(target)
    assert (seen.body, seen.trailers) == (body, TRAILERS)
    kept = passed.capture.at(target).request
    assert (kept.body, kept.trailers) == (body, pairs(TRAILERS))
    assert passed.answers[target].status == 200


@pytest.mark.parametrize(("target", "body"), [("/down", b"hi"), ("/down-large", LARGE), ("/down-empty", b"")])
def test_trailers_of_a_response_pass_and_are_kept(passed: Passed, target: str, body: bytes):
    """Held or streamed, with or without a body, the client gets them and the connection goes on."""
    answer = passed.answers[target]
    assert (answer.body, answer.trailers) == (body, TRAILERS)
    kept = passed.response(target)
    assert (kept.body, kept.trailers) == (body, pairs(TRAILERS))


def test_a_304_that_names_its_coding_has_no_body(passed: Passed):
    """No last chunk follows it, which the client would take for the next response."""
    assert passed.response("/unchanged").headers == ((b"Transfer-Encoding", b"chunked"),)
    assert passed.answers["/none"].status == 200


def test_a_connection_with_trailers_is_kept_alive(passed: Passed):
    """What comes after them, with or without trailers, is told apart from them."""
    assert {item.connection for item in passed.capture.exchanges} == {0}
    assert passed.capture.at("/none").request.trailers == ()
    assert passed.answers["/after"].body == b"ok"
    assert passed.server.at("/head").connection == 0


def test_pipelined_requests_keep_their_own_trailers(passed: Passed):
    """Two requests in one packet do not share trailers."""
    for target, number in (("/first", b"1"), ("/second", b"2")):
        assert passed.server.at(target).trailers == b"X-N: %s\r\n" % number
        assert passed.capture.at(target).request.trailers == ((b"X-N", number),)


def test_interim_responses_pass_before_the_final_one(passed: Passed):
    """Early hints reach the client; the exchange's response is the final one."""
    assert passed.answers["103"].head == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n"
    assert passed.answers["102"].head == b"HTTP/1.1 102 Processing\r\n"
    assert passed.answers["/early"].body == b"ok"
    assert passed.response("/early").status == 200


def test_blank_lines_before_a_request_are_skipped(passed: Passed):
    """Old clients send one after a body; the request behind it is answered."""
    assert passed.answers["/blank"].status == 200


def test_a_head_without_end_is_refused(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """A head of 64 kB passes; one beyond a megabyte is refused on both sides instead of filling memory."""
    huge = b"X-Filler: " + b"y" * 2_000_000 + b"\r\n"
    server = start_server(answers={"/down": (b"HTTP/1.1 200 OK\r\n" + huge + b"Content-Length: 0\r\n\r\n",)})
    recorder = start_recorder(server.port)
    with RawClient(recorder.port) as client:
        fields = b"".join(b"X-%d: %s\r\n" % (n, b"z" * 1000) for n in range(64))
        assert client.call(request("/large", fields + b"\r\n")).status == 200
        assert client.call(request("/down")).status == 502
    with RawClient(recorder.port) as client:
        threading.Thread(target=send_until_refused, args=(client.socket, huge)).start()
        assert client.answer().status == 431
    assert recorder.stop() == 0
    capture = read_capture(recorder.output)
    assert [item.request.target for item in capture.exchanges] == [b"/large", b"/down"]
    assert len(capture.at("/large").request.headers) == 65
    assert len(server.at("/large").head) > 64_000


def send_until_refused(link: socket.socket, huge: bytes) -> None:
    try:
        link.sendall(request("/up", huge))
    except OSError:
        return


def test_a_body_of_unknown_length_from_http2_is_framed_for_an_http1_server(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer], confdir: Path
):
    """Without a frame the server would take the body for the next request; trailers go with it."""
    server = start_server()
    recorder = start_recorder(server.port)
    context = ssl.create_default_context(cafile=str(ensure_authority(confdir).path))
    context.set_alpn_protocols(["h2"])
    smuggled = request("/smuggled")
    with (
        socket.create_connection(("127.0.0.1", recorder.port), timeout=WAIT_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as link,
    ):
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/up")]
        connection.send_headers(1, head)
        connection.send_data(1, smuggled)
        connection.send_headers(1, [("x-sum", "1")], end_stream=True)
        link.sendall(connection.data_to_send())
        ended = False
        while not ended:
            events = connection.receive_data(link.recv(65536))
            ended = any(isinstance(event, h2.events.StreamEnded) for event in events)
    assert recorder.stop() == 0
    (seen,) = server.seen
    assert (seen.target, seen.body, seen.trailers) == ("/up", smuggled, b"x-sum: 1\r\n")
    (exchange,) = read_capture(recorder.output).exchanges
    assert (exchange.request.body, exchange.request.trailers) == (smuggled, ((b"x-sum", b"1"),))


def test_an_unknown_mitmproxy_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch):
    """On a version that was not tested nothing of it is replaced."""
    monkeypatch.setattr(http1_layers, "version_is_tested", lambda: False)
    monkeypatch.setattr(mitmproxy_http, "Http1Server", "stock")
    assert http1_layers.install() is False
    assert mitmproxy_http.Http1Server == "stock"
