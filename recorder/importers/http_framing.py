"""
HTTP/1 messages in a byte stream that was overheard: cut anywhere, with bytes missing (RFC 9112).

``captures.http1`` parses what is whole. Here a body is handed on as it comes, each message knows when
its first and last byte were seen, and after a gap the next message is found again.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from enum import Enum, auto

from captures.http1 import MAX_HEAD_BYTES, Http1Error, parse_headers
from captures.model import Headers
from recorder.importers.tcp_half import MASK, Memory

# Where a message may begin in the middle of a stream only known methods count: a piece that begins
# with "OST /" is the rest of a request, not one with an odd method.
REQUEST_START = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS|TRACE|CONNECT|QUERY|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE"
    rb"|LOCK|UNLOCK|SEARCH|REPORT|PURGE|ACL|MERGE|MKCALENDAR|M-SEARCH|NOTIFY|SUBSCRIBE|UNSUBSCRIBE)"
    rb" (?:/|\*|[Hh][Tt][Tt][Pp][Ss]?://|[\w.\-\[\]:]{1,255}:\d)"
)
RESPONSE_START = re.compile(rb"HTTP/1\.[01] [1-9]\d\d")
# Where a message must begin, perhaps with only a few of its bytes so far.
REQUEST_SO_FAR = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}(?: |\Z)")
RESPONSE_SO_FAR = re.compile(rb"H(?:\Z|T(?:\Z|T(?:\Z|P(?:\Z|/))))")
_PLAIN_HEADERS = re.compile(
    rb"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([^\x00-\x20](?:[^\x00\r\n]*[^\x00-\x20])?|)\r?$", re.MULTILINE
)
_CHUNK_LINE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_DIGITS = re.compile(rb"\d{1,18}")
_MAX_LINE_BYTES = 16 * 1024
_START_BYTES = 300

UNTIL_CLOSE = -1
CHUNKED = -2
HANDED_ON = -3  # what follows the head is no HTTP/1; another receiver takes it


class _Stage(Enum):
    LOST = auto()
    HEAD = auto()
    LENGTH = auto()
    CHUNK_LINE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    UNTIL_CLOSE = auto()
    HANDED_ON = auto()


class Lost(Enum):
    """
    Where a stream stood when its framing was lost.

    STILL when that had happened before, NO_HTTP when what came where a head must begin is none.
    """

    BEFORE_HEAD = auto()
    IN_HEAD = auto()
    IN_BODY = auto()
    STILL = auto()
    NO_HTTP = auto()


class Framer(ABC):
    """
    One direction of an HTTP/1 connection; subclasses say what its messages mean.

    ``feed`` takes the bytes in order, ``gap`` says that some are missing, ``close`` that there are no
    more. ``head_ns``, ``head_position`` and ``head_peer_position`` are those of the first byte of the
    open message, ``now_ns`` and ``end_position`` those of the byte after the last one that was read.
    """

    begins: re.Pattern[bytes]  # what a message looks like at the start of a piece
    so_far: re.Pattern[bytes]  # the same where a message must begin, of its first 33 bytes or fewer

    def __init__(self, memory: Memory, *, synced: bool) -> None:
        self._memory = memory
        self.now_ns = self.head_ns = self.last_ns = 0
        self.head_position = self.head_peer_position = self.end_position = 0
        self._stage = _Stage.HEAD if synced else _Stage.LOST
        self._held = bytearray()
        self._begun = False
        self._needed_bytes = 0
        self._base = self._peer_position = self._following = 0
        self.cut_bytes = 0
        self.cut_head = False
        self._head_start = b""

    @property
    def lost(self) -> bool:
        """Whether it is not known where the next message begins."""
        return self._stage is _Stage.LOST

    @abstractmethod
    def on_head(self, first_line: bytes, headers: Headers) -> int:
        """Takes a head; gives the body's length, or UNTIL_CLOSE, CHUNKED or HANDED_ON."""

    @abstractmethod
    def on_body(self, piece: bytes) -> None:
        """Takes the next bytes of the body."""

    @abstractmethod
    def on_missed(self, missing_bytes: int) -> None:
        """Bytes of the body are missing."""

    @abstractmethod
    def on_end(self, trailers: Headers) -> None:
        """The message is whole."""

    @abstractmethod
    def on_lost(self, missing_bytes: int, lost: Lost) -> None:
        """It is not known any more where the next message begins."""

    @abstractmethod
    def on_handed(self, rest: bytes, position: int, peer_position: int) -> None:
        """Bytes that follow a head which changed the protocol."""

    @abstractmethod
    def on_odd_header(self) -> None:
        """A line of a head was no header and is left out."""

    def feed(self, data: bytes, time_ns: int, position: int, peer_position: int) -> None:
        """Takes the next bytes; both positions are modulo 2^32."""
        self.now_ns = time_ns
        self._following = position + len(data)
        if self._held:
            position -= len(self._held)
            self._hold(data)
            if not self._held or (b"\n" not in data and len(self._held) < MAX_HEAD_BYTES):
                return  # all that is ever held ends with a line
            data = bytes(self._held)
            self._release()
        self._base = position
        self._peer_position = peer_position
        at, size = 0, len(data)
        try:
            while at < size:
                after = self._step(data, at)
                if after < 0:
                    self._hold(data[at:] if at else data)
                    break
                at = after
        except Http1Error:
            self._lose(0)
        self.last_ns = time_ns

    def gap(self, time_ns: int, missing_bytes: int) -> None:
        """The next ``missing_bytes`` are not there; a body of known length ends where it must."""
        if self._stage is _Stage.UNTIL_CLOSE:
            self.on_missed(missing_bytes)
            return
        in_chunk = self._stage is _Stage.CHUNK and missing_bytes <= self._needed_bytes
        if self._stage is _Stage.LENGTH or in_chunk:
            body_bytes = min(missing_bytes, self._needed_bytes)
            self.on_missed(body_bytes)
            self._needed_bytes -= body_bytes
            missing_bytes -= body_bytes
            self._following = (self._following + body_bytes) & MASK
            if not self._needed_bytes:
                self.now_ns = time_ns
                self.end_position = self._following
                self._body_done()
        if missing_bytes:
            self._lose(missing_bytes)

    def close(self) -> None:
        """
        There are no more bytes.

        That is the end of a body that ends so. Of any other ``cut_bytes`` never came; ``cut_head`` says
        that a message ended inside its head.
        """
        self.now_ns = self.last_ns
        if self._stage is _Stage.UNTIL_CLOSE:
            self._message_done(())
        elif self._begun:
            self.cut_bytes = max(1, self._needed_bytes)
            self.cut_head = self._stage is _Stage.HEAD and self._looks_right()
        self._release()
        self._begun = False
        self._stage = _Stage.LOST

    def _hold(self, data: bytes) -> None:
        self._held += data
        self._memory.used_bytes += len(data)
        if self._memory.used_bytes > self._memory.limit_bytes:
            self._lose(0)

    def _release(self) -> None:
        self._memory.used_bytes -= len(self._held)
        self._held.clear()

    def _step(self, data: bytes, at: int) -> int:
        """One stage further: where to go on, or -1 when more bytes are needed."""
        stage = self._stage
        if stage is _Stage.LENGTH or stage is _Stage.CHUNK:
            size_bytes = len(data) - at
            if size_bytes < self._needed_bytes:
                self._needed_bytes -= size_bytes
                self.on_body(data[at:] if at else data)
                return len(data)
            end = at + self._needed_bytes
            self.on_body(data[at:end])
            self._needed_bytes = 0
            self.end_position = (self._base + end) & MASK
            self._body_done()
            return end
        if stage is _Stage.HEAD:
            return self._head(data, at)
        if stage is _Stage.UNTIL_CLOSE:
            self.on_body(data[at:] if at else data)
            return len(data)
        if stage is _Stage.TRAILERS:
            return self._trailers(data, at)
        if stage is _Stage.HANDED_ON:
            self.on_handed(data[at:], (self._base + at) & MASK, self._peer_position)
            return len(data)
        if stage is _Stage.LOST:
            if at == 0 and self.begins.match(data):
                self._stage = _Stage.HEAD
                return 0
            return len(data)
        return self._chunk_line(data, at)

    def _body_done(self) -> None:
        if self._stage is _Stage.CHUNK:
            self._stage = _Stage.CHUNK_END
        else:
            self._message_done(())

    def _message_done(self, trailers: Headers) -> None:
        self._stage = _Stage.HEAD
        self._begun = False
        self.on_end(trailers)

    def _lose(self, missing_bytes: int) -> None:
        if self._stage is _Stage.HEAD:
            lost = Lost.IN_HEAD if self._begun else Lost.BEFORE_HEAD
            if not missing_bytes and not self._looks_right():
                lost = Lost.NO_HTTP
        else:
            lost = Lost.STILL if self._stage is _Stage.LOST else Lost.IN_BODY
        self._stage = _Stage.LOST
        self._begun = False
        self._release()
        self.on_lost(missing_bytes, lost)

    def _looks_right(self) -> bool:
        """Whether the open head begins as a message does, and not only as one might."""
        return bool(self.begins.match(self._held[:_START_BYTES] or self._head_start))

    def _head(self, data: bytes, at: int) -> int:
        size = len(data)
        while at < size and data[at] in b"\r\n":  # RFC 9112 section 2.2: empty lines before a request
            at += 1
        if at == size:
            return size
        if not self._begun:
            self._begun = True
            self._head_start = data[at : at + _START_BYTES]
            self.head_ns = self.now_ns
            self.head_position = (self._base + at) & MASK
            self.head_peer_position = self._peer_position
        if not self.so_far.match(data, at, min(size, at + 33)):
            raise Http1Error("the stream is not HTTP/1")
        end = data.find(b"\n\r\n", at)
        bare = data.find(b"\n\n", at, end if end >= 0 else size)
        if bare >= 0:
            head, after = data[at:bare], bare + 2
        elif end >= 0:
            head, after = data[at:end], end + 3
        elif size - at > MAX_HEAD_BYTES:
            raise Http1Error("a head is longer than is allowed")
        else:
            return -1
        self.end_position = (self._base + after) & MASK
        first_line, _, rest = _with_crlf(head).partition(b"\r\n")
        self._needed_bytes = self.on_head(first_line, self._headers(rest))
        self._enter_body()
        return after

    def _enter_body(self) -> None:
        if self._needed_bytes > 0:
            self._stage = _Stage.LENGTH
        elif self._needed_bytes == 0:
            self._message_done(())
        elif self._needed_bytes == CHUNKED:
            self._stage = _Stage.CHUNK_LINE
        elif self._needed_bytes == UNTIL_CLOSE:
            self._stage = _Stage.UNTIL_CLOSE
        else:
            self._stage = _Stage.HANDED_ON

    def _headers(self, block: bytes) -> Headers:
        plain = _PLAIN_HEADERS.findall(block)
        if len(plain) == block.count(b"\n") + 1:  # every line is one, and none needs more care
            return tuple(plain)
        try:
            return parse_headers(block)
        except Http1Error:
            headers: Headers = ()
            for line in re.split(rb"\r\n(?![ \t])", block):  # folded lines stay together
                try:
                    headers += parse_headers(line)
                except Http1Error:
                    self.on_odd_header()
            return headers

    def _chunk_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at)
        if end < 0:
            if len(data) - at > _MAX_LINE_BYTES:
                raise Http1Error("a chunk line is longer than is allowed")
            return -1
        line = data[at:end].removesuffix(b"\r")
        if self._stage is _Stage.CHUNK_END:
            if line:
                raise Http1Error("a chunk is longer than its size")
            self._stage = _Stage.CHUNK_LINE
            return end + 1
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise Http1Error("a chunk size is not a number")
        self._needed_bytes = int(match[1], 16)
        self._stage = _Stage.CHUNK if self._needed_bytes else _Stage.TRAILERS
        return end + 1

    def _trailers(self, data: bytes, at: int) -> int:
        for closing in (b"\r\n", b"\n"):
            if data.startswith(closing, at):
                self.end_position = (self._base + at + len(closing)) & MASK
                self._message_done(())
                return at + len(closing)
        if data[at:] == b"\r":
            return -1
        end = data.find(b"\n\r\n", at)
        bare = data.find(b"\n\n", at, end if end >= 0 else len(data))
        if end < 0 and bare < 0:
            if len(data) - at > MAX_HEAD_BYTES:
                raise Http1Error("the trailers are longer than is allowed")
            return -1
        block, after = (data[at:bare], bare + 2) if bare >= 0 else (data[at:end], end + 3)
        self.end_position = (self._base + after) & MASK
        self._message_done(self._headers(_with_crlf(block)))
        return after


def declared_length(headers: Headers) -> int | None:
    """
    The body's length, CHUNKED, UNTIL_CLOSE for another transfer coding, None where nothing is said.

    Raises:
        Http1Error: the length is not one number.

    """
    codings: list[bytes] = []
    lengths: set[bytes] = set()
    for name, value in headers:
        size = len(name)  # two names of that size are compared, not all in lower case
        if size == 14 and name.lower() == b"content-length":
            lengths.update(part.strip() for part in value.split(b","))
        elif size == 17 and name.lower() == b"transfer-encoding":
            codings += [part.strip().lower() for part in value.split(b",")]
    if codings and codings != [b"identity"]:
        return CHUNKED if codings[-1] == b"chunked" else UNTIL_CLOSE
    if not lengths:
        return None
    if len(lengths) > 1 or not all(map(_DIGITS.fullmatch, lengths)):
        raise Http1Error("the content length is not one number")
    return int(lengths.pop())


def _with_crlf(head: bytes) -> bytes:
    head = head.removesuffix(b"\r")
    if head.count(b"\n") != head.count(b"\r\n"):
        head = head.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return head
