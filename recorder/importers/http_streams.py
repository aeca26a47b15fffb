"""The two byte streams of a connection -> exchanges and messages: HTTP/1, HTTP/2, WebSocket, tunnels."""

from __future__ import annotations

from typing import Protocol

from captures.model import Headers, MessageKind
from recorder.importers.http_exchange import OpenExchange, Output, server_address
from recorder.importers.http_framing import REQUEST_START, RESPONSE_START
from recorder.importers.http_pairs import Pairs
from recorder.importers.pcap_http2 import PREFACE, Http2Connection
from recorder.importers.pcap_websocket import WebSocketSide, agreed_deflate

_PREFACE_START = PREFACE[:3]
_TLS_START = b"\x16\x03"  # a handshake record, RFC 8446 section 5.1


class Receiver(Protocol):
    """What takes one side's bytes at the moment."""

    def feed(self, data: bytes, time_ns: int, position: int, peer_position: int) -> None:
        """Takes the next bytes."""

    def gap(self, time_ns: int, missing_bytes: int) -> None:
        """The next bytes are missing."""


class HttpStream:
    """
    One connection, from the bytes that tell its protocol to its last exchange.

    ``opener`` is the side that opened it, None when that was not seen: then the first bytes that look
    like a message say which side is the client. ``key`` is addresses and ports with side 0 as sender.
    """

    __slots__ = (
        "_client", "_first_end", "_key", "_last_ns", "_number", "_receivers", "_session", "_synced",
        "_websocket", "output", "server",
    )  # fmt: skip

    def __init__(self, key: bytes, opener: int | None, output: Output) -> None:
        self.output = output
        self.server = b""
        self._key = key
        self._client = opener
        self._synced = opener is not None
        self._receivers: list[Receiver] = [_Unknown(self, 0), _Unknown(self, 1)]
        self._session: Pairs | Http2Connection | None = None
        self._websocket: OpenExchange | None = None
        self._number: int | None = None
        self._first_end: int | None = None
        self._last_ns = 0

    def data(self, side: int, time_ns: int, piece: bytes, position: int, peer_position: int) -> None:
        """Takes the next bytes of a side."""
        self._last_ns = time_ns
        self._receivers[side].feed(piece, time_ns, position, peer_position)

    def gap(self, side: int, time_ns: int, missing_bytes: int) -> None:
        """The next ``missing_bytes`` of a side are not in the file."""
        self._synced = False
        self._receivers[side].gap(time_ns, missing_bytes)

    def end(self, side: int, time_ns: int, *, reset: bool) -> None:
        """A side sends nothing more; with ``reset``, neither does the other."""
        self._last_ns = time_ns
        last = reset or self._first_end is not None
        if self._first_end is None:
            self._first_end = side
        if self._session is not None:
            self._session.end(
                time_ns,
                from_client=side == self._client,
                client_left=self._first_end == self._client,
                reset=reset,
            )
        if self._websocket is not None and last:
            self._end_websocket(time_ns)

    def finish(self, time_ns: int) -> None:
        """The file says nothing more about this connection."""
        time_ns = self._last_ns or time_ns
        if self._session is not None:
            self._session.finish(time_ns)
        if self._websocket is not None and self._first_end is not None:
            self._end_websocket(time_ns)
        self._session = self._websocket = None
        for receiver in self._receivers:
            if isinstance(receiver, WebSocketSide):
                receiver.release()
        self.ignore()

    def number(self) -> int:
        """The connection's number, given when its first request is seen."""
        if self._number is None:
            self._number = self.output.next_connection()
        return self._number

    def recognise(self, side: int, piece: bytes) -> Receiver:
        """What is to take the bytes of ``side``, the first of which are ``piece``."""
        if piece.startswith(_TLS_START):
            self.output.tally.remark("connection with TLS, whose exchanges cannot be read")
            self.ignore()
            return self._receivers[side]
        if self._client is None:
            if REQUEST_START.match(piece) or piece.startswith(_PREFACE_START):
                self._client = side
            elif RESPONSE_START.match(piece):
                self._client = 1 - side
            else:
                return self._receivers[side]
        elif side != self._client and not RESPONSE_START.match(piece):
            return self._receivers[side]
        self.server = server_address(self._key, self._client)
        if side == self._client and piece.startswith(_PREFACE_START):
            self.use_http2(None)
        else:
            pairs = self._session = Pairs(self, synced=self._synced)
            self._use(pairs.requests, pairs.responses)
        return self._receivers[side]

    def use_http2(self, first: OpenExchange | None) -> None:
        """The connection speaks HTTP/2; ``first`` is a request that asked for that and is stream 1."""
        session = self._session = Http2Connection(self.output, self.number, self.server, first)
        self._use(session.client, session.server)

    def use_websocket(self, exchange: OpenExchange, headers: Headers) -> None:
        """The connection carries the messages of ``exchange`` from now on."""
        self._session = None
        self._websocket = exchange
        deflate = agreed_deflate(headers)
        self._use(
            WebSocketSide(
                self.output,
                exchange.seq,
                from_client=True,
                deflated=deflate is not None,
                resets=deflate is not None and deflate.client_resets,
            ),
            WebSocketSide(
                self.output,
                exchange.seq,
                from_client=False,
                deflated=deflate is not None,
                resets=deflate is not None and deflate.server_resets,
            ),
        )

    def restart(self) -> None:
        """A tunnel was opened; what is inside is recognised anew."""
        self._session = None
        self._receivers = [_Unknown(self, 0), _Unknown(self, 1)]

    def ignore(self) -> None:
        """What follows is of no protocol that is known."""
        self._receivers = [_IGNORED, _IGNORED]

    def hand(
        self, rest: bytes, time_ns: int, position: int, peer_position: int, *, from_client: bool
    ) -> None:
        """Bytes after a head that changed the protocol."""
        side = self._client if from_client else 1 - (self._client or 0)
        self._receivers[side or 0].feed(rest, time_ns, position, peer_position)

    def _end_websocket(self, time_ns: int) -> None:
        assert self._websocket is not None
        self.output.message(self._websocket.seq, time_ns, MessageKind.END)
        self._websocket = None

    def _use(self, client: Receiver, server: Receiver) -> None:
        self._receivers = [client, server] if self._client == 0 else [server, client]


class _Unknown:
    """Takes bytes until they tell the protocol."""

    __slots__ = ("_held", "_side", "_stream")

    def __init__(self, stream: HttpStream, side: int) -> None:
        self._stream = stream
        self._side = side
        self._held: tuple[tuple[bytes, int, int, int], ...] = ()

    def feed(self, data: bytes, time_ns: int, position: int, peer_position: int) -> None:
        self._held += ((data, time_ns, position, peer_position),)
        start = b"".join(piece for piece, *_ in self._held)
        if _PREFACE_START.startswith(start) or _TLS_START.startswith(start):
            return  # one or two bytes, which may still become either
        held, self._held = self._held, ()
        receiver = self._stream.recognise(self._side, start)
        if receiver is not self:
            for piece in held:
                receiver.feed(*piece)

    def gap(self, time_ns: int, missing_bytes: int) -> None:
        """What was not understood cannot be missed."""


class _Ignored:
    """Takes bytes that are no HTTP."""

    def feed(self, data: bytes, time_ns: int, position: int, peer_position: int) -> None:
        """Nothing is done."""

    def gap(self, time_ns: int, missing_bytes: int) -> None:
        """Nothing is done."""


_IGNORED = _Ignored()
