"""Stages: parsed exactly, and inverted so that recorded times are due where they belong."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import UsageError
from captures.units import NS_PER_S
from replayer.stages import Stage, parse_stages, stage_at, staged_due_ns

MULTIPLIERS = st.sampled_from(["1x", "10x", "1.5x", "1/3x", "0.1x"])
TIMES = st.sampled_from(["1s", "250ms", "7s", "2m"])
PARTS = st.one_of(
    st.tuples(MULTIPLIERS, TIMES).map(lambda p: f"{p[0]}:{p[1]}"),
    st.tuples(MULTIPLIERS, MULTIPLIERS, TIMES).map(lambda p: f"ramp {p[0]}-{p[1]}:{p[2]}"),
)


def capture_time(stages: tuple[Stage, ...], run_ns: int) -> Fraction:
    """The recorded time that has gone by at ``run_ns``, by the definition of a stage."""
    stage = stage_at(stages, run_ns)
    inside = min(run_ns, stage.stop_ns) - stage.start_ns
    slope = (stage.last - stage.first) / stage.duration_ns
    return stage.capture_ns + stage.first * inside + slope * inside * inside / 2


def test_stages_follow_one_another() -> None:
    """Each begins in run time and in recorded time where the one before it ends."""
    first, second, ramp = parse_stages("1x:30s, 5x:1m,ramp 10x-20x:1m")
    assert (first.start_ns, first.stop_ns, first.capture_ns) == (0, 30 * NS_PER_S, 0)
    assert (second.start_ns, second.stop_ns, second.capture_ns) == (
        30 * NS_PER_S,
        90 * NS_PER_S,
        30 * NS_PER_S,
    )
    assert (ramp.first, ramp.last, ramp.capture_ns) == (10, 20, 330 * NS_PER_S)
    assert ramp.capture_stop_ns == (330 + 900) * NS_PER_S
    assert [stage.text for stage in (first, second, ramp)] == ["1x", "5x", "ramp 10x-20x"]


@given(st.lists(PARTS, min_size=1, max_size=4), st.lists(st.integers(0, 10**13), min_size=1, max_size=30))
def test_a_due_time_is_when_its_recorded_time_has_gone_by(parts: list[str], elapsed: list[int]) -> None:
    """Due times ascend, lie in the stages, and give the recorded time back to a few ns."""
    stages = parse_stages(",".join(parts))
    recorded = np.array(sorted(elapsed), np.int64)
    due = staged_due_ns(recorded, stages)
    assert len(due) == int((recorded < float(stages[-1].capture_stop_ns)).sum())
    assert bool((np.diff(due) >= 0).all())
    for recorded_ns, due_ns in zip(recorded.tolist(), due.tolist(), strict=False):
        assert 0 <= due_ns < stages[-1].stop_ns
        multiplier = stage_at(stages, due_ns).multiplier_at(due_ns)
        assert abs(capture_time(stages, due_ns) - recorded_ns) <= 4 * max(multiplier, 1) + 2


def test_a_ramp_of_known_shape() -> None:
    """From 0.5x to 1.5x over 10 s, 10 s of the capture go by: half of them after 6.18 s."""
    stages = parse_stages("ramp 0.5x-1.5x:10s")
    due = staged_due_ns(np.array([0, 5 * NS_PER_S], np.int64), stages)
    assert due[0] == 0
    assert abs(int(due[1]) - 6_180_339_887) < 10  # 5 (sqrt(5) - 1)


@pytest.mark.parametrize(
    "text", ["", "1x", "1x:0s", "x:3s", "1x:3s,", "ramp 1x:3s", "1x-2x:3s", "ramp 1x-2x", "1x:3s 2x:3s"]
)
def test_what_is_no_stage_is_refused(text: str) -> None:
    """A stage that is not written as the help says is a usage error with an example."""
    with pytest.raises(UsageError):
        parse_stages(text)


def test_the_last_stage_goes_on() -> None:
    """What is due at or after the end is counted to the last stage."""
    stages = parse_stages("1x:1s,2x:1s")
    assert stage_at(stages, 0) is stages[0]
    assert stage_at(stages, NS_PER_S) is stage_at(stages, 9 * NS_PER_S) is stages[1]
