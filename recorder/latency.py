"""Durations counted in buckets: constant memory, less than a microsecond for each."""

from __future__ import annotations

from collections.abc import Iterator

# A bucket is between 1/64 and 1/32 of its value wide; 38 powers of two reach beyond an hour.
_STEPS = 32
_BUCKETS = 38 * _STEPS
_EDGES_NS = tuple(1000 * number * 10**power for power in range(7) for number in (1, 2, 5))


class LatencyHistogram:
    """Counts of durations in ns; ``sum_ns``, ``max_ns`` and ``count`` are exact."""

    __slots__ = ("_counts", "count", "max_ns", "sum_ns")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.sum_ns = 0
        self.max_ns = 0

    def add(self, duration_ns: int) -> None:
        """Counts one duration."""
        shift = duration_ns.bit_length() - 6
        index = duration_ns if shift <= 0 else shift * _STEPS + (duration_ns >> shift)
        self._counts[index if index < _BUCKETS else -1] += 1
        self.count += 1
        self.sum_ns += duration_ns
        if duration_ns > self.max_ns:  # noqa: PLR1730 - max() costs twice as much here
            self.max_ns = duration_ns

    def merge(self, other: LatencyHistogram) -> None:
        """Adds what ``other`` counted."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self.sum_ns += other.sum_ns
        self.max_ns = max(self.max_ns, other.max_ns)

    def quantile_ns(self, share: float) -> int:
        """The quantile for a share from 0 to 1, at most 1/32 above the true one; 0 without durations."""
        below = 0
        for index, number in enumerate(self._counts):
            below += number
            if number and below >= share * self.count:
                return min(_upper_ns(index), self.max_ns)
        return 0

    def cumulative(self) -> Iterator[tuple[int, int]]:
        """Edges in ns from 1 us to 5 s, each with how many durations are not above it."""
        uppers = [(_upper_ns(index), number) for index, number in enumerate(self._counts) if number]
        for edge_ns in _EDGES_NS:
            yield edge_ns, sum(number for upper_ns, number in uppers if upper_ns <= edge_ns)


def _upper_ns(index: int) -> int:
    shift = max(index // _STEPS - 1, 0)
    return ((index - shift * _STEPS + 1) << shift) - 1
