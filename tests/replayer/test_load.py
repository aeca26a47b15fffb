"""What is offered: what excludes what, and how it is told."""

from __future__ import annotations

from fractions import Fraction

import pytest

from captures.conditions import parse_condition
from captures.errors import UsageError
from captures.units import NS_PER_S
from replayer.load import Arrivals, Load, parse_rate
from replayer.stages import parse_stages


@pytest.mark.parametrize(
    ("load", "speed", "text"),
    [
        (Load(), "1x", "the recorded pace"),
        (Load(multiplier=Fraction(3, 2)), "3/2x", "time compressed 3/2x"),
        (Load(copies=3), "1x", "the recorded pace, 3 copies started over 1s"),
        (Load(rate=Fraction(500)), "500/s", "the recorded mix at 500/s (Poisson arrivals, seed 1)"),
        (
            Load(rate=Fraction(1, 2), arrivals=Arrivals.EVEN, duration_ns=90 * NS_PER_S),
            "0.5/s",
            "the recorded mix at 0.5/s (evenly), for 90s",
        ),
        (
            Load(stages=parse_stages("1x:30s,ramp 10x-20x:1m")),
            "1x:30s,ramp 10x-20x:1m",
            "stages of time compression 1x:30s,ramp 10x-20x:1m",
        ),
        (
            Load(from_ns=NS_PER_S, loops=2, match=(parse_condition("method=GET"),)),
            "1x",
            "the recorded pace, 2 times through the capture, from 1s to the end, only method=GET",
        ),
    ],
)
def test_a_load_says_what_it_is(load: Load, speed: str, text: str) -> None:
    """Speed, copies and rate are told apart in words."""
    assert (load.speed, load.text) == (speed, text)


@pytest.mark.parametrize(
    "asked",
    [
        {"multiplier": Fraction(2), "rate": Fraction(5)},
        {"stages": parse_stages("1x:1s"), "rate": Fraction(5)},
        {"stages": parse_stages("1x:1s"), "multiplier": Fraction(2)},
        {"rate": Fraction(5), "copies": 2},
        {"stages": parse_stages("1x:1s"), "duration_ns": 5},
        {"copies": 0},
        {"from_ns": 5, "to_ns": 5},
    ],
)
def test_what_contradicts_itself_is_refused(asked: dict[str, object]) -> None:
    """Two options that say different things about the same are a usage error."""
    with pytest.raises(UsageError):
        Load(**asked)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("500/s", Fraction(500)), ("30/m", Fraction(1, 2)), ("7200/h", 2), ("2.5", Fraction(5, 2))],
)
def test_rates_are_exact(text: str, rate: Fraction) -> None:
    """A rate is a ratio of whole numbers, whatever its unit."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0/s", "-1/s", "5/day", "x/s", "1e30/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """A rate is a number above 0 and a unit."""
    with pytest.raises(UsageError):
        parse_rate(text)
