from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.importers.pcap_links import ACK, FIN, RST, SYN
from recorder.importers.tcp import Limits, Reassembler
from recorder.importers.tcp_half import MASK, Memory

CLIENT = b"\x0a\x00\x00\x01\x0a\x00\x00\x02\x9c\x40\x00\x50"
SERVER = b"\x0a\x00\x00\x02\x0a\x00\x00\x01\x00\x50\x9c\x40"
MS = 1_000_000


class Heard:
    """Notes what a stream was told."""

    def __init__(self, key: bytes, opener: int | None) -> None:
        self.key = key
        self.opener = opener
        self.events: list[tuple] = []
        self.bytes = [b"", b""]
        self.pieces: list[tuple[int, int, bytes]] = []
        self.finished = 0

    def data(self, side: int, time_ns: int, piece: bytes, position: int, peer_position: int) -> None:
        assert piece
        self.bytes[side] += piece
        self.pieces.append((side, time_ns, piece))
        self.events.append(("data", side, piece))

    def gap(self, side: int, time_ns: int, missing_bytes: int) -> None:
        assert missing_bytes > 0
        self.bytes[side] += b"?" * missing_bytes
        self.events.append(("gap", side, missing_bytes))

    def end(self, side: int, time_ns: int, *, reset: bool) -> None:
        self.events.append(("reset" if reset else "end", side))

    def finish(self, time_ns: int) -> None:
        self.finished += 1


class Wire:
    """A reassembler and the streams that it opened."""

    def __init__(self, *, memory_bytes: int = 1 << 30, **limits: int) -> None:
        self.streams: list[Heard] = []
        self.memory = Memory(memory_bytes)
        self.reassembler = Reassembler(self._open, self.memory, Limits(**limits))
        self.now_ns = 0

    def _open(self, key: bytes, opener: int | None) -> Heard:
        self.streams.append(Heard(key, opener))
        return self.streams[-1]

    def client(self, seq: int, payload: bytes = b"", ack: int = 0, flags: int = ACK) -> Wire:
        return self.say(CLIENT, seq, payload, ack, flags)

    def server(self, seq: int, payload: bytes = b"", ack: int = 0, flags: int = ACK) -> Wire:
        return self.say(SERVER, seq, payload, ack, flags)

    def say(self, key: bytes, seq: int, payload: bytes, ack: int, flags: int) -> Wire:
        self.now_ns += MS
        self.reassembler.segment(self.now_ns, key, seq & MASK, ack & MASK, flags, payload)
        return self

    def open(self, client: int = 99, server: int = 499) -> Wire:
        self.client(client, flags=SYN)
        self.server(server, ack=client + 1, flags=SYN | ACK)
        return self.client(client + 1, ack=server + 1)

    def end(self) -> Heard:
        assert len(list(self.reassembler.finish(self.now_ns))) <= len(self.streams)
        assert self.memory.used_bytes == 0
        assert all(stream.finished == 1 for stream in self.streams)
        return self.streams[-1]


def test_bytes_in_order() -> None:
    """What comes in order is delivered as it comes."""
    wire = Wire().open().client(100, b"abc", 500).server(500, b"xyz", 103).client(103, b"def", 503)
    heard = wire.end()
    assert heard.events == [("data", 0, b"abc"), ("data", 1, b"xyz"), ("data", 0, b"def")]
    assert heard.opener == 0


def test_opener_is_the_one_that_sent_syn() -> None:
    """Without the SYN, the answer to it says who opened the connection."""
    wire = Wire().server(499, ack=100, flags=SYN | ACK).client(100, b"abc", 500)
    heard = wire.end()
    assert (heard.key, heard.opener) == (SERVER, 1)
    assert heard.bytes == [b"", b"abc"]


