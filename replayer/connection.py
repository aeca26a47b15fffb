"""
One HTTP/1.1 client connection: a request at a time, no Task, Future or timer for any of them.

Times are stamped here: sent immediately before the first write to the socket (or when the request
was handed to a connection that the target had yet to take), first byte and done when the event loop
hands over what came.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

import httptools

from captures.units import NS_PER_S
from replayer.columns import Columns
from replayer.compile import Trait
from replayer.heads import final_head, says_close, says_length
from replayer.owner import Owner
from replayer.places import MAX_BODY_BYTES
from replayer.results import NEVER_NS, Outcome
from replayer.streams import Events, Socket

if TYPE_CHECKING:
    from replayer.pool import AnyConnection

IDLE = -1  # the row of a connection that waits for no response
_MAX_HEAD_BYTES = 1024 * 1024
_STREAM = int(Trait.STREAM)
_SOCKET = int(Trait.SOCKET)
_SWITCHING = 101
_GOODBYE_S = 1.0  # for the target to answer a WebSocket's closing frame
_HEAD = int(Trait.HEAD)
_WANTED = int(Trait.WANTED)
_SLOW = _STREAM | _SOCKET | _HEAD | _WANTED  # more than the end of the response must be seen


class Connection(asyncio.Protocol):
    """
    A connection to the target; ``number`` is the recorded one it stands for, below 0 for a spare.

    ``row`` is the exchange that it waits for, or ``IDLE``. A request handed over before the
    connection stands is sent when it does. After ``closed`` it takes no request. While it is ``quick``
    the end of a response is all that it waits for, and nothing has come. A spare one is free when it is in
    ``spares``; ``exchanges`` counts those that were given to it one by one.
    """

    http2 = False
    __slots__ = (
        "_body_bytes", "_buffered", "_columns", "_complete", "_extra", "_fd", "_head", "_head_done",
        "_head_ns", "_interim", "_keep", "_kept", "_loop", "_now_ns", "_owner", "_parser", "_pending",
        "_started", "_status", "_stream", "_stream_ns", "_trait", "_transport", "_until_close",
        "closed", "exchanges", "number", "quick", "row", "server_name", "spares",
    )  # fmt: skip

    def __init__(
        self,
        *,
        columns: Columns,
        owner: Owner,
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
        self.quick = False
        self.spares: list[AnyConnection] | None = None
        self.exchanges = 0
        self._transport: asyncio.Transport | None = None
        self._fd = -1
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._pending: memoryview | bytes = b""
        self._trait = 0
        self._stream_ns: int | None = None
        self._buffered = False
        self._now_ns = 0
        self._stream: Socket | Events | None = None
        self._clear()

    def _clear(self) -> None:
        self._head = b""
        self._head_done = self._started = self._interim = False
        self._complete = self._extra = self._until_close = False
        self._keep = True
        self._status = 0
        self._body_bytes = 0
        self._kept: list[bytes] = []
        self._head_ns = NEVER_NS

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._transport is not None and not self.closed

    @property
    def attached(self) -> bool:
        """Whether there is a transport, be it one that closes."""
        return self._transport is not None

    @property
    def endless(self) -> bool:
        """Whether it holds an open stream that only the end of the run closes."""
        busy = self._stream is not None and self._stream.busy
        return self.row != IDLE and self._head_ns != NEVER_NS and self._stream_ns is None and not busy

    def send(self, row: int, wire: memoryview | bytes, trait: int = 0, stream_ns: int | None = None) -> None:
        """
        Send the request of ``row`` now, or as soon as the connection stands.

        ``stream_ns`` is how long a stream's response stays open after sending.
        """
        self.row = row
        self.exchanges += 1
        self._trait = trait
        self._stream_ns = stream_ns
        transport, columns = self._transport, self._columns
        columns.sent_ns[row] = monotonic_ns() - columns.zero_ns
        if transport is None:
            # What it waits for now is the target: a handshake is part of the service, not of our lag.
            self._pending = wire
        else:
            self.quick = not trait & _SLOW
            self._put(transport, wire)

    def write(self, wire: bytes) -> None:
        """Write a frame of the WebSocket session that stands."""
        if self._transport is not None and wire:
            self._put(self._transport, wire)

    def _put(self, transport: asyncio.Transport, wire: memoryview | bytes) -> None:
        if self._fd < 0 or self._buffered:
            self.quick = False
            transport.write(wire)
        else:
            self.put(wire)

    def put(self, wire: memoryview | bytes) -> None:
        """Write to the socket of a plain connection that stands and has written all before."""
        # The loop would write at the end of its iteration, after other callbacks; the stamp
        # must stand immediately before the bytes leave, so the socket is written here.
        try:
            written = os.write(self._fd, wire)
        except BlockingIOError:
            written = 0
        except OSError:
            self._fail(Outcome.RESET)
            return
        if written < len(wire) and self._transport is not None:
            self.quick = False
            self._buffered = True
            self._transport.write(wire[written:])

    # -- what the event loop calls ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and send what waits for it."""
        self._transport = cast("asyncio.Transport", transport)
        if self.closed:
            self._transport.abort()
            return
        if transport.get_extra_info("ssl_object") is None:
            self._fd = transport.get_extra_info("socket").fileno()
            if self._owner.intake is not None:
                self._transport.pause_reading()
                self._owner.intake.add(self._fd, self)
        self._owner.made(self)
        if self.row != IDLE:
            wire, self._pending = self._pending, b""
            self._put(self._transport, wire)

    def data_received(self, data: bytes) -> None:
        """Parse what came; whoever is due meanwhile is sent before the loop's next wake."""
        columns = self._columns
        now_ns = self._now_ns = monotonic_ns() - columns.zero_ns
        if self.row == IDLE or self._parser is None:
            self.abort()  # nobody asked for it
            return
        self.quick = False
        if self._head_done and self._trait & _SOCKET and self._stream is not None:
            self._converse(data)
            return
        if not self._started:
            self._started = True
            columns.first_byte_ns[self.row] = now_ns
        if not self._head_done:
            self._head = self._head + data if self._head else data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._trait & _SOCKET:
                self._converse(data[upgrade.args[0] :])
                return
            self._complete = True
            self._keep = False
        except httptools.HttpParserError:
            if not self._complete:  # else something came behind the response
                self._fail(Outcome.BAD_RESPONSE)
                return
            self._keep = False
        if self._complete:
            self._settle(data)
        elif not self._head_done and len(self._head) > _MAX_HEAD_BYTES:
            self._fail(Outcome.BAD_RESPONSE)
        if now_ns >= self._owner.next_due_ns:
            self._owner.pump()

    def _converse(self, data: bytes) -> None:
        """Hand frames to the WebSocket session, and end it when they do."""
        self._body_bytes += len(data)
        if self._stream is None:  # the target agreed to what was not offered
            self._fail(Outcome.BAD_RESPONSE)
        elif self._stream.received(data, self._now_ns):
            self._finish(Outcome.COMPLETED, self._head_ns)
            self.close()
        if self._now_ns >= self._owner.next_due_ns:
            self._owner.pump()

    def eof_received(self) -> None:
        """Take no further request; the transport closes by itself."""
        self.closed = True
        self.quick = False
        self._now_ns = self._columns.now_ns()

    def broken(self) -> None:
        """The other side broke the connection off: what it waits for has not ended well."""
        self._until_close = False
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the exchange that waited its outcome."""
        self.closed = True
        self._transport = None
        self._parser = None  # it refers back to this object, and the collector is off
        if self._owner.intake is not None:
            self._owner.intake.forget(self._fd, self)
        if self.row != IDLE:
            left = self._stream is not None and self._stream.said_goodbye
            if left or (exc is None and self._until_close):
                self._finish(Outcome.COMPLETED, self._now_ns)
            else:
                outcome = Outcome.TLS_FAILED if isinstance(exc, ssl.SSLError) else Outcome.RESET
                self._finish(outcome, self._columns.now_ns())
        self._owner.lost(self)

    # -- what the parser calls -------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A second response to one request is one too many."""
        self._extra = self._complete

    def on_headers_complete(self) -> None:
        """Find out how the body ends."""
        if self._complete or self._parser is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim = True
            return
        self._status = status
        self._head_done = True
        self._keep = self._parser.should_keep_alive()
        if self._trait & _HEAD:
            # The parser does not know the method: it would wait for a body that never comes.
            self._keep = not says_close(final_head(self._head))
            self._complete = True
        elif not self._keep:
            self._until_close = not says_length(final_head(self._head))
        if self._trait & _STREAM or (self._trait & _SOCKET and status == _SWITCHING):
            self._open_stream()

    def on_body(self, body: bytes) -> None:
        """Count body bytes, transfer coding removed."""
        if not self._complete:
            self._body_bytes += len(body)
            if self._trait & _WANTED and self._body_bytes <= MAX_BODY_BYTES:
                self._kept.append(body)
            if self._stream is not None:
                self._stream.received(body, self._now_ns)

    def on_message_complete(self) -> None:
        """Note that the response is whole, unless it is an interim one."""
        if self._interim:
            self._interim = False
        elif self._stream is None or self._trait & _STREAM:
            self._complete = True

    # -- how an exchange ends --------------------------------------------------------------

    def _open_stream(self) -> None:
        self._head_ns = self._now_ns
        socket = self._trait & _SOCKET != 0
        try:
            self._stream = self._owner.opened(self, final_head(self._head), self._stream_ns, socket=socket)
        except ValueError:
            return  # what it agreed to is not known, so neither is what follows
        if self._stream_ns is not None and not socket:
            close_ns = self._columns.sent_ns[self.row] + self._stream_ns
            self._loop.call_later(max(0, close_ns - self._now_ns) / NS_PER_S, self.end_stream, self.row)

    def end_stream(self, row: int) -> None:
        """Close the stream of ``row``, if it is still open; it counts as completed."""
        goodbye = self._stream.goodbye() if self.row == row and self._stream is not None else None
        if goodbye:
            self.write(goodbye)
            self._loop.call_later(_GOODBYE_S, self.end_stream, row)
        elif self.row == row:
            self._finish(Outcome.COMPLETED, self._head_ns)
            self.abort()

    def end_endless(self) -> None:
        """Close the stream that has no recorded end, if one is open; it counts as completed."""
        if self.endless:
            self.end_stream(self.row)

    def _settle(self, data: bytes) -> None:
        """Finish the exchange whose response ends with ``data``, and pass the connection on or close it."""
        reusable = self._keep and not self._extra and not self.closed
        if self._buffered and self._transport is not None:
            self._buffered = self._transport.get_write_buffer_size() > 0
            reusable = reusable and not self._buffered  # answered before the request was taken whole
        if reusable and self._head is data and not self._trait & _SLOW:
            self._owner.heads.learn(data, self._status, self._body_bytes)
        self._finish(Outcome.COMPLETED, self._now_ns)
        if not reusable:
            self.close()
            return
        if self._trait & _HEAD:
            self._parser = httptools.HttpResponseParser(self)
        self._owner.released(self)

    def _finish(self, outcome: Outcome, done_ns: int) -> None:
        row, self.row = self.row, IDLE
        self.quick = False
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.ended()
        if self._head_ns != NEVER_NS and outcome is Outcome.COMPLETED:
            done_ns = self._head_ns  # a stream's end says nothing about the target's speed
        status, body_bytes = self._status, self._body_bytes
        if self._trait & _WANTED and outcome is Outcome.COMPLETED:
            self._owner.answered(row, final_head(self._head), b"".join(self._kept))
        self._clear()
        self._columns.finish(row, outcome, done_ns, status, body_bytes)

    def _fail(self, outcome: Outcome) -> None:
        self._finish(outcome, self._columns.now_ns())
        self.abort()

    def connect_failed(self, outcome: Outcome) -> int:
        """
        Say that the connection never stood, and how many exchanges waited for it.

        A dropped exchange was never done.
        """
        self.closed = True
        self._parser = None
        waiting = int(self.row != IDLE)
        if waiting:
            self._columns.sent_ns[self.row] = NEVER_NS
            self._finish(outcome, NEVER_NS if outcome is Outcome.DROPPED else self._columns.now_ns())
        return waiting

    def give_up(self, outcome: Outcome, done_ns: int) -> None:
        """End the exchange that waits, if any, from this side; an open stream is completed."""
        if self.row != IDLE:
            self._finish(Outcome.COMPLETED if self._head_ns != NEVER_NS else outcome, done_ns)
        self.abort()

    def expire(self, now_ns: int, timeout_ns: int) -> None:
        """Give up the exchange that waits if it has waited longer than ``timeout_ns``."""
        if self.row == IDLE or self._head_ns != NEVER_NS:
            return
        since_ns = self._columns.sent_ns[self.row]
        if since_ns == NEVER_NS:
            since_ns = self._columns.due_ns[self.row]
        if now_ns - since_ns > timeout_ns:
            self.give_up(Outcome.TIMEOUT, now_ns)

    def close(self) -> None:
        """Close an idle connection in good order."""
        self.closed = True
        if self._transport is not None:
            # A TLS shutdown would wait for the peer; its absence harms nobody after a whole response.
            (self._transport.close if self._fd >= 0 else self._transport.abort)()

    def abort(self) -> None:
        """Close the connection at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
