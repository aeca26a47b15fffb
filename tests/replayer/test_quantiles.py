"""Quantiles: values that were measured, and whether they say something."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayer.quantiles import LEVELS, quantiles


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=300))
def test_a_quantile_is_the_smallest_sample_that_covers_its_share(samples: list[int]) -> None:
    """At least the share q lies at or below it, and less than q below it."""
    found = quantiles(np.array(samples, np.int64))
    for name, level in LEVELS.items():
        value = found.numbers()[name]
        assert value in samples
        assert sum(one <= value for one in samples) >= level * len(samples)
        assert sum(one < value for one in samples) < level * len(samples)
    assert found.max == max(samples)


def test_no_samples_give_zeros() -> None:
    """JSON stays numeric, and nothing of it is sound."""
    found = quantiles(np.empty(0, np.int64))
    assert set(found.numbers().values()) == {0}
    assert not any(found.sound(name) for name in found.numbers())


@pytest.mark.parametrize(
    ("name", "least"), [("p50", 20), ("p90", 100), ("p99", 1000), ("p999", 10_000), ("max", 1)]
)
def test_a_quantile_needs_ten_samples_beyond_it(name: str, least: int) -> None:
    """One sample fewer and it is not sound."""
    assert quantiles(np.zeros(least, np.int64)).sound(name)
    assert not quantiles(np.zeros(least - 1, np.int64)).sound(name)
