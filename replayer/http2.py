"""
One HTTP/2 client connection: many requests at once, no Task, Future or timer for any of them.

Times mean what they do over HTTP/1.1: sent is stamped immediately before the write of a request's
HEADERS, first byte when the response's HEADERS come, done when its stream ends.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from time import monotonic_ns
from typing import Any, Protocol, cast

from jh2 import events  # type: ignore[import-untyped]

from captures.model import Headers
from captures.units import NS_PER_S
from replayer.columns import Columns
from replayer.compile import Trait
from replayer.connection import IDLE
from replayer.http2_streams import BrokenProtocolError, Sending, Stream, Streams
from replayer.results import NEVER_NS, Outcome

USUAL_STREAMS = 100  # at once, before a target has said how many it takes
_FULL = 0  # what ``row`` holds while no other request can be taken
_REFUSED_STREAM = 7
_STREAM = int(Trait.STREAM)
_WANTED = int(Trait.WANTED)


class Http2Owner(Protocol):
    """Decides what a connection does next; ``http2_open`` counts responses that last until closed."""

    next_due_ns: int
    streams_max: int  # what the target said last
    http2_open: int

    def made(self, connection: Http2Connection) -> None:
        """The connection stands."""

    def released(self, connection: Http2Connection) -> None:
        """The connection can take another request."""

    def lost(self, connection: Http2Connection) -> None:
        """The connection is gone."""

    def answered(self, row: int, head: bytes, body: bytes) -> None:
        """The whole response to an exchange of which that is wanted."""

    def pump(self) -> None:
        """Send everything that is due."""

    def resend(self, connection: Http2Connection, sending: Sending) -> None:
        """Send on another connection what this one, which is closed for requests, could not."""


class Http2Connection(asyncio.Protocol):
    """
    A connection to the target; ``number`` is the recorded one it stands for, below 0 for a spare.

    ``row`` is ``IDLE`` while it can take another request, as with an HTTP/1.1 one. Requests are sent once the
    target has said how many it takes at once. After ``closed`` it takes none; those under way are finished.
    """

    __slots__ = (
        "_buffered", "_columns", "_fd", "_loop", "_now_ns", "_owner", "_pending", "_ready", "_streams",
        "_streams_max", "_transport", "closed", "exchanges", "number", "row", "server_name",
    )  # fmt: skip
    http2 = True

    def __init__(
        self,
        *,
        columns: Columns,
        owner: Http2Owner,
        loop: asyncio.AbstractEventLoop,
        number: int,
        server_name: str,
    ) -> None:
        self._columns = columns
        self._owner = owner
        self._loop = loop
        self.number = number
        self.server_name = server_name
        self.row = IDLE
        self.closed = False
        self.exchanges = 0
        self._transport: asyncio.Transport | None = None
        self._fd = -1
        self._streams = Streams()
        self._ready = False
        self._buffered = False
        self._now_ns = 0
        self._streams_max = owner.streams_max
        self._pending: deque[Sending] = deque()

    @property
    def connected(self) -> bool:
        """Whether requests would be sent at once."""
        return self._ready and not self.closed

    @property
    def attached(self) -> bool:
        """Whether there is a transport, be it one that closes."""
        return self._transport is not None

    @property
    def endless(self) -> int:
        """How many streams are open that only the end of the run closes."""
        return sum(stream.endless for _, stream in self._streams)

    def send(self, row: int, wire: memoryview | bytes, trait: int = 0, stream_ns: int | None = None) -> None:
        """
        Send the request of ``row``, packed, now or as soon as the connection stands.

        ``stream_ns`` is how long a stream's response stays open after sending.
        """
        self.take(Sending(row=row, wire=wire, trait=trait, stream_ns=stream_ns))

    def take(self, sending: Sending) -> None:
        """Send it likewise."""
        self.exchanges += 1
        if self._ready and len(self._streams) < self._streams.most:  # which it may just have lowered
            self._begin(sending)
        else:
            # What it waits for now is the target: a handshake is part of the service, not of our lag.
            if self._columns.sent_ns[sending.row] == NEVER_NS:
                self._columns.sent_ns[sending.row] = self._columns.now_ns()
            self._pending.append(sending)
        if not self._has_room:
            self.row = _FULL
        elif not self.closed:
            self._owner.released(self)

    @property
    def _has_room(self) -> bool:
        return len(self._streams) + len(self._pending) < self._streams_max and not self._streams.exhausted

    def _begin(self, sending: Sending) -> None:
        row, columns = sending.row, self._columns
        self._streams.begin(sending)
        data = self._streams.data()
        if columns.sent_ns[row] == NEVER_NS:  # what is sent again was on time the first time
            columns.sent_ns[row] = monotonic_ns() - columns.zero_ns
        self._write(data)

    def _flush(self) -> None:
        if data := self._streams.data():
            self._write(data)

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        self._buffered = self._buffered and transport.get_write_buffer_size() > 0
        if self._fd < 0 or self._buffered:
            transport.write(data)
            return
        # As over HTTP/1.1 the socket is written here, so that the stamp stands before the bytes leave.
        try:
            written = os.write(self._fd, data)
        except BlockingIOError:
            written = 0
        except OSError:
            self._end(Outcome.RESET, self._columns.now_ns())
            self.abort()
            return
        if written < len(data):
            self._buffered = True
            transport.write(data[written:])

    # -- what the event loop calls ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport and begin to talk."""
        self._transport = cast("asyncio.Transport", transport)
        if self.closed:
            self._transport.abort()
            return
        tls = transport.get_extra_info("ssl_object")
        if tls is None:
            self._fd = transport.get_extra_info("socket").fileno()
        elif tls.selected_alpn_protocol() != "h2":
            self.give_up(Outcome.TLS_FAILED, self._columns.now_ns())
            return
        self._owner.made(self)
        self._streams.greet()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take what came; whoever is due meanwhile is sent between the events, as there may be many."""
        if self._transport is None or self._transport.is_closing():
            return
        columns = self._columns
        now_ns = self._now_ns = monotonic_ns() - columns.zero_ns
        try:
            found, last_streams = self._streams.receive(data)
        except BrokenProtocolError:
            self._flush()  # it says what was wrong
            self._end(Outcome.BAD_RESPONSE, now_ns)
            self.abort()
            return
        for event in found:
            if monotonic_ns() - columns.zero_ns >= self._owner.next_due_ns:
                self._owner.pump()
            self._handle(event)
        for last_stream in last_streams:
            self._go_away(last_stream)
        self._flush()
        self._make_room()

    def eof_received(self) -> None:
        """Take no further request; the transport closes by itself."""
        self.closed = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the exchanges that waited their outcome."""
        self._transport = None
        outcome = Outcome.TLS_FAILED if isinstance(exc, ssl.SSLError) else Outcome.RESET
        self._end(outcome, self._columns.now_ns())
        self._streams.dispose()
        self._owner.lost(self)

    # -- what the target says --------------------------------------------------------------

    def _handle(self, event: Any) -> None:
        kind = type(event)
        if kind is events.RemoteSettingsChanged:
            self._settings()
        elif kind is events.WindowUpdated:
            self._streams.send_bodies()
        number: int = getattr(event, "stream_id", 0)
        if kind is events.DataReceived:
            self._streams.acknowledge(number, event.flow_controlled_length)
        stream = self._streams.get(number)
        if stream is None:
            return
        if kind is events.ResponseReceived:
            self._head(number, stream, event.headers)
        elif kind is events.InformationalResponseReceived:
            self._first_byte(stream)
        elif kind is events.DataReceived:
            stream.take_body(event.data, keep=bool(stream.sending.trait & _WANTED))
        elif kind is events.StreamEnded:
            self._streams.answered(number)
            self._finish(number, Outcome.COMPLETED, self._now_ns)
        elif kind is events.StreamReset:
            if event.error_code == _REFUSED_STREAM:
                self.closed = True  # it was asked for more than it takes
                self._refused(number)
            else:
                self._finish(number, Outcome.RESET, self._now_ns)

    def _head(self, number: int, stream: Stream, headers: Headers) -> None:
        self._first_byte(stream)
        sending = stream.sending
        if not stream.take_head(headers, keep=bool(sending.trait & _WANTED)):
            self._cancel(number, Outcome.BAD_RESPONSE, self._now_ns)
        elif sending.trait & _STREAM:
            stream.head_ns = self._now_ns
            self._owner.http2_open += 1
            if sending.stream_ns is not None:
                left_ns = self._columns.sent_ns[sending.row] + sending.stream_ns - self._now_ns
                self._loop.call_later(max(0, left_ns) / NS_PER_S, self._end_stream, number)

    def _first_byte(self, stream: Stream) -> None:
        row = stream.sending.row
        if self._columns.first_byte_ns[row] == NEVER_NS:
            self._columns.first_byte_ns[row] = self._now_ns

    def _settings(self) -> None:
        """The target said how many streams it takes at once; what is too many goes elsewhere."""
        self._streams_max = self._owner.streams_max = self._streams.most
        self._ready = True
        while self._pending and len(self._streams) < self._streams_max and not self.closed:
            self._begin(self._pending.popleft())
        if self._streams_max:  # one that takes none for now may take some later
            while self._pending:
                self.row = _FULL
                self._owner.resend(self, self._pending.popleft())
        if not self._has_room:
            self.row = _FULL
        self._streams.send_bodies()  # a larger window is a setting, too

    def _go_away(self, last_stream: int) -> None:
        """The target takes no further stream, and did not process those above ``last_stream``."""
        self.closed = True
        for number, _ in self._streams:
            if number > last_stream:
                self._refused(number)
        while self._pending:
            self._owner.resend(self, self._pending.popleft())

    def _refused(self, number: int) -> None:
        """A stream that was provably not processed is sent again, once."""
        stream = self._streams.pop(number)
        if stream.sending.again or stream.status:
            self._record(stream, Outcome.RESET, self._now_ns)
            return
        stream.sending.again = True
        self._owner.resend(self, stream.sending)

    # -- how an exchange ends --------------------------------------------------------------

    def _finish(self, number: int, outcome: Outcome, done_ns: int) -> None:
        self._record(self._streams.pop(number), outcome, done_ns)

    def _record(self, stream: Stream, outcome: Outcome, done_ns: int) -> None:
        sending, streamed = stream.sending, stream.head_ns != NEVER_NS
        self._owner.http2_open -= streamed
        if outcome is Outcome.COMPLETED:
            if streamed:
                done_ns = stream.head_ns  # a stream's end says nothing about the target's speed
            if sending.trait & _WANTED:
                self._owner.answered(sending.row, stream.head, b"".join(stream.kept))
        self._columns.finish(sending.row, outcome, done_ns, stream.status, stream.body_bytes)

    def _cancel(self, number: int, outcome: Outcome, done_ns: int) -> None:
        if self._transport is not None:
            self._streams.cancel(number)
        self._finish(number, outcome, done_ns)

    def _end(self, outcome: Outcome, done_ns: int) -> None:
        """Take no further request; what is under way ends so."""
        self.closed = True
        for number, _ in self._streams:
            self._finish(number, outcome, done_ns)
        while self._pending:
            self._columns.finish(self._pending.popleft().row, outcome, done_ns)

    def _make_room(self) -> None:
        """Say that another request can be taken, or close when the last is finished."""
        if self.closed:
            self.close()
        elif self.row != IDLE and self._has_room:
            self.row = IDLE
            self._owner.released(self)

    def _end_stream(self, number: int) -> None:
        """Close a stream whose recorded length is over, if it is still open."""
        if self._streams.get(number) is not None:
            self._cancel(number, Outcome.COMPLETED, NEVER_NS)
            self._flush()
            self._make_room()

    def end_endless(self) -> None:
        """Close the streams that have no recorded end; they count as completed."""
        for number, stream in self._streams:
            if stream.endless:
                self._end_stream(number)

    def connect_failed(self, outcome: Outcome) -> int:
        """Say that the connection never stood, and how many exchanges waited for it."""
        waiting = len(self._pending)
        for sending in self._pending:
            if not sending.again:
                self._columns.sent_ns[sending.row] = NEVER_NS
        self._end(outcome, NEVER_NS if outcome is Outcome.DROPPED else self._columns.now_ns())
        self._streams.dispose()
        return waiting

    def give_up(self, outcome: Outcome, done_ns: int) -> None:
        """End what is under way from this side; an open stream is completed."""
        for number, stream in self._streams:
            if stream.head_ns != NEVER_NS:
                self._finish(number, Outcome.COMPLETED, NEVER_NS)
        self._end(outcome, done_ns)
        self.abort()

    def expire(self, now_ns: int, timeout_ns: int) -> None:
        """Give up the exchanges that have waited longer than ``timeout_ns``."""
        sent_ns = self._columns.sent_ns
        late = self._streams.sent_before(now_ns - timeout_ns, sent_ns)
        for number in late:
            self._cancel(number, Outcome.TIMEOUT, now_ns)
        while self._pending and now_ns - sent_ns[self._pending[0].row] > timeout_ns:
            self._columns.finish(self._pending.popleft().row, Outcome.TIMEOUT, now_ns)
        if late:
            self._flush()
            self._make_room()

    def close(self) -> None:
        """Close in good order once nothing is under way."""
        self.closed = True
        transport = self._transport
        if transport is None or len(self._streams) or self._pending or transport.is_closing():
            return
        self._streams.leave()
        self._flush()
        # A TLS shutdown would wait for the peer; its absence harms nobody after whole responses.
        (transport.close if self._fd >= 0 else transport.abort)()

    def abort(self) -> None:
        """Close the connection at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