def test_out_of_order() -> None:
    """A segment that came early waits for the one before it, and keeps its own time."""
    wire = Wire().open().client(103, b"def", 500).client(100, b"abc", 500)
    heard = wire.end()
    assert heard.pieces == [(0, 5 * MS, b"abc"), (0, 4 * MS, b"def")]


def test_retransmission_is_delivered_once() -> None:
    """What is sent again is not delivered again, whole or in part."""
    wire = Wire().open().client(100, b"abc", 500).client(100, b"abc", 500).client(100, b"abcdef", 500)
    wire.client(101, b"bc", 500)
    assert wire.end().bytes[0] == b"abcdef"


def test_first_segment_wins_where_they_overlap() -> None:
    """Where two segments disagree, the bytes captured first are the ones delivered."""
    wire = Wire().open().client(103, b"DEF", 500).client(108, b"IJ", 500).client(101, b"bcdefghij", 500)
    wire.client(100, b"a!!!!!!!!!!k", 500)
    assert wire.end().bytes[0] == b"abcDEFghIJ!k"


def test_sequence_numbers_wrap() -> None:
    """A connection goes on past 2^32, out of order too."""
    start = MASK - 3
    wire = Wire().open(client=start - 1).client(start + 6, b"ghi", 500).client(start, b"abc", 500)
    wire.client(start + 3, b"def", 500).server(500, b"ok", start + 9)
    heard = wire.end()
    assert heard.bytes == [b"abcdefghi", b"ok"]
    assert not [event for event in heard.events if event[0] == "gap"]


def test_gap_is_told_once_it_was_acknowledged_for_long() -> None:
    """What the other side received and the file lacks is a gap, but not before the grace is over."""
    wire = Wire(grace_ns=50 * MS).open().client(100, b"abc", 500).client(106, b"ghi", 500)
    wire.server(500, ack=109)
    wire.now_ns += 40 * MS
    wire.server(500, ack=109)
    assert wire.streams[0].bytes[0] == b"abc"
    wire.now_ns += 20 * MS
    wire.server(500, ack=109)
    assert wire.streams[0].bytes[0] == b"abc???ghi"
    assert wire.end().bytes[0] == b"abc???ghi"


def test_unacknowledged_hole_waits_for_its_retransmission() -> None:
    """What was lost on the way is sent again, however late, and is no gap."""
    wire = Wire().open().client(100, b"abc", 500).client(106, b"ghi", 500).server(500, ack=103)
    wire.now_ns += 20_000 * MS
    wire.server(500, ack=103).client(103, b"def", 500).server(500, ack=109)
    heard = wire.end()
    assert heard.bytes[0] == b"abcdefghi"
    assert ("gap", 0, 3) not in heard.events


def test_gap_within_the_grace_is_filled() -> None:
    """A segment that was captured after its acknowledgement is still taken."""
    wire = Wire().open().client(103, b"def", 500).server(500, ack=106).client(100, b"abc", 500)
    assert wire.end().bytes[0] == b"abcdef"


def test_gap_with_one_direction_captured() -> None:
    """Without the other side there are no acknowledgements; silence stands for them."""
    wire = Wire(silence_ns=100 * MS).client(99, flags=SYN).client(100, b"abc", 500).client(106, b"ghi", 500)
    wire.now_ns += 200 * MS
    wire.client(109, b"jkl", 500)
    assert wire.streams[0].bytes[0] == b"abc???ghijkl"
    wire.end()


def test_gap_when_too_much_waits() -> None:
    """Memory is bounded: behind a hole only so much may wait."""
    wire = Wire(waiting_bytes=5000).open().client(100, b"abc", 500)
    for at in range(10):
        wire.client(106 + 1000 * at, b"x" * 1000, 500)
    assert wire.streams[0].events[1] == ("gap", 0, 3)
    wire.end()


def test_gap_when_all_connections_hold_too_much() -> None:
    """The bound on the memory of all connections together holds as well."""
    wire = Wire(memory_bytes=2500).open().client(100, b"abc", 500)
    for at in range(4):
        wire.client(106 + 1000 * at, b"x" * 1000, 500)
    assert ("gap", 0, 3) in wire.streams[0].events
    wire.end()


