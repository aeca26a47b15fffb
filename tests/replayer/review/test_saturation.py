"""When a target is called saturated: a queue that grows for as long as the load stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from replayer.results import Run
from replayer.review.compare import compare
from replayer.review.saturation import saturation
from replayer.review.sides import NamedRun
from replayer.review.verdict import Options, Verdict


def _queue(arrivals_s, service_s):
    """When a single server that takes one after the other is done with each; shape (n,)."""
    # Lindley's recursion without a loop: done = max over earlier starts of work that is still to do.
    work = np.cumsum(service_s)
    return work + np.maximum.accumulate(arrivals_s - np.concatenate(([0.0], work[:-1])))


@pytest.fixture
def queued(campaign):
    """A run against a single server: arrivals a second by stretch of ten seconds, and its capacity."""

    def make(rates, capacity_rps, *, speed="10x", seed=1, label="GET /a"):
        rng = np.random.default_rng(seed)
        parts = [at * 10 + np.sort(rng.random(int(rate * 10))) * 10 for at, rate in enumerate(rates)]
        arrivals_s = np.concatenate(parts)
        done_s = _queue(arrivals_s, rng.exponential(1 / capacity_rps, len(arrivals_s)))
        run = campaign.make_run(
            (label,),
            np.zeros(len(arrivals_s)),
            arrivals_s * 1e9,
            (done_s - arrivals_s) * 1e9,
            np.full(len(arrivals_s), 200),
            run_id=f"{seed:032x}",
            started_s=seed * 100,
        )
        return Run(header=replace(run.header, speed=speed), rows=run.rows)

    return make


@pytest.mark.parametrize("seed", range(10))
def test_a_target_that_is_given_a_tenth_too_much_is_saturated(queued, seed):
    """The share that was answered and a load below it are named."""
    found = saturation(queued([220] * 6, 200, seed=seed))
    assert found is not None
    assert 0.87 < found.answered < 0.96
    assert found.after > 2 * found.before
    assert 7.5 < float(found.advised.rstrip("x")) < 8.7


@pytest.mark.parametrize("seed", range(20))
def test_a_busy_target_that_keeps_up_is_not_saturated(queued, seed):
    """At 80 % of what it can do the queue wanders, and comes back."""
    assert saturation(queued([160] * 6, 200, seed=seed)) is None


@pytest.mark.parametrize("seed", range(10))
def test_more_traffic_towards_the_end_is_not_saturation(queued, seed):
    """A capture whose own rate doubles has more in flight at its end, and nothing piles up."""
    assert saturation(queued([80, 80, 100, 120, 140, 160], 400, seed=seed)) is None


def test_slow_answers_from_the_start_are_not_saturation(campaign):
    """Answers that take a tenth of the run fill the pipe once, and no further."""
    due = np.sort(np.random.default_rng(1).random(3_000)) * 60e9
    run = campaign.make_run(
        ("GET /slow",), np.zeros(3_000), due, np.full(3_000, 6e9), np.full(3_000, 200), run_id="0" * 32
    )
    assert saturation(run) is None


def test_each_stage_is_looked_at_for_itself(queued):
    """A step of the load is no trend, a ramp is not looked at, and the stage that was too much is named."""
    kept_up = queued([50, 50, 50, 150, 150, 150], 200, speed="1x:30s,3x:30s")
    assert saturation(kept_up) is None
    ramp = queued([50, 100, 150, 200, 250, 300], 200, speed="ramp 1x-6x:1m")
    assert saturation(ramp) is None
    found = saturation(queued([50, 50, 50, 240, 240, 240], 200, speed="1x:30s,5x:30s"))
    assert found is not None
    assert found.stage == "5x"
    assert 3 < float(found.advised.rstrip("x")) < 4.5


def test_the_advice_is_written_as_the_load_was(queued):
    """A rate is answered with a rate."""
    found = saturation(queued([250] * 6, 200, speed="250/s"))
    assert found is not None
    assert found.advised.endswith("/s")
    assert 150 < float(found.advised.removesuffix("/s")) < 200


def test_few_requests_are_never_called_saturated(queued):
    """A handful of slow answers is no trend."""
    assert saturation(queued([15], 10)) is None


def test_a_saturated_run_leaves_no_claim_about_response_times(queued):
    """A candidate three times as slow is INCONCLUSIVE when its queue grew, and says what to do."""
    before = [NamedRun(name=f"a{seed}", run=queued([220] * 6, 400, seed=seed)) for seed in range(0, 6, 2)]
    after = [NamedRun(name=f"b{seed}", run=queued([220] * 6, 200, seed=seed)) for seed in range(1, 7, 2)]
    comparison = compare(before, after, Options(paired=True))
    assert comparison.verdict is Verdict.INCONCLUSIVE
    endpoint = comparison.endpoints[0]
    assert endpoint.verdict is Verdict.INCONCLUSIVE
    assert {quantile.verdict for quantile in endpoint.quantiles} == {Verdict.INCONCLUSIVE}
    assert "saturated" in endpoint.advice
    assert all("replay at" in run.saturated for run in comparison.candidate)
    assert not any(run.saturated for run in comparison.baseline)
    assert any("Only the candidate fell behind" in warning for warning in comparison.warnings)
