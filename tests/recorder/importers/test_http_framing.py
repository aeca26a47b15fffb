from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.http1 import MAX_HEAD_BYTES, Http1Error
from captures.model import Headers
from recorder.importers.http_framing import (
    CHUNKED,
    REQUEST_START,
    RESPONSE_SO_FAR,
    RESPONSE_START,
    UNTIL_CLOSE,
    Framer,
    Lost,
    declared_length,
)
from recorder.importers.tcp_half import Memory


class Noted(Framer):
    """Notes what it is told."""

    begins = RESPONSE_START
    so_far = RESPONSE_SO_FAR

    def __init__(self, *, synced: bool = True) -> None:
        super().__init__(Memory(1 << 20), synced=synced)
        self.events: list[tuple] = []
        self.times: list[tuple[int, int]] = []
        self.positions: list[tuple[int, int]] = []

    def on_head(self, first_line: bytes, headers: Headers) -> int:
        self.events.append(("head", first_line, headers))
        length = declared_length(headers)
        return UNTIL_CLOSE if length is None else length

    def on_body(self, piece: bytes) -> None:
        if self.events[-1][0] == "body":
            piece = self.events.pop()[1] + piece
        self.events.append(("body", piece))

    def on_missed(self, missing_bytes: int) -> None:
        self.events.append(("missed", missing_bytes))

    def on_end(self, trailers: Headers) -> None:
        self.events.append(("end", trailers))
        self.times.append((self.head_ns, self.now_ns))
        self.positions.append((self.head_position, self.end_position))

    def on_lost(self, missing_bytes: int, lost: Lost) -> None:
        self.events.append(("lost", missing_bytes, lost))

    def on_handed(self, rest: bytes, position: int, peer_position: int) -> None:
        self.events.append(("handed", rest))

    def on_odd_header(self) -> None:
        self.events.append(("odd",))


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b \r\n\r\nhello"
CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0a;x\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n"
)
BARE = b"HTTP/1.1 201 Made\nContent-Length: 2\n\nok"
STREAM = LENGTH + CHUNKS + BARE + b"\r\n" + LENGTH
WHOLE = [
    ("head", b"HTTP/1.1 200 OK", ((b"Content-Length", b"5"), (b"X-A", b"b"))),
    ("body", b"hello"),
    ("end", ()),
    ("head", b"HTTP/1.1 200 OK", ((b"Transfer-Encoding", b"chunked"),)),
    ("body", b"abc0123456789"),
    ("end", ((b"X-T", b"1"),)),
    ("head", b"HTTP/1.1 201 Made", ((b"Content-Length", b"2"),)),
    ("body", b"ok"),
    ("end", ()),
]
WHOLE += WHOLE[:3]


def feed(framer: Noted, *pieces: bytes, start: int = 0) -> Noted:
    for time_ns, piece in enumerate(pieces):
        framer.feed(piece, time_ns, start, 0)
        start += len(piece)
    return framer


def test_whole_messages() -> None:
    """Lengths, chunks with trailers and bare line feeds are understood in one piece."""
    assert feed(Noted(), STREAM).events == WHOLE


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_cut_anywhere(cuts: list[int]) -> None:
    """How the bytes are cut makes no difference to what the messages are and where they stand."""
    edges = [0, *sorted(cuts), len(STREAM)]
    framer = Noted()
    for time_ns, (start, end) in enumerate(pairwise(edges)):
        if start < end:
            framer.feed(STREAM[start:end], time_ns, start, 0)
    assert framer.events == WHOLE
    assert framer.positions == feed(Noted(), STREAM).positions


def test_byte_by_byte() -> None:
    """One byte at a time, each message has the times and places of its first and its last byte."""
    framer = feed(Noted(), *(STREAM[at : at + 1] for at in range(len(STREAM))), start=-10)
    assert framer.events == WHOLE
    second = len(LENGTH)
    assert framer.times[:2] == [(0, second - 1), (second, second + len(CHUNKS) - 1)]
    assert framer.positions[1] == (second - 10, second + len(CHUNKS) - 10)


def test_until_the_end() -> None:
    """A body without a length ends with the stream."""
    framer = feed(Noted(), b"HTTP/1.0 200 OK\r\n\r\nsome", b"thing")
    framer.close()
    assert framer.events[1:] == [("body", b"something"), ("end", ())]
    assert framer.cut_bytes == 0


@pytest.mark.parametrize("size", range(1, len(LENGTH)))
def test_stream_that_ends_in_a_message(size: int) -> None:
    """A message that is cut by the end of the stream says how many body bytes are missing, 1 at least."""
    framer = feed(Noted(), LENGTH[:size])
    framer.close()
    assert framer.cut_bytes == (len(LENGTH) - size if size >= len(LENGTH) - 5 else 1)


def test_gap_inside_a_body() -> None:
    """Inside a body or a chunk of known length a gap keeps the place."""
    framer = feed(Noted(), LENGTH[:-4])
    framer.gap(1, 3)
    in_chunk = CHUNKS.index(b"0123456789") + 1
    framer.feed(b"o" + CHUNKS[:in_chunk], 2, 0, 0)
    framer.gap(3, 4)
    framer.feed(CHUNKS[in_chunk + 4 :], 4, 0, 0)
    assert [event for event in framer.events if event[0] != "head"] == [
        ("body", b"h"),
        ("missed", 3),
        ("body", b"o"),
        ("end", ()),
        ("body", b"abc0"),
        ("missed", 4),
        ("body", b"56789"),
        ("end", ((b"X-T", b"1"),)),
    ]


