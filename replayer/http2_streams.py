"""
The streams of one HTTP/2 connection, without I/O: requests in, bytes and events out.

jh2 does the protocol; what is added is how bodies share the windows, and life after GOAWAY.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jh2.config import H2Configuration  # type: ignore[import-untyped]
from jh2.connection import H2Connection  # type: ignore[import-untyped]
from jh2.errors import ErrorCodes  # type: ignore[import-untyped]
from jh2.exceptions import H2Error  # type: ignore[import-untyped]
from jh2.settings import SettingCodes, Settings  # type: ignore[import-untyped]

from captures.model import Headers
from captures.units import MIB
from replayer.http2_wire import GoAwayFilter, unpack_request
from replayer.places import MAX_BODY_BYTES
from replayer.results import NEVER_NS

_WINDOW_BYTES = 16 * MIB  # how much of a response may come before it is acknowledged
_CONNECTION_WINDOW_BYTES = 1024 * MIB
_MAX_HEAD_BYTES = MIB
_LAST_STREAM = 2**31 - 3
_STATUS = re.compile(rb"[1-9][0-9]{2}")


class BrokenProtocolError(Exception):
    """The peer does not speak HTTP/2 as it must."""


@dataclass(slots=True, kw_only=True)
class Sending:
    """A request that is to be sent; ``again`` when the target refused it once, unprocessed."""

    row: int
    wire: memoryview | bytes = field(repr=False)
    trait: int = 0
    stream_ns: int | None = None
    again: bool = False


@dataclass(slots=True, kw_only=True)
class Stream:
    """An exchange under way; ``head_ns`` is set once its response goes on until it is closed."""

    sending: Sending
    unsent: memoryview = field(repr=False)
    trailers: Headers = field(repr=False)
    status: int = 0
    body_bytes: int = 0
    head: bytes = field(default=b"", repr=False)
    head_ns: int = NEVER_NS
    kept: list[bytes] = field(default_factory=list, repr=False)

    @property
    def endless(self) -> bool:
        """Whether only the end of the run closes it."""
        return self.head_ns != NEVER_NS and self.sending.stream_ns is None

    def take_head(self, headers: Headers, *, keep: bool) -> bool:
        """The response began; ``keep`` its head, written as in HTTP/1. False when its status is none."""
        self.sending.wire = b""  # it will not be sent again, and its window can go
        status = _STATUS.fullmatch(headers[0][1])
        if status is None:
            return False
        self.status = int(status[0])
        if keep:
            fields = b"\r\n".join(b"%s: %s" % (name, value) for name, value in headers[1:])
            self.head = b"HTTP/2 %d\r\n%s" % (self.status, fields)
        return True

    def take_body(self, data: bytes, *, keep: bool) -> None:
        """Count a part of the response's body, and keep it if wanted and not too long."""
        self.body_bytes += len(data)
        if keep and self.body_bytes <= MAX_BODY_BYTES:
            self.kept.append(data)


