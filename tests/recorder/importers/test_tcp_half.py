from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.importers.tcp_half import MASK, Half, Memory


class Quiet:
    """Collects bytes."""

    def __init__(self) -> None:
        self.said = b""
        self.missing: list[int] = []

    def data(self, side: int, time_ns: int, piece: bytes, position: int, peer_position: int) -> None:
        self.said += piece

    def gap(self, side: int, time_ns: int, missing_bytes: int) -> None:
        self.missing.append(missing_bytes)

    def end(self, side: int, time_ns: int, *, reset: bool) -> None:
        self.said += b"."

    def finish(self, time_ns: int) -> None:
        pass


def pair() -> tuple[Half, Half, Quiet, Memory]:
    stream, memory = Quiet(), Memory(1000)
    halves = Half(0, stream, memory), Half(1, stream, memory)
    halves[0].peer, halves[1].peer = halves[1], halves[0]
    return *halves, stream, memory


def test_pieces_wait_in_order() -> None:
    """What waits is in the order of its numbers and never holds a byte twice."""
    half, _, _, memory = pair()
    half.anchor(100)
    for seq, data in ((110, b"klm"), (102, b"cd"), (101, b"BCDEF"), (100, b"ABCDEFGHIJKLMNOP")):
        half.wait(seq, data, 0, None)
    assert b"".join(piece.data for piece in half.waiting) == b"ABcdEFGHIJklmNOP"
    assert half.waiting_bytes == memory.used_bytes > 16


def test_delivered_bytes_do_not_wait_again() -> None:
    """Bytes before the next one are dropped."""
    half, _, stream, memory = pair()
    half.anchor(100)
    half.wait(95, b"abcdefgh", 0, None)
    assert half.drain(0)
    half.wait(95, b"abcdefgh", 0, None)
    assert (stream.said, half.waiting, memory.used_bytes, half.plain) == (b"fgh", [], 0, True)


def test_bytes_wait_for_what_their_sender_had_received() -> None:
    """An answer waits until the question was delivered."""
    client, server, stream, _ = pair()
    client.anchor(100)
    server.anchor(500)
    server.wait(500, b"answer", 0, 103)
    assert not server.drain(0)
    client.wait(100, b"why", 0, 500)
    assert client.drain(0)
    assert server.drain(0)
    assert stream.said == b"whyanswer"


def test_end_waits_too() -> None:
    """The end of a side comes after all its bytes, and after what its sender had received."""
    client, server, stream, _ = pair()
    client.anchor(100)
    server.anchor(500)
    client.fin, client.fin_ack = 101, 502
    client.wait(100, b"q", 0, 500)
    client.drain(0)
    assert (stream.said, client.ended) == (b"q", False)
    server.wait(500, b"ok", 0, 101)
    server.drain(0)
    assert client.drain(0)
    assert (stream.said, client.ended, client.next) == (b"qok.", True, 102)


def test_holes() -> None:
    """A hole ends where bytes wait, and is received as far as the other side acknowledged."""
    half, _, stream, _ = pair()
    half.anchor(MASK - 1)
    assert half.hole_end() is None
    half.wait(10, b"later", 0, None)
    assert half.hole_end() == 10
    assert half.received_until(10) is None
    half.acked = 4
    assert half.received_until(10) == 4
    half.acked = 15
    assert half.received_until(10) == 10
    half.skip(10, 0)
    assert (stream.missing, half.hole_end()) == ([12], None)


@given(st.integers(0, MASK), st.lists(st.tuples(st.integers(0, 50), st.binary(min_size=1, max_size=20))))
def test_first_bytes_win(start: int, pieces: list[tuple[int, bytes]]) -> None:
    """Of several bytes for one place the first is delivered, in any overlap, across the wrap too."""
    half, _, stream, memory = pair()
    half.anchor(start)
    first: dict[int, int] = {}
    for at, data in pieces:
        half.wait((start + at) & MASK, data, 0, None)
        for offset, byte in enumerate(data):
            first.setdefault(at + offset, byte)
    moved = True
    while moved:
        moved = half.drain(0)
        if (end := half.hole_end()) is not None:
            half.skip(end, 0)
            moved = True
    assert stream.said == bytes(first[at] for at in sorted(first))
    assert memory.used_bytes == 0
