"""Events of an SSE stream by their ends."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from captures.units import MIB
from replayer.sse import EventCutter

STREAM = b"data: one\n\n: two\r\n\r\ndata: three\rdata: more\r\rdata: open"
EVENTS = [b"data: one\n\n", b": two\r\n\r\n", b"data: three\rdata: more\r\r"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_events_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    """Each event is told once, with its size and its beginning."""
    cutter, bounds = EventCutter(), [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:stop] for start, stop in pairwise(bounds)]
    told = [event for piece in pieces for event in cutter.feed(piece, 8)]
    assert told == [(len(event), event[:8]) for event in EVENTS]


def test_an_endless_event_is_not_held() -> None:
    """What is too long to hold is counted, and its end is found all the same."""
    cutter = EventCutter()
    assert not list(cutter.feed(b"x" * (2 * MIB) + b"\n", 8))
    ((size_bytes, _),) = cutter.feed(b"\n", 8)
    assert size_bytes == 2 * MIB + 2