class Streams:
    """
    The streams that wait for a response, by number; ``data`` is what has to be written.

    Only this side opens streams. ``closed`` ones are forgotten at once.
    """

    __slots__ = ("_blocked", "_filter", "_h2", "_next", "_open")

    def __init__(self) -> None:
        self._h2 = _protocol()
        self._filter = GoAwayFilter()
        self._next = 1
        self._open: dict[int, Stream] = {}
        self._blocked: dict[int, Stream] = {}  # with a body that waits for a window

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[tuple[int, Stream]]:
        """All that are open; they may be closed meanwhile."""
        return iter(list(self._open.items()))

    def get(self, number: int) -> Stream | None:
        """The stream if it is open."""
        return self._open.get(number)

    def pop(self, number: int) -> Stream:
        """Take out a stream that is over."""
        self._blocked.pop(number, None)
        return self._open.pop(number)

    def sent_before(self, time_ns: int, sent_ns: memoryview) -> list[int]:
        """Those that went out before ``time_ns`` and have no lasting response; ``sent_ns`` is by row."""
        return [
            number
            for number, stream in self._open.items()
            if stream.head_ns == NEVER_NS and sent_ns[stream.sending.row] < time_ns
        ]

    @property
    def exhausted(self) -> bool:
        """Whether the connection has no number left for another stream."""
        return self._next > _LAST_STREAM

    @property
    def most(self) -> int:
        """How many the peer takes at once."""
        most: int = self._h2.remote_settings.max_concurrent_streams
        return most

    def greet(self) -> None:
        """Begin the connection."""
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_CONNECTION_WINDOW_BYTES)

    def begin(self, sending: Sending) -> None:
        """Open a stream and send as much of the request as may be sent now."""
        headers, body, trailers = unpack_request(sending.wire)
        number = self._next
        self._next += 2
        stream = Stream(sending=sending, unsent=memoryview(body), trailers=trailers)
        self._open[number] = stream
        self._h2.send_headers(number, headers, end_stream=not body and not trailers)
        if body:
            self._blocked[number] = stream
            self.send_bodies()
        elif trailers:
            self._h2.send_headers(number, trailers, end_stream=True)

    def send_bodies(self) -> None:
        """Send what the windows permit: a frame of each body in turn, so that none waits for another."""
        h2 = self._h2
        sent = True
        while sent and self._blocked:
            sent = False
            for number, stream in list(self._blocked.items()):
                if not self._stands(number):
                    del self._blocked[number]
                    continue
                room = min(h2.local_flow_control_window(number), h2.max_outbound_frame_size)
                if room <= 0:
                    continue
                sent = True
                part, stream.unsent = stream.unsent[:room], stream.unsent[room:]
                last = not stream.unsent
                h2.send_data(number, part.tobytes(), end_stream=last and not stream.trailers)
                if last:
                    del self._blocked[number]
                    if stream.trailers:
                        h2.send_headers(number, stream.trailers, end_stream=True)

    def receive(self, data: bytes) -> tuple[list[Any], list[int]]:
        """
        The events of what came, and of each GOAWAY the highest stream that the peer took.

        Raises:
            BrokenProtocolError: it is no HTTP/2; ``data`` says so to the peer.

        """
        try:
            rest, last_streams = self._filter(data)
            return self._h2.receive_data(rest), last_streams
        except (H2Error, ValueError, LookupError) as error:
            raise BrokenProtocolError from error

    def acknowledge(self, number: int, flow_bytes: int) -> None:
        """Let the peer send as much again."""
        self._h2.acknowledge_received_data(flow_bytes, number)

    def cancel(self, number: int) -> None:
        """Tell the peer that nobody waits for the stream any more, unless it has ended it itself."""
        if self._stands(number):
            self._h2.reset_stream(number, ErrorCodes.CANCEL)

    def answered(self, number: int) -> None:
        """The response is whole; a request that is not will not be sent to its end."""
        if number in self._blocked:
            self.cancel(number)

    def _stands(self, number: int) -> bool:
        """
        Whether the protocol still has the stream open.

        It knows all that came in one piece before the first event of it is told, so the peer may have
        answered early and reset the stream (RFC 9113 section 8.1) by the time a window's update is.
        """
        stream = self._h2.streams.get(number)
        return stream is not None and not stream.closed

    def leave(self) -> None:
        """End the connection in good order."""
        self._h2.close_connection()

    def data(self) -> bytes:
        """What has to be written; empty when nothing has to."""
        data: bytes = self._h2.data_to_send()
        return data

    def dispose(self) -> None:
        """Let the memory go: the protocol's state refers to itself, and the collector is off."""
        vars(self._h2).clear()


def _protocol() -> H2Connection:
    """The protocol's state for one connection: no pushes, large windows, headers as they are."""
    h2 = H2Connection(
        H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,  # they were checked when they were compiled
            normalize_outbound_headers=False,
            normalize_inbound_headers=False,
        )
    )
    h2.local_settings = Settings(
        client=True,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
            SettingCodes.MAX_HEADER_LIST_SIZE: _MAX_HEAD_BYTES,
        },
    )
    h2.decoder.max_header_list_size = _MAX_HEAD_BYTES
    return h2
