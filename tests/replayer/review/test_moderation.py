"""What endpoints learn from one another about how much runs vary."""

from __future__ import annotations

import numpy as np
import pytest

from replayer.review.moderation import common_spread, independent, moderate
from replayer.review.runlevel import Effect, paired

_PAIRS = 8


def _effects(sds, seed, *, together=0.0):
    """Paired effects of identical builds whose endpoints have these sds; and their residuals."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, together, _PAIRS) if together else np.zeros(_PAIRS)
    differences = [rng.normal(0, sd, _PAIRS) + shared for sd in sds]
    effects = [paired(np.zeros(_PAIRS), difference, 1) for difference in differences]
    return effects, [difference - difference.mean() for difference in differences]


def test_endpoints_that_vary_alike_share_one_spread():
    """Thirty endpoints of one sd: every standard error comes within 15 % of the true one."""
    effects, residuals = _effects([0.04] * 30, 3)
    true = 0.04 / np.sqrt(_PAIRS)
    moderated = moderate(effects, residuals)
    spread = [effect.se / true for effect in moderated if effect.df > 20]
    assert len(spread) >= 27  # one in twenty is unlike the others by chance and keeps its own
    assert min(spread) > 0.85
    assert max(spread) < 1.15


def test_a_noisy_endpoint_keeps_its_own_spread():
    """Among 29 quiet endpoints, one that varies eight times as much is not taken for quiet."""
    effects, residuals = _effects([0.02] * 29 + [0.16], 5)
    moderated = moderate(effects, residuals)
    assert moderated[-1] == effects[-1]


def test_endpoints_of_all_sorts_learn_little():
    """Where spreads differ by factors, the common one is hardly better known than an endpoint's own."""
    effects, residuals = _effects(np.geomspace(0.01, 0.3, 30), 7)
    assert max(effect.df for effect in moderate(effects, residuals)) < 12


def test_endpoints_that_move_as_one_count_as_one():
    """A machine that slows all of a run's endpoints together shows its spread once, not thirty times."""
    _, apart = _effects([0.04] * 30, 9)
    _, as_one = _effects([0.004] * 30, 9, together=0.04)
    assert independent(np.stack(apart), _PAIRS - 1) > 20
    assert independent(np.stack(as_one), _PAIRS - 1) < 1.2
    effects, residuals = _effects([0.001] * 30, 9, together=0.04)
    assert [e.df for e in moderate(effects, residuals)] == pytest.approx([e.df for e in effects], abs=1.5)


def test_few_endpoints_are_left_alone():
    """Five endpoints do not show how alike they are."""
    effects, residuals = _effects([0.04] * 5, 1)
    assert moderate(effects, residuals) == effects


def test_the_common_spread_is_that_of_the_variances():
    """Drawn from a scaled inverse chi-square, its scale and freedom are found again."""
    rng = np.random.default_rng(11)
    true = 4.0 * 6 / rng.chisquare(6, 5_000)
    seen = true * rng.chisquare(7, 5_000) / 7
    common = common_spread(seen, np.full(5_000, 7.0), 5_000.0)
    assert common is not None
    assert common.variance == pytest.approx(4.0, rel=0.1)
    assert common.df == pytest.approx(6.0, rel=0.2)


@pytest.mark.parametrize("df", [2, 7, 14, 200])
def test_the_detectable_change_is_missed_one_time_in_five(df):
    """Stated by one estimate of the spread and looked for with another, as two reviews do."""
    rng = np.random.default_rng(13)
    tries, level = 4_000, 0.01
    stated, found = np.sqrt(rng.chisquare(df, (2, tries)) / df)
    missed = 0
    for at in range(tries):
        change = Effect(log_ratio=0.0, se=stated[at], df=df).detectable(level, 0.0)
        seen = Effect(log_ratio=change + rng.normal(), se=found[at], df=df)
        missed += not (seen.p <= level and seen.log_ratio > 0)
    assert 0.17 < missed / tries < 0.23