def test_missing_tail_is_a_gap() -> None:
    """Bytes that were acknowledged and never seen are told at the end."""
    wire = Wire().open().client(100, b"abc", 500).server(500, ack=120)
    assert wire.end().events == [("data", 0, b"abc"), ("gap", 0, 17)]


def test_sides_are_told_in_causal_order() -> None:
    """An answer that was captured before its question is delivered after it."""
    wire = Wire().open().server(500, b"answer", 108).client(100, b"question", 500).client(108, b"next", 506)
    assert [event[1:] for event in wire.end().events] == [(0, b"question"), (1, b"answer"), (0, b"next")]


def test_answer_to_a_missing_question() -> None:
    """When the question is not in the file at all, its gap comes before the answer."""
    wire = Wire(grace_ns=5 * MS).open().server(500, b"answer", 108)
    wire.now_ns += 10 * MS
    wire.client(108, b"next", 506)
    assert wire.end().events == [("gap", 0, 8), ("data", 1, b"answer"), ("data", 0, b"next")]


def test_start_in_the_middle() -> None:
    """A connection whose beginning is before the capture is followed from the first bytes seen."""
    wire = Wire().client(5000, b"abc", 700).server(700, b"xyz", 5003).client(5003, b"def", 703)
    heard = wire.end()
    assert heard.opener is None
    assert heard.bytes == [b"abcdef", b"xyz"]


def test_start_in_the_middle_out_of_order() -> None:
    """The first segment seen need not be the first of the stream."""
    wire = Wire().client(5003, b"def", 700).client(5000, b"abc", 700).server(700, b"xyz", 5006)
    heard = wire.end()
    assert heard.bytes == [b"abcdef", b"xyz"]
    assert ("gap", 0, 3) not in heard.events


def test_end_comes_after_the_last_byte() -> None:
    """A FIN that came early waits for the bytes before it."""
    wire = Wire().open().client(103, b"def", 500, FIN | ACK).client(100, b"abc", 500)
    wire.server(500, b"ok", 107).server(502, ack=107, flags=FIN | ACK)
    heard = wire.end()
    assert heard.events == [
        ("data", 0, b"abc"),
        ("data", 0, b"def"),
        ("end", 0),
        ("data", 1, b"ok"),
        ("end", 1),
    ]


def test_half_closed_connection_goes_on() -> None:
    """After one side ended, the other may still send."""
    wire = Wire().open().client(100, b"q", 500, FIN | ACK).server(500, b"abc", 102).server(503, b"def", 102)
    assert wire.end().bytes == [b"q", b"abcdef"]


def test_reset_delivers_what_there_is() -> None:
    """What waits when a connection is reset is delivered, then the reset is told."""
    wire = Wire().open().server(503, b"def", 100).client(100, flags=RST)
    assert wire.end().events == [("gap", 1, 3), ("data", 1, b"def"), ("reset", 0)]


def test_ports_used_again() -> None:
    """A SYN with another number on the same ports is a new connection."""
    wire = Wire().open().client(100, b"old", 500).open(client=70_000, server=80_000)
    wire.client(70_001, b"new", 80_001)
    wire.end()
    assert [stream.bytes[0] for stream in wire.streams] == [b"old", b"new"]


def test_ports_used_again_after_a_close() -> None:
    """The same holds after the first connection was closed, and late copies of it are nothing new."""
    wire = Wire().open().client(100, b"old", 500, FIN | ACK).server(500, ack=104, flags=FIN | ACK)
    wire.client(100, b"old", 500).client(104, ack=501).open(client=70_000).client(70_001, b"new", 500)
    wire.end()
    assert [stream.bytes[0] for stream in wire.streams] == [b"old", b"new"]


