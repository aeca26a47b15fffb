"""Was a target given more than it can do: does the number of unanswered requests keep growing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy import stats

from replayer.load import parse_rate
from replayer.results import NEVER_NS, Int64s, Run
from replayer.review.quantile_estimates import Floats
from replayer.schedule import UPGRADED
from replayer.stages import parse_stages

_WINDOWS = 16
_WARM_UP = 4  # windows in which an idle target fills up to its usual level
_MIN_SENDS = 200
_SURE = 0.001  # p of Kendall's tau; neighbouring windows resemble one another, so 5 % would be too easy
_MIN_UNANSWERED = 0.02  # of what was sent meanwhile; a queue at 95 % load wanders by less
_MIN_GROWTH = 0.5  # of where it began
_MIN_MORE = 4.0  # requests in flight
_HEADROOM = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """
    A stage of constant load in which requests in flight kept growing.

    ``stage`` is its load (``10x``); ``before`` and ``after`` are requests in flight on the trend
    line at its ends; ``answered`` the share of the requests sent meanwhile that the target kept up
    with; ``advised`` a load with headroom below that.
    """

    stage: str
    before: float
    after: float
    answered: float
    advised: str

    @property
    def text(self) -> str:
        """One sentence for a report."""
        return (
            f"SATURATED at {self.stage}: requests in flight rose from {self.before:.0f} to {self.after:.0f},"
            f" as the target answered {self.answered:.0%} of what was sent; replay at {self.advised} or less."
        )


def saturation(run: Run) -> Saturation | None:
    """
    The first stage of constant load in which the target fell behind; None for a run that was kept up with.

    A queue that is served more slowly than it fills has no steady state: its latency says how
    long the run was, not how fast the target is. A rising tail alone is no sign of that.
    WebSocket sessions are left out, as they are open for as long as they were recorded.
    """
    rows = run.rows
    counted = (rows.sent_ns != NEVER_NS) & (rows.done_ns != NEVER_NS) & (rows.recorded_status != UPGRADED)
    sent_ns, done_ns = np.sort(rows.sent_ns[counted]), np.sort(rows.done_ns[counted])
    if len(sent_ns) < _MIN_SENDS:
        return None
    for stage, start_ns, stop_ns in _constant_stages(run.header.speed, sent_ns):
        found = _rising(sent_ns, done_ns, start_ns, stop_ns)
        if found is not None:
            before, after, answered = found
            advised = _less(stage, answered * _HEADROOM)
            return Saturation(stage=stage, before=before, after=after, answered=answered, advised=advised)
    return None


def _constant_stages(speed: str, sent_ns: Int64s) -> Iterator[tuple[str, int, int]]:
    """Load, start and stop in run time; a ramp is no constant stage."""
    last_ns = int(sent_ns[-1])
    if ":" not in speed:
        yield speed, int(sent_ns[0]), last_ns
        return
    for stage in parse_stages(speed):
        if stage.first == stage.last:
            yield stage.text, stage.start_ns, min(stage.stop_ns, last_ns)


def _rising(
    sent_ns: Int64s, done_ns: Int64s, start_ns: int, stop_ns: int
) -> tuple[float, float, float] | None:
    """In flight at both ends of the trend and the share answered; None without a trend that matters."""
    edges = np.linspace(start_ns, stop_ns, _WINDOWS + 1)[_WARM_UP:]
    sends = int(np.searchsorted(sent_ns, edges[-1]) - np.searchsorted(sent_ns, edges[0]))
    if sends < _MIN_SENDS or edges[-1] <= edges[0]:
        return None
    level = np.diff(_in_flight_integral(sent_ns, done_ns, edges)) / np.diff(edges)
    at = np.arange(len(level))
    trend = stats.kendalltau(at, level)
    slope, middle, *_ = stats.theilslopes(level, at)
    before, after = max(0.0, float(middle)), float(middle + slope * at[-1])
    more = after - before
    grew = more >= max(_MIN_MORE, _MIN_GROWTH * before, _MIN_UNANSWERED * sends)
    if not grew or not trend.statistic > 0 or trend.pvalue > _SURE:
        return None
    return before, after, max(0.0, 1 - more / sends)


def _in_flight_integral(sent_ns: Int64s, done_ns: Int64s, edges: Floats) -> Floats:
    """Requests in flight times ns, from the beginning up to each edge; both columns sorted."""

    def since(times_ns: Int64s) -> Floats:
        before = np.searchsorted(times_ns, edges)
        total = np.concatenate(([0.0], np.cumsum(times_ns, dtype=np.float64)))[before]
        return np.asarray(before * edges - total, dtype=np.float64)

    return since(sent_ns) - since(done_ns)


def _less(load: str, share: float) -> str:
    """A load of ``share`` of this one, in two digits, written as it was: ``8.1x``, ``450/s``."""
    rate = load.endswith("/s")
    now = parse_rate(load) if rate else parse_stages(f"{load}:1s")[0].first
    wanted = float(now) * share
    step = 10.0 ** (math.floor(math.log10(wanted)) - 1) if wanted > 0 else 1.0
    less = Fraction(math.floor(wanted / step)) * Fraction(step).limit_denominator(10**9)
    return f"{float(less):g}{'/s' if rate else 'x'}"
