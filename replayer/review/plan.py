"""The plan of a review: how many pairs of how long replays, in which order, and what that will show."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from captures.errors import UsageError
from captures.text import counted
from captures.units import NS_PER_S, format_duration
from replayer.review.latency import MIN_REQUESTS
from replayer.review.ledger import LEARNED, Noise, assumed

MIN_PAIRS = 3  # fewer cannot be tested between runs
_MOST_PAIRS = 40
_SHORTEST_S = 5.0  # shorter replays are mostly start and end


class Side(StrEnum):
    """Which build is replayed against."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One replay of the plan; ``pair`` counts from 1."""

    pair: int
    side: Side

    @property
    def file_name(self) -> str:
        """What its run is called in the review's folder."""
        return f"{self.pair:02d}-{self.side}.run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """
    What a plan will be able to see: log ratios of the p50 by endpoint.

    ``unseen`` endpoints have too few requests to be judged at all. ``known`` says whether earlier
    reviews tell the noise; otherwise it is assumed.
    """

    detectable: Mapping[str, float]
    unseen: tuple[str, ...]
    known: bool

    @property
    def score(self) -> float:
        """The log ratio that half of all endpoints would show; infinite when most show nothing."""
        return median([*self.detectable.values(), *(math.inf for _ in self.unseen)] or [math.inf])

    @property
    def text(self) -> str:
        """One sentence for people."""
        if not self.detectable:
            return "No endpoint has enough requests to be judged; record or replay for longer."
        low, high = min(self.detectable.values()), max(self.detectable.values())
        usual = median(self.detectable.values())
        basis = "by earlier reviews" if self.known else "by an assumed noise, as no earlier review tells it"
        has = "has" if len(self.unseen) == 1 else "have"
        unseen = f"; {counted(len(self.unseen), 'endpoint')} {has} too few requests" if self.unseen else ""
        return (
            f"A change of p50 by +{math.expm1(usual):.0%} would be seen four times out of five on half of"
            f" the endpoints (+{math.expm1(low):.0%} to +{math.expm1(high):.0%}), {basis}{unseen}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """How many pairs, and how long each replay goes on; None for the whole capture."""

    pairs: int
    duration_ns: int | None


def order_of(pairs: int, seed: int) -> list[Turn]:
    """
    The replays in the order they are made: each pair together, its sides in random order.

    Half of the pairs begin with each side, so that being first costs neither.
    """
    first = [Side.BASELINE, Side.CANDIDATE] * math.ceil(pairs / 2)
    random.Random(seed).shuffle(first)  # noqa: S311  an order, not a secret
    other = {Side.BASELINE: Side.CANDIDATE, Side.CANDIDATE: Side.BASELINE}
    return [
        Turn(pair=number, side=side)
        for number, one in enumerate(first[:pairs], 1)
        for side in (one, other[one])
    ]


def prospect(
    requests: Mapping[str, float], noise: Mapping[tuple[str, float], Noise], pairs: int, quantile: float = 0.5
) -> Prospect:
    """What ``pairs`` pairs will see, with so many requests of each endpoint in a replay."""
    judged = {label: count for label, count in requests.items() if count >= MIN_REQUESTS}
    return Prospect(
        detectable={
            label: noise.get((label, quantile), assumed(quantile)).detectable(pairs, count, len(judged))
            for label, count in judged.items()
        },
        unseen=tuple(sorted(set(requests) - set(judged))),
        known=any((label, quantile) in noise for label in judged),
    )


def size_for(
    budget_ns: int,
    whole_ns: int,
    overhead_ns: int,
    requests: Mapping[str, float],
    noise: Mapping[tuple[str, float], Noise],
) -> Sizing:
    """
    The pairs and the length that see the smallest change within a budget.

    ``whole_ns`` is how long a replay of all takes and ``requests`` what it sends per endpoint;
    ``overhead_ns`` comes on top of each replay. More pairs tame the noise between runs, longer
    replays that inside them, and the noise says which is the larger.

    Raises:
        UsageError: not even three short pairs fit.

    """
    best: tuple[float, Sizing] | None = None
    for pairs in range(MIN_PAIRS, _MOST_PAIRS + 1):
        each_ns = budget_ns // (2 * pairs) - overhead_ns
        length_ns = min(each_ns, whole_ns)
        if length_ns <= 0 or length_ns < min(whole_ns, _SHORTEST_S * NS_PER_S):
            break
        share = length_ns / whole_ns if whole_ns else 1.0
        scaled = {label: count * share for label, count in requests.items()}
        seen = sum(prospect(scaled, noise, pairs, quantile).score for quantile in LEARNED)
        if best is None or seen < best[0]:
            whole = length_ns == whole_ns
            rounded = max(1, length_ns // 1_000_000) * 1_000_000
            best = seen, Sizing(pairs=pairs, duration_ns=None if whole else rounded)
    if best is None:
        least_ns = 2 * MIN_PAIRS * (min(whole_ns, int(_SHORTEST_S * NS_PER_S)) + overhead_ns)
        raise UsageError(
            f"A --budget of {format_duration(budget_ns)} is too little for {MIN_PAIRS} pairs of replays;"
            f" give at least {format_duration(least_ns)}."
        )
    return best[1]


def floor_rows(
    requests: Mapping[str, float], noise: Mapping[tuple[str, float], Noise], pairs: int
) -> Sequence[tuple[str, str, str]]:
    """For each endpoint of the ledger: its noise floor of p50 and p95, and the pairs that show +10 %."""
    rows = []
    labels = sorted({label for label, _ in noise if label in requests})
    for label in labels:
        known = {quantile: noise.get((label, quantile), assumed(quantile)) for quantile in LEARNED}
        floors = [math.expm1(known[quantile].floor(pairs, requests[label])) for quantile in LEARNED]
        needed = known[0.5].pairs_for(1.10, requests[label], len(labels))
        rows.append((label, " / ".join(f"{floor:.1%}" for floor in floors), str(needed or "> 1000")))
    return rows
