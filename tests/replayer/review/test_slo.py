"""Objectives: what is proven, what is missed, and what more requests would show."""

from __future__ import annotations

import json
import re
from html import unescape

import numpy as np
import pytest
from scipy import stats

from captures.errors import UsageError
from replayer.review.compare import compare
from replayer.review.report.material import Material
from replayer.review.report.writers import WRITERS
from replayer.review.sides import NamedRun
from replayer.review.slo import Proof, bounds, judge_objectives, parse_objectives, requests_needed
from replayer.review.verdict import Options


def _run(campaign, requests, *, errors=0, late=0, number=0):
    status, times_ns = np.full(requests, 200), np.full(requests, 20e6)
    times_ns += np.arange(requests) % 7 * 1e5
    status[:errors] = 503
    times_ns[errors : errors + late] = 2e9
    return campaign.make_run(
        ("GET /a",),
        np.zeros(requests),
        np.linspace(0, 60e9, requests),
        times_ns,
        status,
        run_id=f"{number:032x}",
        started_s=number * 100,
    )


def test_objectives_are_read_as_people_write_them():
    """A quantile and a time, or errors and a share; spaces do not matter."""
    slow, errors = parse_objectives("p99 < 1s, errors<=0.1%")
    assert (slow.allowed, slow.limit_ns) == (0.01, 10**9)
    assert (errors.allowed, errors.limit_ns) == (0.001, None)
    assert parse_objectives("p99.9<250ms")[0].allowed == 0.001


@pytest.mark.parametrize(
    "text", ["", "p99", "p0<1s", "p100<1s", "errors<0%", "errors<100%", "p99<0s", "p99<1s,"]
)
def test_what_is_no_objective_is_refused(text):
    """An objective that nothing can prove is a mistake, too."""
    with pytest.raises(UsageError):
        parse_objectives(text)


def test_the_bounds_are_clopper_and_pearsons():
    """SciPy's own exact interval of a binomial share says the same."""
    for bad, requests in ((0, 100), (3, 1_000), (100, 100), (57, 4_321)):
        interval = stats.binomtest(bad, requests).proportion_ci(0.90, method="exact")
        assert bounds(bad, requests) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(("bad", "requests"), [(0, 2_995), (1, 4_742), (2, 6_294), (5, 10_511), (10, 16_959)])
def test_so_many_requests_prove_three_nines(bad, requests):
    """The known sample sizes for 99.9 % at 95 % confidence: one fewer proves nothing."""
    assert bounds(bad, requests)[1] <= 0.001 < bounds(bad, requests - 1)[1]


def test_the_number_that_is_needed_is_the_fewest():
    """Without a bad one it is 2,995 for three nines; at a share above the limit no number is enough."""
    assert requests_needed(0, 500, 0.001) == 2_995
    assert requests_needed(1, 1_000, 0.001) is None


def test_objectives_count_errors_and_late_answers_of_all_runs(campaign):
    """Errors are bad for a time objective as well, and runs are taken together."""
    runs = [_run(campaign, 3_000, errors=1, late=4), _run(campaign, 3_000, errors=0, late=5, number=1)]
    errors, slow, tight = judge_objectives(runs, parse_objectives("errors<0.1%,p99<1s,p99.9<1s"))
    assert (errors.bad, errors.requests, errors.proof) == (1, 6_000, Proof.MET)
    assert (slow.bad, slow.proof) == (10, Proof.MET)
    assert (tight.bad, tight.proof) == (10, Proof.NOT_PROVEN)
    assert tight.needed is None
    late = judge_objectives([_run(campaign, 3_000, late=12)], parse_objectives("p99.9<1s"))[0]
    assert late.proof is Proof.MISSED


def test_a_missed_objective_decides_the_exit_code(campaign):
    """Identical runs that both miss it: the answer is no, although nothing got slower."""
    sides = [
        [
            NamedRun(name=f"{side}{at}", run=_run(campaign, 900 + at, errors=100, number=side * 10 + at))
            for at in range(3)
        ]
        for side in range(2)
    ]
    missed = compare(*sides, Options(objectives=parse_objectives("errors<1%")))
    assert missed.verdict.exit_code == 0
    assert missed.exit_code() == 3
    met = compare(*sides, Options(objectives=parse_objectives("errors<50%")))
    assert met.exit_code() == 0


def test_every_format_says_what_became_of_an_objective(campaign):
    """The sentence stands in text, Markdown and page; the figures in the JSON, as its schema has them."""
    sides = [
        [
            NamedRun(name=f"{side}{at}", run=_run(campaign, 900 + at, errors=1, number=side * 10 + at))
            for at in range(3)
        ]
        for side in range(2)
    ]
    options = Options(objectives=parse_objectives("errors<0.2%,p50<1s"))
    material = Material(
        comparison=compare(*sides, options), baseline=tuple(sides[0]), candidate=tuple(sides[1]), command="x"
    )
    for name in ("text", "markdown", "html"):
        said = unescape(" ".join(re.sub("</span>", ":", WRITERS[name](material)).split()))
        assert "NOT PROVEN: errors<0.2%; 3 of 2,703 requests" in said
        assert "MET: p50<1s" in said
    objectives = json.loads(WRITERS["json"](material))["objectives"]
    assert [one["proof"] for one in objectives] == ["NOT PROVEN", "MET"]
    assert objectives[0]["low"] < 3 / 2_703 < objectives[0]["high"]
    assert objectives[0]["needed"] > 2_703
