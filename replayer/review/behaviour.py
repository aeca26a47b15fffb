"""Does an endpoint answer differently: statuses and failures of both sides, compared exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from replayer.review.quantile_estimates import Floats, block_length
from replayer.review.sides import EndpointSample

# Stricter than the 5 % for times: this verdict outranks the others, so a false one costs more,
# and what it looks for (a burst of 503s, a lost route) is seldom a close call.
BEHAVIOUR_ALPHA = 0.01
_MIN_RUNS_FOR_DISPERSION = 3

# How the share of a status differs between runs of one build cannot be seen from one or two runs,
# and a restart that meets a cold cache or a busy neighbour does change it. Until it is measured it
# is assumed: a sd of 58 % of a small share, and never above 7 points (for a share of one half),
# so that three times as few or as many of a few errors are no news by themselves.
ASSUMED_SHARE_SD = 3**-0.5
ASSUMED_CORRELATION = 0.02  # within a run: 4 * 7 points ** 2, the variance at a share of one half
_MIN_REQUESTS_FOR_CLUSTERS = 20
_MOST_SUMMED = 100_000
_SHED_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class MixTest:
    """
    Status counts of both sides and how likely chance makes them as unlike.

    ``by_status`` is the corrected p of each status against all others; ``p`` that of the mix.
    ``dispersion`` is how much more a side's own runs differ than chance allows, at least 1.
    """

    baseline: dict[str, int]
    candidate: dict[str, int]
    p: float
    by_status: dict[str, float]
    dispersion: float

    def changed(self, level: float) -> tuple[str, ...]:
        """The statuses that differ at ``level``; the clearest one when none does alone."""
        found = tuple(status for status, p in self.by_status.items() if p <= level)
        return found or (min(self.by_status, key=self.by_status.__getitem__),)


def compare_mix(baseline: Sequence[EndpointSample], candidate: Sequence[EndpointSample]) -> MixTest:
    """
    Fisher's exact test of each status against all others, Bonferroni over statuses.

    Exact, so small counts are right; and it says which status changed. With three or more runs
    on both sides, statuses that vary between runs of one side more than chance allows (a burst
    in one run) are compared with that variation too, and the larger p counts. With fewer, each
    status must also stand out of the variation between runs that is assumed (``_few_runs``).
    """
    names = sorted({name for sample in (*baseline, *candidate) for name in sample.outcomes})
    tables = [_table(side, names) for side in (baseline, candidate)]
    before, after = (table.sum(axis=0) for table in tables)
    tries = len(names) if len(names) > 2 else 1  # two statuses are one and the same table
    by_status = {
        name: min(1.0, tries * _fisher(before[at], before.sum(), after[at], after.sum()))
        for at, name in enumerate(names)
    }
    few = min(len(baseline), len(candidate)) < _MIN_RUNS_FOR_DISPERSION
    if few and before.sum() and after.sum():
        by_status = {name: max(p, _few_runs(baseline, candidate, name)) for name, p in by_status.items()}
    p = min(by_status.values(), default=1.0)
    dispersion = 1.0
    if len(names) > 1 and not few:
        dispersion, freedom = _dispersion(tables)
        if dispersion > 1:
            between = _pearson(np.stack((before, after))) / (len(names) - 1)
            p = max(p, float(stats.f.sf(between / dispersion, len(names) - 1, freedom)))
    return MixTest(
        baseline=_counts(names, before),
        candidate=_counts(names, after),
        p=p,
        by_status=by_status,
        dispersion=dispersion,
    )


def sheds(mix: MixTest, status_class: int) -> bool:
    """
    Whether the candidate gave fewer answers of the compared class than the baseline.

    Refusing the hard requests makes the remaining ones look fast, so FASTER is not claimed
    then, even where the difference is too small to be a verdict of its own.
    """
    like = [_like(counts, status_class) for counts in (mix.baseline, mix.candidate)]
    total = [sum(counts.values()) for counts in (mix.baseline, mix.candidate)]
    if not all(total):
        return False
    shares = [part / whole for part, whole in zip(like, total, strict=True)]
    if shares[1] >= shares[0]:
        return False
    return shares[0] - shares[1] > _SHED_SHARE or _fisher(like[0], total[0], like[1], total[1]) <= 0.05


def _like(counts: dict[str, int], status_class: int) -> int:
    return sum(count for name, count in counts.items() if name.isdigit() and int(name) // 100 == status_class)


def _table(side: Sequence[EndpointSample], names: Sequence[str]) -> Floats:
    rows = [[sample.outcomes.get(name, 0) for name in names] for sample in side]
    return np.array(rows, dtype=np.float64).reshape(len(side), len(names))


def _counts(names: Sequence[str], totals: Floats) -> dict[str, int]:
    return {name: int(count) for name, count in zip(names, totals, strict=True) if count}


def _fisher(hits: float, total: float, other_hits: float, other_total: float) -> float:
    table = [[int(hits), int(total - hits)], [int(other_hits), int(other_total - other_hits)]]
    return float(stats.fisher_exact(table)[1])


def _few_runs(baseline: Sequence[EndpointSample], candidate: Sequence[EndpointSample], name: str) -> float:
    """
    Two-sided p of how the answers ``name`` divide between the sides, if runs differ as is assumed.

    Each side's rate is the common one times a gamma variable whose relative variance is the
    assumed one over its runs, and what its clusters add (``_cluster_variance``). How many of all
    such answers are the candidate's is then beta-binomial, whatever the common rate is.
    """
    sides = (baseline, candidate)
    hits = [sum(sample.outcomes.get(name, 0) for sample in side) for side in sides]
    totals = [sum(sample.requests for sample in side) for side in sides]
    if 2 * sum(hits) > sum(totals):  # the rarer of "is it" and "is it not" is what varies in proportion
        hits = [total - count for total, count in zip(totals, hits, strict=True)]
    if not any(hits):
        return 1.0
    rate = sum(hits) / sum(totals)
    assumed = min(ASSUMED_SHARE_SD**2, ASSUMED_CORRELATION * (1 - rate) / rate)
    variance = sum(
        assumed / len(side) + _cluster_variance(side, name, count)
        for side, count in zip(sides, hits, strict=True)
    )
    share = totals[1] / sum(totals)
    shape = 1 / (variance * share * (1 - share))
    return _beta_binomial(hits[1], sum(hits), shape * share, shape * (1 - share))


def _cluster_variance(side: Sequence[EndpointSample], name: str, hits: int) -> float:
    """
    The relative variance of a side's ``hits`` that comes from their standing together in time.

    What a block bootstrap finds for the variance of each run's share, beyond that of independent
    answers: thirty errors of one stall are less news than thirty errors apart.
    """
    excess = 0.0
    for sample in side:
        series = sample.is_outcome(name)
        count = float(series.sum())
        count = min(count, len(series) - count)
        if len(series) >= _MIN_REQUESTS_FOR_CLUSTERS and count:
            length, _ = block_length(series)
            blocks = max(2, len(series) // length)
            means = np.array([part.mean() for part in np.array_split(series, blocks)])
            independent = count * (1 - count / len(series)) / len(series) ** 2
            excess += count * max(0.0, float(means.var(ddof=1)) / blocks / independent - 1)
    return excess / hits**2 if hits else 0.0


def _beta_binomial(hits: int, total: int, a: float, b: float) -> float:
    """Two-sided p of ``hits`` among ``total``, beta-binomial with shapes ``a`` and ``b``."""
    if total > _MOST_SUMMED:
        tails = stats.beta.cdf(hits / total, a, b), stats.beta.sf(hits / total, a, b)
        return min(1.0, 2 * float(min(tails)))
    at = np.arange(total + 1)
    log_ways = -np.log(total + 1) - special.betaln(total - at + 1, at + 1)
    mass = np.exp(log_ways + special.betaln(at + a, total - at + b) - special.betaln(a, b))
    return min(1.0, 2 * float(min(mass[: hits + 1].sum(), mass[hits:].sum())))


def _pearson(table: Floats) -> float:
    """Pearson's chi-square of a table of counts; rows and columns of zeros do not matter."""
    total = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total if total else table
    seen = expected > 0
    return float(((table - expected)[seen] ** 2 / expected[seen]).sum())


def _dispersion(tables: Sequence[Floats]) -> tuple[float, int]:
    """Pearson's chi-square between runs of a side per degree of freedom, at least 1, and that freedom."""
    chi_square, freedom = 0.0, 0
    for table in tables:
        used = table[np.ix_(table.sum(axis=1) > 0, table.sum(axis=0) > 0)]
        if min(used.shape, default=0) > 1:
            chi_square += _pearson(used)
            freedom += (used.shape[0] - 1) * (used.shape[1] - 1)
    return (max(1.0, chi_square / freedom), freedom) if freedom else (1.0, 0)
