"""
The open streams of a replay: WebSocket sessions, whose clients speak when it is due, and SSE.

Frames are wsproto's; this decides when a message goes and notes when one came. A message is due at its
recorded time after the handshake was, at the run's speed, or when the handshake is done if that is later.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import LocalProtocolError

from captures.units import KIB, NS_PER_S
from replayer.carried import WORDS
from replayer.columns import Columns
from replayer.handshake import agreed_extensions
from replayer.held_messages import HeldMessages
from replayer.messages import NEVER_NS, NO_CAUSE, MessageLog, MessageRows, joined_messages
from replayer.results import NEVER_DUE_NS
from replayer.schedule import Schedule
from replayer.spoken import FreshWords, Said, Spoken
from replayer.sse import EventCutter

_NORMAL = 1000  # the code of an ordinary end (RFC 6455, section 7.4.1)
_EARLY_NS = NS_PER_S  # before its recorded end, a target's close is a target's own idea
_READ_BYTES = 16 * KIB  # of a message are searched for what was minted
_WORDS_MAX = 2_000_000  # words of server messages that are kept for it


class Line(Protocol):
    """The connection that a stream is open on."""

    row: int

    def write(self, wire: bytes) -> None:
        """Write to the socket now."""

    def end_stream(self, row: int) -> None:
        """Close the stream of ``row``."""


class Opened(Protocol):
    """Says that a stream is open on a line."""

    def __call__(
        self, line: Line, head: bytes, length_ns: int | None, *, socket: bool
    ) -> Socket | Events | None:
        """Who listens to the stream, if anybody does."""


class Lines(Protocol):
    """The connections of a replay: whom they tell what."""

    stream_opened: Opened
    answered: Callable[[int, bytes, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamsSent:
    """
    What became of the streams of one process; rows are those of its schedule.

    ``minted`` has (row, value) for each value that messages may say, ``words`` (number of a
    message, word) for what server messages said; ``full`` says that not all of them were kept.
    ``opened`` counts WebSocket sessions, ``ended_early`` those that the target closed before their time;
    ``waited`` messages that waited for a response, ``waited_ns`` in all.
    """

    messages: MessageRows
    opened: int = 0
    ended_early: int = 0
    substituted: int = 0
    broken: int = 0
    waited: int = 0
    waited_ns: int = 0
    minted: list[tuple[int, bytes]] = field(default_factory=list, repr=False)
    words: list[tuple[int, bytes]] = field(default_factory=list, repr=False)
    full: bool = False


def merged(parts: Iterable[tuple[StreamsSent, NDArray[np.int64]]]) -> StreamsSent:
    """The streams of several processes as of one; each part comes with the number of each of its rows."""
    messages = [MessageRows.none()]
    minted: list[tuple[int, bytes]] = []
    words: list[tuple[int, bytes]] = []
    opened = ended_early = substituted = broken = waited = waited_ns = begin = 0
    full = False
    for part, place in parts:
        messages.append(replace(part.messages, stream=place[part.messages.stream]))
        minted += [(int(place[row]), value) for row, value in part.minted]
        words += [(begin + number, word) for number, word in part.words]
        begin += len(part.messages)
        opened, ended_early = opened + part.opened, ended_early + part.ended_early
        substituted, broken = substituted + part.substituted, broken + part.broken
        waited, waited_ns = waited + part.waited, waited_ns + part.waited_ns
        full |= part.full
    return StreamsSent(
        messages=joined_messages(messages),
        opened=opened,
        ended_early=ended_early,
        substituted=substituted,
        broken=broken,
        waited=waited,
        waited_ns=waited_ns,
        minted=minted,
        words=words,
        full=full,
    )


def with_causes(streams: StreamsSent) -> MessageRows:
    """
    The messages, each with the exchange whose response minted what it says.

    The latest one counts: a message about a run may also name the older thing that the run is of.
    """
    minters: dict[bytes, int] = {}
    for row, value in streams.minted:
        minters.setdefault(value, row)
    cause = streams.messages.cause.copy()
    for number, word in streams.words:
        row = minters.get(word, NO_CAUSE)
        cause[number] = max(cause[number], row)
    return replace(streams.messages, cause=cause)


class Streams:
    """
    Every open stream of one process; ``wake`` is told when a message becomes due.

    Times are run time. ``fresh`` has what messages carry of what the target minted.
    """

    def __init__(
        self,
        *,
        schedule: Schedule,
        fresh: FreshWords | None,
        columns: Columns,
        pool: Lines,
        wake: Callable[[int], None],
    ) -> None:
        self._schedule = schedule
        self._spoken = Spoken() if fresh is None else fresh.spoken
        self._fresh = fresh
        self._columns = columns
        self._wake = wake
        self._open: dict[int, Socket] = {}
        self._said: dict[
            int, tuple[int, int]
        ] = {}  # by row, of one that is over: messages that went, its base
        self._due: list[tuple[int, int]] = []  # (due, row), a heap with one entry for each open session
        self._log = MessageLog()
        self._words: list[tuple[int, bytes]] = []
        self._listens = bool(self._spoken.minted)
        self._opened = self._ended_early = 0
        pool.stream_opened = self.opened
        self._held: HeldMessages | None = None
        if fresh is not None:
            pool.answered = fresh.beside(pool.answered)
            self._held = HeldMessages(schedule, fresh, columns, self._plan)

    @property
    def next_due_ns(self) -> int:
        """When the next message, or the end of a session, is due."""
        return self._due[0][0] if self._due else NEVER_DUE_NS

    def opened(self, line: Line, head: bytes, length_ns: int | None, *, socket: bool) -> Socket | Events:
        """
        A stream stands whose request was answered with ``head``; a WebSocket lasts ``length_ns``.

        Raises:
            ValueError: the answer agrees to what was not offered.

        """
        return self._opened_socket(line, head, length_ns) if socket else Events(self, line.row)

    def _opened_socket(self, line: Line, head: bytes, length_ns: int | None) -> Socket:
        row = line.row
        extensions = agreed_extensions(head)
        base_ns = self._base_ns(row)
        said = self._spoken.said.get(int(self._schedule.seq[row]), ())
        socket = self._open[row] = Socket(
            line=line,
            streams=self,
            row=row,
            frames=Frames(ConnectionType.CLIENT, extensions),
            said=said,
            base_ns=base_ns,
            opened_ns=self._columns.now_ns(),
            end_ns=None if length_ns is None else base_ns + length_ns,
        )
        self._opened += 1
        self._plan(row)
        return socket

    def _base_ns(self, row: int) -> int:
        return int(self._columns.due_ns[row]) + int(self._columns.waited_ns[row])

    def _plan(self, row: int) -> None:
        """See to it that the next message of a session goes when it is due, or its end."""
        socket = self._open.get(row)
        if socket is not None and (due_ns := self._due_of(socket)) is not None:
            heapq.heappush(self._due, (due_ns, row))
            self._wake(due_ns)

    def _due_of(self, socket: Socket) -> int | None:
        if socket.went == len(socket.said):
            return None if socket.end_ns is None else max(socket.opened_ns, socket.end_ns)
        scheduled_ns = socket.base_ns + self._schedule.scale_ns(
            socket.row, socket.said[socket.went].elapsed_ns
        )
        own_ns = max(socket.opened_ns, scheduled_ns)
        due_ns = own_ns if self._held is None else self._held.due_ns(socket.row, socket.went, own_ns)
        if due_ns is not None and due_ns > own_ns:
            socket.shift(due_ns - scheduled_ns)
        return due_ns

    def send(self, until_ns: int) -> None:
        """Send the messages that are due by ``until_ns``, and end the sessions that are over by then."""
        while self._due and self._due[0][0] <= until_ns:
            due_ns, row = heapq.heappop(self._due)
            socket = self._open.get(row)
            if socket is None:
                continue
            if socket.went == len(socket.said):
                socket.line.end_stream(row)
                continue
            said = socket.said[socket.went]
            payload = said.payload if self._fresh is None else self._fresh.payload(row, socket.went, said)
            wire = socket.framed(said, payload)
            if wire is None:  # the target said goodbye
                continue
            socket.went += 1
            self._log.sent(row, due_ns, self._columns.now_ns(), len(payload))
            socket.line.write(wire)
            self._plan(row)

    def heard(self, row: int, at_ns: int, size_bytes: int, start: bytes) -> None:
        """A message of the target came whole; ``start`` is at most its first ``_READ_BYTES``."""
        if self._listens and len(self._words) < _WORDS_MAX:
            number = len(self._log)
            self._words += [(number, word) for word in dict.fromkeys(WORDS.findall(start))]
        self._log.heard(row, at_ns, size_bytes)

    def closed(self, socket: Socket, *, by_target: bool) -> None:
        """A session is over."""
        if self._open.pop(socket.row, None) is None:
            return
        self._said[socket.row] = socket.went, socket.base_ns
        if by_target:
            end_ns = NEVER_DUE_NS if socket.end_ns is None else socket.end_ns
            unsaid = socket.went < len(socket.said)
            self._ended_early += unsaid or self._columns.now_ns() < end_ns - _EARLY_NS

    def account(self, offered: NDArray[np.bool_], until_ns: int | None) -> StreamsSent:
        """
        What was said on the streams of the first rows, of which those where ``offered`` is true were sent.

        Messages that never went are those of a session that was refused or over too early; when the
        run was stopped, at ``until_ns``, only those that were due by then.
        """
        sequence = self._schedule.seq[: len(offered)]
        for row in np.flatnonzero(np.isin(sequence, list(self._spoken.said)) & offered).tolist():
            went, base_ns = self._said.get(row) or (0, self._base_ns(row))
            for one in self._spoken.said[int(sequence[row])][went:]:
                message_due_ns = base_ns + self._schedule.scale_ns(row, one.elapsed_ns)
                if until_ns is None or message_due_ns <= until_ns:
                    self._log.sent(row, message_due_ns, NEVER_NS, len(one.payload))
        fresh, held = self._fresh, self._held
        return StreamsSent(
            messages=self._log.rows(),
            opened=self._opened,
            ended_early=self._ended_early,
            substituted=0 if fresh is None else fresh.substituted,
            broken=0 if fresh is None else fresh.broken,
            waited=0 if held is None else held.waited,
            waited_ns=0 if held is None else held.waited_ns,
            minted=[] if fresh is None else fresh.minted,
            words=self._words,
            full=len(self._words) >= _WORDS_MAX,
        )


@dataclass(slots=True, kw_only=True, eq=False)
class Socket:
    """One open session: ``went`` of ``said`` have gone; its client leaves at ``end_ns``, None for last."""

    line: Line
    streams: Streams
    row: int
    frames: Frames
    said: tuple[Said, ...]
    base_ns: int
    opened_ns: int
    end_ns: int | None
    went: int = 0
    said_goodbye: bool = False
    _size_bytes: int = 0
    _start: bytearray = field(default_factory=bytearray)

    @property
    def busy(self) -> bool:
        """Whether its client has something to say yet, or it is being closed."""
        return self.went < len(self.said) or self.said_goodbye

    def shift(self, later_ns: int) -> None:
        """All that is left to say and do is due so much later, as its next message waits."""
        self.base_ns += later_ns
        if self.end_ns is not None:
            self.end_ns += later_ns

    def framed(self, said: Said, payload: bytes) -> bytes | None:
        """A message as it goes on the wire; None when nothing may be said any more."""
        event: TextMessage | BytesMessage
        if said.text:
            event = TextMessage(data=payload.decode("utf-8", "replace"))
        else:
            event = BytesMessage(data=payload)
        return self._framed(event)

    def _framed(self, event: TextMessage | BytesMessage | CloseConnection) -> bytes | None:
        try:
            return self.frames.send(event)
        except LocalProtocolError:
            return None

    def goodbye(self) -> bytes | None:
        """The frame that begins the close handshake; None when that was begun already."""
        if self.said_goodbye:
            return None
        self.said_goodbye = True
        return self._framed(CloseConnection(code=_NORMAL))

    def received(self, data: bytes, now_ns: int) -> bool:
        """Take what came; whether the session is over by it."""
        if self.frames.state in (ConnectionState.CLOSED, ConnectionState.REMOTE_CLOSING):
            return True
        self.frames.receive_data(data)
        for event in self.frames.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                self._heard(event, now_ns)
            elif isinstance(event, Ping):
                if self.frames.state is ConnectionState.OPEN:
                    self.line.write(self.frames.send(event.response()))
            elif isinstance(event, CloseConnection):
                # Also what wsproto makes of bytes that are no frames; it is still open then.
                if not self.said_goodbye:
                    self.streams.closed(self, by_target=True)
                    self.line.write(self._framed(event.response()) or b"")
                return True
        return False

    def _heard(self, event: TextMessage | BytesMessage, now_ns: int) -> None:
        data = event.data.encode() if isinstance(event.data, str) else event.data
        self._size_bytes += len(data)
        if len(self._start) < _READ_BYTES:
            self._start += data[: _READ_BYTES - len(self._start)]
        if event.message_finished:
            self.streams.heard(self.row, now_ns, self._size_bytes, bytes(self._start))
            self._size_bytes = 0
            self._start.clear()

    def ended(self) -> None:
        """The exchange has its outcome."""
        self.streams.closed(self, by_target=not self.said_goodbye)


class Events:
    """One SSE stream: its events by their closing blank lines."""

    __slots__ = ("_cutter", "_row", "_streams")

    busy = said_goodbye = False

    def __init__(self, streams: Streams, row: int) -> None:
        self._streams = streams
        self._row = row
        self._cutter = EventCutter()

    def received(self, data: bytes, now_ns: int) -> bool:
        """Take a piece of the body, transfer coding removed; it never ends the stream."""
        for size_bytes, start in self._cutter.feed(data, _READ_BYTES):
            self._streams.heard(self._row, now_ns, size_bytes, start)
        return False

    def goodbye(self) -> None:
        """Nothing is said to the target."""

    def ended(self) -> None:
        """Nothing is left to do."""
