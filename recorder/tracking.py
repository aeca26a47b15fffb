"""Follows each exchange from its first sight to the one outcome it is counted with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from mitmproxy import http

from captures.codec import message_row, outcome_row
from captures.model import Failure, FailureReason, Message, MessageKind
from captures.units import KIB
from recorder import convert
from recorder.sse import EventSplitter, SseEvent

# A body above this, or of unknown length, is passed on as it comes; smaller ones are held by
# mitmproxy until they are whole, which costs less than a call per chunk.
STREAM_ABOVE_BYTES = 256 * KIB


class ExchangeSink(Protocol):
    """Where whole exchanges go; none of these calls waits, and what cannot be packed raises uncounted."""

    def saw(self) -> int:
        """Counts a request that was just seen; its seq."""

    def drop(self) -> None:
        """Counts an exchange that will not be offered."""

    def offer(self, row: tuple[Any, ...]) -> bool:
        """Takes an exchange, as captures.codec has its row; False when it was dropped."""

    def offer_message(self, row: tuple[Any, ...], *, ends: bool) -> bool:
        """Takes a message of an exchange that was taken; False when it was dropped."""


class OpenExchange:
    """What is known so far of an exchange that has no outcome yet, or whose stream is open."""

    __slots__ = (
        "connection",
        "declared_bytes",
        "flow",
        "head",
        "offset_ns",
        "request_end_ns",
        "request_tee",
        "response",
        "response_offset_ns",
        "response_tee",
        "seq",
        "splitter",
        "stream_taken",
    )

    def __init__(
        self,
        seq: int,
        offset_ns: int,
        connection: int,
        flow: http.HTTPFlow,
        head: convert.Head,
        declared_bytes: int,
    ) -> None:
        self.seq = seq
        self.offset_ns = offset_ns
        self.connection = connection
        self.flow = flow
        self.head = head
        self.declared_bytes = declared_bytes
        """What Content-Length says of the request's body, 0 without one."""
        self.request_end_ns: int | None = None
        self.request_tee: convert.BodyTee | None = None
        self.response_offset_ns: int | None = None
        self.response_tee: convert.BodyTee | None = None
        self.response: tuple[Any, ...] | None = None
        self.splitter: EventSplitter | None = None
        self.stream_taken: bool | None = None
        """None for an ordinary exchange; for a stream whether its row was taken."""


