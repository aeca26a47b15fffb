"""
How the sends of a run lie beside its schedule, beyond the lag of each: drift, gaps, bursts, order.

Lag alone hides a clock that runs away, and gaps alone hide it better: a drift of 1 % leaves the
distance between gap distributions at 0.0035 while requests end up seconds late. So all are given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from captures.units import NS_PER_MS, NS_PER_S
from replayer.results import NEVER_NS, Int64s, RunRows

_BINS = 200  # Theil-Sen compares all pairs; medians of bins keep that small and lose nothing that drifts
_MIN_BINS = 10
_WINDOWS_NS = (10 * NS_PER_MS, 100 * NS_PER_MS, NS_PER_S, 10 * NS_PER_S)
_MIN_WINDOWS = 10  # a variance of fewer counts says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """
    Numbers of one run.

    ``drift_ppm`` is the slope of the lag over the run (Theil-Sen over medians of 200 stretches)
    with its 95 % interval; None when the run has too few sends, or times, for one. ``gap_ks`` and
    ``gap_w1_ns`` are the distances between the distributions of scheduled and achieved gaps
    (Kolmogorov-Smirnov, Wasserstein-1). ``dispersion`` is, by window in ns, the achieved index of
    dispersion of counts over the scheduled one: 1 is the same burstiness. ``inversions`` counts
    sends that overtook an earlier one of the same connection.
    """

    drift_ppm: float | None
    drift_low_ppm: float | None
    drift_high_ppm: float | None
    gap_ks: float
    gap_w1_ns: float
    dispersion: dict[int, float]
    inversions: int


def shape_of(rows: RunRows) -> Shape:
    """The shape of what ``rows`` say was sent."""
    sent = np.flatnonzero(rows.sent_ns != NEVER_NS)
    sent = sent[np.argsort(rows.due_ns[sent], kind="stable")]  # chained ones may be due later than they stand
    due_ns, sent_ns = rows.due_ns[sent], rows.sent_ns[sent]
    drift, low, high = _drift_ppm(due_ns, sent_ns)
    ordered_ns = np.sort(sent_ns)
    gaps, scheduled_gaps = np.sort(np.diff(ordered_ns)), np.sort(np.diff(due_ns))
    return Shape(
        drift_ppm=drift,
        drift_low_ppm=low,
        drift_high_ppm=high,
        gap_ks=_largest_distance(scheduled_gaps, gaps),
        gap_w1_ns=float(np.mean(np.abs(gaps - scheduled_gaps))) if len(gaps) else 0.0,
        dispersion=_dispersion_ratios(due_ns, ordered_ns),
        inversions=_inversions(rows.connection[sent], sent_ns),
    )


def _drift_ppm(due_ns: Int64s, sent_ns: Int64s) -> tuple[float | None, float | None, float | None]:
    span_ns = int(due_ns[-1] - due_ns[0]) if len(due_ns) else 0
    bins = min(_BINS, len(due_ns) // 5)
    if bins < _MIN_BINS or not span_ns:
        return None, None, None
    parts = np.array_split(np.arange(len(due_ns)), bins)
    lag_ns = sent_ns - due_ns
    # Stretches of one burst are due at one time: between them is no slope, and no interval could be computed.
    middle_ns, place = np.unique([np.median(due_ns[part]) for part in parts], return_inverse=True)
    if len(middle_ns) == 1:
        return None, None, None
    medians = np.array([np.median(lag_ns[part]) for part in parts])
    lags = [np.median(medians[place == number]) for number in range(len(middle_ns))]
    slope, _, low, high = stats.theilslopes(lags, middle_ns, 0.95)
    return float(slope) * 1e6, float(low) * 1e6, float(high) * 1e6


def _largest_distance(one: Int64s, other: Int64s) -> float:
    """The Kolmogorov-Smirnov distance of two sorted samples."""
    if not len(one) or not len(other):
        return 0.0
    both = np.concatenate([one, other])
    shares = np.searchsorted(one, both, side="right") / len(one)
    other_shares = np.searchsorted(other, both, side="right") / len(other)
    return float(np.max(np.abs(shares - other_shares)))


def _dispersion_ratios(due_ns: Int64s, sent_ns: Int64s) -> dict[int, float]:
    ratios = {}
    for window_ns in _WINDOWS_NS:
        scheduled, achieved = _dispersion(due_ns, window_ns), _dispersion(sent_ns, window_ns)
        if scheduled and achieved is not None:
            ratios[window_ns] = achieved / scheduled
    return ratios


def _dispersion(times_ns: Int64s, window_ns: int) -> float | None:
    """Variance over mean of the counts in windows; None for fewer than ``_MIN_WINDOWS``."""
    windows = int(times_ns[-1]) // window_ns if len(times_ns) else 0  # the last one is not whole
    if windows < _MIN_WINDOWS:
        return None
    counts = np.bincount(times_ns[times_ns < windows * window_ns] // window_ns, minlength=windows)
    return float(np.var(counts) / np.mean(counts)) if counts.any() else None


def _inversions(connection: np.ndarray[tuple[int, ...], np.dtype[np.uint32]], sent_ns: Int64s) -> int:
    order = np.argsort(connection, kind="stable")  # due order is kept within a connection
    same = np.diff(connection[order].astype(np.int64)) == 0
    return int((same & (np.diff(sent_ns[order]) < 0)).sum())
