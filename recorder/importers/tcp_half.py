"""One direction of a TCP connection: bytes put in order, each once, the first captured winning."""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

MASK = 0xFFFF_FFFF
_PIECE_BYTES = 150  # what a piece takes beside its data
HALF = 0x8000_0000  # sequence numbers are compared modulo 2^32, RFC 9293 section 3.4


class Stream(Protocol):
    """
    What is done with one connection's bytes; ``side`` is 0 or 1.

    Bytes of one side come in order, and never before bytes of the other side that their sender had
    already received. ``position`` and ``peer_position`` are modulo 2^32: the sequence number of the
    piece's first byte, and up to where its sender had received the other side's bytes.
    """

    def data(self, side: int, time_ns: int, piece: bytes, position: int, peer_position: int) -> None:
        """Takes the next bytes of a side."""

    def gap(self, side: int, time_ns: int, missing_bytes: int) -> None:
        """The next ``missing_bytes`` of a side are not in the file."""

    def end(self, side: int, time_ns: int, *, reset: bool) -> None:
        """A side sends nothing more; with ``reset``, neither does the other."""

    def finish(self, time_ns: int) -> None:
        """The file says nothing more about this connection."""


class Memory:
    """Bytes that are held for all connections together, and how many may be."""

    __slots__ = ("limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0


class Piece:
    """Bytes that wait for those before them, or for the other side's; ``ack`` is None without one."""

    __slots__ = ("ack", "data", "seq", "time_ns")

    def __init__(self, seq: int, data: bytes, time_ns: int, ack: int | None) -> None:
        self.seq = seq
        self.data = data
        self.time_ns = time_ns
        self.ack = ack


class Half:
    """
    One direction of a connection.

    ``next`` is the sequence number to be delivered next, None until it is known; ``first`` the one
    that delivery began with; ``acked`` the highest that the other side acknowledged. ``plain`` says
    that nothing waits and segments that fit may be delivered as they come. ``hole_ns`` is when it was
    first noticed that bytes are missing.
    """

    __slots__ = (
        "acked", "ended", "fin", "fin_ack", "first", "hole_ns", "isn", "memory", "next", "peer", "plain",
        "side", "stream", "waiting", "waiting_bytes",
    )  # fmt: skip

    peer: Half

    def __init__(self, side: int, stream: Stream, memory: Memory) -> None:
        self.side = side
        self.stream = stream
        self.memory = memory
        self.next: int | None = None
        self.first: int | None = None
        self.isn: int | None = None
        self.acked: int | None = None
        self.fin: int | None = None
        self.fin_ack: int | None = None
        self.hole_ns: int | None = None
        self.plain = False
        self.ended = False
        self.waiting: list[Piece] = []
        self.waiting_bytes = 0

    def anchor(self, seq: int) -> None:
        """Bytes from ``seq`` on are delivered."""
        self.next = self.first = seq
        self.plain = not self.waiting

    def wait(self, seq: int, data: bytes, time_ns: int, ack: int | None) -> None:
        """Puts bytes in their place, without those that are already there or were delivered."""
        waiting = self.waiting
        base = self.next if self.next is not None else (waiting[0].seq if waiting else seq)
        start = _signed(seq - base)
        if self.next is not None and start < 0:
            data, start = data[-start:], 0
        # The piece before the place may reach into it.
        index = max(0, bisect_right(waiting, start, key=lambda piece: _signed(piece.seq - base)) - 1)
        while data:
            if index == len(waiting):
                self._put(index, Piece((base + start) & MASK, data, time_ns, ack))
                return
            piece = waiting[index]
            there = _signed(piece.seq - base)
            if start < there:
                self._put(index, Piece((base + start) & MASK, data[: there - start], time_ns, ack))
                data, start = data[there - start :], there
                index += 1
            covered = there + len(piece.data) - start
            if covered > 0:
                data, start = data[covered:], start + covered
            index += 1

    def _put(self, at: int, piece: Piece) -> None:
        self.waiting.insert(at, piece)
        self.waiting_bytes += len(piece.data) + _PIECE_BYTES
        self.memory.used_bytes += len(piece.data) + _PIECE_BYTES
        self.plain = False

    def may_go(self, ack: int | None) -> bool:
        """Whether all that the sender of this half had received by ``ack`` was delivered."""
        there = self.peer.next
        return ack is None or there is None or (there - ack) & MASK < HALF

    def drain(self, time_ns: int) -> bool:
        """Delivers what is next, as far as it goes; whether anything was."""
        if self.next is None:
            return False
        done = 0
        for piece in self.waiting:
            if piece.seq != self.next or not self.may_go(piece.ack):
                break
            done += 1
            self.next = (self.next + len(piece.data)) & MASK
            received = piece.ack if piece.ack is not None else self.peer.next or 0
            self.stream.data(self.side, piece.time_ns, piece.data, piece.seq, received)
        if done:
            self.let_go(done)
            self.hole_ns = None
        moved = done > 0
        if self.fin is not None and not self.ended and self._at_end(self.next, self.fin):
            moved = self.ended = True
            self.next = (self.fin + 1) & MASK
            self.stream.end(self.side, time_ns, reset=False)
        self.plain = not self.waiting and self.fin is None
        return moved

    def _at_end(self, following: int, fin: int) -> bool:
        return (following - fin) & MASK < HALF and self.may_go(self.fin_ack)

    def let_go(self, count: int) -> None:
        """Forgets the first ``count`` pieces that wait."""
        size_bytes = sum(len(piece.data) + _PIECE_BYTES for piece in self.waiting[:count])
        self.waiting_bytes -= size_bytes
        self.memory.used_bytes -= size_bytes
        del self.waiting[:count]

    def hole_end(self) -> int | None:
        """Where what comes next begins, when bytes are missing before it."""
        if self.next is None or self.ended:
            return None
        if self.waiting:
            end: int | None = self.waiting[0].seq
        else:
            end = self.acked if self.fin is None else self.fin
        return end if end is not None and 0 < (end - self.next) & MASK < HALF else None

    def received_until(self, end: int) -> int | None:
        """The end, ``end`` at most, of what is missing here and was received by the other side, or None."""
        if self.acked is None or self.next is None or not 0 < (self.acked - self.next) & MASK < HALF:
            return None
        return end if (self.acked - end) & MASK < HALF else self.acked

    def skip(self, end: int, time_ns: int) -> None:
        """Gives up on what is missing up to ``end``."""
        assert self.next is not None
        missing_bytes = (end - self.next) & MASK
        self.next = end
        self.hole_ns = None
        self.stream.gap(self.side, self.waiting[0].time_ns if self.waiting else time_ns, missing_bytes)


def _signed(difference: int) -> int:
    return ((difference + HALF) & MASK) - HALF
