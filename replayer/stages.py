"""Stages of a replay: how the multiplier goes up and down over its length. Exact arithmetic, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from captures.errors import UsageError
from captures.units import format_multiplier, parse_duration_ns, parse_multiplier
from replayer.pace import due_times_ns
from replayer.results import Int64s

_STAGE = re.compile(
    r"(?P<ramp>ramp\s+)?(?P<first>[^\s:-]+)(?:\s*-\s*(?P<last>[^\s:-]+))?\s*:\s*(?P<time>\S+)"
)
_HOW = "write stages like 1x:30s,5x:1m,ramp 10x-20x:1m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """
    A stretch of a run: the multiplier goes in a straight line from ``first`` to ``last``.

    ``start_ns`` and ``stop_ns`` are run time. ``capture_ns`` is the recorded time that has gone by
    when the stage begins.
    """

    first: Fraction
    last: Fraction
    start_ns: int
    stop_ns: int
    capture_ns: Fraction

    @property
    def text(self) -> str:
        """Its multipliers as they are written."""
        if self.first == self.last:
            return format_multiplier(self.first)
        return f"ramp {format_multiplier(self.first)}-{format_multiplier(self.last)}"

    @property
    def duration_ns(self) -> int:
        """How long it takes."""
        return self.stop_ns - self.start_ns

    @property
    def capture_stop_ns(self) -> Fraction:
        """The recorded time that has gone by when it ends."""
        return self.capture_ns + (self.first + self.last) / 2 * self.duration_ns

    def multiplier_at(self, run_ns: int) -> Fraction:
        """The multiplier at a run time inside the stage."""
        share = Fraction(run_ns - self.start_ns, self.duration_ns)
        return self.first + (self.last - self.first) * share

    def due_ns(self, elapsed_ns: Int64s) -> Int64s:
        """When recorded times of this stage are due: int64 of the same shape, in order if these are."""
        begin_ns = -int(-self.capture_ns // 1)  # up to a whole ns, so that none comes out before the stage
        inside_ns = np.maximum(elapsed_ns - np.int64(begin_ns), 0)
        if self.first == self.last:
            return due_times_ns(inside_ns, 0, self.first) + np.int64(self.start_ns)
        # c = first t + (last - first) t^2 / 2T, solved for t in the form that loses no digits
        first, slope = float(self.first), float((self.last - self.first) / self.duration_ns)
        recorded = inside_ns.astype(np.float64)
        root = np.sqrt(np.maximum(first * first + 2.0 * slope * recorded, 0.0))
        run_ns = np.minimum((2.0 * recorded / (first + root)).astype(np.int64), self.duration_ns - 1)
        due: Int64s = run_ns + np.int64(self.start_ns)
        return due


def parse_stages(text: str) -> tuple[Stage, ...]:
    """
    The stages of ``"1x:30s,5x:1m,ramp 10x-20x:1m"``, one after another from run time 0.

    Raises:
        UsageError: a stage is not ``MULTIPLIER:TIME`` or ``ramp MULTIPLIER-MULTIPLIER:TIME``.

    """
    return tuple(_chained(text))


def _chained(text: str) -> Iterator[Stage]:
    start_ns, capture_ns = 0, Fraction(0)
    for part in text.split(","):
        match = _STAGE.fullmatch(part.strip())
        if match is None or bool(match["ramp"]) != bool(match["last"]):
            raise UsageError(f"{part.strip()!r} is no stage; {_HOW}.")
        first = parse_multiplier(match["first"])
        duration_ns = parse_duration_ns(match["time"])
        if not duration_ns:
            raise UsageError(f"The stage {part.strip()!r} takes no time; {_HOW}.")
        stage = Stage(
            first=first,
            last=parse_multiplier(match["last"]) if match["last"] else first,
            start_ns=start_ns,
            stop_ns=start_ns + duration_ns,
            capture_ns=capture_ns,
        )
        yield stage
        start_ns, capture_ns = stage.stop_ns, stage.capture_stop_ns


def staged_due_ns(elapsed_ns: Int64s, stages: Sequence[Stage]) -> Int64s:
    """
    When recorded times (int64 ns since the first exchange, ascending) are due in ``stages``.

    Times that the stages do not reach are left out, so the result may be shorter.
    """
    parts: list[Int64s] = []
    for stage in stages:
        inside = (elapsed_ns >= float(stage.capture_ns)) & (elapsed_ns < float(stage.capture_stop_ns))
        parts.append(stage.due_ns(elapsed_ns[inside]))
    joined: Int64s = np.concatenate(parts) if parts else np.empty(0, np.int64)
    return joined


def stage_at(stages: Sequence[Stage], run_ns: int) -> Stage:
    """The stage at a run time; the last one at and after the end."""
    return next((stage for stage in stages if run_ns < stage.stop_ns), stages[-1])