class Tracker:
    """
    The open exchanges of one proxy, by mitmproxy's flow id.

    Offsets are ``clock_ns()`` minus ``started_ns``. Every exchange that begins ends once: offered to the
    sink, counted as dropped, or still open when the recording ends. ``broke`` is told of an
    error of ours in the middle of a body, which passes on all the same.
    """

    def __init__(
        self,
        sink: ExchangeSink,
        *,
        clock_ns: Callable[[], int],
        started_ns: int,
        max_body_bytes: int,
        broke: Callable[[Exception], None],
    ) -> None:
        self._sink = sink
        self._clock_ns = clock_ns
        self._started_ns = started_ns
        self._max_body_bytes = max_body_bytes
        self._stream_above_bytes = min(max_body_bytes, STREAM_ABOVE_BYTES)
        self._broke = broke
        self._open: dict[str, OpenExchange] = {}
        self._connection_of: dict[str, int] = {}
        self.connections = 0
        """Client connections that carried a request."""
        self._ended = False
        self._in_flight = 0

    def end(self) -> int:
        """Ends the recording: nothing that happens later counts. How many exchanges are in flight."""
        if not self._ended:
            self._ended = True
            self._in_flight = len(self.waiting())
            self._open.clear()
        return self._in_flight

    def waiting(self) -> list[OpenExchange]:
        """Exchanges that were seen and have no outcome; an open stream has one."""
        return [item for item in self._open.values() if item.stream_taken is None]

    def streaming(self) -> list[OpenExchange]:
        """Exchanges that are counted and whose WebSocket or SSE stream is open."""
        return [item for item in self._open.values() if item.stream_taken is not None]

    def open_of(self, client_id: str) -> list[str]:
        """Flow ids of what is open on one client connection."""
        return [flow_id for flow_id, item in self._open.items() if item.flow.client_conn.id == client_id]

    def begin(self, flow: http.HTTPFlow, *, reverse: bool) -> None:
        """A request's head was read."""
        if self._ended:
            return
        offset_ns = self._clock_ns() - self._started_ns
        seq = self._sink.saw()
        client_id = flow.client_conn.id
        try:
            head, length_bytes = convert.request_head(flow, reverse=reverse)
            connection = self._connection_of.get(client_id)
            if connection is None:
                connection = self._connection_of[client_id] = self.connections
                self.connections += 1
            exchange = OpenExchange(seq, offset_ns, connection, flow, head, length_bytes or 0)
        except Exception:
            self._sink.drop()
            raise
        self._open[flow.id] = exchange
        if length_bytes is None or length_bytes > self._stream_above_bytes:
            exchange.request_tee = convert.BodyTee(self._max_body_bytes)
            flow.request.stream = self._tee(exchange.request_tee.feed)

    def request_done(self, flow: http.HTTPFlow) -> None:
        """A request is whole."""
        exchange = self._open.get(flow.id)
        if exchange is None:
            return
        exchange.request_end_ns = self._clock_ns() - self._started_ns
        if exchange.response is not None:  # the response was whole before the request was
            self._offer(flow, exchange, exchange.response)

    def response_begins(self, flow: http.HTTPFlow) -> None:
        """A response's head was read."""
        exchange = self._open.get(flow.id)
        if exchange is None or flow.response is None:
            return
        exchange.response_offset_ns = offset_ns = self._clock_ns() - self._started_ns
        length_bytes, has_events = convert.response_framing(flow.response, exchange.head[0])
        # Before the request is whole its row cannot be written, so its stream is an ordinary body.
        if has_events and exchange.request_end_ns is not None:
            exchange.splitter = EventSplitter(self._max_body_bytes)
            flow.response.stream = self._tee(lambda chunk: self._pass_events(exchange, chunk))
            self._offer_stream(flow, exchange, offset_ns)
        # A response of unknown length may go on until the connection ends.
        elif length_bytes is None or length_bytes > self._stream_above_bytes:
            exchange.response_tee = convert.BodyTee(self._max_body_bytes)
            flow.response.stream = self._tee(exchange.response_tee.feed)

    def response_done(self, flow: http.HTTPFlow) -> None:
        """A response is whole, or its connection becomes a WebSocket."""
        exchange = self._open.get(flow.id)
        if exchange is None or flow.response is None:
            return
        if exchange.stream_taken is not None:
            self.stream_done(flow.id)
            return
        end_ns = self._clock_ns() - self._started_ns
        offset_ns = end_ns if exchange.response_offset_ns is None else exchange.response_offset_ns
        if flow.websocket is not None:
            self._offer_stream(flow, exchange, offset_ns)
            return
        body, truncated_bytes = self._stored(exchange.response_tee, flow.response.data.content)
        response = convert.response_row(flow, offset_ns, end_ns, body, truncated_bytes)
        if exchange.request_end_ns is None:
            exchange.response = response
        else:
            self._offer(flow, exchange, response)

    def failed(self, flow: http.HTTPFlow, *, connect_error: str | None) -> None:
        """No whole response will come; ``connect_error`` is why the upstream was not reached, if so."""
        exchange = self._open.get(flow.id)
        if exchange is None:
            return
        if exchange.stream_taken is not None:
            self.stream_done(flow.id)
            return
        reason, detail = convert.failure_reason(
            flow.error.msg if flow.error else "",
            client=flow.client_conn,
            request_done=exchange.request_end_ns is not None,
            connect_error=connect_error,
        )
        self._offer(flow, exchange, self._failure(reason, detail))

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """One WebSocket message passes."""
        assert flow.websocket is not None
        message = flow.websocket.messages[-1]
        flow.websocket.messages.clear()  # mitmproxy would keep every one until the socket closes
        exchange = self._open.get(flow.id)
        if exchange is not None:
            payload, truncated_bytes = convert.cut(message.content, self._max_body_bytes)
            kind = MessageKind.TEXT if message.is_text else MessageKind.BINARY
            self._message(
                exchange,
                kind,
                payload,
                from_client=message.from_client,
                truncated_bytes=truncated_bytes,
            )

    def stream_done(self, flow_id: str) -> None:
        """A WebSocket or an SSE stream ended."""
        exchange = self._open.pop(flow_id, None)
        if exchange is None:
            return
        rest = exchange.splitter.rest() if exchange.splitter is not None else None
        if rest is not None:
            self._event(exchange, rest)
        self._message(exchange, MessageKind.END, b"")

    def settle(self, flow_id: str, *, broken: bool = False) -> None:
        """
        The client connection of an exchange ended without a word about its outcome.

        ``broken`` says that the proxy could not go on with it, and the client is not to blame.
        """
        exchange = self._open.get(flow_id)
        if exchange is None:
            return
        if exchange.stream_taken is not None:
            self.stream_done(flow_id)
            return
        outcome = exchange.response
        if outcome is None and broken:
            outcome = self._failure(FailureReason.PROTOCOL_ERROR, "the proxy cannot pass such a message")
        elif outcome is None:
            outcome = self._failure(
                FailureReason.CLIENT_DISCONNECTED, "the connection ended without an outcome"
            )
        self._offer(exchange.flow, exchange, outcome)

    def abandon(self, flow_id: str) -> None:
        """An error of ours: the exchange, if it is open, is counted as dropped."""
        exchange = self._open.pop(flow_id, None)
        if exchange is not None and exchange.stream_taken is None:
            self._sink.drop()

    def forget_connection(self, client_id: str) -> None:
        """A client connection is gone; its number is not used again."""
        self._connection_of.pop(client_id, None)

    def _stored(self, tee: convert.BodyTee | None, content: bytes | None) -> tuple[bytes, int]:
        # A message marked for streaming that ends with its head is not streamed by mitmproxy.
        if tee is not None and tee.passed_bytes:
            return tee.stored()
        if content is not None and len(content) <= self._max_body_bytes:
            return content, 0
        return convert.cut(content, self._max_body_bytes)

    def _offer(self, flow: http.HTTPFlow, exchange: OpenExchange, outcome: tuple[Any, ...]) -> bool:
        data = flow.request.data
        body, truncated_bytes = self._stored(exchange.request_tee, data.content)
        end_ns = exchange.request_end_ns
        if end_ns is None:
            end_ns = self._clock_ns() - self._started_ns
            truncated_bytes = _left_out(exchange, body, truncated_bytes)
        trailers = () if data.trailers is None else data.trailers.fields
        taken = self._sink.offer(
            (
                exchange.seq,
                exchange.offset_ns,
                end_ns,
                exchange.connection,
                (*exchange.head, body, trailers, truncated_bytes),
                outcome,
                None,
            )
        )
        # Now it is counted; were it open still, it would be so a second time.
        del self._open[flow.id]
        return taken

    def _offer_stream(self, flow: http.HTTPFlow, exchange: OpenExchange, offset_ns: int) -> None:
        response = convert.response_row(flow, offset_ns, None, stream=True)
        exchange.stream_taken = self._offer(flow, exchange, response)
        self._open[flow.id] = exchange

    def _failure(self, reason: FailureReason, detail: str) -> tuple[Any, ...]:
        offset_ns = self._clock_ns() - self._started_ns
        return outcome_row(Failure(reason=reason, offset_ns=offset_ns, detail=detail))

    def _tee(self, feed: Callable[[bytes], object]) -> Callable[[bytes], bytes]:
        def passed_on(chunk: bytes) -> bytes:
            try:
                if chunk and not self._ended:
                    feed(chunk)
            except Exception as error:  # noqa: BLE001 - recording never breaks traffic
                self._broke(error)
            return chunk

        return passed_on

    def _pass_events(self, exchange: OpenExchange, chunk: bytes) -> None:
        assert exchange.splitter is not None
        for event in exchange.splitter.feed(chunk):
            self._event(exchange, event)

    def _event(self, exchange: OpenExchange, event: SseEvent) -> None:
        self._message(exchange, MessageKind.EVENT, event.payload, truncated_bytes=event.truncated_bytes)

    def _message(
        self,
        exchange: OpenExchange,
        kind: MessageKind,
        payload: bytes,
        *,
        from_client: bool = False,
        truncated_bytes: int = 0,
    ) -> None:
        if not exchange.stream_taken:
            return
        message = Message(
            exchange=exchange.seq,
            offset_ns=self._clock_ns() - self._started_ns,
            from_client=from_client,
            kind=kind,
            payload=payload,
            truncated_bytes=truncated_bytes,
        )
        self._sink.offer_message(message_row(message), ends=kind is MessageKind.END)


def _left_out(exchange: OpenExchange, body: bytes, truncated_bytes: int) -> int:
    """
    Bytes of the request's body that are not stored.

    A request that never became whole is marked as cut by what its Content-Length still promises,
    so that nobody takes the stored part for all of it.
    """
    return max(truncated_bytes, exchange.declared_bytes - len(body))
