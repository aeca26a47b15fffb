"""Status mixes: exact for small counts, careful with bursts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from replayer.review.behaviour import compare_mix, sheds
from replayer.review.sides import EndpointSample


def _side(*counts):
    return [EndpointSample(outcomes=each) for each in counts]


def test_two_statuses_are_fishers_exact_test():
    """With two statuses and three runs p is that of the one two-by-two table of all runs."""
    mix = compare_mix(_side(*[{"200": 95, "503": 5}] * 3), _side(*[{"200": 80, "503": 20}] * 3))
    assert mix.p == pytest.approx(stats.fisher_exact([[285, 15], [240, 60]]).pvalue)


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


@pytest.mark.parametrize("runs", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("requests", [300, 20_000])
def test_few_runs_of_one_build_with_varying_errors_raise_few_alarms(runs, requests):
    """A share of 503s that is another in each run (beta, mean 3 %) is no change of behaviour."""
    rng = np.random.default_rng(1)

    def run():
        errors = int(rng.binomial(requests, rng.beta(2, 60)))
        return {"200": requests - errors, "503": errors}

    pairs = [[_side(*[run() for _ in range(count)]) for count in runs] for _ in range(200)]
    assert sum(compare_mix(*pair).p <= 0.01 for pair in pairs) <= 10  # Fisher alone: 50 to 180
    assert sum(compare_mix(*pair).p <= 0.5 for pair in pairs) >= 20  # and it is no mere silence


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"200": 300}, {"429": 300}),
        ({"200": 300}, {"200": 255, "503": 45}),
        ({"200": 291, "503": 9}, {"200": 210, "503": 90}),
        ({"200": 270, "503": 30}, {"200": 150, "503": 150}),
        ({"200": 150, "503": 150}, {"200": 270, "503": 30}),
        ({"200": 400_000, "404": 100_000}, {"200": 100_000, "404": 400_000}),
    ],
)
def test_real_changes_are_found_from_single_runs(before, after):
    """A lost route, a burst of errors, ten times as many: no variation between runs explains it."""
    assert compare_mix(_side(before), _side(after)).p < 0.005


def test_a_single_stall_is_less_news_than_errors_all_along():
    """Errors that stand together in time count for less, unless they fill half of the run."""

    def sample(hit):
        hit = np.asarray(hit)
        counts = {"200": int((~hit).sum()), "503": int(hit.sum())}
        return [EndpointSample(outcomes=counts, series=hit.astype(np.uint16))]

    at, calm = np.arange(400), _side({"200": 400})
    together, apart = sample(at < 40), sample(at % 10 == 0)
    assert compare_mix(calm, apart).p < 0.01 < compare_mix(calm, together).p
    assert compare_mix(calm, sample(at >= 200)).p < 0.01


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
