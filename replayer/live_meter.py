"""How a run goes while it goes, read from its results as they are written. No clock and no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from captures.units import NS_PER_S, NS_PER_US
from replayer.board import Share
from replayer.columns import Cells
from replayer.results import ERROR_STATUS, NEVER_NS, Int64s, Outcome
from replayer.schedule import Schedule

_BINS_A_DECADE = 100  # so a quantile of a whole run is off by a hundredth or so
_SETTLE_NS = NS_PER_S // 4  # results of a second are written some time after it, by whoever is late
_BINS = 9 * _BINS_A_DECADE  # from a microsecond to a quarter of an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """
    One second of a run, the one from ``second`` (run time) on.

    ``due`` counts exchanges that were to be sent in it, ``sent`` those that were, ``done`` those that
    completed, ``errors`` those that failed or were answered with 500 and above. Lag is of what was
    sent in it, response time (from due) of what completed in it; None where there was none.
    ``waiting`` are in flight at its end.
    """

    second: int
    due: int
    sent: int
    done: int
    errors: int
    waiting: int
    lag_p50_ns: float | None
    lag_p99_ns: float | None
    lag_max_ns: float | None
    response_p50_ns: float | None
    response_p99_ns: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLine:
    """A stage so far; quantiles are of response times, None before one is known."""

    name: str
    start_ns: int
    stop_ns: int
    total: int
    sent: int
    errors: int
    response_p50_ns: float | None
    response_p99_ns: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """
    A run at ``now_ns`` (run time, below 0 until it starts): its last whole second and all before.

    ``dropped`` were due and not sent. ``duration_ns`` is when the last exchange is due. Quantiles are of the
    whole run so far.
    """

    now_ns: int
    duration_ns: int
    total: int
    due: int
    sent: int
    done: int
    errors: int
    dropped: int
    pulse: Pulse | None
    lag_p50_ns: float | None
    lag_p99_ns: float | None
    lag_max_ns: float | None
    response_p50_ns: float | None
    response_p99_ns: float | None
    stages: tuple[StageLine, ...]

    @property
    def waiting(self) -> int:
        """In flight at the end of the last whole second."""
        return 0 if self.pulse is None else self.pulse.waiting


class _Tally:
    """Times counted in bins of equal ratio, for quantiles of more than can be kept."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self._max_ns: int | None = None

    def add(self, times_ns: Int64s) -> None:
        if not len(times_ns):
            return
        bins = np.log10(np.maximum(times_ns, NS_PER_US) / NS_PER_US) * _BINS_A_DECADE
        self._counts += np.bincount(np.minimum(bins.astype(np.int64), _BINS - 1), minlength=_BINS)
        self._max_ns = max(int(np.max(times_ns)), self._max_ns or 0)

    @property
    def max_ns(self) -> float | None:
        return self._max_ns

    def quantile_ns(self, level: float) -> float | None:
        total = int(self._counts.sum())
        if not total:
            return None
        number = int(np.searchsorted(np.cumsum(self._counts), level * total))
        middle_ns = float(NS_PER_US * 10 ** ((number + 0.5) / _BINS_A_DECADE))
        return min(middle_ns, float(self._max_ns or 0))


class _Stage:
    """What is known of the rows that are due from ``start_ns`` to ``stop_ns``."""

    def __init__(self, name: str, start_ns: int, stop_ns: int, total: int) -> None:
        self.name = name
        self.start_ns = start_ns
        self.stop_ns = stop_ns
        self.total = total
        self.sent = self.errors = 0
        self.responses = _Tally()

    def line(self) -> StageLine:
        return StageLine(
            name=self.name,
            start_ns=self.start_ns,
            stop_ns=self.stop_ns,
            total=self.total,
            sent=self.sent,
            errors=self.errors,
            response_p50_ns=self.responses.quantile_ns(0.5),
            response_p99_ns=self.responses.quantile_ns(0.99),
        )


class _Lane:
    """One process's rows; those below ``low`` are over and not looked at again, others may be ``told``."""

    def __init__(self, due_ns: Int64s, cells: Cells) -> None:
        self.due_ns = due_ns
        self.cells = cells
        self.low = 0
        self.told = np.zeros(len(due_ns), np.bool_)  # how they ended


@dataclass(slots=True)
class _Second:
    """What the lanes have in one second."""

    due: int = 0
    errors: int = 0
    waiting: int = 0


