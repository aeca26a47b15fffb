"""
mitmproxy's live flow and our own clock readings -> the parts of a capture's row; no I/O, no state.

Rows are plain tuples as captures.codec has them: making the capture's types of each flow would take
the proxy longer than all else that recording does, and whoever writes the row makes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from mitmproxy import http
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.net.http.status_codes import RESPONSES

from captures.codec import RESPONSE_ROW
from captures.model import FailureReason, Headers
from recorder.speedups import header_index

HTTP1 = b"HTTP/1.1"
HTTP2 = b"HTTP/2.0"

# RFC 9113, section 8.2.2: these mean nothing in HTTP/2, so the proxy removes them on the way.
_CONNECTION_HEADERS = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_H2C_HEADERS = frozenset({b"upgrade", b"connection", b"http2-settings"})
_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_LENGTH = re.compile(rb"\d{1,15}")  # longer bodies do not exist, and a capture has no room for the number
_ERRNO = re.compile(r"\[Errno -?\d+\]")
Head: TypeAlias = tuple[bytes, bytes, bytes, bytes, bytes, Headers]
"""Method, scheme, authority, target, protocol version and headers of a request."""


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


def request_head(flow: http.HTTPFlow, *, reverse: bool) -> tuple[Head, int | None]:
    """
    The request's head as the client sent it, and the bytes its body will have, None when unknown.

    ``reverse`` says that the client talked to us as to the server itself, so the scheme is that
    of its own connection; a forward proxy's client names the scheme it wants.
    """
    data = flow.request.data
    headers = data.headers.fields
    index = header_index(data.headers)
    if b"expect" in index or b"upgrade" in index:
        headers = _sent(headers, index)
    scheme = b"" if reverse else data.scheme
    if not scheme:
        scheme = b"https" if flow.client_conn.tls else b"http"
    host = index.get(b"host")
    authority = data.authority or (_destination(data, scheme) if host is None else host[0])
    head = (data.method, scheme, authority, data.path or b"/", data.http_version, headers)
    if data.http_version == HTTP2 or b"content-length" in index or b"transfer-encoding" in index:
        return head, _length(index)
    return head, 0  # in HTTP/1.1 a request that says nothing of a body has none


def _sent(headers: Headers, index: Mapping[bytes, list[bytes]]) -> Headers:
    # The proxy answers "Expect: 100-continue" itself and takes an offer of h2c out; the server
    # sees neither, and a replay that sent them would wait for what the recorded one never got.
    removed: frozenset[bytes] = frozenset()
    if any(value.lower() == b"100-continue" for value in index.get(b"expect", ())):
        removed |= {b"expect"}
    if b"h2c" in index.get(b"upgrade", ()):
        removed |= _H2C_HEADERS
    return tuple(pair for pair in headers if pair[0].lower() not in removed)


def _length(index: Mapping[bytes, list[bytes]]) -> int | None:
    lengths = index.get(b"content-length")
    if lengths is None or len(lengths) > 1 or b"transfer-encoding" in index:
        return None
    return int(lengths[0]) if _LENGTH.fullmatch(lengths[0]) else None


def response_row(
    flow: http.HTTPFlow,
    offset_ns: int,
    end_ns: int | None,
    body: bytes = b"",
    truncated_bytes: int = 0,
    *,
    stream: bool = False,
) -> tuple[Any, ...]:
    """The row of the response as the client got it, in the client's protocol version."""
    assert flow.response is not None
    data = flow.response.data
    version, reason, headers = data.http_version, data.reason, data.headers.fields
    client_h2 = flow.request.data.http_version == HTTP2
    if client_h2 != version.startswith(b"HTTP/2"):
        version, reason, headers = _translated(headers, data.status_code, client_h2=client_h2)
    trailers = () if data.trailers is None else data.trailers.fields
    return (
        RESPONSE_ROW,
        data.status_code,
        reason,
        version,
        headers,
        offset_ns,
        end_ns,
        body,
        trailers,
        truncated_bytes,
        stream,
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
        return FailureReason.UPSTREAM_UNREACHABLE, connect_detail(connect_error)
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


def response_framing(response: http.Response, method: bytes) -> tuple[int | None, bool]:
    """
    What is known of a response's body from its head.

    That is its length, None when it is not known before the body has passed, and whether it is an
    SSE stream whose events can be told apart while they pass.
    """
    # The proxy itself asked for a response's headers before, so the index is there.
    index = header_index(response.data.headers)
    kinds = index.get(b"content-type")
    has_events = (
        kinds is not None and b"event-stream" in kinds[0].lower() and _is_event_stream(response, method)
    )
    return _length(index), has_events


def _is_event_stream(response: http.Response, method: bytes) -> bool:
    if method.upper() == b"HEAD" or response.status_code in {204, 304}:
        return False
    content_type = response.headers.get("content-type", "")
    coding = response.headers.get("content-encoding", "identity")
    media_type = content_type.split(";", 1)[0].strip().lower()
    return bool(media_type == "text/event-stream" and coding.strip().lower() == "identity")


def _destination(data: http.RequestData, scheme: bytes) -> bytes:
    host = f"[{data.host}]" if ":" in data.host else data.host
    port = "" if data.port == _DEFAULT_PORTS.get(scheme) else f":{data.port}"
    return f"{host}{port}".encode("idna" if not host.isascii() else "ascii")


def _translated(headers: Headers, status: int, *, client_h2: bool) -> tuple[bytes, bytes, Headers]:
    """Version, reason and headers after the proxy's step from one protocol to the other."""
    if client_h2:
        lowered = tuple((name.lower(), value) for name, value in headers)
        return HTTP2, b"", tuple(pair for pair in lowered if pair[0] not in _CONNECTION_HEADERS)
    return HTTP1, RESPONSES.get(status, "").encode("ascii"), headers


def connect_detail(error: str) -> str:
    """Why an upstream was not reached, in fixed words."""
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
