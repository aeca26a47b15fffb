"""What a run cost the machine that made it: processor time, stalls, collections, stolen time."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns

from captures.units import NS_PER_MS, NS_PER_S

STALL_NS = 10 * NS_PER_MS
_STEAL_FIELD = 8  # of the first line of /proc/stat


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorFacts:
    """
    Of all worker processes together, while they sent.

    ``wall_ns`` is the longest worker's time, ``cpu_ns`` the processor time of all. ``stalls``
    counts looks of the event loop that came more than ``STALL_NS`` late, ``longest_stall_ns`` is
    the latest of them. ``collections`` counts garbage collections. ``steal_ns`` is the time that
    the host took from all processors of this machine, None where it is not told.
    """

    workers: int
    wall_ns: int
    cpu_ns: int
    stalls: int
    longest_stall_ns: int
    collections: int
    steal_ns: int | None


class GeneratorWatch:
    """Measures one process from ``start`` to ``facts``."""

    def __init__(self, *, read_steal_ns: Callable[[], int | None] | None = None) -> None:
        self._read_steal_ns = read_steal_ns or read_steal
        self._stalls = 0
        self._longest_ns = 0
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self._wall_ns = monotonic_ns()
        self._cpu_ns = time.process_time_ns()
        self._collections = _collections()
        self._steal_ns = self._read_steal_ns()

    def looked(self, late_ns: int) -> None:
        """The event loop came to look ``late_ns`` after it was to."""
        if late_ns > STALL_NS:
            self._stalls += 1
        self._longest_ns = max(self._longest_ns, late_ns)

    def facts(self) -> GeneratorFacts:
        """What there was since the start."""
        steal_ns = self._read_steal_ns()
        known = steal_ns is not None and self._steal_ns is not None
        return GeneratorFacts(
            workers=1,
            wall_ns=monotonic_ns() - self._wall_ns,
            cpu_ns=time.process_time_ns() - self._cpu_ns,
            stalls=self._stalls,
            longest_stall_ns=self._longest_ns,
            collections=_collections() - self._collections,
            steal_ns=(steal_ns or 0) - (self._steal_ns or 0) if known else None,
        )


def together(facts: Sequence[GeneratorFacts]) -> GeneratorFacts:
    """The facts of several workers of one run; at least one."""
    steals = [one.steal_ns for one in facts if one.steal_ns is not None]
    return GeneratorFacts(
        workers=sum(one.workers for one in facts),
        wall_ns=max(one.wall_ns for one in facts),
        cpu_ns=sum(one.cpu_ns for one in facts),
        stalls=sum(one.stalls for one in facts),
        longest_stall_ns=max(one.longest_stall_ns for one in facts),
        collections=sum(one.collections for one in facts),
        steal_ns=max(steals) if steals else None,  # each saw the whole machine
    )


def read_steal(path: Path = Path("/proc/stat")) -> int | None:
    """Stolen time of all processors since boot, in ns; None where the system does not tell it."""
    try:
        fields = path.read_text().partition("\n")[0].split()
        return int(fields[_STEAL_FIELD]) * NS_PER_S // os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())
