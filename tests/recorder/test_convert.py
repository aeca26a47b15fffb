from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.test import tflow

from captures.codec import build_exchange
from captures.model import FailureReason, Request, Response
from recorder.convert import (
    BodyTee,
    cut,
    failure_reason,
    request_head,
    response_framing,
    response_row,
)


def make_flow(*, http2: bool = False, response_http2: bool = False) -> http.HTTPFlow:
    flow = tflow.tflow(resp=True)
    flow.request.data.headers = http.Headers([(b"Host", b"a.example:81"), (b"x-A", b"\xe9"), (b"X-a", b"2")])
    flow.request.data.http_version = b"HTTP/2.0" if http2 else b"HTTP/1.1"
    flow.request.data.authority = b"b.example" if http2 else b""
    flow.request.data.path = b"/p?q=%2F"
    flow.response.data.headers = http.Headers([(b"X-B", b"1"), (b"Connection", b"close")])
    flow.response.data.http_version = b"HTTP/2.0" if response_http2 else b"HTTP/1.1"
    flow.response.data.reason = b"Sure"
    return flow


def head_of(flow: http.HTTPFlow) -> Request:
    """The head as a reader of the capture gets it."""
    head, _ = request_head(flow, reverse=True)
    exchange = build_exchange((0, 0, 0, 0, (*head, b"", (), 0), response_row(flow, 1, 2), None))
    return exchange.request


def response_of(flow: http.HTTPFlow) -> Response:
    """The response as a reader of the capture gets it."""
    head, _ = request_head(flow, reverse=True)
    row = (0, 0, 0, 0, (*head, b"", (), 0), response_row(flow, 1, 2, b"body", 3), None)
    outcome = build_exchange(row).outcome
    assert isinstance(outcome, Response)
    return outcome


def test_a_head_is_kept_as_sent():
    """Header list, target and method are copied byte for byte; Host names the authority."""
    head = head_of(make_flow())
    assert head.headers == ((b"Host", b"a.example:81"), (b"x-A", b"\xe9"), (b"X-a", b"2"))
    assert (head.target, head.authority, head.scheme) == (b"/p?q=%2F", b"a.example:81", b"http")


def test_the_authority_of_http2_is_its_pseudo_header():
    """In HTTP/2 :authority says whom the client asked for."""
    assert head_of(make_flow(http2=True)).authority == b"b.example"


def test_without_a_host_header_the_destination_is_the_authority():
    """HTTP/1.0 needs no Host header; a default port is left out and an IPv6 address has brackets."""
    flow = make_flow()
    flow.request.data.headers = http.Headers()
    for host, port, expected in (("h", 80, b"h"), ("h", 81, b"h:81"), ("::1", 81, b"[::1]:81")):
        flow.request.data.host, flow.request.data.port = host, port
        assert head_of(flow).authority == expected


def test_expect_100_is_left_out():
    """The proxy answers it and does not send it on, so the capture says what the server saw."""
    flow = make_flow()
    flow.request.data.headers = http.Headers([(b"Expect", b"100-Continue"), (b"X", b"1")])
    assert head_of(flow).headers == ((b"X", b"1"),)


def test_an_upgrade_to_http2_is_left_out():
    """The proxy does not pass an offer of h2c on; a replay that made it would get an odd answer."""
    flow = make_flow()
    offer = [(b"Connection", b"Upgrade, HTTP2-Settings"), (b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"AA")]
    flow.request.data.headers = http.Headers([*offer, (b"X", b"1")])
    assert head_of(flow).headers == ((b"X", b"1"),)
    flow.request.data.headers = http.Headers([(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")])
    assert len(head_of(flow).headers) == 2


def test_a_response_has_its_body_trailers_and_times():
    """What is not in the response's head is handed over, and trailers are the flow's."""
    flow = make_flow()
    flow.response.trailers = http.Headers([(b"T", b"1")])
    response = response_of(flow)
    assert (response.body, response.truncated_bytes, response.trailers) == (b"body", 3, ((b"T", b"1"),))
    assert (response.offset_ns, response.end_ns, response.stream) == (1, 2, False)


def test_a_response_is_in_the_clients_protocol():
    """Between HTTP/1.1 and HTTP/2 the proxy translates, and the client's side of it is recorded."""
    same = response_of(make_flow())
    assert (same.reason, same.headers) == (b"Sure", ((b"X-B", b"1"), (b"Connection", b"close")))
    to_http2 = response_of(make_flow(http2=True))
    assert (to_http2.http_version, to_http2.reason) == (b"HTTP/2.0", b"")
    assert to_http2.headers == ((b"x-b", b"1"),)
    to_http1 = response_of(make_flow(response_http2=True))
    assert (to_http1.http_version, to_http1.reason) == (b"HTTP/1.1", b"OK")


@given(chunks=st.lists(st.binary(max_size=30)), limit_bytes=st.integers(0, 100))
def test_a_tee_keeps_the_beginning_and_counts_the_rest(chunks: list[bytes], limit_bytes: int):
    """However a body is chunked, what is stored is its first bytes and the rest is counted."""
    tee = BodyTee(limit_bytes)
    for chunk in chunks:
        tee.feed(chunk)
    body = b"".join(chunks)
    assert tee.stored() == (body[:limit_bytes], max(0, len(body) - limit_bytes)) == cut(body, limit_bytes)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Client disconnected.", FailureReason.CLIENT_DISCONNECTED),
        ("stream reset by client (CANCEL)", FailureReason.CLIENT_DISCONNECTED),
        ("server closed connection", FailureReason.UPSTREAM_RESET),
        (
            "HTTP/1 protocol error: peer closed connection without sending complete message body (4 of 9)",
            FailureReason.UPSTREAM_RESET,
        ),
        ("Cannot parse HTTP response: hunter2", FailureReason.PROTOCOL_ERROR),
        ("unexpected server response: b'hunter2'", FailureReason.PROTOCOL_ERROR),
        ("[Errno 111] Connect call failed ('127.0.0.1', 1)", FailureReason.UPSTREAM_UNREACHABLE),
        ("something hunter2", FailureReason.OTHER),
    ],
)
def test_reasons_are_told_apart_and_quote_nothing(message: str, reason: FailureReason):
    """The proxy's messages may hold traffic, so a failure has a reason and a fixed text."""
    client = tflow.tclient_conn()
    client.state = ConnectionState.OPEN
    got, detail = failure_reason(
        message, client=client, request_done=True, connect_error="[Errno 111] Connect call failed"
    )
    assert got is reason
    assert "hunter2" not in detail
    assert "127.0.0.1" not in detail


def test_a_body_that_the_client_cut_is_the_clients_failure():
    """The same words mean the client when it is gone before its request was whole."""
    client = tflow.tclient_conn()
    client.state = ConnectionState.CLOSED
    message = "peer closed connection without sending complete message body"
    got, _ = failure_reason(message, client=client, request_done=False, connect_error=None)
    assert got is FailureReason.CLIENT_DISCONNECTED


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ("Certificate verify failed: self-signed", "certificate"),
        ("The remote server does not speak TLS.", "TLS"),
        ("[Errno -2] Name or service not known", "name"),
        ("[Errno 111] Connection refused", "refused"),
        ("timed out", "connection"),
    ],
)
def test_why_an_upstream_was_not_reached_is_said(error: str, word: str):
    """Certificate, TLS, name and refusal are different things to repair."""
    client = tflow.tclient_conn()
    _, detail = failure_reason(error, client=client, request_done=True, connect_error=error)
    assert word in detail


