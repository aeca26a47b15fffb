"""
How much the runs of one endpoint vary, learned in part from the other endpoints.

Eight runs show an endpoint's own spread to within a quarter, and a test that allows for that asks
for a change twice as large as one that knows it. Endpoints of one process mostly vary alike, so
each variance is drawn towards the common one as far as all of them show that to be so: the
empirical Bayes variance of Smyth (Stat. Appl. Genet. Mol. Biol. 3, 2004).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special, stats

from replayer.review.quantile_estimates import Floats
from replayer.review.runlevel import Effect

_FEWEST = 6  # endpoints; fewer do not show how alike they are
# The common variance is taken for half as well known as its estimate says: where a few endpoints are
# far noisier than the others, their variances have a longer tail than the model, and 7 % instead of
# 4 % of identical pairs raised an alarm. Where all are alike it costs 1 % of the +10 % that are found.
_TRUSTED = 0.5
_UNLIKE = 0.05
_MOST_DF = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What endpoints have in common: a ``variance``, as well known as by ``df`` degrees of freedom."""

    variance: float
    df: float


def moderate(effects: Sequence[Effect], residuals: Sequence[Floats]) -> list[Effect]:
    """
    The effects of one quantile with moderated standard errors; as they are with too few endpoints.

    ``residuals`` has one array per effect, what the runs differ from their mean by, all of one
    shape (n,). An endpoint that varies more than the others by more than chance keeps its own
    spread, so the moderation never hides a noisy one among quiet ones.
    """
    if len(effects) < _FEWEST:
        return list(effects)
    variances = np.array([effect.se**2 for effect in effects])
    dfs = np.array([effect.df for effect in effects])
    common = common_spread(variances, dfs, independent(np.stack(residuals), float(np.median(dfs))))
    if common is None:
        return list(effects)
    common = replace(common, df=_TRUSTED * common.df)
    return [
        effect
        if stats.f.sf(effect.se**2 / common.variance, effect.df, common.df) < _UNLIKE
        else replace(
            effect,
            se=math.sqrt((common.df * common.variance + effect.df * effect.se**2) / (common.df + effect.df)),
            df=common.df + effect.df,
        )
        for effect in effects
    ]


def common_spread(variances: Floats, dfs: Floats, alike: float) -> Spread | None:
    """
    The scaled inverse chi-square that variances of shape (m,) come from; None when they share nothing.

    ``alike`` is how many independent endpoints the m are worth; the common variance is never
    taken for better known than by so many.
    """
    logs = np.log(variances) - special.digamma(dfs / 2) + np.log(dfs / 2)
    excess = float(logs.var(ddof=1) - special.polygamma(1, dfs / 2).mean())
    prior = 2 * _trigamma_inverse(excess) if excess > 0 else _MOST_DF
    known = (alike - 1) * float(np.median(dfs))
    if min(prior, known) < 1:
        return None
    offset = special.digamma(prior / 2) - math.log(prior / 2)
    return Spread(variance=math.exp(float(logs.mean()) + float(offset)), df=min(prior, known))


def independent(residuals: Floats, df: float) -> float:
    """
    How many independent endpoints tell as much about a common variance as these, shape (m, n).

    A busy neighbour slows all endpoints of a run together; thirty that move as one are one.
    """
    count = len(residuals)
    correlation = np.corrcoef(residuals)
    squares = float((np.square(correlation).sum() - count) / (count * (count - 1)))
    by_chance = 1 / max(df, 1.0)
    shared = min(1.0, max(0.0, (squares - by_chance) / (1 - by_chance))) if df > 1 else 1.0
    return count / (1 + (count - 1) * shared)


def _trigamma_inverse(value: float) -> float:
    """``x`` at which the trigamma function is ``value``."""
    if value < 1 / _MOST_DF:
        return _MOST_DF / 2
    found = optimize.brentq(lambda log_x: special.polygamma(1, math.exp(log_x)) - value, -20, 20)
    return math.exp(float(found))
