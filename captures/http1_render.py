"""HTTP/1 framing without I/O: bytes out of messages (RFC 9112), one request and never two."""

from __future__ import annotations

import re

from captures.http1 import HTTP_1, TOKEN, Http1Error, unfold
from captures.model import Headers

_BREAK = re.compile(rb"[\r\n\x00]")
_NOT_IN_TARGET = re.compile(rb"[\x00-\x20\x7f]")


def render_request(
    method: bytes,
    target: bytes,
    headers: Headers,
    body: bytes = b"",
    *,
    http_version: bytes = b"HTTP/1.1",
    trailers: Headers = (),
) -> bytes:
    """
    The bytes of one request; headers are taken as they are, framing included.

    With ``trailers`` the body is written in chunks, so the headers must say so. Spaces and
    harmless controls in the target are escaped.

    Raises:
        Http1Error: the parts are not one request: another version than ``HTTP_1``, a method or
            header name that is no token, a line break or NUL in the target or a header value.

    """
    if http_version not in HTTP_1:
        raise Http1Error("the version is not HTTP/1")
    if TOKEN.fullmatch(method) is None:
        raise Http1Error("the method is no token")
    if _BREAK.search(target):
        raise Http1Error("the target holds a line break")
    for name, value in (*headers, *trailers):
        if TOKEN.fullmatch(name) is None:
            raise Http1Error("a header name is no token")
        if _BREAK.search(value):
            raise Http1Error("a header value holds a line break")
    lines = [b"%s %s %s\r\n" % (method, _NOT_IN_TARGET.sub(_escape, target), http_version)]
    lines += [b"%s: %s\r\n" % header for header in headers]
    lines += [b"\r\n", render_chunked(body, trailers) if trailers else body]
    return b"".join(lines)


def render_chunked(body: bytes, trailers: Headers = (), chunk_bytes: int = 65_536) -> bytes:
    """``body`` in the chunked transfer coding, closed by ``trailers``."""
    parts = []
    for start in range(0, len(body), chunk_bytes):
        chunk = body[start : start + chunk_bytes]
        parts.append(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    parts.append(b"0\r\n")
    parts += [b"%s: %s\r\n" % (unfold(name), unfold(value)) for name, value in trailers]
    parts.append(b"\r\n")
    return b"".join(parts)


def _escape(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
