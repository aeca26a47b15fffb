"""The rules between a measured effect and a verdict."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from replayer.review.latency import ASSUMED_RUN_SD, Changed, Measured, effect_of, judge, shared_sds
from replayer.review.runlevel import Effect
from replayer.review.verdict import Options, Verdict

MS = 1e6


def _measured(before_ms, after_ms, runs=4, quantile=0.5, within=0.0):
    return Measured(
        quantile=quantile,
        baseline=np.log(np.full(runs, before_ms * MS)),
        candidate=np.log(np.full(runs, after_ms * MS)),
        within=within,
    )


def _verdict(before_ms, after_ms, se, p_adjusted=0.001, **options):
    measured = _measured(before_ms, after_ms)
    effect = Effect(log_ratio=measured.log_ratio, se=se, df=14)
    tested = Changed(measured=measured, absolute=effect, own=effect)
    return judge(tested, p_adjusted, Options(**options), passes=p_adjusted <= 0.05, level=0.001).verdict


@pytest.mark.parametrize(
    ("before_ms", "after_ms", "se", "p_adjusted", "expected"),
    [
        (100, 120, 0.01, 0.001, Verdict.SLOWER),
        (120, 100, 0.01, 0.001, Verdict.FASTER),
        (100, 120, 0.01, 0.06, Verdict.INCONCLUSIVE),  # not significant among all tests
        (100, 104, 0.001, 0.001, Verdict.SAME),  # significant, and below the margin
        (5, 5.9, 0.001, 0.001, Verdict.SAME),  # significant, and below 1 ms
        (5, 6.1, 0.001, 0.001, Verdict.SLOWER),
        (100, 100, 0.05, 1.0, Verdict.INCONCLUSIVE),  # nothing seen, nothing ruled out
        (100, 100, 0.02, 1.0, Verdict.SAME),
    ],
)
def test_a_verdict_needs_significance_and_size_or_equivalence(before_ms, after_ms, se, p_adjusted, expected):
    """Each rule alone decides at its own limit."""
    assert _verdict(before_ms, after_ms, se, p_adjusted) is expected


def test_a_change_counts_only_beyond_what_earlier_reviews_saw_of_one_build():
    """Held back where identical builds moved as far, named beyond that; ``noise`` and ``mde`` say so."""
    measured = _measured(100, 120)
    effect = Effect(log_ratio=measured.log_ratio, se=0.01, df=14)
    tested = Changed(measured=measured, absolute=effect, own=effect)
    sure = {"p_adjusted": 0.001, "options": Options(), "passes": True, "level": 0.001}
    unknown, below, beyond = (judge(tested, **sure, known=math.log(known)) for known in (1.0, 1.19, 1.21))
    assert [(one.verdict, one.held_back) for one in (unknown, below, beyond)] == [
        (Verdict.SLOWER, False),
        (Verdict.SLOWER, False),
        (Verdict.INCONCLUSIVE, True),
    ]
    assert unknown.noise < 0.03
    assert beyond.noise == pytest.approx(0.21)
    assert beyond.mde > 0.21 > below.mde > 0.19
    doubtful = judge(tested, **{**sure, "passes": False}, known=math.log(1.21))
    assert not doubtful.held_back


def test_a_wider_margin_turns_slower_into_same():
    """The margin is what the reviewer says matters."""
    assert _verdict(100, 108, 0.005) is Verdict.SLOWER
    assert _verdict(100, 108, 0.005, margin=0.10) is Verdict.SAME


def test_a_change_counts_only_where_it_shows_with_and_without_what_moved_all():
    """An endpoint that stood still while all others got faster is not SLOWER, nor SAME when in doubt."""
    measured = _measured(100, 100)
    own = Effect(log_ratio=0.1, se=0.01, df=14)
    for absolute, expected in ((0.09, Verdict.SLOWER), (-0.001, Verdict.INCONCLUSIVE)):
        whole = Effect(log_ratio=absolute, se=0.05, df=14)
        tested = Changed(measured=measured, absolute=whole, own=own)
        assert judge(tested, 0.001, Options(), passes=True, level=0.001).verdict is expected
    sure = Effect(log_ratio=-0.001, se=0.001, df=14)
    tested = Changed(measured=measured, absolute=sure, own=replace(own, log_ratio=-0.1))
    assert judge(tested, 0.9, Options(), passes=False, level=0.001).verdict is Verdict.SAME


def test_others_that_move_are_taken_for_the_machine():
    """What the middle other endpoint did becomes noise, within limits; a lone mover adds none."""
    still = shared_sds([0.0, 0.0, 0.0, 0.0, 1.8])
    assert still[4] == 0
    moved = shared_sds([0.2, 0.2, 0.2, 0.2, 0.2])
    assert moved == pytest.approx([0.2 * 1.4826] * 5)
    assert max(shared_sds([3.0] * 5)) == 0.5
    assert shared_sds([3.0, 3.0, 3.0]) == [0.0, 0.0, 0.0]


def test_few_runs_rest_on_an_assumed_spread_or_a_larger_one_they_show():
    """One against one uses the assumption; two that differ more than assumed replace it."""
    single = effect_of(_measured(10, 20, runs=1, within=0.01), 0.0, Options(), "seed")
    assert single.se == pytest.approx(math.sqrt(2 * ASSUMED_RUN_SD[0.5] ** 2 + 0.01))
    apart = Measured(quantile=0.5, baseline=np.array([15.0, 16.0]), candidate=np.array([15.5]))
    shown = effect_of(apart, 0.0, Options(), "seed")
    assert shown.se == pytest.approx(math.sqrt(0.5 * 1.5))
    assert shown.df == single.df + 1


def test_a_shared_move_widens_the_interval_of_few_runs():
    """The larger of the assumed and the shared spread counts, never their sum."""
    calm, shaken = (effect_of(_measured(10, 20, runs=1), sd, Options(), "seed").se for sd in (0.1, 0.4))
    assert calm == pytest.approx(math.sqrt(2) * ASSUMED_RUN_SD[0.5])
    assert shaken == pytest.approx(0.4)


def test_verdicts_know_their_exit_codes():
    """3 says no, 4 is invalid, everything else is 0."""
    assert {str(verdict): verdict.exit_code for verdict in Verdict} == {
        "BEHAVES DIFFERENTLY": 3,
        "SLOWER": 3,
        "INCONCLUSIVE": 0,
        "SAME": 0,
        "FASTER": 0,
        "INVALID": 4,
    }
