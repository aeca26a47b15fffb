"""Tests between runs are SciPy's, and their checks know their own limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from replayer.review.runlevel import paired, welch


def _sides(runs=6, shift=0.0, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(15, 0.03, runs), rng.normal(15 + shift, 0.05, runs)


def test_welch_is_scipys():
    """Unpaired p values and intervals are those of SciPy's Welch test."""
    baseline, candidate = _sides(shift=0.04)
    effect = welch(baseline, candidate, seed=1)
    expected = stats.ttest_ind(candidate, baseline, equal_var=False)
    assert effect.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert effect.interval(0.95) == pytest.approx((interval.low, interval.high))


def test_paired_is_scipys():
    """Paired p values are those of SciPy's paired test."""
    baseline, candidate = _sides(shift=0.04)
    assert paired(baseline, candidate, seed=1).p == pytest.approx(stats.ttest_rel(candidate, baseline).pvalue)


@pytest.mark.parametrize("test", [welch, paired])
def test_runs_that_do_not_vary_cannot_be_tested(test):
    """No variation gives no test instead of a p of zero."""
    assert test(np.full(4, 15.0), np.full(4, 15.2), seed=1) is None


def test_permutation_of_three_against_three_knows_its_floor():
    """Complete separation of 3 and 3 runs is as clear as permutation can be, so not fragile."""
    effect = welch(np.array([15.0, 15.01, 15.02]), np.array([15.5, 15.51, 15.52]), seed=1)
    assert effect.permutation_p == pytest.approx(0.1) == effect.permutation_floor
    assert not effect.fragile


def test_an_outlier_that_the_tests_disagree_about_is_fragile():
    """Where t and permutation give different answers the effect is labelled, not changed."""
    baseline = np.array([15.00, 15.01, 15.02, 15.00, 15.01, 15.02])
    candidate = np.array([15.03, 15.03, 15.04, 15.03, 15.04, 19.0])
    effect = welch(baseline, candidate, seed=1)
    assert effect.p > 0.05 > effect.permutation_p
    assert effect.fragile


def test_many_runs_are_permuted_at_random_and_repeatably():
    """Beyond the exact limit the permutation is sampled with a seed."""
    for test in (welch, paired):
        baseline, candidate = _sides(runs=16, shift=0.2)
        first, second = test(baseline, candidate, seed=4), test(baseline, candidate, seed=4)
        assert first == second
        assert first.permutation_p <= 0.001


def test_more_runs_detect_smaller_changes():
    """The detectable change falls with the number of runs and rises with strictness."""
    few, many = (welch(*_sides(runs=runs), seed=1) for runs in (4, 16))
    assert many.detectable(0.05, 0.0) < few.detectable(0.05, 0.0)
    assert many.detectable(0.001, 0.0) > many.detectable(0.05, 0.0)