def test_gap_that_ends_a_body() -> None:
    """A gap that covers exactly the rest of a body ends the message."""
    framer = feed(Noted(), LENGTH[:-2])
    framer.gap(7, 2)
    framer.feed(LENGTH, 8, 0, 0)
    assert [event[0] for event in framer.events] == ["head", "body", "missed", "end", "head", "body", "end"]


def test_gap_beyond_a_body() -> None:
    """A gap that is longer than the rest of a body ends the message where it must end."""
    framer = feed(Noted(), LENGTH[:-2])
    framer.gap(7, 50)
    assert framer.events[2:] == [("missed", 2), ("end", ()), ("lost", 48, Lost.BEFORE_HEAD)]
    assert framer.positions == [(0, len(LENGTH))]


@pytest.mark.parametrize(
    ("before", "lost"),
    [
        (b"", Lost.BEFORE_HEAD),
        (LENGTH, Lost.BEFORE_HEAD),
        (LENGTH[:20], Lost.IN_HEAD),
        (CHUNKS[:60], Lost.IN_BODY),
        (CHUNKS[:-4], Lost.IN_BODY),
    ],
)
def test_gap_that_loses_the_framing(before: bytes, lost: Lost) -> None:
    """After any other gap the next message is found at the start of a piece, and only there."""
    framer = feed(Noted(), before) if before else Noted()
    framer.gap(1, 100)
    assert framer.events[-1] == ("lost", 100, lost)
    framer.feed(b"rest of something " + LENGTH, 2, 0, 0)
    framer.gap(3, 5)
    assert framer.events[-1] == ("lost", 5, Lost.STILL)
    framer.feed(LENGTH, 4, 0, 0)
    assert framer.events[-3:] == WHOLE[:3]


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 20_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEAD_BYTES + b"y" * 100,
    ],
)
def test_what_is_no_http(data: bytes) -> None:
    """What is not HTTP, or has no end, loses the framing without anything missing."""
    framer = feed(Noted(), data)
    assert framer.events[-1][:2] == ("lost", 0)
    assert (framer.events[-1][2] is Lost.NO_HTTP) is data.startswith(b"SSH")
    assert framer.lost
    framer.feed(LENGTH, 9, 0, 0)
    assert framer.events[-3:] == WHOLE[:3]


def test_heads_are_held_in_bounds() -> None:
    """When all connections together hold too much, a head that has no end is given up."""
    framer = feed(Noted(), b"HTTP/1.1 200 OK\r\nX: ")
    framer._memory.limit_bytes = 1000
    framer.feed(b"y" * 2000, 1, 0, 0)
    assert framer.events == [("lost", 0, Lost.IN_HEAD)]
    assert framer._memory.used_bytes == 0


def test_headers_that_are_none() -> None:
    """A line that is no header is left out, folded lines stay with theirs, all others are kept."""
    head = b"HTTP/1.1 204 No\r\nA: 1\r\nwhat is this\r\nB:\r\n C D\r\nA:2\r\nContent-Length:0\r\n\r\n"
    events = feed(Noted(), head).events
    assert events[0] == ("odd",)
    assert events[1][2] == ((b"A", b"1"), (b"B", b" C D"), (b"A", b"2"), (b"Content-Length", b"0"))


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        (((b"Host", b"a"),), None),
        (((b"CONTENT-length", b"7"),), 7),
        (((b"Content-Length", b"7, 7"), (b"Content-Length", b"7")), 7),
        (((b"Content-Length", b"7"), (b"Transfer-Encoding", b"gzip, Chunked")), CHUNKED),
        (((b"Transfer-Encoding", b"gzip"),), UNTIL_CLOSE),
        (((b"Transfer-Encoding", b"identity"), (b"Content-Length", b"3")), 3),
    ],
)
def test_declared_length(headers: Headers, length: int | None) -> None:
    """Chunks win over a length, and equal lengths are one."""
    assert declared_length(headers) == length


def test_lengths_that_differ() -> None:
    """Two different lengths are an error."""
    with pytest.raises(Http1Error):
        declared_length(((b"Content-Length", b"7"), (b"Content-Length", b"8")))


@pytest.mark.parametrize(
    ("piece", "begins"),
    [
        (b"GET / HTTP/1.1", True),
        (b"OPTIONS * HTTP/1.1", True),
        (b"POST http://a/b HTTP/1.1", True),
        (b"CONNECT a.test:443 HTTP/1.1", True),
        (b"OST / HTTP/1.1", False),
        (b"GET it while you can", False),
        (b"words and words", False),
    ],
)
def test_start_of_a_request(piece: bytes, begins: bool) -> None:
    """In the middle of a stream a request begins with a known method and what may be a target."""
    assert bool(REQUEST_START.match(piece)) is begins


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([LENGTH, CHUNKS, BARE, b"\r\n", b"0\r\n"])))
)
def test_any_bytes(pieces: list[bytes]) -> None:
    """No bytes break it, and it is never left with bytes that it cannot use."""
    framer = Noted()
    for time_ns, piece in enumerate(pieces):
        framer.feed(piece, time_ns, 0, 0)
    framer.close()
    assert not framer._held
    assert framer._memory.used_bytes == 0
