"""The counts of bodies that are alike, kept once with how many bodies have them."""

from __future__ import annotations

from collections import Counter

from anonymizer.report import Report

_MAX_KEPT = 4_096


class SharedCounts:
    """Takes counts (by field path and kind) of which many are one object; ``settle`` tells a report."""

    def __init__(self) -> None:
        self._bodies: Counter[tuple[str, int]] = Counter()
        self._counts: dict[int, Counter[tuple[str, str]]] = {}  # kept, so that no other one gets its id

    def add(self, endpoint: str, counts: Counter[tuple[str, str]], report: Report) -> None:
        """Count a body at ``endpoint`` in which ``counts`` values were replaced."""
        self._bodies[endpoint, id(counts)] += 1
        if id(counts) not in self._counts:
            self._counts[id(counts)] = counts
            if len(self._counts) > _MAX_KEPT:
                self.settle(report)

    def settle(self, report: Report) -> None:
        """Add to the report what was taken since the last time."""
        for (endpoint, number), bodies in self._bodies.items():
            for (path, kind), count in self._counts[number].items():
                report.replaced[kind, endpoint, path] += count * bodies
        self._bodies.clear()
        self._counts.clear()
