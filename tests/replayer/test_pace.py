"""Due times: exact, ordered, and refused where they do not fit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from captures.errors import UsageError
from captures.units import parse_multiplier
from replayer.pace import due_times_ns, scale_ns

OFFSETS = st.lists(st.integers(0, 10**15), max_size=20).map(sorted)
RATIOS = st.one_of(
    st.builds(Fraction, st.integers(1, 1000), st.integers(1, 1000)),
    st.builds(Fraction, st.integers(1, 10**18), st.integers(1, 10**3)),
    st.sampled_from(["10x", "1.5x", "1/3x", "0.000000001x", "999999999.999999999/7x"]).map(parse_multiplier),
)


@given(OFFSETS, RATIOS)
def test_due_times_equal_exact_fractions(offsets: list[int], ratio: Fraction) -> None:
    """Every due time is the whole part of the exact quotient, and order is kept."""
    first = offsets[0] if offsets else 0
    assume(not offsets or scale_ns(offsets[-1] - first, ratio) < 2**63)
    due = due_times_ns(np.array(offsets, np.int64), first, ratio).tolist()
    assert due == [(offset - first) * ratio.denominator // ratio.numerator for offset in offsets]
    assert due == sorted(due)
    assert due == [scale_ns(offset - first, ratio) for offset in offsets]


def test_large_offsets_lose_no_nanosecond() -> None:
    """Offsets beyond what a double holds exactly stay exact."""
    offsets = np.array([0, 2**60 + 1, 2**62 + 3], np.int64)
    assert due_times_ns(offsets, 0, Fraction(1)).tolist() == offsets.tolist()
    assert due_times_ns(offsets, 0, Fraction(3, 2)).tolist() == [0, (2**61 + 2) // 3, (2**63 + 6) // 3]


def test_centuries_are_refused() -> None:
    """A due time beyond 64 bits is a wrong speed, not an overflow."""
    with pytest.raises(UsageError, match="larger multiplier"):
        due_times_ns(np.array([0, 2**62], np.int64), 0, Fraction(1, 1000))
