"""mitmproxy's live flow and our own clock readings -> the capture's types; no I/O, no state."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from mitmproxy import http
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.net.http.status_codes import RESPONSES

from captures.model import FailureReason, Headers, Request, Response

HTTP1 = b"HTTP/1.1"
HTTP2 = b"HTTP/2.0"

# RFC 9113, section 8.2.2: these mean nothing in HTTP/2, so the proxy removes them on the way.
_CONNECTION_HEADERS = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_H2C_HEADERS = frozenset({b"upgrade", b"connection", b"http2-settings"})
_HOST_BYTES = len(b"host")
_EXPECT_BYTES = len(b"expect")
_UPGRADE_BYTES = len(b"upgrade")
_CONTENT_TYPE_BYTES = len(b"content-type")
_CONTENT_LENGTH_BYTES = len(b"content-length")
_TRANSFER_ENCODING_BYTES = len(b"transfer-encoding")
_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_ERRNO = re.compile(r"\[Errno -?\d+\]")


class BodyTee:
    """
    Keeps up to ``limit_bytes`` of a body that passes by in chunks, and counts the rest.

    ``feed`` returns nothing: the chunk itself is passed on by the caller, whole.
    """

    __slots__ = ("_chunks", "_limit_bytes", "kept_bytes", "passed_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._chunks: list[bytes] = []
        self.kept_bytes = 0
        self.passed_bytes = 0

    def feed(self, chunk: bytes) -> None:
        """Notes one chunk; what is above the limit is counted and not kept."""
        self.passed_bytes += len(chunk)
        room = self._limit_bytes - self.kept_bytes
        if room > 0:
            kept = chunk[:room]
            self._chunks.append(kept)
            self.kept_bytes += len(kept)

    def stored(self) -> tuple[bytes, int]:
        """The kept bytes, and how many more passed."""
        return b"".join(self._chunks), self.passed_bytes - self.kept_bytes


def cut(body: bytes | None, limit_bytes: int) -> tuple[bytes, int]:
    """The first ``limit_bytes`` of ``body``, and how many bytes that leaves out."""
    if body is None:
        return b"", 0
    return (body, 0) if len(body) <= limit_bytes else (body[:limit_bytes], len(body) - limit_bytes)


def request_head(flow: http.HTTPFlow, *, reverse: bool) -> Request:
    """
    The request's head as the client sent it; the body comes with ``with_body``.

    ``reverse`` says that the client talked to us as to the server itself, so the scheme is that
    of its own connection; a forward proxy's client names the scheme it wants.
    """
    data = flow.request.data
    headers = _sent_headers(data.headers.fields)
    if reverse:
        scheme = b"https" if flow.client_conn.tls else b"http"
    else:
        scheme = data.scheme or (b"https" if flow.client_conn.tls else b"http")
    return Request(
        method=data.method,
        scheme=scheme,
        authority=_authority(data, headers, scheme),
        target=data.path or b"/",
        http_version=data.http_version,
        headers=headers,
    )


def with_body(
    head: Request, *, body: bytes, truncated_bytes: int, trailers: http.Headers | None = None
) -> Request:
    """``head`` with what came after it."""
    if not body and not truncated_bytes and not trailers:
        return head
    return replace(
        head,
        body=body,
        truncated_bytes=truncated_bytes,
        trailers=() if trailers is None else _pairs(trailers.fields),
    )


def response_from(
    flow: http.HTTPFlow,
    *,
    offset_ns: int,
    end_ns: int | None,
    body: bytes = b"",
    truncated_bytes: int = 0,
    stream: bool = False,
) -> Response:
    """The response as the client got it, in the client's protocol version."""
    assert flow.response is not None
    data = flow.response.data
    version, reason, headers = _translated(
        data.http_version, data.reason, _pairs(data.headers.fields), data.status_code, flow
    )
    return Response(
        status=data.status_code,
        reason=reason,
        http_version=version,
        headers=headers,
        offset_ns=offset_ns,
        end_ns=end_ns,
        body=body,
        trailers=() if data.trailers is None else _pairs(data.trailers.fields),
        truncated_bytes=truncated_bytes,
        stream=stream,
    )


