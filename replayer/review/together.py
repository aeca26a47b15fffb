"""
What moves all endpoints of a run together: a busy neighbour, a clock that slows down, a cold cache.

Runs of one build differ from one another, and most of that all endpoints of a run have in common.
It says nothing about any of them, so it is taken off: what the middle one of the others did. But a
release may slow everything down alike. So the middle endpoint is tested first, as an endpoint of its
own, and nothing is taken off where its change is proven.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from replayer.review.latency import Measured, residuals_of
from replayer.review.multiplicity import within_endpoint
from replayer.review.quantile_estimates import Floats
from replayer.review.runlevel import ALPHA, paired, welch
from replayer.review.verdict import QUANTILES, Options

Key: TypeAlias = tuple[str, float]
"""An endpoint label and a quantile."""

SHARED_ALPHA = 0.01  # of the 5 % of reports that may raise a false alarm; the rest is left to endpoints
_FEWEST = 6  # endpoints; the middle one of fewer is no measure of the machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """
    The quantiles to test, by endpoint, without what runs have in common.

    ``taken_off`` says whether anything was; ``proven`` that all endpoints moved by more than runs do,
    so that nothing was. ``alpha`` is what is left for the tests of the endpoints.
    """

    measured: Mapping[Key, Measured]
    taken_off: bool = False
    proven: bool = False

    @property
    def alpha(self) -> float:
        """The share of identical builds in which any endpoint may be named."""
        return ALPHA - SHARED_ALPHA if self.taken_off else ALPHA


def apart(measured: Mapping[Key, Measured], options: Options) -> Together:
    """What endpoints did apart from one another; every value has the same runs, 3 or more on each side."""
    found: dict[Key, Measured] = {}
    ps: dict[float, float] = {}
    for quantile in QUANTILES:
        keys = [key for key in measured if key[1] == quantile]
        if len(keys) < _FEWEST:
            continue
        middle, own = _split([measured[key] for key in keys])
        test = paired if options.paired else welch
        effect = test(middle.baseline, middle.candidate, 0)
        if effect is None or _scatter(own, options) >= _scatter([measured[key] for key in keys], options):
            continue
        ps[quantile] = effect.p
        found |= dict(zip(keys, own, strict=True))
    if not found:
        return Together(measured=measured)
    if min(within_endpoint(ps).values()) <= SHARED_ALPHA:
        return Together(measured=measured, proven=True)
    return Together(measured={**measured, **found}, taken_off=True)


def _split(endpoints: Sequence[Measured]) -> tuple[Measured, list[Measured]]:
    """What the middle endpoint did, and each endpoint without what the middle one of the others did."""
    runs = len(endpoints[0].baseline)
    logs = np.stack([np.concatenate((one.baseline, one.candidate)) for one in endpoints])
    sides = logs[:, :runs].mean(axis=1, keepdims=True), logs[:, runs:].mean(axis=1, keepdims=True)
    moved = logs - (sides[0] + sides[1]) / 2
    middle = np.median(moved, axis=0)
    own = []
    for at, one in enumerate(endpoints):
        others = np.median(np.delete(moved, at, axis=0), axis=0)
        left = logs[at] - others
        own.append(replace(one, baseline=left[:runs], candidate=left[runs:]))
    return replace(endpoints[0], baseline=middle[:runs], candidate=middle[runs:]), own


def _scatter(endpoints: Sequence[Measured], options: Options) -> float:
    """The variance between runs, or pairs of them, of a usual endpoint."""
    residuals: Floats = np.stack([residuals_of(one, options) for one in endpoints])
    return float(np.median(np.square(residuals).mean(axis=1)))
