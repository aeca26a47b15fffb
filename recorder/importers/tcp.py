"""
TCP segments in the order in which they were captured -> each connection's two byte streams.

No I/O and no clock: time is what the caller says. What the file lacks is told as a gap once the
other side has acknowledged it, so what was lost on the way and sent again is never taken for one.
Where two segments disagree about a byte, the first one captured wins, as it does on most receivers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from captures.units import MIB, NS_PER_MS, NS_PER_S
from recorder.importers.pcap_links import ACK, FIN, RST, SYN
from recorder.importers.tcp_half import HALF, MASK, Half, Memory, Stream

_FAR = 1 << 24  # sequence numbers further apart than any window belong to different connections


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    What bounds memory and waiting.

    ``grace_ns``: a gap is one when it was acknowledged this long ago and is still not filled (packets
    of one connection may be stored out of order, across directions too). ``silence_ns`` stands for it
    where the file has nothing at all from the other side. ``waiting_bytes`` may wait behind a gap in
    one direction; ``connections`` are followed at one time, those longest silent are let go.
    """

    grace_ns: int = 100 * NS_PER_MS
    silence_ns: int = 3 * NS_PER_S
    waiting_bytes: int = 8 * MIB
    connections: int = 32_768


class _Connection:
    """Two halves under their keys, and when anything was last seen of them."""

    __slots__ = ("closed", "halves", "keys", "last_ns", "stream")

    def __init__(self, stream: Stream, memory: Memory, key: bytes, time_ns: int) -> None:
        self.stream = stream
        self.halves = Half(0, stream, memory), Half(1, stream, memory)
        self.halves[0].peer, self.halves[1].peer = self.halves[1], self.halves[0]
        width = (len(key) - 4) // 2
        self.keys = key, key[width : 2 * width] + key[:width] + key[-2:] + key[-4:-2]
        self.closed = False
        self.last_ns = time_ns


