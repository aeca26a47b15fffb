"""
What mitmproxy's HTTP/1 layer lacks: trailers, interim responses, and framing of HTTP/2 bodies.

Stock mitmproxy (up to 12.2 at least) raises NotImplementedError on chunked trailers, takes
"103 Early Hints" for the final response, hangs on a blank line before a request, reads heads
without a limit, sends a last chunk after a 304 that names its coding, and sends an HTTP/2 body
of unknown length to an HTTP/1.1 server without any framing. ``install`` puts these subclasses in
its place; on a version that was not tested the stock classes stay.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, TypeAlias

import h11
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers import http as layers
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestEndOfMessage,
    RequestHeaders,
    RequestTrailers,
    ResponseEndOfMessage,
    ResponseProtocolError,
    ResponseTrailers,
)

from captures.units import MIB
from recorder.versions import version_is_tested

MAX_HEAD_BYTES = MIB

Commands: TypeAlias = Generator[commands.Command, Any, None]
_CONNECTION: Any = _http1.Http1Connection
_SERVER: Any = _http1.Http1Server
_CLIENT: Any = _http1.Http1Client
_READER: Any = ChunkedReader
_ENDS = (RequestEndOfMessage, ResponseEndOfMessage)
_INTERIM = re.compile(rb"HTTP/1\.\d 1(?!01)\d\d[ \r\n]")
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def install() -> bool:
    """Puts the subclasses in mitmproxy's place; False when its version was not tested."""
    if not version_is_tested():
        return False
    module: Any = layers
    module.Http1Server = TrailingServer
    module.Http1Client = TrailingClient
    return True


class TrailerReader(_READER):  # type: ignore[misc]
    """h11's reader of chunked bodies, which keeps trailers aside so that mitmproxy goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.trailers: http.Headers | None = None

    def __call__(self, buffer: ReceiveBuffer) -> h11.Event | None:
        """The next piece of the body, or its end without the trailers."""
        event: h11.Event | None = super().__call__(buffer)
        if isinstance(event, h11.EndOfMessage) and event.headers:
            self.trailers = http.Headers(event.headers.raw_items())
            return h11.EndOfMessage()
        return event


def _chunked(message: http.Message) -> bool:
    return "chunked" in message.headers.get("transfer-encoding", "").lower()


class _Trailing(_CONNECTION):  # type: ignore[misc]
    """What both sides of HTTP/1 share; ``trailers_event`` is what the trailers they read come as."""

    trailers_event: Any
    body_reader: Any
    _ended = False  # the trailers that were sent have ended the message

    def read_body(self, event: events.Event) -> Commands:
        """Reads a message's body and its trailers."""
        if type(self.body_reader) is ChunkedReader:
            self.body_reader = TrailerReader()
        body: Commands = super().read_body(event)
        if not isinstance(self.body_reader, TrailerReader):
            return body
        return self._with_trailers(self.body_reader, body)

    def _with_trailers(self, reader: TrailerReader, body: Commands) -> Commands:
        for command in body:
            if reader.trailers and isinstance(command, ReceiveHttp) and isinstance(command.event, _ENDS):
                trailers, reader.trailers = reader.trailers, None
                yield ReceiveHttp(self.trailers_event(self.stream_id, trailers))
            yield command

    def _send_trailers(self, message: http.Message, trailers: http.Headers) -> Commands:
        if _chunked(message):  # there is no place for them without chunks
            self._ended = True
            yield commands.SendData(self.conn, b"0\r\n" + bytes(trailers) + b"\r\n")


class TrailingServer(_Trailing, _SERVER):  # type: ignore[misc]
    """The client's side of HTTP/1: reads requests, writes responses."""

    trailers_event = RequestTrailers

    def read_headers(self, event: events.Event) -> Commands:
        """Reads a request's head, after any blank lines before it (RFC 9112, section 2.2)."""
        if isinstance(event, events.DataReceived):
            while bytes(self.buf)[:2] == b"\r\n":
                self.buf.maybe_extract_at_most(2)
            yield from super().read_headers(event)
            if self.request is None and len(self.buf) > MAX_HEAD_BYTES:
                yield commands.SendData(self.conn, _TOO_LARGE)
                yield commands.CloseConnection(self.conn)
                self.state = self.done
        else:
            yield from super().read_headers(event)

    def send(self, event: Any) -> Commands:
        """Writes a part of the response."""
        if isinstance(event, ResponseTrailers):
            if self.request.method != "HEAD":
                yield from self._send_trailers(self.response, event.trailers)
        elif isinstance(event, ResponseEndOfMessage) and (self._ended or self._is_bodiless()):
            self._ended = False
            yield from self.mark_done(response=True)
        else:
            yield from super().send(event)

    def _is_bodiless(self) -> bool:
        # A 304 may name the coding that the body would have had (RFC 9112, section 6.1); the
        # stock class takes that for a reason to send the last chunk of no body.
        return bool(self.response.status_code == 304)


class TrailingClient(_Trailing, _CLIENT):  # type: ignore[misc]
    """The upstream's side of HTTP/1: writes requests, reads responses."""

    trailers_event = ResponseTrailers

    def read_headers(self, event: events.Event) -> Commands:
        """Reads a response's head; interim ones before it are passed on as they are."""
        if isinstance(event, events.DataReceived) and self.request and self.stream_id is not None:
            while _INTERIM.match(bytes(self.buf)):
                lines = self.buf.maybe_extract_lines()
                if lines is None:
                    break
                if self._client_takes_interim():
                    head = b"\r\n".join(bytes(line) for line in lines)
                    yield commands.SendData(self.context.client, head + b"\r\n\r\n")
            if not self.buf:
                return
            request = self.request
            yield from super().read_headers(event)
            if self.request is request and self.response is None and len(self.buf) > MAX_HEAD_BYTES:
                yield from self._refuse("Cannot parse HTTP response: its head is too large")
        else:
            yield from super().read_headers(event)

    def send(self, event: Any) -> Commands:
        """Writes a part of the request."""
        if isinstance(event, RequestHeaders):
            event = _framed(event)
        if isinstance(event, RequestTrailers):
            yield from self._send_trailers(self.request, event.trailers)
        elif self._ended and isinstance(event, RequestEndOfMessage):
            self._ended = False
            yield from self.mark_done(request=True)
        else:
            yield from super().send(event)

    def _client_takes_interim(self) -> bool:
        return bool(self.context.client.alpn != b"h2" and self.request.http_version == "HTTP/1.1")

    def _refuse(self, reason: str) -> Commands:
        code: Any = ResponseProtocolError.code
        yield commands.CloseConnection(self.conn)
        yield ReceiveHttp(ResponseProtocolError(self.stream_id, reason, code))


def _framed(event: RequestHeaders) -> RequestHeaders:
    """An HTTP/2 request with a body of unknown length needs chunks in HTTP/1.1, or it would smuggle."""
    request = event.request
    if event.end_stream or not (request.is_http2 or request.is_http3) or "content-length" in request.headers:
        return event
    request = request.copy()
    request.headers["Transfer-Encoding"] = "chunked"
    return RequestHeaders(event.stream_id, request, end_stream=False)