def failure_reason(
    message: str, *, client: Client, request_done: bool, connect_error: str | None
) -> tuple[FailureReason, str]:
    """
    The reason and a fixed detail for mitmproxy's error ``message``.

    ``connect_error`` is what the last attempt to reach the upstream for this client said, or
    None. Messages may quote traffic, so none of their text is ever used as the detail.
    """
    if connect_error is not None and connect_error in message:
        return FailureReason.UPSTREAM_UNREACHABLE, _connect_detail(connect_error)
    client_gone = not client.state & ConnectionState.CAN_READ
    if "Client disconnected" in message or "by client" in message:
        return FailureReason.CLIENT_DISCONNECTED, ""
    if "without sending complete message body" in message or "incomplete chunked read" in message:
        if client_gone and not request_done:
            return FailureReason.CLIENT_DISCONNECTED, "the request's body was cut"
        return FailureReason.UPSTREAM_RESET, "the response's body was cut"
    if "server closed connection" in message:
        return FailureReason.UPSTREAM_RESET, "the upstream closed the connection without an answer"
    if "Connection killed" in message:
        return FailureReason.PROTOCOL_ERROR, "HTTP/2 without TLS is not supported by the proxy"
    if any(word in message for word in ("protocol error", "Cannot parse", "unexpected server", "Received ")):
        return FailureReason.PROTOCOL_ERROR, "a message was not valid HTTP"
    if "connection closed" in message.lower():
        return (
            (FailureReason.CLIENT_DISCONNECTED, "")
            if client_gone
            else (FailureReason.UPSTREAM_RESET, "the upstream closed the connection")
        )
    return FailureReason.OTHER, ""


def is_event_stream(response: http.Response, method: bytes) -> bool:
    """Whether a response is an SSE stream whose events can be told apart while they pass."""
    for name, value in response.data.headers.fields:
        # Nearly all responses are told apart here, without a look at any other header.
        if len(name) == _CONTENT_TYPE_BYTES and b"event-stream" in value.lower():
            break
    else:
        return False
    if method.upper() == b"HEAD" or response.status_code in {204, 304}:
        return False
    content_type = response.headers.get("content-type", "")
    coding = response.headers.get("content-encoding", "identity")
    media_type = content_type.split(";", 1)[0].strip().lower()
    return bool(media_type == "text/event-stream" and coding.strip().lower() == "identity")


def declared_length(message: http.Message) -> int | None:
    """The Content-Length, or None when the length is not known before the body has passed."""
    length: int | None = None
    for name, value in message.data.headers.fields:
        # Comparing sizes first is most of what makes this cheap: it is asked of every message.
        size = len(name)
        if size == _CONTENT_LENGTH_BYTES and name.lower() == b"content-length":
            length = int(value) if value.isdigit() and length is None else None
        elif size == _TRANSFER_ENCODING_BYTES and name.lower() == b"transfer-encoding":
            return None
    return length


def may_have_body(request: http.Message) -> bool:
    """Whether a request without a Content-Length may still have a body."""
    return bool(request.is_http2) or "transfer-encoding" in request.headers


def _pairs(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple(fields)  # mitmproxy's are tuples of tuples, which this does not copy


def _sent_headers(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    # The proxy answers "Expect: 100-continue" itself and takes an offer of h2c out; the server
    # sees neither, and a replay that sent them would wait for what the recorded one never got.
    headers = _pairs(fields)
    removed: frozenset[bytes] = frozenset()
    for name, value in headers:
        size = len(name)
        if size == _EXPECT_BYTES and name.lower() == b"expect" and value.lower() == b"100-continue":
            removed |= {b"expect"}
        elif size == _UPGRADE_BYTES and value == b"h2c" and name.lower() == b"upgrade":
            removed |= _H2C_HEADERS
    return tuple(pair for pair in headers if pair[0].lower() not in removed) if removed else headers


def _authority(data: http.RequestData, headers: Headers, scheme: bytes) -> bytes:
    if data.authority:
        return data.authority
    for name, value in headers:
        if len(name) == _HOST_BYTES and name.lower() == b"host":
            return value
    host = f"[{data.host}]" if ":" in data.host else data.host
    port = "" if data.port == _DEFAULT_PORTS.get(scheme) else f":{data.port}"
    return f"{host}{port}".encode("idna" if not host.isascii() else "ascii")


def _translated(
    version: bytes, reason: bytes, headers: Headers, status: int, flow: http.HTTPFlow
) -> tuple[bytes, bytes, Headers]:
    client_h2 = flow.request.is_http2
    upstream_h2 = version.startswith(b"HTTP/2")
    if client_h2 == upstream_h2:
        return version, reason, headers
    if client_h2:
        lowered = tuple((name.lower(), value) for name, value in headers)
        return HTTP2, b"", tuple(pair for pair in lowered if pair[0] not in _CONNECTION_HEADERS)
    return HTTP1, RESPONSES.get(status, "").encode("ascii"), headers


def _connect_detail(error: str) -> str:
    lowered = error.lower()
    if "certificate verify failed" in lowered:
        return "the upstream's certificate could not be verified"
    if "does not speak tls" in lowered or "openssl" in lowered or "tls" in lowered:
        return "no TLS connection could be made with the upstream"
    if "refused" in lowered or "connect call failed" in lowered:
        return "the upstream refused the connection"
    if "name" in lowered and _ERRNO.search(error):
        return "the upstream's name could not be resolved"
    return "no connection could be made with the upstream"
