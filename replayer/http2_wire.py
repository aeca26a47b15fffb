"""
HTTP/2 requests as windows hold them, and the two things of its wire format that are read here.

Header compression depends on all that a connection sent before, so a request is encoded only when
it is sent; until then it is packed as its header list, body and trailers.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgpack

from captures.http1 import TOKEN, Http1Error
from captures.model import Headers, Request

HTTP_2 = b"HTTP/2"
"""The version of a request that is to be sent over HTTP/2."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD_BYTES = 9
SETTINGS = 4
_GOAWAY = 7
_GOAWAY_BYTES = 8  # at least: the last stream's id and an error code
_MAX_FRAME_BYTES = 16_384  # without another word a peer may send no larger ones
_STREAM_ID = 0x7FFF_FFFF
_BREAK = re.compile(rb"[\r\n\x00]")
_NOT_IN_PATH = re.compile(rb"[\x00-\x20\x7f]")


class PackedRequest(NamedTuple):
    """A request before its headers are compressed; ``headers`` begin with the pseudo-headers."""

    headers: Headers
    body: bytes
    trailers: Headers


def pack_request(request: Request) -> bytes:
    """
    ``request`` for a window: names in lower case, spaces and controls in the path escaped.

    Raises:
        Http1Error: the parts are no HTTP/2 request: a method or header name that is no token, a
            line break or NUL in a value, or CONNECT, which asks for a tunnel.

    """
    if TOKEN.fullmatch(request.method) is None:
        raise Http1Error("the method is no token")
    if request.method == b"CONNECT":
        raise Http1Error("CONNECT asks for a tunnel")
    if _BREAK.search(request.target) or _BREAK.search(request.authority):
        raise Http1Error("the target holds a line break")
    headers = [
        (b":method", request.method),
        (b":scheme", request.scheme),
        (b":authority", request.authority),
        (b":path", _NOT_IN_PATH.sub(lambda match: b"%%%02X" % match[0][0], request.target)),
        *_fields(request.headers),
    ]
    packed: bytes = msgpack.packb((headers, request.body, _fields(request.trailers)))
    return packed


def unpack_request(packed: bytes | memoryview) -> PackedRequest:
    """What ``pack_request`` packed."""
    return PackedRequest(*msgpack.unpackb(packed, use_list=False))


def _fields(headers: Headers) -> list[tuple[bytes, bytes]]:
    fields = []
    for name, value in headers:
        if TOKEN.fullmatch(name) is None:
            raise Http1Error("a header name is no token")
        if _BREAK.search(value):
            raise Http1Error("a header value holds a line break")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


class GoAwayFilter:
    """
    Takes the GOAWAY frames out of what a server sends.

    After GOAWAY a server still answers the streams that it took (RFC 9113 section 6.8), but a
    protocol library may read nothing behind it; so it is not shown any.
    """

    __slots__ = ("_held", "_left")

    def __init__(self) -> None:
        self._held = b""  # the beginning of a frame whose kind or end is not known yet
        self._left = 0  # bytes of a frame that began before and passes

    def __call__(self, data: bytes) -> tuple[bytes, list[int]]:
        """
        What is not GOAWAY, and of each GOAWAY the highest stream that the server took.

        Raises:
            ValueError: a frame is too large, so this is no HTTP/2.

        """
        if self._held:
            data, self._held = self._held + data, b""
        last_streams: list[int] = []
        parts = []
        start, at, end = 0, self._left, len(data)
        while at + FRAME_HEAD_BYTES <= end:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            stop = at + FRAME_HEAD_BYTES + length
            if length > _MAX_FRAME_BYTES:
                raise ValueError("a frame is larger than permitted")
            if data[at + 3] == _GOAWAY and length >= _GOAWAY_BYTES:
                if stop > end:
                    break
                parts.append(data[start:at])
                body = at + FRAME_HEAD_BYTES
                last_streams.append(int.from_bytes(data[body : body + 4], "big") & _STREAM_ID)
                start = stop
            at = stop
        if at < end:
            self._held = data[at:]
        self._left = max(0, at - end)
        if not parts and not self._held:
            return data, last_streams
        return b"".join((*parts, data[start : min(at, end)])), last_streams
