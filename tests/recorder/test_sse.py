from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from recorder.sse import EventSplitter, SseEvent


def split(stream: bytes, cuts: list[int], limit_bytes: int = 1000) -> list[SseEvent]:
    splitter = EventSplitter(limit_bytes)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    events = []
    for start, end in pairwise(edges):
        events += splitter.feed(stream[start:end])
    rest = splitter.rest()
    return events if rest is None else [*events, rest]


def test_each_event_comes_with_its_blank_line():
    """Events are cut after their blank line, whichever line end the server uses."""
    for end in (b"\n", b"\r\n", b"\r"):
        first = b"event: a" + end + b"data: 1" + end + end
        second = b"data: 2" + end + end
        assert [event.payload for event in split(first + second, [])] == [first, second]


def test_an_event_is_given_as_soon_as_its_blank_line_came():
    """A client that waits for events does not make the recorder wait for more of them."""
    splitter = EventSplitter(1000)
    assert splitter.feed(b"data: 1\n") == []
    assert splitter.feed(b"\n") == [SseEvent(payload=b"data: 1\n\n")]


@given(
    stream=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"data: x", b":", b"y"])).map(b"".join),
    cuts=st.lists(st.integers(0, 200)),
)
def test_cutting_the_stream_anywhere_changes_nothing(stream: bytes, cuts: list[int]):
    """The same events come however the bytes arrive, and joined they are the stream."""
    whole = split(stream, [])
    assert split(stream, cuts) == whole
    assert b"".join(event.payload for event in whole) == stream


@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 400)),
    limit_bytes=st.integers(1, 40),
)
def test_a_large_event_is_cut_and_its_bytes_are_counted(sizes: list[int], cuts: list[int], limit_bytes: int):
    """An event above the limit keeps its beginning and says how much is missing."""
    events = [b"x" * size + b"\n\n" for size in sizes]
    # An "x" before each blank line keeps neighbours from making blank lines together.
    events = [b"d" + event for event in events]
    got = split(b"".join(events), cuts, limit_bytes)
    assert [event.payload for event in got] == [event[:limit_bytes] for event in events]
    assert [event.truncated_bytes for event in got] == [max(0, len(event) - limit_bytes) for event in events]


def test_memory_is_bounded_by_the_limit():
    """A stream that never ends an event does not fill the memory."""
    splitter = EventSplitter(1000)
    for _ in range(100):
        splitter.feed(b"x" * 10_000)
    assert len(splitter._buffer) <= 1004
