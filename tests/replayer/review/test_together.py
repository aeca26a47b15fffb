"""What runs have in common is taken off, unless it is the release's."""

from __future__ import annotations

import numpy as np
import pytest

from replayer.review.latency import Measured
from replayer.review.runlevel import ALPHA
from replayer.review.together import SHARED_ALPHA, apart
from replayer.review.verdict import Options

PAIRED = Options(paired=True)


def _measured(endpoints=8, runs=8, shared_sd=0.2, own_sd=0.02, all_by=0.0, first_by=0.0, seed=1):
    """Log quantiles of endpoints that mostly vary together."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, shared_sd, (2, runs))
    found = {}
    for at in range(endpoints):
        logs = 16 + at + shared + rng.normal(0, own_sd, (2, runs))
        change = all_by + (first_by if at == 0 else 0.0)
        found[f"e{at}", 0.5] = Measured(quantile=0.5, baseline=logs[0], candidate=logs[1] + change)
    return found


def _sds(measured):
    return [float((one.candidate - one.baseline).std(ddof=1)) for one in measured.values()]


@pytest.mark.parametrize("options", [PAIRED, Options()], ids=["paired", "unpaired"])
def test_what_moves_all_endpoints_is_taken_off_and_what_one_did_stays(options):
    """A change of one endpoint that drowned in a noisy machine is seen to within its own noise."""
    before = _measured(first_by=0.2)
    together = apart(before, options)
    assert together.taken_off
    assert not together.proven
    assert together.alpha == pytest.approx(ALPHA - SHARED_ALPHA)
    assert max(_sds(together.measured)) < 0.1 < min(_sds(before))
    changes = [one.log_ratio for one in together.measured.values()]
    assert changes[0] == pytest.approx(0.2, abs=0.04)
    assert changes[1:] == pytest.approx([0.0] * 7, abs=0.04)


def test_a_release_that_slows_everything_down_is_left_as_it_is():
    """The middle endpoint moved by more than runs do, so nothing is taken off."""
    before = _measured(shared_sd=0.03, all_by=0.2)
    together = apart(before, PAIRED)
    assert together.proven
    assert not together.taken_off
    assert together.measured == before
    assert together.alpha == ALPHA


def test_endpoints_with_nothing_in_common_keep_what_they_did():
    """Taking the middle off would only add its own noise."""
    before = _measured(shared_sd=0.0, endpoints=6)
    together = apart(before, PAIRED)
    assert not together.taken_off
    assert together.measured == before
    assert together.alpha == ALPHA


def test_few_endpoints_do_not_tell_what_the_machine_did():
    """With five or fewer nothing is taken off, nor where a quantile has so few."""
    few = _measured(endpoints=5)
    assert apart(few, PAIRED).measured == few
    first = few["e0", 0.5]
    tail = Measured(quantile=0.95, baseline=first.baseline, candidate=first.candidate)
    both = {**_measured(), ("e0", 0.95): tail}
    assert apart(both, PAIRED).measured["e0", 0.95] is tail


def test_the_sides_may_be_swapped():
    """What was taken off of a side is the same whichever is called the baseline."""
    before = _measured(first_by=0.2)
    swapped = {
        key: Measured(quantile=0.5, baseline=one.candidate, candidate=one.baseline)
        for key, one in before.items()
    }
    here, there = (apart(one, PAIRED).measured for one in (before, swapped))
    for key, one in here.items():
        assert there[key].candidate == pytest.approx(one.baseline)
        assert there[key].baseline == pytest.approx(one.candidate)
