from __future__ import annotations

from array import array

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.importers.timeline import NO_TIME_NS, ExportedStart, Timeline, exact_ns


def test_numbers_follow_the_times() -> None:
    """The earliest exchange is number 0 at offset 0; equal times keep the file's order."""
    timeline = Timeline(array("q", [50, 10, 50, 30]))
    assert timeline.started_wall_ns == 10
    assert timeline.offsets.tolist() == [40, 0, 40, 20]
    assert timeline.seqs.tolist() == [2, 0, 3, 1]
    assert timeline.note == ""


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(st.just(NO_TIME_NS), st.integers(0, 10**18)), max_size=12))
def test_made_up_times_lie_between_their_neighbours(walls: list[int]) -> None:
    """Times are filled in beside the one before, never behind a later one after, and known ones stay."""
    timeline = Timeline(array("q", walls))
    filled = timeline.walls.tolist()
    assert [now for now, wall in zip(filled, walls, strict=True) if wall != NO_TIME_NS] == [
        wall for wall in walls if wall != NO_TIME_NS
    ]
    for place in range(1, len(walls)):
        if walls[place] == NO_TIME_NS:
            assert filled[place - 1] <= filled[place] <= filled[place - 1] + 1_000_000
    assert sorted(timeline.seqs.tolist()) == list(range(len(walls)))
    assert min(timeline.offsets.tolist(), default=0) == 0


def test_note_names_the_exchanges() -> None:
    """The note has ranges of numbers, and not more of them than can be read."""
    assert Timeline(array("q", [0, NO_TIME_NS, NO_TIME_NS, 9 * 10**6])).note == (
        "synthetic offsets: 2 of 4, #1-2"
    )
    walls = [NO_TIME_NS if number % 2 else number * 10**7 for number in range(60)]
    assert Timeline(array("q", walls)).note.endswith("#23 ...")


def test_exported_start_counts_only_when_all_agree() -> None:
    """Offsets count from the start that all exchanges name, if it is not behind the first of them."""
    start = ExportedStart()
    start.add(7)
    start.add(7)
    assert Timeline(array("q", [10]), start.wall_ns).offsets.tolist() == [3]
    start.add(None)
    assert start.wall_ns is None
    assert Timeline(array("q", [10]), 10**6).offsets.tolist() == [0]


def test_floats_are_read_as_they_are_written() -> None:
    """A time of six decimals comes out with exactly these."""
    assert exact_ns(1689599084.056651) == 1_689_599_084_056_651_000
    assert exact_ns(1.5e-9) == 2
    assert exact_ns(7) == 7_000_000_000
