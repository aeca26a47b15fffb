"""Many tests in one report: how often any of them may be wrong, and which endpoints may be named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

BESIDE_ALPHA = 0.005
"""The share of reports in which an unchanged endpoint may be named beside one that did change."""

_WEIGHTS = {0.5: 4.0, 0.95: 2.0, 0.99: 1.0}  # the median is known best, so it tells most changes


def within_endpoint(ps: Mapping[float, float]) -> dict[float, float]:
    """
    Adjusted p of the quantiles of one endpoint: Simes' test with weights.

    The least of them is the p of the endpoint. A change that shows in three quantiles is one finding,
    and one that shows in the median alone pays little for the others having been looked at.
    """
    total = sum(_WEIGHTS[quantile] for quantile in ps)
    ordered = sorted(ps, key=lambda quantile: (ps[quantile], -_WEIGHTS[quantile]))
    shares = np.cumsum([_WEIGHTS[quantile] / total for quantile in ordered])
    raised = np.array([ps[quantile] for quantile in ordered]) / shares
    adjusted = np.minimum(1.0, np.minimum.accumulate(raised[::-1])[::-1])
    return dict(zip(ordered, adjusted.tolist(), strict=True))


def level_of(quantile: float, judged: Sequence[float], alpha: float, endpoints: int) -> float:
    """The level at which a change of one quantile of one endpoint is found, of so many endpoints."""
    return alpha * _WEIGHTS[quantile] / sum(_WEIGHTS[one] for one in judged) / max(1, endpoints)


def over_endpoints(ps: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg adjusted p values in the order given."""
    if not ps:
        return []
    return [float(p) for p in stats.false_discovery_control(np.clip(ps, 0.0, 1.0), method="bh")]


def to_name(ps: Mapping[str, float], called: frozenset[str]) -> frozenset[str]:
    """
    Which of the ``called`` endpoints are named for sure; ``ps`` has the p of every tested endpoint.

    Benjamini-Hochberg lets one in twenty of what it finds be wrong, so beside one endpoint that did
    change it names an unchanged one in one report of twelve. The surest is named because the report as
    a whole is right; each further one must pass Holm's test at 0.5 %.
    """
    ordered = sorted(ps, key=lambda label: (ps[label], label))
    first = next((label for label in ordered if label in called), None)
    named = {first} if first is not None else set()
    for rank, label in enumerate(ordered):
        if ps[label] * (len(ordered) - rank) > BESIDE_ALPHA:
            break
        named |= {label} & called
    return frozenset(named)
