"""Steps of time, and traffic counted in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.units import NS_PER_MS, NS_PER_S
from hookreel.timeline import (
    FINE_STEPS,
    MessageSteps,
    Traffic,
    fine_step_ns,
    format_span,
    nice_step_ns,
    round_up,
)

DAY_NS = 86_400 * NS_PER_S
SPANS = st.integers(0, 4000 * DAY_NS)


def traffic(
    offsets_ns: list[int],
    *,
    status: list[int] | None = None,
    service_ns: list[int] | None = None,
    span_ns: int | None = None,
) -> Traffic:
    first_ns = offsets_ns[0] if offsets_ns else 0
    span_ns = (offsets_ns[-1] - first_ns if offsets_ns else 0) if span_ns is None else span_ns
    return Traffic(
        span_ns=span_ns,
        offset_ns=np.array(offsets_ns, np.int64),
        status=np.array(status or [200] * len(offsets_ns), np.uint16),
        service_ns=np.array(service_ns or [NS_PER_MS] * len(offsets_ns), np.int64),
        messages=MessageSteps(first_ns=first_ns, span_ns=span_ns),
    )


@given(SPANS, st.integers(1, 200))
def test_steps_cover_the_span_in_few_enough_columns(span_ns: int, columns: int) -> None:
    """Whatever the span, no column is missing; the fine steps divide the coarse ones."""
    fine_ns = fine_step_ns(span_ns)
    assert span_ns // fine_ns < FINE_STEPS
    step_ns = nice_step_ns(span_ns, columns, multiple_of_ns=fine_ns)
    assert step_ns * columns > span_ns
    assert step_ns % fine_ns == 0


@given(st.integers(1000, 400 * DAY_NS))
def test_steps_are_not_much_too_coarse(span_ns: int) -> None:
    """At least a third of the columns that are there are used."""
    step_ns = nice_step_ns(span_ns, 90, multiple_of_ns=fine_step_ns(span_ns))
    assert span_ns // step_ns + 1 >= 30


@given(st.lists(st.tuples(st.integers(0, 10**11), st.sampled_from([200, 404, 500, 0])), max_size=60))
def test_nothing_is_lost_in_the_steps(rows: list[tuple[int, int]]) -> None:
    """Exchanges, refused and failed ones add up whatever the columns."""
    rows.sort()
    made = traffic([offset for offset, _ in rows], status=[status for _, status in rows])
    for columns in (1, 7, 69, 160):
        timeline = made.timeline(columns)
        assert len(timeline.exchanges) <= columns
        assert timeline.exchanges.sum() == len(rows)
        assert timeline.refused.sum() == sum(status == 404 for _, status in rows)
        assert timeline.failed.sum() == sum(status in {0, 500} for _, status in rows)


@given(st.lists(st.integers(0, 10**10), max_size=60))
def test_messages_are_counted_in_every_resolution(offsets_ns: list[int]) -> None:
    """Fine steps add up to coarse ones, and messages outside of the span go to its ends."""
    made = traffic([0, 5 * 10**9])
    made.messages.add(offsets_ns)
    for columns in (1, 40, 160):
        assert made.timeline(columns).messages.sum() == len(offsets_ns)


def test_quantiles_are_those_of_each_step() -> None:
    """A step without a whole response has none."""
    offsets_ns = [0, 1, 2, 3 * NS_PER_S, 9 * NS_PER_S]
    timeline = traffic(offsets_ns, service_ns=[10, 20, 30, -1, 70]).timeline(10)
    assert timeline.step_ns == NS_PER_S
    assert timeline.exchanges.tolist() == [3, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    assert timeline.p50_ns[[0, 9]].tolist() == [20, 70]
    assert np.isnan(timeline.p50_ns[1:9]).all()
    assert timeline.p99_ns[0] == pytest.approx(29.8)
    said = timeline.as_json()
    assert said["p50_ns"][0] == 20
    assert said["p50_ns"][3] is None
    assert said["exchanges"] == [3, 0, 0, 1, 0, 0, 0, 0, 0, 1]


def test_an_empty_capture_has_an_empty_timeline() -> None:
    """Nothing recorded: one step with nothing in it."""
    timeline = traffic([]).timeline(80)
    assert timeline.exchanges.tolist() == [0]
    assert timeline.a_second(timeline.exchanges).tolist() == [0]


@pytest.mark.parametrize(
    ("span_ns", "said"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_500, "1.5 us"),
        (250 * NS_PER_MS, "250 ms"),
        (90 * NS_PER_S, "90 s"),
        (1_234_567_890, "1.235 s"),
        (3_600 * NS_PER_S, "1 h"),
        (7_500 * NS_PER_S, "2 h 5 min"),
        (750 * NS_PER_S, "12 min 30 s"),
        (2 * DAY_NS - 1, "2 d"),
        (3 * DAY_NS + 4 * 3_600 * NS_PER_S, "3 d 4 h"),
    ],
)
def test_spans_read_as_people_say_them(span_ns: int, said: str) -> None:
    """Two units at most, and no trailing zeros."""
    assert format_span(span_ns) == said


@pytest.mark.parametrize(
    ("value", "top"), [(1, 1), (0.3, 0.3), (1.1, 1.2), (2.2, 2.5), (9.9, 10), (101, 120), (1e-9, 1e-9)]
)
def test_axes_end_with_round_numbers(value: float, top: float) -> None:
    """Not below the value, and not far above it."""
    assert round_up(value) == pytest.approx(top)
