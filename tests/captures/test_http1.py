"""HTTP/1 framing: whole, byte by byte, and what is not HTTP/1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.http1 import (
    MAX_HEAD_BYTES,
    Http1Error,
    ParsedRequest,
    ParsedResponse,
    RequestParser,
    ResponseParser,
    header_tokens,
    header_values,
    parse_headers,
    unfold,
)
from captures.http1_render import render_chunked, render_request

TOKENS = st.text("abcXYZ-_!0", min_size=1, max_size=12).map(str.encode).filter(lambda name: name != b"-")
VALUES = st.text("abc ,;=\"'xyz", max_size=20).map(lambda text: text.strip().encode())
PLAIN_HEADERS = st.lists(st.tuples(TOKENS.map(lambda name: b"X-" + name), VALUES), max_size=5).map(tuple)
BODIES = st.binary(max_size=300)
TARGETS = st.text("abc/?=%.&", max_size=20).map(lambda text: b"/" + text.encode())


def portions(data: bytes, sizes: list[int]) -> list[bytes]:
    parts, start = [], 0
    for size in sizes:
        parts.append(data[start : start + size])
        start += size
    return [*parts, data[start:]]


@given(
    st.lists(st.tuples(TARGETS, PLAIN_HEADERS, BODIES, st.booleans()), min_size=1, max_size=4),
    st.lists(st.integers(1, 60), max_size=20),
)
def test_requests_come_back_as_they_were_written(messages: list[Any], sizes: list[int]) -> None:
    """What is rendered and cut into any portions is parsed into the same requests."""
    wire, expected = b"", []
    for target, headers, body, chunked in messages:
        trailers = ((b"X-Sum", b"1"),) if chunked else ()
        framing = (b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", b"%d" % len(body))
        whole = (*headers, framing)
        wire += render_request(b"POST", target, whole, body, trailers=trailers)
        expected.append(
            ParsedRequest(
                method=b"POST",
                target=target,
                http_version=b"HTTP/1.1",
                headers=whole,
                body=body,
                trailers=trailers,
            )
        )
    parser = RequestParser()
    assert [request for part in portions(wire, sizes) for request in parser.feed(part)] == expected
    parser.close()


FRAGMENTS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"A: b\r\n",
        b" folded\r\n",
        b"3;x=y\r\nabc\r\n",
        b"0\r\n",
        b"\r\n",
        b"\n",
    ]
)


def parsed(parts: list[bytes], *, as_response: bool) -> list[Any] | None:
    """What was made of a stream that came in these parts; None when it is no HTTP/1."""
    parser: RequestParser | ResponseParser = ResponseParser() if as_response else RequestParser()
    try:
        messages = [message for part in parts for message in parser.feed(part)]
        return [*messages, *(parser.close() or ())]
    except Http1Error:
        return None


@given(st.lists(FRAGMENTS | st.binary(max_size=5), max_size=12), st.booleans(), st.booleans())
def test_any_bytes_are_the_same_however_they_come(parts: list[bytes], begun: bool, as_response: bool) -> None:
    """Arbitrary bytes are messages or Http1Error, and the same ones whole, in parts and byte by byte."""
    start = [b"HTTP/1.1 200 OK\r\n" if as_response else b"GET / HTTP/1.1\r\n"] if begun else []
    wire = b"".join([*start, *parts])
    whole = parsed([wire], as_response=as_response)
    assert parsed([*start, *parts], as_response=as_response) == whole
    assert parsed([wire[at : at + 1] for at in range(len(wire))], as_response=as_response) == whole


RESPONSES: list[tuple[bytes, bytes, list[tuple[int, bytes]]]] = [
    (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", [(200, b"hi")]),
    (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", [(200, b"")]),
    (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", [(204, b"")]),
    (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", [(304, b"")]),
    (
        b"GET",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        [(100, b""), (200, b"x")],
    ),
    (
        b"GET",
        b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nT: v\r\n\r\n",
        [(200, b"abcd")],
    ),
    (b"CONNECT", b"HTTP/1.1 200 OK\r\n\r\nraw bytes", [(200, b"raw bytes")]),
    (b"GET", b"HTTP/1.0 200 OK\r\n\r\nuntil the end", [(200, b"until the end")]),
    (b"GET", b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x00", [(101, b"\x81\x00")]),
]


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(("method", "wire", "expected"), RESPONSES)
def test_responses_are_framed_by_method_status_and_headers(
    method: bytes, wire: bytes, expected: list[tuple[int, bytes]], step: int
) -> None:
    """Each way to end a body is understood, byte by byte as well."""
    parser = ResponseParser()
    parser.expect(method)
    found: list[ParsedResponse] = []
    for start in range(0, len(wire), step):
        found += parser.feed(wire[start : start + step])
    found += parser.close()
    assert [(response.status, response.body) for response in found] == expected


@pytest.mark.parametrize(
    "wire",
    [
        b"nonsense\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nA b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\nc\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffff\r\n",
        b"GET /" + b"a" * MAX_HEAD_BYTES,
    ],
)
def test_what_is_not_a_request_is_refused(wire: bytes) -> None:
    """Broken first lines, headers, lengths and chunks raise Http1Error."""
    with pytest.raises(Http1Error):
        RequestParser().feed(wire)


@pytest.mark.parametrize("make", [RequestParser, ResponseParser])
def test_a_stream_that_ends_inside_a_message_is_an_error(make: Callable[[], Any]) -> None:
    """Half a head and half a body are reported when the stream ends."""
    parser = make()
    start = b"HTTP/1.1 200 OK" if make is ResponseParser else b"POST / HTTP/1.1"
    parser.feed(start + b"\r\nContent-Length: 5\r\n\r\nabc")
    assert not parser.idle
    with pytest.raises(Http1Error, match="ended inside"):
        parser.close()


def test_trailing_bytes_begin_the_next_message() -> None:
    """Requests sent in one go are told apart, and empty lines between them are skipped."""
    parser = RequestParser()
    found = parser.feed(b"GET /1 HTTP/1.1\r\n\r\n\r\nGET /2 HTTP/1.0\r\nA: b\r\n\r\nGET")
    assert [(one.target, one.http_version) for one in found] == [(b"/1", b"HTTP/1.1"), (b"/2", b"HTTP/1.0")]


def test_chunks_win_over_a_length() -> None:
    """Where both are given the transfer coding frames the body."""
    wire = b"POST / HTTP/1.1\r\nContent-Length: 50\r\nTransfer-Encoding: Chunked\r\n\r\n" + render_chunked(
        b"abc"
    )
    assert RequestParser().feed(wire)[0].body == b"abc"


def test_rendering_escapes_what_a_target_cannot_hold() -> None:
    """Spaces and controls would end it early."""
    wire = render_request(b"GET", b"/a b\x01", ((b"A", b"b"),), http_version=b"HTTP/1.0")
    assert wire == b"GET /a%20b%01 HTTP/1.0\r\nA: b\r\n\r\n"
    assert (unfold(b"plain"), unfold(b"b\r\n c")) == (b"plain", b"b c")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"http_version": b"HTTP/1.1\r\nHost: t\r\n\r\nGET /admin HTTP/1.1"}, "version"),
        ({"http_version": b"HTTP/1.2"}, "version"),
        ({"http_version": b"HTTP/2.0"}, "version"),
        ({"method": b"GET /admin HTTP/1.1\r\n\r\nGET"}, "method"),
        ({"method": b""}, "method"),
        ({"target": b"/ HTTP/1.1\r\n\r\nGET /admin"}, "target"),
        ({"target": b"/\x00"}, "target"),
        ({"headers": ((b"A\r\nB", b"c"),)}, "name"),
        ({"headers": ((b"A ", b"c"),)}, "name"),
        ({"headers": ((b"", b"c"),)}, "name"),
        ({"headers": ((b"A", b"b\r\n\r\nGET /admin HTTP/1.1"),)}, "value"),
        ({"headers": ((b"A", b"b\nc"),)}, "value"),
        ({"headers": ((b"A", b"b\rc"),)}, "value"),
        ({"headers": ((b"A", b"b\0c"),)}, "value"),
        ({"trailers": ((b"A", b"b\r\n\r\n"),)}, "value"),
    ],
)
def test_nothing_but_one_request_is_rendered(changed: dict[str, Any], why: str) -> None:
    """Whatever part holds a second request, it is refused in words that do not quote it."""
    whole = {"method": b"GET", "target": b"/", "headers": (), **changed}
    with pytest.raises(Http1Error, match=why) as told:
        render_request(**whole)
    assert "admin" not in str(told.value)


def test_messages_do_not_show_what_they_hold() -> None:
    """Targets, headers and bodies carry secrets; a repr ends up in logs."""
    request = RequestParser().feed(
        b"POST /?k=sesame HTTP/1.1\r\nA: sesame\r\nContent-Length: 6\r\n\r\nsesame"
    )
    response = ResponseParser().feed(b"HTTP/1.1 200 OK\r\nA: sesame\r\nContent-Length: 6\r\n\r\nsesame")
    assert "sesame" not in repr([request, response])


def test_chunked_rendering_cuts_large_bodies() -> None:
    """A body longer than the chunk size comes in several chunks."""
    assert render_chunked(b"abcde", chunk_bytes=2) == b"2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\n\r\n"


def test_headers_are_found_without_regard_to_case() -> None:
    """Values keep their order; tokens are split, trimmed and in lower case."""
    headers = parse_headers(b"Connection: Close,  TE\r\nA: 1\r\nconnection: x\r\n folded")
    assert header_values(headers, b"connection") == [b"Close,  TE", b"x folded"]
    assert header_tokens(headers, b"connection") == [b"close", b"te", b"x folded"]
    assert parse_headers(b"") == ()
