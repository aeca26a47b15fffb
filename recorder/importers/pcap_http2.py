"""HTTP/2 frames in overheard bytes -> exchanges (RFC 9113): traffic without TLS, gRPC in a cluster."""

from __future__ import annotations

from collections.abc import Callable

from hpack import Decoder
from hpack.exceptions import HPACKError

from captures.http1 import MAX_HEAD_BYTES
from captures.model import FailureReason, Headers
from recorder.importers.http_exchange import MISSING_END, OpenExchange, Output, request_head

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HTTP2 = b"HTTP/2.0"

_DATA, _HEADERS, _RST_STREAM, _PUSH_PROMISE, _CONTINUATION = 0, 1, 3, 5, 9
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY = 0x01, 0x04, 0x08, 0x20
_MAX_FRAME_BYTES = 1 << 20
_MAX_TABLE_BYTES = 1 << 20
_MAX_STREAMS = 10_000


class Http2Connection:
    """
    The exchanges of one connection, a stream each.

    Header compression needs every header block since the connection began; after a gap that is not
    inside a DATA frame, what follows cannot be read, so the open exchanges end there and the rest of
    the connection is left out.
    """

    def __init__(
        self, output: Output, number: Callable[[], int], server_name: bytes, first: OpenExchange | None
    ) -> None:
        self.output = output
        self.client = _Side(self, from_client=True)
        self.server = _Side(self, from_client=False)
        self.broken = False
        self._number = number
        self._server_name = server_name
        self._open: dict[int, OpenExchange] = {}
        self._begun: set[int] = set()  # streams whose final response head came
        if first is not None:
            self._open[1] = first

    def head(self, stream: int, headers: Headers, side: _Side, *, ends: bool) -> None:
        """A header block of a stream: a head, or trailers."""
        exchange = self._open.get(stream)
        pseudo = dict(pair for pair in headers if pair[0].startswith(b":"))
        plain = tuple(pair for pair in headers if not pair[0].startswith(b":"))
        if side is self.client:
            if exchange is None and b":method" in pseudo and len(self._open) < _MAX_STREAMS:
                exchange = self._open[stream] = OpenExchange(
                    self.output,
                    connection=self._number(),
                    offset_ns=side.frame_ns,
                    request=request_head(
                        pseudo[b":method"],
                        pseudo.get(b":path", b"/"),
                        HTTP2,
                        plain,
                        server=self._server_name,
                        scheme=pseudo.get(b":scheme", b"http"),
                        authority=pseudo.get(b":authority", b""),
                    ),
                )
                plain = ()
            if ends and exchange is not None:
                exchange.end_request(side.now_ns, plain)
            return
        if exchange is None:
            if b":status" in pseudo and pseudo[b":status"][:1] != b"1":
                self.output.tally.drop("response whose request is not in the file")
            return
        if stream not in self._begun:
            status = pseudo.get(b":status", b"")
            if not status.isdigit() or len(status) != 3:
                self._failed(stream, FailureReason.PROTOCOL_ERROR, side.now_ns, "a response had no status")
                return
            if status[:1] == b"1":
                return
            self._begun.add(stream)
            exchange.begin_response(side.frame_ns, int(status), b"", HTTP2, plain)
            plain = ()
        if ends:
            self._answered(stream, side.now_ns, plain)

    def data(self, stream: int, piece: bytes, missing_bytes: int, side: _Side, *, ends: bool) -> None:
        """Bytes of a body, and how many after them are not in the file."""
        exchange = self._open.get(stream)
        if exchange is None:
            return
        if side is self.client:
            exchange.request_body.add(piece)
            if missing_bytes:
                exchange.request_body.missed(missing_bytes)
            if ends:
                exchange.end_request(side.now_ns)
        elif stream in self._begun:
            exchange.response_data(piece, side.now_ns)
            if missing_bytes:
                exchange.response_missed(missing_bytes, side.now_ns)
            if ends:
                self._answered(stream, side.now_ns, ())

    def cancelled(self, stream: int, side: _Side) -> None:
        """A side reset a stream."""
        reason = FailureReason.CLIENT_DISCONNECTED if side is self.client else FailureReason.UPSTREAM_RESET
        self._failed(stream, reason, side.now_ns, "the stream was reset")

    def lose(self, time_ns: int) -> None:
        """What follows cannot be read."""
        if not self.broken:
            self.broken = True
            self.output.tally.remark("HTTP/2 connection with bytes missing, its rest left out")
            self.finish(time_ns)

    def end(self, time_ns: int, *, from_client: bool, client_left: bool, reset: bool) -> None:
        """One side, or with ``reset`` both, send nothing more."""
        if from_client and not reset:
            return
        reason = FailureReason.CLIENT_DISCONNECTED if client_left else FailureReason.UPSTREAM_RESET
        for stream in list(self._open):
            self._failed(stream, reason, time_ns, "the connection was closed before the answer was whole")

    def finish(self, time_ns: int) -> None:
        """The file has no more of this connection."""
        for stream, exchange in list(self._open.items()):
            if exchange.request_end_ns is None and not exchange.answered:
                exchange.abandon()
            elif stream in self._begun:
                exchange.leave_open(time_ns, 1)
            else:
                exchange.fail(FailureReason.OTHER, time_ns, MISSING_END)
        self._open.clear()
        self._begun.clear()
        self.client.release()
        self.server.release()

    def _answered(self, stream: int, time_ns: int, trailers: Headers) -> None:
        exchange = self._open.pop(stream)
        self._begun.discard(stream)
        exchange.end_response(time_ns, trailers)
        if exchange.request_end_ns is None:  # answered before the request was whole
            exchange.request_body.missed(1)
            exchange.end_request(time_ns)

    def _failed(self, stream: int, reason: FailureReason, time_ns: int, detail: str) -> None:
        exchange = self._open.pop(stream, None)
        self._begun.discard(stream)
        if exchange is not None:
            exchange.fail(reason, time_ns, detail)
            if exchange.request_end_ns is None:
                exchange.request_body.missed(1)
                exchange.end_request(time_ns)


