"""All endpoints judged together: who is named, and who is only looked at."""

from __future__ import annotations

import numpy as np

from replayer.review.claims import claims_of
from replayer.review.latency import EndpointTimes, Measured
from replayer.review.verdict import Options, Verdict

PAIRED = Options(paired=True)
RUNS = 8


def _endpoints(changes, shared_sd=0.0, count=20):
    """Endpoints of 50 ms whose p50 varies by 3 % between runs; ``changes`` maps a number to a log ratio."""
    rng = np.random.default_rng(4)
    shared = rng.normal(0, shared_sd, (2, RUNS))
    found = {}
    for at in range(count):
        logs = np.log(50e6) + shared + rng.normal(0, 0.03, (2, RUNS))
        logs[1] += changes.get(at, 0.0) - (logs[1] - logs[0] - shared[1] + shared[0]).mean()
        shift = float(logs[1].mean() - logs[0].mean())
        measured = Measured(quantile=0.5, baseline=logs[0], candidate=logs[1])
        found[f"e{at:02d}"] = EndpointTimes(
            status_class=2, measured=(measured,), shifts=dict.fromkeys((0.5, 0.95, 0.99), shift)
        )
    return found


def _named(claims, verdict):
    return {
        label for label, found in claims.quantiles.items() if any(one.verdict is verdict for one in found)
    }


def test_a_doubtful_endpoint_is_not_named_beside_a_sure_one():
    """It is kept apart as a suspicion, with the figures that raised it, and has no verdict of its own."""
    claims = claims_of(_endpoints({3: 0.25, 7: 0.062}), PAIRED, few=False)
    assert _named(claims, Verdict.SLOWER) == {"e03"}
    assert set(claims.suspected) == {"e07"}
    assert claims.suspected["e07"].verdict is Verdict.SLOWER
    assert claims.quantiles["e07"][0].verdict is Verdict.INCONCLUSIVE
    assert claims.suspected["e07"].ratio == claims.quantiles["e07"][0].ratio


def test_all_that_surely_changed_is_named():
    """Slower and faster ones alike."""
    claims = claims_of(_endpoints({1: 0.25, 2: 0.2, 5: -0.25}), PAIRED, few=False)
    assert _named(claims, Verdict.SLOWER) == {"e01", "e02"}
    assert _named(claims, Verdict.FASTER) == {"e05"}
    assert not claims.suspected


def test_a_noisy_machine_does_not_hide_what_one_endpoint_did():
    """Runs that differ by 20 % as a whole: ratios are without that, and say so."""
    claims = claims_of(_endpoints({3: 0.15}, shared_sd=0.2), PAIRED, few=False)
    assert claims.taken_off
    assert _named(claims, Verdict.SLOWER) == {"e03"}
    assert 1.1 < claims.quantiles["e03"][0].ratio < 1.22
    # The machine's share is not known, so that no endpoint is proven to be the same.
    assert not _named(claims, Verdict.SAME)


def test_a_release_that_slows_everything_down_names_every_endpoint():
    """Where the middle one's change is proven none is only suspected."""
    claims = claims_of(_endpoints(dict.fromkeys(range(20), 0.15)), PAIRED, few=False)
    assert not claims.taken_off
    assert len(_named(claims, Verdict.SLOWER)) == 20
    assert claims.shared_shift is not None
    assert claims.shared_shift > 1.1