def test_event_streams_are_recognised():
    """By their media type, with parameters and any case; not when compressed or without a body."""
    stream = http.Response.make(200, b"", {"CONTENT-Type": "Text/Event-Stream; charset=utf-8"})
    assert response_framing(stream, b"GET")[1]
    assert not response_framing(stream, b"HEAD")[1]
    empty = http.Response.make(204, b"", {"Content-Type": "text/event-stream"})
    assert not response_framing(empty, b"GET")[1]
    stream.headers["Content-Encoding"] = "gzip"
    assert not response_framing(stream, b"GET")[1]
    assert not response_framing(http.Response.make(200, b"", {"Content-Type": "text/plain"}), b"GET")[1]


def test_lengths_that_are_not_numbers_are_unknown():
    """Only plain digits, once and without a transfer coding, tell a length before the body has passed."""
    response = http.Response.make(200, b"")
    unknown = ("-1", "1e3", "\u0661", "", "9" * 16, "9" * 5000)
    for value, expected in (("12", 12), ("9" * 15, 10**15 - 1), *((value, None) for value in unknown)):
        response.headers["content-length"] = value
        assert response_framing(response, b"GET")[0] == expected
    response.headers["content-length"] = "12"
    response.headers.add("Content-LENGTH", "12")
    assert response_framing(response, b"GET")[0] is None
    response.headers["content-length"] = "12"
    response.headers["transfer-encoding"] = "chunked"
    assert response_framing(response, b"GET")[0] is None


@given(
    st.lists(
        st.sampled_from(
            (
                *((b"Content-Length", b"12"), (b"content-length", b"12"), (b"CONTENT-LENGTH", b"7")),
                *(
                    (b"Content-Type", b"a/b"),
                    (b"content-type", b"a/b"),
                    (b"Content-Type", b"Text/Event-Stream"),
                ),
                *((b"Transfer-Encoding", b"chunked"), (b"TRANSFER-encoding", b"x"), (b"Set-Cookie", b"a=1")),
            )
        )
    )
)
def test_every_spelling_of_the_framing_headers_counts(fields: list[tuple[bytes, bytes]]):
    """A length is known when it is given once and nothing contradicts it, however the names are spelled."""
    response = http.Response.make(200, b"")
    response.headers = http.Headers(fields)
    named = [(name.lower(), value) for name, value in fields]
    lengths = [value for name, value in named if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in named)
    expected = int(lengths[0]) if len(lengths) == 1 and not chunked else None
    length, events = response_framing(response, b"GET")
    assert length == expected
    kinds = [value.lower() for name, value in named if name == b"content-type"]
    assert events == (kinds == [b"text/event-stream"])


def test_which_requests_may_have_a_body_of_unknown_length():
    """In HTTP/1.1 only with a transfer coding, in HTTP/2 always when no length is given."""
    flow = make_flow()
    assert request_head(flow, reverse=True)[1] == 0
    flow.request.headers["transfer-encoding"] = "chunked"
    assert request_head(flow, reverse=True)[1] is None
    flow = make_flow(http2=True)
    assert request_head(flow, reverse=True)[1] is None
    flow.request.headers["Content-Length"] = "3"
    assert request_head(flow, reverse=True)[1] == 3
