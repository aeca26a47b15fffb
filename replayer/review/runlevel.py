"""Tests between runs: the run is what is repeated, so the run is what is counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product

import numpy as np
from scipy import optimize, stats

from replayer.review.quantile_estimates import Floats

ALPHA = 0.05
_ARRANGEMENTS = 9_999
_MOST_EXACT = 12_000  # arrangements up to which all are tried
_POWER = 0.8
_WELL_KNOWN_DF = 1_000
_GRID = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """
    A difference of log quantiles and how sure it is.

    ``log_ratio`` is candidate - baseline; ``se`` its standard error with ``df`` degrees of
    freedom; ``permutation_p`` that of rearranging runs, None where there are too few;
    ``permutation_floor`` the smallest p that so few runs can give.
    """

    log_ratio: float
    se: float
    df: float
    permutation_p: float | None = None
    permutation_floor: float = 1.0

    @property
    def p(self) -> float:
        """Two-sided p of Student's t."""
        return float(2 * stats.t.sf(abs(self.log_ratio) / self.se, self.df))

    def interval(self, confidence: float) -> tuple[float, float]:
        """Two-sided confidence interval of the log ratio."""
        half = float(stats.t.ppf((1 + confidence) / 2, self.df)) * self.se
        return self.log_ratio - half, self.log_ratio + half

    @property
    def noise(self) -> float:
        """The |log ratio| that 95 % of identical pairs with as many runs stay below."""
        return float(stats.t.ppf(0.975, self.df)) * self.se

    def detectable(self, level: float, floor: float) -> float:
        """
        The |log ratio| that the next review as long as this one finds four times out of five.

        Found is what passes a two-sided test at ``level`` and lies above ``floor``.
        """
        known = max(1, min(round(self.df), _WELL_KNOWN_DF))
        by_test = _distance(known, float(stats.t.isf(level / 2, known))) * self.se
        return max(by_test, floor + float(stats.norm.ppf(_POWER)) * self.se)

    @property
    def fragile(self) -> bool:
        """Whether rearranging the runs disagrees with the t-test at 5 %."""
        if self.permutation_p is None:
            return False
        return (self.p <= ALPHA) != (self.permutation_p <= max(ALPHA, self.permutation_floor))


def welch(baseline: Floats, candidate: Floats, seed: int) -> Effect | None:
    """
    Unpaired comparison of per-run log quantiles of shapes (R,) and (S,), both >= 3.

    None when the runs do not vary at all, since nothing can then be said about chance.
    """
    difference = float(candidate.mean() - baseline.mean())
    parts = [float(side.var(ddof=1)) / len(side) for side in (baseline, candidate)]
    variance = sum(parts)
    if not _varies(variance, baseline, candidate):
        return None
    df = variance**2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, (baseline, candidate), strict=True)
    )
    p, floor = _relabelling(baseline, candidate, seed)
    return Effect(
        log_ratio=difference, se=math.sqrt(variance), df=df, permutation_p=p, permutation_floor=floor
    )


def paired(baseline: Floats, candidate: Floats, seed: int) -> Effect | None:
    """Paired comparison of per-run log quantiles of one shape (R,), R >= 3; None without variation."""
    differences = candidate - baseline
    variance = float(differences.var(ddof=1)) / len(differences)
    if not _varies(variance, baseline, candidate):
        return None
    p, floor = _sign_flips(differences, seed)
    return Effect(
        log_ratio=float(differences.mean()),
        se=math.sqrt(variance),
        df=len(differences) - 1,
        permutation_p=p,
        permutation_floor=floor,
    )


@lru_cache(maxsize=4096)
def _distance(df: int, critical: float) -> float:
    """
    How many estimated standard errors off an effect is found with 80 % power.

    Both the standard error that states the distance and the one of the test to come are
    estimates with ``df`` degrees of freedom, so that few runs ask for more than a known spread would.
    """
    levels = (np.arange(_GRID) + 0.5) / _GRID
    estimates = np.sqrt(stats.chi2.ppf(levels, df) / df)

    def missed(distance: float) -> float:
        return float(stats.norm.cdf(critical * estimates[:, None] - distance * estimates).mean())

    return float(optimize.brentq(lambda distance: missed(distance) - (1 - _POWER), 0.0, 100 * critical + 100))


def _varies(variance: float, baseline: Floats, candidate: Floats) -> bool:
    """Whether a variance is more than what rounding of the logs leaves behind."""
    size = max(1.0, float(np.abs(baseline).max()), float(np.abs(candidate).max()))
    return math.sqrt(variance) > 1e-12 * size


def _share_at_least(values: Floats, observed: float) -> int:
    return int(np.count_nonzero(np.abs(values) >= abs(observed) * (1 - 1e-9)))


def _relabelling(baseline: Floats, candidate: Floats, seed: int) -> tuple[float, float]:
    """Two-sided p of the difference of means over all ways to deal the runs to the sides, and its floor."""
    pooled, chosen = np.concatenate((baseline, candidate)), len(candidate)
    total, count = float(pooled.sum()), len(pooled)
    observed = float(candidate.mean() - baseline.mean())
    ways = math.comb(count, chosen)
    exact = ways <= _MOST_EXACT
    if exact:
        picks = np.array(list(combinations(range(count), chosen)))
    else:
        rng = np.random.default_rng(seed)
        picks = np.argsort(rng.random((_ARRANGEMENTS, count)), axis=1)[:, :chosen]
    sums = pooled[picks].sum(axis=1)
    hits = _share_at_least(sums / chosen - (total - sums) / (count - chosen), observed)
    mirrored = 2 if count == 2 * chosen else 1
    return (hits / ways, mirrored / ways) if exact else ((hits + 1) / (_ARRANGEMENTS + 1), mirrored / ways)


def _sign_flips(differences: Floats, seed: int) -> tuple[float, float]:
    """Two-sided p of the mean over all ways to swap the sides within pairs, and its floor."""
    count = len(differences)
    ways = 2**count
    if ways <= _MOST_EXACT:
        signs = np.array(list(product((-1.0, 1.0), repeat=count)))
        return _share_at_least(signs @ differences, float(differences.sum())) / ways, 2 / ways
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(_ARRANGEMENTS, count))
    hits = _share_at_least(signs @ differences, float(differences.sum()))
    return (hits + 1) / (_ARRANGEMENTS + 1), 2 / ways
