"""Quantile estimates agree with SciPy's and with what resampling by hand shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mstats

from replayer.review.quantile_estimates import (
    autocorrelation_time,
    block_length,
    harrell_davis,
    seed_of,
    within_run,
)


@pytest.mark.parametrize("count", [20, 137, 5_000])
@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_harrell_davis_is_scipys(count, quantile):
    """The windowed weights give what SciPy gives from all of them."""
    values = np.random.default_rng(count).lognormal(size=count)
    expected = float(mstats.hdquantiles(values, [quantile])[0])
    assert harrell_davis(np.sort(values), quantile) == pytest.approx(expected, rel=1e-9)


@given(
    st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=80),
    st.sampled_from([0.5, 0.95, 0.99]),
)
def test_harrell_davis_stays_within_the_values(values, quantile):
    """An estimate is never outside the values, and never falls as the quantile rises."""
    ordered = np.sort(np.array(values))
    estimate = harrell_davis(ordered, quantile)
    assert ordered[0] * (1 - 1e-9) <= estimate <= ordered[-1] * (1 + 1e-9)
    assert harrell_davis(ordered, 0.4) <= estimate * (1 + 1e-9)


@pytest.mark.parametrize("count", [150, 20_000])
def test_the_bootstrap_of_independent_times_is_the_textbook_variance(count):
    """Without autocorrelation the sd of the log median is the asymptotic one."""
    times = np.random.default_rng(3).lognormal(10, 0.4, size=count)
    result = within_run(times, (0.5,), seed=1)
    expected = 0.4 * np.sqrt(np.pi / 2 / count)
    assert np.sqrt(result.variances[0]) == pytest.approx(expected, rel=0.35)
    assert not result.drifting


def test_times_that_remember_vary_more():
    """Blocks carry the memory of an AR(1) into the bootstrap, which single requests would not."""
    rng = np.random.default_rng(5)
    noise = rng.normal(size=4_000)
    series = np.empty_like(noise)
    series[0] = noise[0]
    for at in range(1, len(noise)):
        series[at] = 0.95 * series[at - 1] + noise[at]
    times = np.exp(10 + series / series.std() * 0.4)
    shuffled = rng.permutation(times)
    assert autocorrelation_time(np.log(times)) > 10
    assert autocorrelation_time(np.log(shuffled)) < 3
    together = within_run(times, (0.5,), seed=1).variances[0]
    alone = within_run(shuffled, (0.5,), seed=1).variances[0]
    assert together > 5 * alone


def test_a_trend_over_the_whole_run_is_called_drifting():
    """A block cannot be longer than the memory when the memory is the run."""
    length, drifting = block_length(np.linspace(0, 1, 500))
    assert drifting
    assert length <= 50


def test_the_bootstrap_repeats_itself():
    """The same times and seed give the same variances to the last bit."""
    times = np.random.default_rng(3).lognormal(10, 0.4, size=700)
    assert within_run(times, (0.5, 0.95), seed=9) == within_run(times, (0.5, 0.95), seed=9)
    assert seed_of("a", "b") == seed_of("a", "b") != seed_of("ab")