class Reassembler:
    """
    Follows every connection whose segments it is given.

    ``open_stream`` makes what takes a connection's bytes; it is called with the addresses and ports
    of side 0 as sender, and with the side that opened the connection, or None when that was not seen.
    """

    def __init__(
        self,
        open_stream: Callable[[bytes, int | None], Stream],
        memory: Memory,
        limits: Limits | None = None,
    ) -> None:
        self._open_stream = open_stream
        self._memory = memory
        self._limits = limits or Limits()
        self._halves: dict[bytes, tuple[Half, _Connection]] = {}

    def segment(self, time_ns: int, key: bytes, seq: int, ack: int, flags: int, payload: bytes) -> None:
        """Takes one segment; ``key`` is its source and destination address, then the two ports."""
        found = self._halves.get(key)
        if found is None or flags & SYN:
            found = self._opened(found, key, time_ns, seq, flags, payload)
            if found is None:
                return
            if flags & SYN:
                seq = (seq + 1) & MASK
        half, connection = found
        peer = half.peer
        if flags & ACK:
            acked = peer.acked
            if acked is None or (ack - acked) & MASK < HALF:
                peer.acked = ack
        # Nearly every packet ends here.
        if half.plain and peer.plain and not flags & (FIN | RST):
            if not payload:
                return
            if half.next == seq and (peer.next == ack or half.may_go(ack)):
                half.next = (seq + len(payload)) & MASK
                connection.last_ns = time_ns
                connection.stream.data(half.side, time_ns, payload, seq, ack)
                return
        self._unusual(half, connection, time_ns, seq, ack if flags & ACK else None, flags, payload)

    def finish(self, time_ns: int) -> Iterator[None]:
        """Says that there are no more segments; closes a connection with each step, so that none pile up."""
        for connection in self._connections():
            self._close(connection, time_ns)
            yield
        self._halves.clear()

    def _opened(
        self,
        found: tuple[Half, _Connection] | None,
        key: bytes,
        time_ns: int,
        seq: int,
        flags: int,
        payload: bytes,
    ) -> tuple[Half, _Connection] | None:
        """What a SYN, or the first segment that is seen, belongs to; None when there is nothing."""
        first = (seq + 1) & MASK
        if found is not None:
            half, connection = found
            sent_again = half.isn == seq or first in {half.first, half.acked}
            if not sent_again and (half.isn is not None or half.next is not None):
                self._close(connection, time_ns)  # its ports are used again
                self._forget(connection)
                found = None
        elif not flags & SYN and (flags & RST or not (payload or flags & (ACK | FIN))):
            return None
        if found is None:
            found = self._new(key, time_ns, flags)
        half, _ = found
        if flags & SYN:
            half.isn = seq
            if half.next is None:
                half.anchor(first)
        return found

    def _new(self, key: bytes, time_ns: int, flags: int) -> tuple[Half, _Connection]:
        if len(self._halves) >= 2 * self._limits.connections:
            self._make_room(time_ns)
        opener = None if not flags & SYN else (1 if flags & ACK else 0)
        connection = _Connection(self._open_stream(key, opener), self._memory, key, time_ns)
        for each, half in zip(reversed(connection.keys), reversed(connection.halves), strict=True):
            self._halves[each] = half, connection
        return self._halves[key]

    def _unusual(
        self,
        half: Half,
        connection: _Connection,
        time_ns: int,
        seq: int,
        ack: int | None,
        flags: int,
        payload: bytes,
    ) -> None:
        """Everything but the next bytes of an open connection with nothing missing."""
        connection.last_ns = time_ns
        if connection.closed:
            # Late packets of a closed connection; far away ones are of a new one on its ports.
            if payload and half.next is not None and _FAR < (seq - half.next) & MASK < MASK - _FAR:
                self._forget(connection)
                self.segment(time_ns, connection.keys[half.side], seq, ack or 0, flags, payload)
            return
        if payload and not half.ended:
            half.wait(seq, payload, time_ns, ack)
        if flags & FIN and half.fin is None:
            half.fin, half.fin_ack = (seq + len(payload)) & MASK, ack
            half.plain = False
            if half.next is None and not half.waiting:
                half.anchor(half.fin)
        if flags & RST:
            self._flush(connection, time_ns)
            connection.stream.end(half.side, time_ns, reset=True)
            self._close(connection, time_ns)
            return
        self._settle(half, connection, time_ns)

    def _settle(self, half: Half, connection: _Connection, time_ns: int) -> None:
        """Delivers what can be, declares the gaps that are due, closes what has ended."""
        pair = (half, half.peer)
        for each in pair:
            if each.next is None and each.waiting:
                self._try_anchor(each, time_ns)
        moved = True
        while moved:
            moved = False
            for each in pair:
                while each.drain(time_ns) or self._skipped(each, time_ns):
                    moved = True
        if half.ended and half.peer.ended:
            self._close(connection, time_ns)

    def _try_anchor(self, half: Half, time_ns: int) -> None:
        """Begins with the first bytes seen, or with those before them that the other side waits for."""
        lowest = half.waiting[0]
        if half.acked is not None:
            half.anchor(half.acked if (lowest.seq - half.acked) & MASK < _FAR else lowest.seq)
        elif half.fin is not None or time_ns - lowest.time_ns > self._limits.grace_ns:
            half.anchor(lowest.seq)

    def _skipped(self, half: Half, time_ns: int) -> bool:
        """Whether bytes are missing and were given up."""
        end = half.hole_end()
        if end is None:
            half.hole_ns = None
            return False
        if half.hole_ns is None:
            half.hole_ns = time_ns
        received = half.received_until(end)
        waited_ns = time_ns - half.hole_ns
        if received is not None:
            due = waited_ns > self._limits.grace_ns
        else:
            due = half.acked is None and waited_ns > self._limits.silence_ns
        full = self._memory.used_bytes > self._memory.limit_bytes
        if due or full or half.waiting_bytes > self._limits.waiting_bytes:
            half.skip(end if received is None else received, time_ns)
            return True
        return False

    def _flush(self, connection: _Connection, time_ns: int) -> None:
        """Delivers all there is, and what is missing as gaps; nothing more can fill them."""
        for half in connection.halves:
            if half.next is None and half.waiting:
                self._try_anchor(half, time_ns)
                if half.next is None:
                    half.anchor(half.waiting[0].seq)
        moved = True
        while moved:
            moved = False
            for half in connection.halves:
                while half.drain(time_ns):
                    moved = True
            if moved:
                continue
            for half in connection.halves:
                if (end := half.hole_end()) is not None:
                    half.skip(end, time_ns)
                    moved = True
                    break

    def _close(self, connection: _Connection, time_ns: int) -> None:
        if connection.closed:
            return
        self._flush(connection, time_ns)
        connection.closed = True
        for half in connection.halves:
            half.plain = False
            half.let_go(len(half.waiting))
        connection.stream.finish(time_ns)

    def _forget(self, connection: _Connection) -> None:
        for key in connection.keys:
            self._halves.pop(key, None)

    def _connections(self) -> list[_Connection]:
        return [connection for half, connection in self._halves.values() if half.side == 0]

    def _make_room(self, time_ns: int) -> None:
        """Lets go of the closed connections, and of the longest silent quarter of the others."""
        connections = self._connections()
        connections.sort(key=lambda connection: (not connection.closed, connection.last_ns))
        for connection in connections[: max(1, len(connections) // 4)]:
            self._close(connection, time_ns)
            self._forget(connection)
