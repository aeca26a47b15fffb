"""
The noise ledger: how much replays of one build differ, per endpoint, learned from every review.

Each review is an A/A test of its own: a release moves all of its pairs alike, so what the pairs
differ by from one another is noise, whatever the release did. It is kept in two parts, since only
one of them gets smaller when a replay takes longer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from captures.codec import check_ints
from captures.errors import CaptureError, WriteError
from replayer.review.documents import read_document, write_document
from replayer.review.latency import MIN_REQUESTS, Measured, residuals_of
from replayer.review.quantile_estimates import Floats, harrell_davis, seed_of, within_run
from replayer.review.runlevel import ALPHA, Effect
from replayer.review.sides import EndpointSample, NamedRun, split_by_endpoint
from replayer.review.together import apart
from replayer.review.verdict import Options

FORMAT = 1
LEARNED = (0.5, 0.95)  # the quantiles that reviews are planned by; few have requests enough for more
_KIND = "hookreel noise ledger"
_MOST_ENTRIES = 200
_MOST_PAIRS = 1_000
_MOST_VARIANCE = 100.0  # of a log ratio: an sd of 20,000 times; a ratio of still more is too large a float
_MOST = 1e12  # of anything that a ledger counts or measures
_RUNS_LOOKED_INTO = 4  # what happens inside a run is much the same in all of them
_BORROWED = 4  # see ``moderation``: with enough endpoints a spread is some four times as well known
_ENOUGH_ENDPOINTS = 6

# Before anything is known: 3 % between runs on each side, and a request's own log sd of 0.5, which
# makes the variance of a log median 1.57 * 0.25 / n; of a p95 of that shape 4.5 * 0.25 / n.
ASSUMED_BETWEEN = 2 * 0.03**2
ASSUMED_WITHIN = {0.5: 2 * 1.57 * 0.25, 0.95: 2 * 4.5 * 0.25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """
    The variance of one pair's log ratio when both runs are of the same build.

    ``between`` stays however long a replay takes; ``within`` is divided by the requests of a run.
    ``df`` says how well it is known, 0 when it is assumed.
    """

    between: float
    within: float
    df: int = 0

    def of_a_pair(self, requests: float) -> float:
        """The variance with so many requests in each run."""
        return min(_MOST_VARIANCE, self.between + self.within / max(1.0, requests))

    def floor(self, pairs: int, requests: float) -> float:
        """The |log ratio| that 95 % of identical reviews of so many pairs stay below."""
        return float(stats.norm.ppf(0.975)) * math.sqrt(self.of_a_pair(requests) / pairs)

    def detectable(self, pairs: int, requests: float, endpoints: int) -> float:
        """The |log ratio| of 5 % or more that a review finds four times out of five."""
        df = (pairs - 1) * (_BORROWED if endpoints >= _ENOUGH_ENDPOINTS else 1)
        effect = Effect(log_ratio=0.0, se=math.sqrt(self.of_a_pair(requests) / pairs), df=df)
        return effect.detectable(ALPHA / (endpoints * len(LEARNED)), math.log(1.05))

    def pairs_for(self, ratio: float, requests: float, endpoints: int) -> int | None:
        """The fewest pairs with which a change to ``ratio`` is found; None above a thousand."""
        low, high = 3, _MOST_PAIRS
        if self.detectable(high, requests, endpoints) > math.log(ratio):
            return None
        while low < high:
            middle = (low + high) // 2
            if self.detectable(middle, requests, endpoints) <= math.log(ratio):
                high = middle
            else:
                low = middle + 1
        return low


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one review saw of an endpoint's quantile: the pairs' scatter about their mean."""

    endpoint: str
    quantile: float
    pairs: int
    requests: float
    squares: float
    within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """
    One review's share of the ledger.

    ``capture`` is the root of the capture's lineage, ``load`` what was offered in words, ``host``
    the class of the machine: reviews that differ in these say nothing of one another.
    ``overhead_s`` is what a replay took beyond its schedule: restoring state, starting, draining.
    """

    capture: str
    load: str
    host: str
    made_wall_ns: int
    overhead_s: float
    seen: tuple[Seen, ...]


def observe(baseline: Sequence[NamedRun], candidate: Sequence[NamedRun]) -> tuple[Seen, ...]:
    """The noise in interleaved pairs, the n-th of both sides together; nothing from fewer than three."""
    if len(baseline) != len(candidate) or len(baseline) < 3:
        return ()
    samples = [[split_by_endpoint(named.run) for named in side] for side in (baseline, candidate)]
    times: dict[str, Sequence[Sequence[Floats]]] = {}
    for label in sorted(set(samples[0][0]) & set(samples[1][0])):
        sides = [[sample.get(label, EndpointSample()) for sample in side] for side in samples]
        classes = set.intersection(*(set(sample.times_ns) for side in sides for sample in side))
        if not classes:
            continue
        kind = max(classes, key=lambda kind: (len(sides[0][0].times_ns[kind]), -kind))
        found = [[sample.times_ns[kind] for sample in side] for side in sides]
        if min(len(part) for side in found for part in side) >= MIN_REQUESTS:
            times[label] = found
    measured = {
        (label, quantile): _measured(quantile, found)
        for label, found in times.items()
        for quantile in LEARNED
    }
    # A comparison takes off what moves all endpoints together, so what is left is its noise.
    left = apart(measured, Options(paired=True)).measured
    return tuple(
        seen
        for label, found in times.items()
        for seen in _seen(label, found, [left[label, q] for q in LEARNED])
    )


