"""Traffic over time in equal steps, as fine or coarse as whoever draws it wants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captures.units import NS_PER_MS, NS_PER_S, NS_PER_US

Counts = NDArray[np.int64]
FINE_STEPS = 4800  # messages are counted in so many steps, since keeping each one's time has no bound

_MINUTE_NS, _HOUR_NS, _DAY_NS = 60 * NS_PER_S, 3600 * NS_PER_S, 86_400 * NS_PER_S
_NICE_NS = (
    *sorted(digits * 10**power for power in range(8) for digits in (10, 15, 20, 25, 30, 40, 50, 60, 80)),
    *(tenths * NS_PER_S // 10 for tenths in (10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400)),
    *(minutes * _MINUTE_NS for minutes in (1, 2, 3, 4, 5, 6, 10, 15, 20, 30)),
    *(hours * _HOUR_NS for hours in (1, 2, 3, 4, 6, 8, 12)),
)
# So few that nearly every larger step is a multiple of each.
_FINE_NS = (
    *(digit * 10**power for power in range(10) for digit in (1, 2, 5)),
    *(seconds * NS_PER_S for seconds in (10, 20, 60, 120, 300, 600, 1800, 3600, 10_800, 21_600)),
)
_ROUND = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
_LONG_UNITS = (
    (_DAY_NS, _DAY_NS, "d", _HOUR_NS, "h"),
    (_HOUR_NS, _HOUR_NS, "h", _MINUTE_NS, "min"),
    (2 * _MINUTE_NS, _MINUTE_NS, "min", NS_PER_S, "s"),
)


def nice_step_ns(span_ns: int, columns: int, *, multiple_of_ns: int = 1) -> int:
    """
    The smallest round step, from ns to days, that covers ``span_ns`` in at most ``columns`` steps.

    It is a multiple of ``multiple_of_ns``, which must be a fine step.
    """
    return _smallest(_NICE_NS, span_ns, columns, multiple_of_ns)


def fine_step_ns(span_ns: int) -> int:
    """The step in which ``span_ns`` has at most ``FINE_STEPS`` steps, of which others can be multiples."""
    return _smallest(_FINE_NS, span_ns, FINE_STEPS, 1)


def _smallest(steps_ns: Sequence[int], span_ns: int, columns: int, multiple_of_ns: int) -> int:
    for step_ns in steps_ns:
        if step_ns % multiple_of_ns == 0 and step_ns * columns > span_ns:
            return step_ns
    whole_days_ns = max(_DAY_NS, multiple_of_ns)
    return whole_days_ns * -(-(span_ns + 1) // (whole_days_ns * columns))


def format_span(span_ns: int) -> str:
    """A length of time as people say it: ``"250 ms"``, ``"90 s"``, ``"2 h 5 min"``, ``"3 d 4 h"``."""
    for least_ns, unit_ns, unit, part_ns, part in _LONG_UNITS:
        if span_ns >= least_ns:
            whole, rest_ns = divmod(round(span_ns / part_ns) * part_ns, unit_ns)
            return f"{whole} {unit} {rest_ns // part_ns} {part}" if rest_ns else f"{whole} {unit}"
    for unit_ns, unit in ((NS_PER_S, "s"), (NS_PER_MS, "ms"), (NS_PER_US, "us")):
        if span_ns >= unit_ns:
            return f"{float(f'{span_ns / unit_ns:.4g}'):g} {unit}"
    return f"{span_ns} ns"


def round_up(value: float) -> float:
    """The next round number, at most half as much again, for the end of an axis; ``value`` is above 0."""
    power = 10.0 ** np.floor(np.log10(value))
    slightly_less = value * (1 - 1e-9)  # 0.3 is a little more than 3 * 0.1
    return float(next(digits * power for digits in _ROUND if digits * power >= slightly_less))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """
    Traffic in steps of ``step_ns``, from the first request on; all arrays have one entry a step.

    ``failed`` counts responses of 500 and above and exchanges without a whole response,
    ``refused`` those with a status from 400 to 499; both are part of ``exchanges``.
    ``p50_ns`` and ``p99_ns`` are of the service times of the requests of that step, NaN for
    none. ``messages`` counts WebSocket messages and SSE events.
    """

    step_ns: int
    exchanges: Counts
    refused: Counts
    failed: Counts
    messages: Counts
    p50_ns: NDArray[np.float64]
    p99_ns: NDArray[np.float64]

    @property
    def span_ns(self) -> int:
        """What all steps cover together."""
        return self.step_ns * len(self.exchanges)

    def a_second(self, counts: Counts) -> NDArray[np.float64]:
        """Counts of steps as rates."""
        return counts.astype(np.float64) * (NS_PER_S / self.step_ns)

    def as_json(self) -> dict[str, Any]:
        """Plain lists; a quantile of nothing is None."""
        return {
            "step_ns": self.step_ns,
            "exchanges": self.exchanges.tolist(),
            "refused": self.refused.tolist(),
            "failed": self.failed.tolist(),
            "messages": self.messages.tolist(),
            "p50_ns": [None if np.isnan(value) else round(value) for value in self.p50_ns],
            "p99_ns": [None if np.isnan(value) else round(value) for value in self.p99_ns],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """
    What timelines are made from.

    ``offset_ns``, ``status`` (0 for a failure) and ``service_ns`` (-1 for none) have one entry
    an exchange in send order; ``messages`` counts by fine step.
    """

    span_ns: int
    offset_ns: Counts
    status: NDArray[np.uint16]
    service_ns: Counts
    messages: MessageSteps

    def timeline(self, columns: int) -> Timeline:
        """The traffic in at most ``columns`` steps."""
        step_ns = nice_step_ns(self.span_ns, columns, multiple_of_ns=self.messages.step_ns)
        steps = self.span_ns // step_ns + 1
        first_ns = int(self.offset_ns[0]) if len(self.offset_ns) else 0
        step_of = np.clip((self.offset_ns - first_ns) // step_ns, 0, steps - 1)
        status = self.status
        p50_ns, p99_ns = _quantiles(step_of, self.service_ns, steps)
        return Timeline(
            step_ns=step_ns,
            exchanges=_count(step_of, steps),
            refused=_count(step_of[(status >= 400) & (status < 500)], steps),
            failed=_count(step_of[(status >= 500) | (status == 0)], steps),
            messages=self.messages.grouped(step_ns, steps),
            p50_ns=p50_ns,
            p99_ns=p99_ns,
        )


@dataclass(slots=True, kw_only=True)
class MessageSteps:
    """Counts messages by fine step, in memory that does not depend on their number."""

    first_ns: int
    span_ns: int
    step_ns: int = field(init=False)
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.step_ns = fine_step_ns(self.span_ns)
        self.counts = np.zeros(self.span_ns // self.step_ns + 1, np.int64)

    def add(self, offsets_ns: Iterable[int]) -> None:
        """Counts messages with these offsets."""
        times = np.fromiter(offsets_ns, np.int64)
        steps = np.clip((times - self.first_ns) // self.step_ns, 0, len(self.counts) - 1)
        self.counts += _count(steps, len(self.counts))

    def grouped(self, step_ns: int, steps: int) -> Counts:
        """Counts in ``steps`` coarser steps; ``step_ns`` is a multiple of the fine one."""
        step_of = np.arange(len(self.counts)) // (step_ns // self.step_ns)
        grouped = np.bincount(np.minimum(step_of, steps - 1), weights=self.counts, minlength=steps)
        return grouped.astype(np.int64)


def _count(step_of: Counts, steps: int) -> Counts:
    return np.bincount(step_of, minlength=steps).astype(np.int64)


def _quantiles(
    step_of: Counts, service_ns: Counts, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    p50_ns, p99_ns = np.full(steps, np.nan), np.full(steps, np.nan)
    known = service_ns >= 0
    step_of, service_ns = step_of[known], service_ns[known]
    # Exchanges come in send order, so those of a step stand together.
    edges = np.searchsorted(step_of, np.arange(steps + 1))
    for step in np.flatnonzero(np.diff(edges)).tolist():
        values = service_ns[edges[step] : edges[step + 1]]
        p50_ns[step], p99_ns[step] = np.quantile(values, (0.5, 0.99))
    return p50_ns, p99_ns
