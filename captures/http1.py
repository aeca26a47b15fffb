"""
HTTP/1 framing without I/O: messages out of bytes (RFC 9112).

``RequestParser`` and ``ResponseParser`` take bytes in any portions and give whole messages;
what is not HTTP/1 raises ``Http1Error`` and nothing else.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from captures.model import Headers

HTTP_1 = frozenset({b"HTTP/1.0", b"HTTP/1.1"})
"""The versions that a request line can end with."""
MAX_HEAD_BYTES = 256 * 1024
MAX_BODY_BYTES = 1024 * 1024 * 1024

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^\x00-\x20\x7f]+) (HTTP/1\.[01])")
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9]\d\d)(?: (.*))?", re.DOTALL)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_DIGITS = re.compile(rb"\d{1,15}")
_BROKEN_LINE = re.compile(rb"[ \t]*[\r\n\x00]+[ \t]*")


class Http1Error(ValueError):
    """The bytes are not an HTTP/1 message; the text says why and holds no traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRequest:
    """One whole request; ``body`` has its transfer coding removed."""

    method: bytes
    target: bytes = field(repr=False)
    http_version: bytes
    headers: Headers = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    trailers: Headers = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedResponse:
    """One whole response, interim ones included; ``body`` has its transfer coding removed."""

    status: int
    reason: bytes
    http_version: bytes
    headers: Headers = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    trailers: Headers = field(default=(), repr=False)


def unfold(value: bytes) -> bytes:
    """``value`` with each line break or NUL in it made one space."""
    if b"\n" in value or b"\r" in value or b"\0" in value:
        return _BROKEN_LINE.sub(b" ", value).strip()
    return value


def header_values(headers: Headers, lower_name: bytes) -> list[bytes]:
    """All values of the header whose lower-case name is ``lower_name``, in wire order."""
    return [value for name, value in headers if name.lower() == lower_name]


def header_tokens(headers: Headers, lower_name: bytes) -> list[bytes]:
    """The comma-separated parts of all values of a header, in lower case, without spaces around."""
    joined = b",".join(header_values(headers, lower_name)).lower()
    return [token for part in joined.split(b",") if (token := part.strip())]


_Parts: TypeAlias = tuple[bytes, Headers, bytes, Headers]  # first line, headers, body, trailers


class _Stage(Enum):
    HEAD = auto()
    LENGTH = auto()
    CHUNK_LINE = auto()
    CHUNK = auto()
    TRAILERS = auto()
    UNTIL_CLOSE = auto()


