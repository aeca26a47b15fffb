"""Status mixes: exact for small counts, careful with bursts."""

from __future__ import annotations

import pytest
from scipy import stats

from replayer.review.behaviour import compare_mix, sheds
from replayer.review.sides import EndpointSample


def _side(*counts):
    return [EndpointSample(outcomes=each) for each in counts]


def test_two_statuses_are_fishers_exact_test():
    """With two statuses p is that of the one two-by-two table."""
    mix = compare_mix(_side({"200": 95, "503": 5}), _side({"200": 80, "503": 20}))
    assert mix.p == pytest.approx(stats.fisher_exact([[95, 5], [80, 20]]).pvalue)


def test_three_answers_against_three_prove_nothing():
    """Wholly different statuses of three requests each are not significant."""
    assert compare_mix(_side({"200": 3}), _side({"500": 3})).p >= 0.1


def test_the_changed_status_is_named():
    """Statuses that kept their share are not among the changed ones."""
    mix = compare_mix(_side({"200": 500, "404": 100, "503": 0}), _side({"200": 440, "404": 100, "503": 60}))
    assert "503" in mix.changed(0.01)
    assert "404" not in mix.changed(0.01)


def test_equal_mixes_have_p_one():
    """Nothing to see gives p 1, also with a single status or none at all."""
    assert compare_mix(_side({"200": 10}), _side({"200": 99})).p == 1
    assert compare_mix(_side({}), _side({})).p == 1


def test_a_burst_in_one_run_of_three_is_not_a_change_of_all():
    """Statuses that vary between runs of one side are measured against that variation."""
    calm = {"200": 300}
    burst = compare_mix(_side(calm, calm, calm), _side(calm, {"200": 240, "503": 60}, calm))
    steady = compare_mix(_side(calm, calm, calm), _side(*[{"200": 280, "503": 20}] * 3))
    assert burst.p > 0.01 > steady.p
    assert burst.dispersion > 3
    assert steady.dispersion == 1


def test_dropped_requests_count_like_statuses():
    """Exchanges that were not sent or failed are part of the mix."""
    mix = compare_mix(_side({"200": 300}), _side({"200": 270, "dropped": 20, "timeout": 10}))
    assert mix.p < 0.01
    assert {"dropped", "200"} <= set(mix.changed(0.01))


def test_shedding_is_seen_below_significance():
    """A candidate that gives fewer like answers sheds, one that gives more does not."""
    mix = compare_mix(_side({"200": 100}), _side({"200": 97, "429": 3}))
    assert mix.p > 0.05
    assert sheds(mix, 2)
    assert not sheds(compare_mix(_side({"200": 97, "429": 3}), _side({"200": 100})), 2)
    assert not sheds(compare_mix(_side({}), _side({})), 2)
