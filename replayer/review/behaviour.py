"""Does an endpoint answer differently: statuses and failures of both sides, compared exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from replayer.review.quantile_estimates import Floats
from replayer.review.sides import EndpointSample

# Stricter than the 5 % for times: this verdict outranks the others, so a false one costs more,
# and what it looks for (a burst of 503s, a lost route) is seldom a close call.
BEHAVIOUR_ALPHA = 0.01
_MIN_RUNS_FOR_DISPERSION = 3
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
    in one run) are compared with that variation too, and the larger p counts.
    """
    names = sorted({name for sample in (*baseline, *candidate) for name in sample.outcomes})
    tables = [_table(side, names) for side in (baseline, candidate)]
    before, after = (table.sum(axis=0) for table in tables)
    tries = len(names) if len(names) > 2 else 1  # two statuses are one and the same table
    by_status = {
        name: min(1.0, tries * _fisher(before[at], before.sum(), after[at], after.sum()))
        for at, name in enumerate(names)
    }
    p = min(by_status.values(), default=1.0)
    dispersion = 1.0
    if len(names) > 1 and min(len(baseline), len(candidate)) >= _MIN_RUNS_FOR_DISPERSION:
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
