"""From measured quantiles to claims: tests of all endpoints together, and what may be said of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from replayer.review.latency import (
    Changed,
    EndpointTimes,
    Measured,
    effect_of,
    judge,
    residuals_of,
    shared_sds,
)
from replayer.review.moderation import moderate
from replayer.review.multiplicity import level_of, over_endpoints, to_name, within_endpoint
from replayer.review.runlevel import ALPHA, Effect
from replayer.review.together import Key, Together, apart
from replayer.review.verdict import QUANTILES, Options, QuantileResult, Verdict

_FEWEST_MOVED = 4  # endpoints; the middle one of fewer says nothing of the others
_CLAIMS = (Verdict.SLOWER, Verdict.FASTER)

Effects: TypeAlias = dict[Key, tuple[Measured, Effect]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """
    What the response times of both sides say.

    ``quantiles`` has the judged quantiles by endpoint; ``suspected`` the endpoints that seem to have
    changed, not surely enough to be named beside the others. ``shared_shift`` is the ratio by which the
    middle endpoint moved, None with too few endpoints; ``taken_off`` says that ratios are without it.
    """

    quantiles: Mapping[str, tuple[QuantileResult, ...]]
    suspected: Mapping[str, QuantileResult] = field(default_factory=dict)
    tests: int = 0
    shared_shift: float | None = None
    taken_off: bool = False


def claims_of(
    endpoints: Mapping[str, EndpointTimes],
    options: Options,
    *,
    few: bool,
    floors: Mapping[Key, float] | None = None,
) -> Claims:
    """
    Test every quantile that was measured; ``few`` says that runs cannot be tested against each other.

    ``floors`` has the |log ratio| that identical builds stay below, of what earlier reviews have seen.
    """
    measured = {(label, one.quantile): one for label, times in endpoints.items() for one in times.measured}
    shared = _shared(endpoints)
    together = Together(measured=measured) if few else apart(measured, options)
    absolute = _effects(measured, shared, options, few=few)
    own = _effects(together.measured, shared, options, few=few) if together.taken_off else absolute
    tested = {
        key: Changed(measured=measured[key], absolute=absolute[key][1], own=effect)
        for key, (_, effect) in own.items()
        if key in absolute
    }
    within = {label: within_endpoint(ps) for label, ps in _by_label(tested).items()}
    ps = {label: min(adjusted.values()) for label, adjusted in within.items()}
    over = dict(zip(ps, over_endpoints(list(ps.values())), strict=True))
    judged: dict[str, list[QuantileResult]] = {label: [] for label in endpoints}
    for (label, quantile), test in tested.items():
        level = level_of(quantile, list(within[label]), together.alpha, len(ps))
        # Within an endpoint 5 % is left whatever was spent on the middle one.
        passes = within[label][quantile] <= ALPHA and over[label] <= together.alpha
        p = max(within[label][quantile], over[label])
        known = (floors or {}).get((label, quantile), 0.0)
        judged[label].append(judge(test, p, options, passes=passes, level=level, known=known))
    results = {label: tuple(found) for label, found in judged.items()}
    moved = [times.shifts[0.5] for times in endpoints.values() if times.shifts]
    claims = Claims(
        quantiles=results,
        tests=len(tested),
        shared_shift=math.exp(float(np.median(moved))) if len(moved) >= _FEWEST_MOVED else None,
        taken_off=together.taken_off,
    )
    return claims if together.proven else _less_sure(claims, ps)


def _by_label(tested: Mapping[Key, Changed]) -> dict[str, dict[float, float]]:
    """The p of each quantile by endpoint."""
    found: dict[str, dict[float, float]] = {}
    for (label, quantile), test in tested.items():
        found.setdefault(label, {})[quantile] = test.own.p
    return found


def _shared(endpoints: Mapping[str, EndpointTimes]) -> dict[Key, float]:
    """How far the other endpoints moved, as ``shared_sds`` has it."""
    seen = {label: times.shifts for label, times in endpoints.items() if times.shifts}
    return {
        (label, quantile): sd
        for quantile in QUANTILES
        for label, sd in zip(seen, shared_sds([shifts[quantile] for shifts in seen.values()]), strict=True)
    }


def _effects(
    measured: Mapping[Key, Measured], shared: Mapping[Key, float], options: Options, *, few: bool
) -> Effects:
    """Every effect that can be computed, with what endpoints show of each other's spread between runs."""
    effects: Effects = {}
    for key, one in measured.items():
        effect = effect_of(one, shared[key], options, f"{key[0]}\0{key[1]}")
        if effect is not None:
            effects[key] = one, effect
    if few:
        return effects
    found = dict(effects)
    for quantile in QUANTILES:
        here = [key for key in effects if key[1] == quantile]
        residuals = [residuals_of(effects[key][0], options) for key in here]
        moderated = moderate([effects[key][1] for key in here], residuals)
        found |= {key: (effects[key][0], effect) for key, effect in zip(here, moderated, strict=True)}
    return found


def _less_sure(claims: Claims, ps: Mapping[str, float]) -> Claims:
    """The claims with only those endpoints named that are sure; of the others it is said where to look."""
    changed = {
        label: next(one for one in found if one.verdict in _CLAIMS)
        for label, found in claims.quantiles.items()
        if any(one.verdict in _CLAIMS for one in found)
    }
    named = to_name(ps, frozenset(changed))
    suspected = {label: one for label, one in changed.items() if label not in named}
    quantiles = {
        label: tuple(_undecided(one) for one in found) if label in suspected else found
        for label, found in claims.quantiles.items()
    }
    return replace(claims, quantiles=quantiles, suspected=suspected)


def _undecided(result: QuantileResult) -> QuantileResult:
    return replace(result, verdict=Verdict.INCONCLUSIVE) if result.verdict in _CLAIMS else result
