"""Quantiles of whole samples, as order statistics: no interpolation, no buckets."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from replayer.results import Int64s

LEVELS: dict[str, Fraction] = {
    "p50": Fraction(1, 2),
    "p90": Fraction(9, 10),
    "p99": Fraction(99, 100),
    "p999": Fraction(999, 1000),
}
BEYOND = 10  # samples above a quantile before it is worth printing


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """``p50`` to ``p999`` and ``max`` of ``count`` samples, in the samples' unit; 0 without samples."""

    count: int
    p50: int
    p90: int
    p99: int
    p999: int
    max: int

    def sound(self, name: str) -> bool:
        """Whether enough samples lie beyond the quantile for it to say something."""
        if name == "max":
            return self.count > 0
        return self.count * (1 - LEVELS[name]) >= BEYOND

    def numbers(self) -> dict[str, int]:
        """The five numbers by name."""
        return {"p50": self.p50, "p90": self.p90, "p99": self.p99, "p999": self.p999, "max": self.max}


def quantiles(samples: Int64s) -> Quantiles:
    """
    The quantiles of int64 ``samples`` of shape (n,).

    A quantile q is the smallest sample with at least the share q of all samples at or below
    it (the inverse of the empirical distribution), so it is always a value that was measured.
    """
    count = len(samples)
    if not count:
        return Quantiles(count=0, p50=0, p90=0, p99=0, p999=0, max=0)
    ranks = [max(0, -(-count * level.numerator // level.denominator) - 1) for level in LEVELS.values()]
    parted = np.partition(samples, sorted({*ranks, count - 1}))
    p50, p90, p99, p999 = (int(parted[rank]) for rank in ranks)
    return Quantiles(count=count, p50=p50, p90=p90, p99=p99, p999=p999, max=int(parted[-1]))
