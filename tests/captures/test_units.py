"""Durations, sizes and exact ratios."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import UsageError
from captures.units import (
    format_duration,
    format_multiplier,
    format_size,
    parse_duration_ns,
    parse_multiplier,
    parse_share,
    parse_size_bytes,
)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250ms", 250_000_000),
        ("1.5s", 1_500_000_000),
        ("10m", 600_000_000_000),
        ("2h", 7_200_000_000_000),
        ("7us", 7000),
    ],
)
def test_durations(text: str, ns: int) -> None:
    """Each unit is known and exact."""
    assert parse_duration_ns(text) == ns


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("64KiB", 65536), ("10MB", 10_000_000), ("1.5 MiB", 1572864)]
)
def test_sizes(text: str, size: int) -> None:
    """Decimal and binary units are told apart."""
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "ratio"),
    [("10x", Fraction(10)), ("1.5x", Fraction(3, 2)), ("1/3x", Fraction(1, 3)), ("0.1", Fraction(1, 10))],
)
def test_multipliers_are_exact(text: str, ratio: Fraction) -> None:
    """A multiplier is a ratio, never a float."""
    assert parse_multiplier(text) == ratio


@given(st.fractions(min_value=Fraction(1, 1000), max_value=1000, max_denominator=1000))
def test_a_written_multiplier_reads_back(ratio: Fraction) -> None:
    """What a run states can be given to --speed."""
    assert parse_multiplier(format_multiplier(ratio)) == ratio


@pytest.mark.parametrize("text", ["", "x", "-1x", "0x", "1/0x", "1e3x", "ten", "1x1"])
def test_bad_multipliers_are_usage_errors(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(UsageError, match="10x"):
        parse_multiplier(text)


@pytest.mark.parametrize(
    ("text", "share"),
    [("5%", 0.05), ("0.05", 0.05), (" 2.5 % ", 0.025), ("100%", 1.0), ("1", 1.0), ("0%", 0.0), ("0", 0.0)],
)
def test_shares_are_percent_or_fraction(text: str, share: float) -> None:
    """Both spellings give the same number."""
    assert parse_share(text) == share


@pytest.mark.parametrize(
    "text", ["", "%", "5", "101%", "-5%", "five", "nan", "inf", "1e-2", "1_0%", "\u0665%"]
)
def test_bad_shares_are_usage_errors(text: str) -> None:
    """The message shows how to write one."""
    with pytest.raises(UsageError, match=r"5% or 0\.05"):
        parse_share(text)


@pytest.mark.parametrize("text", ["5", "5 parsecs", "-1s", "", "1s2"])
def test_bad_durations_are_usage_errors(text: str) -> None:
    """A number without a unit is not guessed at."""
    with pytest.raises(UsageError, match="250ms"):
        parse_duration_ns(text)
    with pytest.raises(UsageError, match="64KiB"):
        parse_size_bytes(text + "?")


@pytest.mark.parametrize(
    ("ns", "text"),
    [(26_300, "26.3 us"), (1_200_000_000, "1.20 s"), (999, "999 ns"), (-5_000_000, "-5.00 ms"), (0, "0 ns")],
)
def test_durations_are_shown_with_three_digits(ns: int, text: str) -> None:
    """People read about three significant digits and a unit."""
    assert format_duration(ns) == text


def test_sizes_are_shown_with_three_digits() -> None:
    """Binary units from KiB on."""
    assert [format_size(n) for n in (10, 1536, 1024**2 * 20, 1024**3)] == [
        "10 B",
        "1.50 KiB",
        "20.0 MiB",
        "1.00 GiB",
    ]
