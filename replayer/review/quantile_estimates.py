"""Harrell-Davis quantiles, and how far one run's own randomness moves them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

_RESAMPLES = 300  # the sd of 300 resamples is itself known to +-4 %
_MAX_BLOCKS = 256
_MIN_BLOCKS = 10  # fewer say nothing about the spread between blocks
_MAX_LAG = 10_000
_TABLE = 4096  # steps in which the beta cdf is tabulated
_REACH_SD = 9.0  # weights further out than 9 sd of the beta density do not show in the sum
_SKEWED = 4096  # with fewer values the density has a longer tail than its sd tells, so all are weighed


def seed_of(*parts: str) -> int:
    """A seed that depends on nothing but its parts, so that a report can be repeated byte by byte."""
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big")


def harrell_davis(ordered: Floats, quantile: float) -> float:
    """
    The Harrell-Davis estimate of ``quantile`` from sorted values of shape (n,), n >= 1.

    A weighted mean of all order statistics (Harrell and Davis, Biometrika 69, 1982); weights
    too far from the quantile to matter are not computed, so a million values cost microseconds.
    """
    count = len(ordered)
    a, b = (count + 1) * quantile, (count + 1) * (1 - quantile)
    reach = _reach(count, quantile)
    low = max(0, math.floor((quantile - reach) * count))
    high = min(count, math.ceil((quantile + reach) * count))
    weights = np.diff(betainc(a, b, np.arange(low, high + 1) / count))
    return float(weights @ ordered[low:high] / weights.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class WithinRun:
    """Variance of each log quantile by block bootstrap; ``drifting`` when blocks were too few to trust."""

    variances: tuple[float, ...]
    drifting: bool


def within_run(times_ns: Floats, quantiles: Sequence[float], seed: int) -> WithinRun:
    """
    How much the log of each quantile varies when time blocks of one run are drawn again.

    ``times_ns`` has shape (n,), n >= 20, all positive, in due order. Neighbouring requests
    resemble one another, so whole blocks longer than that memory are drawn, never single
    requests. Values are counted into rank bins first: a resample is then one row of a matrix
    product whatever n is.
    """
    count = len(times_ns)
    length, drifting = block_length(np.log(times_ns))
    blocks = max(2, min(count // length, _MAX_BLOCKS))
    edges = _rank_edges(count, quantiles)
    order = np.argsort(times_ns, kind="stable")
    bins = len(edges) - 1
    bin_of = np.empty(count, dtype=np.int64)
    bin_of[order] = np.repeat(np.arange(bins), np.diff(edges))
    block_of = np.arange(count, dtype=np.int64) * blocks // count
    counts = np.bincount(block_of * bins + bin_of, minlength=blocks * bins).reshape(blocks, bins)
    means = np.add.reduceat(times_ns[order], edges[:-1]) / np.diff(edges)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=_RESAMPLES).astype(np.float64)
    below = np.cumsum(draws @ counts, axis=1)  # whole numbers, so exact in float64 in any order
    share = below / below[:, -1:]
    few_blocks = blocks / (blocks - 1)  # drawing from k blocks understates the variance by (k - 1) / k
    variances = tuple(
        few_blocks * float(np.var(np.log(_binned_harrell_davis(share, means, count, quantile)), ddof=1))
        for quantile in quantiles
    )
    return WithinRun(variances=variances, drifting=drifting)


def block_length(values: Floats) -> tuple[int, bool]:
    """
    Block length in requests for a series in time order, and whether it had to be cut short.

    Three times the integrated autocorrelation time, at least the cube root of n, and short
    enough to leave ten blocks.
    """
    count = len(values)
    longest = max(1, count // _MIN_BLOCKS)
    wanted = max(count ** (1 / 3), 3 * autocorrelation_time(values))
    return min(math.ceil(wanted), longest), math.ceil(wanted) > 2 * longest


def autocorrelation_time(values: Floats) -> float:
    """1 + twice the sum of autocorrelations up to the first that chance explains; 1 for white noise."""
    count = len(values)
    centred = values - values.mean()
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    raw = np.fft.irfft(spectrum * np.conj(spectrum), size)[: min(count // 4, _MAX_LAG) + 1]
    if raw[0] <= 0:
        return 1.0
    correlation = raw[1:] / raw[0]
    small = np.flatnonzero(correlation < 2 / math.sqrt(count))
    stop = int(small[0]) if len(small) else len(correlation)
    return 1.0 + 2.0 * float(correlation[:stop].sum())


def _reach(count: int, quantile: float) -> float:
    """How far from ``quantile`` a share of the values can lie and still have weight."""
    return 1.0 if count < _SKEWED else _REACH_SD * math.sqrt(quantile * (1 - quantile) / (count + 2))


def _rank_edges(count: int, quantiles: Sequence[float]) -> Ints:
    """Bin edges in ranks from 0 to ``count``: every rank when few, else dense around each quantile."""
    if count <= 256:
        return np.arange(count + 1, dtype=np.int64)
    ranks = [np.linspace(0, count, 65)]
    for quantile in quantiles:
        spread = math.sqrt(quantile * (1 - quantile) / count)
        offsets = spread * np.geomspace(0.2, 1 / spread, 40) * count
        ranks += [quantile * count - offsets, quantile * count + offsets]
    edges = np.unique(np.clip(np.rint(np.concatenate(ranks)), 0, count).astype(np.int64))
    return np.asarray(edges, dtype=np.int64)


def _binned_harrell_davis(share: Floats, means: Floats, count: int, quantile: float) -> Floats:
    """Harrell-Davis of each resample (rows) from cumulative shares per bin; beta cdf from a table."""
    a, b = (count + 1) * quantile, (count + 1) * (1 - quantile)
    reach = _reach(count, quantile)
    low, high = max(0.0, quantile - reach), min(1.0, quantile + reach)
    cdf = betainc(a, b, np.linspace(low, high, _TABLE + 1))
    cdf[0], cdf[-1] = 0.0, 1.0
    # Linear interpolation by index: the grid is even, so np.interp's search is not needed.
    place = np.clip((share - low) * (_TABLE / (high - low)), 0, _TABLE - 1e-6)
    at = place.astype(np.int32)
    cdf = cdf[at] + (place - at) * np.diff(cdf)[at]
    weights = np.diff(cdf, axis=1, prepend=0.0)
    return np.asarray(weights @ means / weights.sum(axis=1), dtype=np.float64)