def _measured(quantile: float, times: Sequence[Sequence[Floats]]) -> Measured:
    logs = [np.log([harrell_davis(np.sort(part), quantile) for part in side]) for side in times]
    return Measured(quantile=quantile, baseline=logs[0], candidate=logs[1])


def _seen(label: str, times: Sequence[Sequence[Floats]], measured: Sequence[Measured]) -> Iterator[Seen]:
    requests = float(np.mean([len(part) for side in times for part in side]))
    some = [part for pair in list(zip(*times, strict=True))[: _RUNS_LOOKED_INTO // 2] for part in pair]
    inside = [within_run(part, LEARNED, seed_of(label)).variances for part in some]
    for at, one in enumerate(measured):
        yield Seen(
            endpoint=label,
            quantile=one.quantile,
            pairs=len(one.baseline),
            requests=requests,
            squares=float(np.square(residuals_of(one, Options(paired=True))).sum()),
            within=2 * float(np.mean([variances[at] for variances in inside])) * requests,
        )


def learn(entries: Sequence[Entry], capture: str, load: str, host: str) -> dict[tuple[str, float], Noise]:
    """What entries of the same capture, load and host class say, by endpoint and quantile."""
    alike = [entry for entry in entries if (entry.capture, entry.load, entry.host) == (capture, load, host)]
    grouped: dict[tuple[str, float], list[Seen]] = {}
    for entry in alike:
        for seen in entry.seen:
            grouped.setdefault((seen.endpoint, seen.quantile), []).append(seen)
    return {key: _pooled(seen) for key, seen in grouped.items()}


def _pooled(seen: Sequence[Seen]) -> Noise:
    df = sum(one.pairs - 1 for one in seen)
    within = sum((one.pairs - 1) * one.within for one in seen) / df
    total = sum(one.squares for one in seen) / df
    inside = sum((one.pairs - 1) * within / one.requests for one in seen) / df
    return Noise(between=max(0.0, total - inside), within=within, df=df)


def floors(
    noise: Mapping[tuple[str, float], Noise], pairs: int, requests: Mapping[str, float]
) -> dict[tuple[str, float], float]:
    """The floor of each endpoint and quantile that is known, with so many ``requests`` of it in a run."""
    return {
        (label, quantile): found.floor(pairs, requests[label])
        for (label, quantile), found in noise.items()
        if label in requests
    }


def assumed(quantile: float) -> Noise:
    """What is supposed of an endpoint that no review has seen."""
    return Noise(between=ASSUMED_BETWEEN, within=ASSUMED_WITHIN[quantile])


def overhead_s(entries: Sequence[Entry], capture: str, host: str) -> float | None:
    """What a replay of this capture took beyond its schedule last time; None when it was never seen."""
    found = [entry.overhead_s for entry in entries if (entry.capture, entry.host) == (capture, host)]
    return found[-1] if found else None


def read_ledger(path: Path) -> tuple[Entry, ...]:
    """
    The entries of a ledger, oldest first; none when there is no such file.

    Raises:
        CaptureError: it is no ledger, or one of a newer hookreel.

    """
    if not path.exists():
        return ()
    values = read_document(path, kind=_KIND, newest=FORMAT, migrations={})
    try:
        return tuple(_entry(entry) for entry in values["entries"])
    except (LookupError, TypeError, ValueError):
        raise CaptureError(f"{path} is damaged; remove it to begin a new ledger.") from None


def _entry(values: Mapping[str, Any]) -> Entry:
    seen = tuple(Seen(**one) for one in values["seen"])
    for one in seen:
        _check_texts(one.endpoint)
        _check_sizes(one.requests, one.squares, one.within)
        check_ints(one.pairs)
        if one.quantile not in LEARNED or not 1 < one.pairs < _MOST or one.requests < 1:
            raise ValueError
    entry = Entry(**{**values, "seen": seen})
    _check_texts(entry.capture, entry.load, entry.host)
    _check_sizes(entry.overhead_s)
    check_ints(entry.made_wall_ns)
    return entry


def _check_texts(*texts: Any) -> None:
    if not all(type(text) is str for text in texts):
        raise TypeError


def _check_sizes(*numbers: Any) -> None:
    """Raise unless these are numbers that can be reckoned with; JSON permits NaN and any length of digits."""
    if not all(type(number) in {int, float} for number in numbers):
        raise TypeError
    if not all(0 <= number < _MOST for number in numbers):
        raise ValueError


def add_entry(path: Path, entry: Entry) -> None:
    """
    Append to the ledger, which keeps the latest two hundred entries.

    Raises:
        CaptureError: what is there is no ledger.
        WriteError: it cannot be written.

    """
    entries = [*read_ledger(path), entry][-_MOST_ENTRIES:]
    try:
        write_document(path, kind=_KIND, format_=FORMAT, values={"entries": [asdict(one) for one in entries]})
    except OSError as error:
        raise WriteError(f"{path} cannot be written ({error.strerror}); name another --ledger.") from error


def as_json(noise: Mapping[tuple[str, float], Noise]) -> str:
    """The noise by endpoint for programs; shares are of 1."""
    rows = [
        {"endpoint": label, "quantile": quantile, **asdict(found)}
        for (label, quantile), found in sorted(noise.items())
    ]
    return json.dumps(rows, indent=2)