def test_ports_used_again_with_the_handshake_missing() -> None:
    """Bytes far from a closed connection's own belong to a new one."""
    wire = Wire().open().client(100, b"old", 500).client(103, flags=RST)
    wire.client(900_000_000, b"new", 700_000_000).server(700_000_000, b"ok", 900_000_003)
    wire.end()
    assert [stream.bytes for stream in wire.streams] == [[b"old", b""], [b"new", b"ok"]]


def test_syn_sent_again_opens_nothing() -> None:
    """A repeated handshake is the same connection, also when it is captured after the first bytes."""
    wire = Wire().open().client(100, b"abc", 500).client(99, flags=SYN).server(499, ack=100, flags=SYN | ACK)
    wire.client(103, b"def", 500)
    assert wire.end().bytes[0] == b"abcdef"
    assert len(wire.streams) == 1


def test_data_in_the_syn() -> None:
    """TCP fast open sends bytes with the SYN."""
    wire = Wire().client(99, b"abc", flags=SYN).server(499, ack=103, flags=SYN | ACK).client(103, b"def", 500)
    assert wire.end().bytes[0] == b"abcdef"


def test_keep_alive_probe_is_no_data() -> None:
    """A probe repeats the byte before the next one."""
    wire = Wire().open().client(100, b"abc", 500).client(102, b"\x00", 500).client(103, b"def", 500)
    assert wire.end().bytes[0] == b"abcdef"


def test_connections_are_bounded() -> None:
    """The connections that were silent for longest are let go."""
    wire = Wire(connections=8)
    for port in range(40):
        wire.say(CLIENT[:8] + port.to_bytes(2) + CLIENT[10:], 100, b"x", 500, ACK)
    assert len(wire.reassembler._halves) <= 16
    wire.end()
    assert [stream.bytes[0] for stream in wire.streams] == [b"x"] * 40


@pytest.mark.parametrize("flags", [RST, RST | ACK])
def test_refused_connection_says_nothing(flags: int) -> None:
    """A connection that was refused has no bytes."""
    wire = Wire().client(99, flags=SYN).server(0, ack=100, flags=flags)
    assert [event for event in wire.end().events if event[0] == "data"] == []


@settings(max_examples=150, deadline=None)
@given(
    st.binary(min_size=1, max_size=300),
    st.integers(0, MASK),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_any_order_gives_the_same_bytes(
    data: bytes, isn: int, chance: random.Random, midstream: bool
) -> None:
    """However a stream is cut, reordered, repeated and overlapped, the same bytes come out once."""
    segments = []
    at = 0
    while at < len(data):
        size = chance.randint(1, 40)
        segments.append((at, data[at : at + size]))
        at += size
    for _ in range(chance.randint(0, 5)):
        start = chance.randrange(len(data))
        segments.append((start, data[start : start + chance.randint(1, 60)]))
    chance.shuffle(segments)
    wire = Wire()
    if midstream:
        wire.server(500, ack=isn + 1)
    else:
        wire.open(client=isn)
    for start, piece in segments:
        wire.client(isn + 1 + start, piece, 500)
    wire.server(500, b"ok", isn + 1 + len(data))
    heard = wire.end()
    side = 1 if midstream else 0
    assert heard.bytes[side] == data
    assert heard.bytes[1 - side] == b"ok"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 60), st.integers(0, 31),
                          st.binary(max_size=30)), max_size=40))  # fmt: skip
def test_any_segments_are_taken(segments: list[tuple[bool, int, int, int, bytes]]) -> None:
    """Whatever numbers and flags come, nothing breaks and no memory is kept."""
    wire = Wire(grace_ns=3 * MS)
    for from_client, seq, ack, flags, payload in segments:
        wire.say(CLIENT if from_client else SERVER, seq - 30, payload, ack - 30, flags)
    list(wire.reassembler.finish(wire.now_ns))
    assert wire.memory.used_bytes == 0