class _Side:
    """The frames that one side sends."""

    def __init__(self, connection: Http2Connection, *, from_client: bool) -> None:
        self.now_ns = self.frame_ns = 0
        self._connection = connection
        self._memory = connection.output.memory
        self._preface_bytes = len(PREFACE) if from_client else 0
        self._decoder = Decoder(max_header_list_size=MAX_HEAD_BYTES)
        self._decoder.max_allowed_table_size = _MAX_TABLE_BYTES
        self._held = b""
        self._block: list[bytes] = []  # of the header block that is open
        self._block_bytes = 0
        self._block_stream = 0
        self._block_ends = False
        self._skip_bytes = 0  # rest of a DATA frame with a gap in it
        self._skip_frame = (0, False)

    def feed(self, data: bytes, time_ns: int, position: int, peer_position: int) -> None:  # noqa: ARG002
        """Takes the next bytes."""
        if self._connection.broken:
            return
        if not self._held:
            self.frame_ns = time_ns
        self.now_ns = time_ns
        data = self._held + data
        at = self._skipped(len(data))
        if self._preface_bytes and len(data) - at >= self._preface_bytes:
            at += self._preface_bytes
            self._preface_bytes = 0
        while not self._preface_bytes and len(data) - at >= 9:
            size_bytes = int.from_bytes(data[at : at + 3])
            if len(data) - at < 9 + size_bytes:
                break
            try:
                self._frame(
                    data[at + 3], data[at + 4], data[at + 5 : at + 9], data[at + 9 : at + 9 + size_bytes]
                )
            except (HPACKError, IndexError):
                self._connection.lose(time_ns)
                return
            at += 9 + size_bytes
            self.frame_ns = time_ns
        self._hold(data[at:])
        if self._preface_bytes:
            return
        too_large = len(self._held) > 9 and int.from_bytes(self._held[:3]) > _MAX_FRAME_BYTES
        if too_large or self._memory.used_bytes > self._memory.limit_bytes:
            self._connection.lose(time_ns)

    def gap(self, time_ns: int, missing_bytes: int) -> None:
        """The next bytes are missing; inside a DATA frame the place is kept."""
        if self._connection.broken:
            return
        self.now_ns = time_ns
        if self._skip_bytes >= missing_bytes:
            self._skipped(missing_bytes)
            return
        held = self._held
        if len(held) >= 9 and held[3] == _DATA and not held[4] & _PADDED:
            rest_bytes = 9 + int.from_bytes(held[:3]) - len(held)
            if missing_bytes <= rest_bytes:
                stream = int.from_bytes(held[5:9]) & 0x7FFF_FFFF
                self._connection.data(stream, held[9:], rest_bytes, self, ends=False)
                self._hold(b"")
                self._skip_bytes, self._skip_frame = rest_bytes, (stream, bool(held[4] & _END_STREAM))
                self._skipped(missing_bytes)
                return
        self._connection.lose(time_ns)

    def release(self) -> None:
        """There are no more bytes."""
        self._hold(b"")

    def _hold(self, rest: bytes) -> None:
        self._memory.used_bytes += len(rest) - len(self._held)
        self._held = rest

    def _skipped(self, available_bytes: int) -> int:
        skipped = min(self._skip_bytes, available_bytes)
        self._skip_bytes -= skipped
        if skipped and not self._skip_bytes:
            stream, ends = self._skip_frame
            self._connection.data(stream, b"", 0, self, ends=ends)
        return skipped

    def _frame(self, kind: int, flags: int, stream_bytes: bytes, payload: bytes) -> None:
        stream = int.from_bytes(stream_bytes) & 0x7FFF_FFFF
        if kind == _DATA:
            piece = _unpadded(payload) if flags & _PADDED else payload
            self._connection.data(stream, piece, 0, self, ends=bool(flags & _END_STREAM))
        elif kind == _HEADERS:
            block = _unpadded(payload) if flags & _PADDED else payload
            self._block = [block[5:] if flags & _PRIORITY else block]
            self._block_stream, self._block_ends = stream, bool(flags & _END_STREAM)
            self._block_piece(flags)
        elif kind == _PUSH_PROMISE:
            block = _unpadded(payload) if flags & _PADDED else payload
            self._block, self._block_stream = [block[4:]], 0  # decoded for the table's sake only
            self._block_piece(flags)
        elif kind == _CONTINUATION:
            self._block.append(payload)
            self._block_piece(flags)
        elif kind == _RST_STREAM:
            self._connection.cancelled(stream, self)

    def _block_piece(self, flags: int) -> None:
        if sum(map(len, self._block)) > MAX_HEAD_BYTES:
            raise HPACKError("a header block is longer than is allowed")
        if not flags & _END_HEADERS:
            return
        decoded = self._decoder.decode(b"".join(self._block), raw=True)
        self._block = []
        headers = tuple((bytes(name), bytes(value)) for name, value in decoded)
        if self._block_stream:
            self._connection.head(self._block_stream, headers, self, ends=self._block_ends)


def _unpadded(payload: bytes) -> bytes:
    return payload[1 : len(payload) - payload[0]]
