"""Where the exchanges of a source stand in time, found before the first of them is given out."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from captures.units import NS_PER_MS, NS_PER_S, NS_PER_US

NO_TIME_NS = -(2**63)
"""Stands for a time that the source does not tell."""

_STEP_NS = NS_PER_MS
_SHOWN_RANGES = 12


class Timeline:
    """
    Offsets and numbers of a source's exchanges, by their place in the file.

    ``walls`` are Unix times in ns, ``NO_TIME_NS`` where there is none. ``exported_ns`` is the start
    of the capture that all of them were exported from, where that is known; then offsets count from
    there again. Memory: about 30 bytes an exchange.
    """

    def __init__(self, walls: array[int], exported_ns: int | None = None) -> None:
        times = np.frombuffer(walls, np.int64).copy() if len(walls) else np.empty(0, np.int64)
        self.made_up: NDArray[np.bool_] = times == NO_TIME_NS
        self.walls = fill_times(times, self.made_up)
        first = int(np.min(self.walls)) if len(times) else 0
        # A time that went through a float may be a little before the start that it is counted from.
        is_start = exported_ns is not None and exported_ns <= first + NS_PER_US
        self.started_wall_ns = exported_ns if is_start and exported_ns is not None else first
        self.offsets: NDArray[np.int64] = self.walls - self.started_wall_ns
        self.order: NDArray[np.int64] = np.argsort(self.walls, kind="stable")
        """Places in the order of time; equal times keep the file's order."""
        self.seqs = np.empty(len(times), np.int64)
        """The number of the exchange at each place."""
        self.seqs[self.order] = np.arange(len(times))

    @property
    def note(self) -> str:
        """Which exchanges have a made-up offset, for the capture's header; empty when none has."""
        made_up = int(self.made_up.sum())
        if not made_up:
            return ""
        seqs = sorted(self.seqs[self.made_up].tolist())
        return f"synthetic offsets: {made_up} of {len(self.seqs)}, {_ranges(seqs)}"


class ExportedStart:
    """Remembers whether all exchanges name the same capture start."""

    __slots__ = ("_stated",)

    def __init__(self) -> None:
        self._stated: set[int | None] = set()

    def add(self, started_wall_ns: int | None) -> None:
        """What one exchange says of itself; None when it says nothing."""
        if len(self._stated) < 2:
            self._stated.add(started_wall_ns)

    @property
    def wall_ns(self) -> int | None:
        """The start, when all said the same one."""
        return next(iter(self._stated)) if len(self._stated) == 1 else None


def exact_ns(seconds: float) -> int:
    """
    Finite seconds in ns by their shortest decimal spelling, which is what the writer had in mind.

    A double of today's Unix time is good to a quarter of a us; multiplying it loses more.
    """
    return int((Decimal(repr(seconds)) * NS_PER_S).to_integral_value())


def fill_times(walls: NDArray[np.int64], made_up: NDArray[np.bool_]) -> NDArray[np.int64]:
    """
    Times for the exchanges without one, so that they keep their place between their neighbours.

    They stand at most a millisecond apart, behind the one before them and not behind the next.
    """
    known = np.flatnonzero(~made_up).tolist()
    if not known:
        return np.arange(len(walls), dtype=np.int64) * _STEP_NS
    filled = walls.copy()
    filled[: known[0]] = walls[known[0]] - _STEP_NS * np.arange(known[0], 0, -1)
    for before, after in zip(known, [*known[1:], len(walls)], strict=True):
        missing = after - before - 1
        if not missing:
            continue
        step = _STEP_NS
        if after < len(walls) and walls[after] >= walls[before]:
            step = min(step, int(walls[after] - walls[before]) // (missing + 1))
        filled[before + 1 : after] = walls[before] + step * np.arange(1, missing + 1)
    return filled


def _ranges(seqs: Sequence[int]) -> str:
    """``#4-7 #9``, at most ``_SHOWN_RANGES`` of them."""
    ranges: list[tuple[int, int]] = []
    for seq in seqs:
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = ranges[-1][0], seq
        else:
            ranges.append((seq, seq))
    shown = [f"#{first}" if first == last else f"#{first}-{last}" for first, last in ranges[:_SHOWN_RANGES]]
    return " ".join(shown + ["..."] * (len(ranges) > _SHOWN_RANGES))