class Meter:
    """
    Reads the results of a run, second by second; ``shares`` are the rows and cells of each process.

    ``next_ns`` is the run time from which on another second can be read.
    """

    def __init__(self, schedule: Schedule, shares: Sequence[Share]) -> None:
        self._lanes = [_Lane(schedule.due_ns[share.rows], share.cells) for share in shares]
        self._total = len(schedule)
        self._duration_ns = schedule.duration_ns
        bounds = [stage.stop_ns for stage in schedule.load.stages]
        edges = [0, *np.searchsorted(schedule.due_ns, bounds).tolist()]
        self._stages = [
            _Stage(stage.text, stage.start_ns, stage.stop_ns, stop - start)
            for stage, (start, stop) in zip(schedule.load.stages, pairwise(edges), strict=True)
        ]
        self._stage_bounds = np.array(bounds[:-1], np.int64)
        self._next_second = 0
        self._sent = self._done = self._errors = self._due = self._dropped = 0
        self._lags, self._responses = _Tally(), _Tally()
        self.pulses: list[Pulse] = []

    @property
    def next_ns(self) -> int:
        """When the next second is over, and its results are written."""
        return (self._next_second + 1) * NS_PER_S + _SETTLE_NS

    def read(self, now_ns: int) -> Reading:
        """The run at run time ``now_ns``; ``pulses`` get every second that ended since the last reading."""
        while now_ns >= self.next_ns:
            self.pulses.append(self._pulse(self._next_second))
            self._next_second += 1
        return self._reading(now_ns)

    def _reading(self, now_ns: int) -> Reading:
        return Reading(
            now_ns=now_ns,
            duration_ns=self._duration_ns,
            total=self._total,
            due=self._due,
            sent=self._sent,
            done=self._done,
            errors=self._errors,
            dropped=self._dropped,
            pulse=self.pulses[-1] if self.pulses else None,
            lag_p50_ns=self._lags.quantile_ns(0.5),
            lag_p99_ns=self._lags.quantile_ns(0.99),
            lag_max_ns=self._lags.max_ns,
            response_p50_ns=self._responses.quantile_ns(0.5),
            response_p99_ns=self._responses.quantile_ns(0.99),
            stages=tuple(stage.line() for stage in self._stages),
        )

    def end(self, now_ns: int) -> Reading:
        """The run after its end; what is left of its last second counts, but makes no pulse."""
        while now_ns >= (self._next_second + 1) * NS_PER_S:
            self.pulses.append(self._pulse(self._next_second))
            self._next_second += 1
        self._pulse(self._next_second)
        return self._reading(now_ns)

    def _pulse(self, second: int) -> Pulse:
        start_ns, stop_ns = second * NS_PER_S, (second + 1) * NS_PER_S
        found = _Second()
        lags: list[Int64s] = []
        responses: list[Int64s] = []
        for lane in self._lanes:
            lag_ns, response_ns = self._look(lane, start_ns, stop_ns, found)
            lags.append(lag_ns)
            responses.append(response_ns)
        lag_ns, response_ns = np.concatenate(lags), np.concatenate(responses)
        self._lags.add(lag_ns)
        self._responses.add(response_ns)
        self._due += found.due
        self._sent += len(lag_ns)
        self._done += len(response_ns)
        self._errors += found.errors
        return Pulse(
            second=second,
            due=found.due,
            sent=len(lag_ns),
            done=len(response_ns),
            errors=found.errors,
            waiting=found.waiting,
            lag_p50_ns=_quantile(lag_ns, 0.5),
            lag_p99_ns=_quantile(lag_ns, 0.99),
            lag_max_ns=_quantile(lag_ns, 1.0),
            response_p50_ns=_quantile(response_ns, 0.5),
            response_p99_ns=_quantile(response_ns, 0.99),
        )

    def _look(self, lane: _Lane, start_ns: int, stop_ns: int, found: _Second) -> tuple[Int64s, Int64s]:
        """Lag of the lane's rows sent in the time given, response time of those completed by its end."""
        stop = int(np.searchsorted(lane.due_ns, stop_ns))
        here = slice(lane.low, stop)
        cells = {name: np.array(lane.cells[name][here]) for name in _READ}  # a copy: they go on changing
        due_ns = lane.due_ns[here] + cells["waited_ns"]
        sent_ns, done_ns, outcome = cells["sent_ns"], cells["done_ns"], cells["outcome"]
        sent = (sent_ns >= start_ns) & (sent_ns < stop_ns)
        # A stream's end is written long after the head that it is timed by.
        ended = (
            (done_ns != NEVER_NS) & (done_ns < stop_ns) & (outcome != Outcome.INTERRUPTED) & ~lane.told[here]
        )
        lane.told[here] |= ended
        completed = ended & (outcome == Outcome.COMPLETED)
        failed = ended & ~completed
        errors = failed | (completed & (cells["status"] >= ERROR_STATUS))
        found.due += stop - int(np.searchsorted(lane.due_ns, start_ns))
        found.errors += int(np.sum(errors))
        unfinished = outcome == Outcome.INTERRUPTED  # what a row holds before it has an outcome
        asked = (sent_ns != NEVER_NS) & (sent_ns < stop_ns)
        found.waiting += int(np.sum(asked & (unfinished | (done_ns >= stop_ns))))  # it may be done by now
        response_ns = done_ns - due_ns
        if self._stages:
            number = np.searchsorted(self._stage_bounds, lane.due_ns[here], side="right")
            self._note_stages(number, sent, errors, completed, response_ns)
        needed = unfinished | (done_ns >= stop_ns) | (sent_ns >= stop_ns)
        over = int(np.argmax(needed)) if bool(needed.any()) else stop - lane.low
        self._dropped += int(np.sum(outcome[:over] == Outcome.DROPPED))
        lane.low += over
        lag_ns: Int64s = (sent_ns - due_ns)[sent]
        times_ns: Int64s = response_ns[completed]
        return lag_ns, times_ns

    def _note_stages(
        self,
        number: NDArray[np.int64],
        sent: NDArray[np.bool_],
        errors: NDArray[np.bool_],
        completed: NDArray[np.bool_],
        response_ns: Int64s,
    ) -> None:
        for place, stage in enumerate(self._stages):
            of_stage = number == place
            stage.sent += int(np.sum(sent & of_stage))
            stage.errors += int(np.sum(errors & of_stage))
            stage.responses.add(response_ns[completed & of_stage])


_READ = ("sent_ns", "done_ns", "waited_ns", "status", "outcome")


def _quantile(times_ns: Int64s, level: float) -> float | None:
    return float(np.quantile(times_ns, level, method="inverted_cdf")) if len(times_ns) else None