class _Framer(ABC):
    """Heads, bodies and trailers out of a byte stream; subclasses say what a head means."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._stage = _Stage.HEAD
        self._searched = 0  # bytes of the buffer known to hold no end of a head
        self._needed = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._first_line = b""
        self._headers: Headers = ()

    @property
    def idle(self) -> bool:
        """Whether the stream stands between two messages."""
        return self._stage is _Stage.HEAD and not self._buffer

    @abstractmethod
    def _framing(self, first_line: bytes, headers: Headers) -> int | None:
        """Body bytes by Content-Length, -1 for chunks, None for a body that ends with the stream."""

    def _messages(self, data: bytes) -> Iterator[_Parts]:
        self._buffer += data
        while True:
            done = self._step()
            if done is None:
                return
            if not isinstance(done, bool):
                yield done

    def _step(self) -> _Parts | bool | None:
        """One stage further: a whole message, False for "go on", None for "more bytes"."""
        if self._stage is _Stage.HEAD:
            return self._head()
        if self._stage is _Stage.LENGTH:
            if len(self._buffer) < self._needed:
                return None
            self._take_body(self._needed)
            return self._whole(())
        if self._stage is _Stage.CHUNK_LINE:
            return self._chunk_line()
        if self._stage is _Stage.CHUNK:
            return self._chunk()
        if self._stage is _Stage.TRAILERS:
            return self._trailers()
        self._take_body(len(self._buffer))
        return None

    def _head(self) -> _Parts | bool | None:
        while self._buffer[:2] == b"\r\n":  # RFC 9112 section 2.2: empty lines before a message
            del self._buffer[:2]
            self._searched = 0
        end = self._buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        if max(end, len(self._buffer) if end < 0 else 0) > MAX_HEAD_BYTES:
            raise Http1Error("the head is longer than is allowed")
        if end < 0:
            self._searched = len(self._buffer)
            return None
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._searched = 0
        self._first_line, _, rest = head.partition(b"\r\n")
        self._headers = parse_headers(rest)
        length = self._framing(self._first_line, self._headers)
        if length is None:
            self._stage = _Stage.UNTIL_CLOSE
        elif length < 0:
            self._stage = _Stage.CHUNK_LINE
        else:
            self._stage, self._needed = _Stage.LENGTH, length
        return False

    def _chunk_line(self) -> bool | None:
        if (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise Http1Error("a chunk line is longer than is allowed")
            return None
        match = _CHUNK_LINE.fullmatch(self._buffer[:end])
        if match is None:
            raise Http1Error("a chunk size is not a number")
        self._needed = int(match[1], 16)
        del self._buffer[: end + 2]
        self._stage = _Stage.CHUNK if self._needed else _Stage.TRAILERS
        return False

    def _chunk(self) -> bool | None:
        self._check_size(self._needed)
        if len(self._buffer) < self._needed + 2:
            return None
        if self._buffer[self._needed : self._needed + 2] != b"\r\n":
            raise Http1Error("a chunk is longer than its size")
        self._take_body(self._needed)
        del self._buffer[:2]
        self._stage = _Stage.CHUNK_LINE
        return False

    def _trailers(self) -> _Parts | None:
        if self._buffer[:2] == b"\r\n":
            del self._buffer[:2]
            return self._whole(())
        if (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise Http1Error("the trailers are longer than is allowed")
            return None
        trailers = parse_headers(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        return self._whole(trailers)

    def _check_size(self, more_bytes: int) -> None:
        if self._body_bytes + more_bytes > MAX_BODY_BYTES:
            raise Http1Error("the body is longer than is allowed")

    def _take_body(self, size_bytes: int) -> None:
        self._check_size(size_bytes)
        if size_bytes:
            self._body.append(bytes(self._buffer[:size_bytes]))
            self._body_bytes += size_bytes
            del self._buffer[:size_bytes]

    def _whole(self, trailers: Headers) -> _Parts:
        body = b"".join(self._body)
        self._body, self._body_bytes, self._stage = [], 0, _Stage.HEAD
        return self._first_line, self._headers, body, trailers

    def _finish(self) -> Iterator[_Parts]:
        if self._stage is _Stage.UNTIL_CLOSE:
            yield self._whole(())
        elif not self.idle:
            raise Http1Error("the stream ended inside a message")


class RequestParser(_Framer):
    """Whole requests out of what a client sent; one parser per connection."""

    def feed(self, data: bytes) -> list[ParsedRequest]:
        """
        The requests that ``data`` completed.

        Raises:
            Http1Error: what came is not HTTP/1; the parser must not be used further.

        """
        return [self._request(parts) for parts in self._messages(data)]

    def close(self) -> None:
        """
        Say that the stream ended.

        Raises:
            Http1Error: it ended inside a request.

        """
        if not self.idle:
            raise Http1Error("the stream ended inside a request")

    def _framing(self, first_line: bytes, headers: Headers) -> int | None:
        if _REQUEST_LINE.fullmatch(first_line) is None:
            raise Http1Error("the first line is not a request line")
        length = _declared_length(headers)
        return 0 if length is None else length

    @staticmethod
    def _request(parts: _Parts) -> ParsedRequest:
        first_line, headers, body, trailers = parts
        method, target, version = first_line.split(b" ")
        return ParsedRequest(
            method=method, target=target, http_version=version, headers=headers, body=body, trailers=trailers
        )


class ResponseParser(_Framer):
    """
    Whole responses out of what a server sent; one parser per connection.

    ``expect`` tells it each request's method, since a response to HEAD has no body.
    """

    def __init__(self) -> None:
        super().__init__()
        self._methods: deque[bytes] = deque()

    def expect(self, method: bytes) -> None:
        """A request with ``method`` was sent; its response comes after those expected before."""
        self._methods.append(method)

    def feed(self, data: bytes) -> list[ParsedResponse]:
        """
        The responses that ``data`` completed, interim (1xx) ones included.

        Raises:
            Http1Error: what came is not HTTP/1; the parser must not be used further.

        """
        return [self._response(parts) for parts in self._messages(data)]

    def close(self) -> list[ParsedResponse]:
        """
        Say that the stream ended; gives the response whose body the end of the stream closes.

        Raises:
            Http1Error: it ended inside a response.

        """
        return [self._response(parts) for parts in self._finish()]

    def _framing(self, first_line: bytes, headers: Headers) -> int | None:
        match = _STATUS_LINE.fullmatch(first_line)
        if match is None:
            raise Http1Error("the first line is not a status line")
        status = int(match[2])
        if status < 200:
            return None if status == 101 else 0
        method = self._methods.popleft() if self._methods else b"GET"
        if method == b"HEAD" or status in {204, 304}:
            return 0
        if method == b"CONNECT" and status < 300:
            return None
        return _declared_length(headers)

    @staticmethod
    def _response(parts: _Parts) -> ParsedResponse:
        first_line, headers, body, trailers = parts
        version, status, *reason = first_line.split(b" ", 2)
        return ParsedResponse(
            status=int(status),
            reason=reason[0] if reason else b"",
            http_version=version,
            headers=headers,
            body=body,
            trailers=trailers,
        )


def parse_headers(block: bytes) -> Headers:
    """
    The headers in ``block`` (lines without the closing empty one); spaces around values go.

    Raises:
        Http1Error: a line is not a header.

    """
    headers: list[tuple[bytes, bytes]] = []
    for line in block.split(b"\r\n") if block else []:
        if line[:1] in {b" ", b"\t"} and headers:  # a folded line, RFC 9112 section 5.2
            name, value = headers[-1]
            headers[-1] = name, value + b" " + line.strip(b" \t")
            continue
        name, colon, value = line.partition(b":")
        if not colon or TOKEN.fullmatch(name) is None:
            raise Http1Error("a header line has no valid name")
        if b"\n" in value or b"\r" in value or b"\0" in value:
            raise Http1Error("a header value holds a line break")
        headers.append((name, value.strip(b" \t")))
    return tuple(headers)


def _declared_length(headers: Headers) -> int | None:
    """-1 for chunks (they win over a length, RFC 9112 section 6.3), None where nothing is said."""
    codings = header_tokens(headers, b"transfer-encoding")
    if codings:
        if codings[-1] != b"chunked":
            raise Http1Error("the transfer coding is not known")
        return -1
    lengths = set(header_tokens(headers, b"content-length"))
    if not lengths:
        return None
    if len({length.lstrip(b"0") for length in lengths}) > 1 or not all(map(_DIGITS.fullmatch, lengths)):
        raise Http1Error("the content length is not one number")
    length = int(lengths.pop())
    if length > MAX_BODY_BYTES:
        raise Http1Error("the body is longer than is allowed")
    return length
