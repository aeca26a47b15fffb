"""What a page draws beside the verdicts: response times of both sides by percentile and over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captures.errors import UsageError
from captures.units import NS_PER_MS, NS_PER_S
from replayer.quantiles import BEYOND
from replayer.results import Int64s, Outcome, Run
from replayer.review.quantile_estimates import Floats
from replayer.review.sides import NamedRun
from replayer.stages import parse_stages

PERCENTS = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
MOST_STEPS = 120
_FEWEST_STEPS = 12
_MOST_STAGES = 30
_A_STEP = 200  # answers, so that ten of them are beyond the p95
_FAILING_STATUS = 500

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCurves:
    """
    One side's requests of one endpoint, or of all, its runs taken together.

    ``percentiles_ms`` goes with ``PERCENTS`` and holds None where fewer than ten samples are
    beyond. The others have an entry a step: ``p50_ms`` and ``p95_ms`` of the answers to what was
    due in it (None with too few), ``offered`` and ``failed`` (no answer, or 500 and above) a
    second and run.
    """

    percentiles_ms: tuple[float | None, ...]
    p50_ms: tuple[float | None, ...]
    p95_ms: tuple[float | None, ...]
    offered: tuple[float, ...]
    failed: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """
    Both sides of one endpoint, or of all, in steps of ``step_s`` seconds from the first due request on.

    ``stages`` are the loads that were offered one after another, and when each began.
    """

    name: str
    step_s: float
    stages: tuple[tuple[str, float], ...]
    baseline: SideCurves
    candidate: SideCurves

    @property
    def starts_s(self) -> tuple[float, ...]:
        """When each step begins."""
        return tuple(_short(at * self.step_s) for at in range(len(self.baseline.offered)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """The rows of a side's runs in one; ``due_ns`` counts from each run's first due request."""

    runs: int
    label: NDArray[np.int64]  # of the endpoint, in the order of the labels asked for
    due_ns: Int64s
    times_ns: Int64s
    answered: Flags
    failed: Flags
    status_class: NDArray[np.uint8]


def curves_of(
    baseline: Sequence[NamedRun], candidate: Sequence[NamedRun], shown: Sequence[tuple[str, int]]
) -> list[Curves]:
    """
    Curves of all requests answered below 400, and then of each endpoint in ``shown``.

    ``shown`` names endpoints with the status class whose times were compared, 0 for any below 400.
    """
    labels = [label for label, _ in shown]
    sides = [_gather(runs, labels) for runs in (baseline, candidate)]
    span_ns = max((int(np.max(side.due_ns)) + 1 for side in sides if len(side.due_ns)), default=0)
    if not span_ns:
        return []
    stages = _stages(baseline[0].run)
    everything = [_curves("All requests", sides, None, 0, span_ns, stages)]
    return everything + [
        _curves(label, sides, number, status_class, span_ns, stages)
        for number, (label, status_class) in enumerate(shown)
    ]


def _gather(runs: Sequence[NamedRun], labels: Sequence[str]) -> _Side:
    numbers = {label: number for number, label in enumerate(labels)}
    parts = []
    for named in runs:
        rows = named.run.rows
        if not len(rows):
            continue
        known = np.array([numbers.get(label, -1) for label in named.run.header.endpoints], np.int64)
        completed = rows.outcome == Outcome.COMPLETED
        parts.append(
            (
                known[rows.endpoint],
                rows.due_ns - int(np.min(rows.due_ns)),
                rows.done_ns - rows.due_ns,
                completed & (rows.done_ns > rows.due_ns),
                ~completed | (rows.status >= _FAILING_STATUS),
                (rows.status // 100).astype(np.uint8),
            )
        )
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] or [np.empty(0, np.int64)] * 6
    return _Side(
        runs=len(runs), label=columns[0], due_ns=columns[1], times_ns=columns[2],
        answered=columns[3], failed=columns[4], status_class=columns[5],
    )  # fmt: skip


def _stages(run: Run) -> tuple[tuple[str, float], ...]:
    """Load and start of each stage of a run; empty for one of constant load."""
    if ":" not in run.header.speed:
        return ()
    try:
        stages = parse_stages(run.header.speed)[:_MOST_STAGES]
    except UsageError:  # what another release wrote must not cost the report
        return ()
    first_ns = int(np.min(run.rows.due_ns))
    return tuple((stage.text, _short(max(0, stage.start_ns - first_ns) / NS_PER_S)) for stage in stages)


def _curves(
    name: str,
    sides: Sequence[_Side],
    number: int | None,
    status_class: int,
    span_ns: int,
    stages: tuple[tuple[str, float], ...],
) -> Curves:
    masks = [np.ones(len(side.label), np.bool_) if number is None else side.label == number for side in sides]
    fewest = min(int(np.count_nonzero(mask)) for mask in masks)
    steps = min(MOST_STEPS, max(_FEWEST_STEPS, fewest // _A_STEP))
    step_ns = -(-span_ns // steps)
    drawn = [_draw(side, mask, status_class, steps, step_ns) for side, mask in zip(sides, masks, strict=True)]
    return Curves(name=name, step_s=step_ns / NS_PER_S, stages=stages, baseline=drawn[0], candidate=drawn[1])


def _draw(side: _Side, mask: Flags, status_class: int, steps: int, step_ns: int) -> SideCurves:
    step = side.due_ns[mask] // step_ns
    classes = side.status_class[mask]
    like = (classes == status_class) if status_class else (classes >= 1) & (classes <= 3)
    used = side.answered[mask] & like
    times, at = side.times_ns[mask][used], step[used]
    order = np.lexsort((times, at))
    times, stops = times[order], np.cumsum(np.bincount(at, minlength=steps))
    groups = [
        times[start:stop] for start, stop in zip((0, *stops[:-1].tolist()), stops.tolist(), strict=True)
    ]
    seconds = step_ns / NS_PER_S * max(1, side.runs)
    ordered = np.sort(times)
    return SideCurves(
        percentiles_ms=tuple(_percentile_ms(ordered, percent / 100) for percent in PERCENTS),
        p50_ms=tuple(_percentile_ms(group, 0.5) for group in groups),
        p95_ms=tuple(_percentile_ms(group, 0.95) for group in groups),
        offered=_rates(step, steps, seconds),
        failed=_rates(step[side.failed[mask]], steps, seconds),
    )


def _rates(step: Int64s, steps: int, seconds: float) -> tuple[float, ...]:
    counts: Floats = np.bincount(step, minlength=steps) / seconds
    return tuple(_short(rate) for rate in counts.tolist())


def _percentile_ms(ordered: Int64s, quantile: float) -> float | None:
    """Of sorted times; None when fewer than ten of them are beyond the quantile, on either side."""
    if round(len(ordered) * min(quantile, 1 - quantile), 6) < BEYOND:  # 100 * (1 - 0.9) is 9.99...98
        return None
    return _short(float(ordered[int(len(ordered) * quantile)]) / NS_PER_MS)


def _short(number: float) -> float:
    """Four significant digits are all that a chart shows."""
    return float(f"{number:.4g}")
