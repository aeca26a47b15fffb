"""The latency histogram: its error, its memory, its edges."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recorder.latency import LatencyHistogram

DURATIONS = st.lists(st.integers(0, 10**12), min_size=1, max_size=200)


def filled(durations_ns) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for duration_ns in durations_ns:
        histogram.add(duration_ns)
    return histogram


@given(DURATIONS, st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_within_a_sixteenth(durations_ns: list[int], quantile: float) -> None:
    """A quantile is never below the true one and at most 1/16 above it."""
    true_ns = int(np.quantile(durations_ns, quantile, method="inverted_cdf"))
    assert true_ns <= filled(durations_ns).quantile_ns(quantile) <= true_ns + true_ns / 16 + 1


@given(DURATIONS)
def test_sum_and_count_are_exact_and_edges_grow(durations_ns: list[int]) -> None:
    """What is counted at an edge is below it, and counts never fall from edge to edge."""
    histogram = filled(durations_ns)
    assert (histogram.count, histogram.sum_ns) == (len(durations_ns), sum(durations_ns))
    assert histogram.max_ns == max(durations_ns)
    edges = list(histogram.cumulative())
    assert edges == sorted(edges)
    for edge_ns, count in edges:
        assert sum(value < edge_ns * 15 / 16 for value in durations_ns) <= count
        assert count <= sum(value <= edge_ns for value in durations_ns)


@given(DURATIONS, DURATIONS)
def test_merged_histograms_are_those_of_all(one_ns: list[int], other_ns: list[int]) -> None:
    """Two workers' histograms add up to the one that a single worker would have."""
    merged = filled(one_ns)
    merged.merge(filled(other_ns))
    both = filled(one_ns + other_ns)
    assert list(merged.cumulative()) == list(both.cumulative())
    assert (merged.count, merged.sum_ns, merged.max_ns) == (both.count, both.sum_ns, both.max_ns)
    assert merged.quantile_ns(0.5) == both.quantile_ns(0.5)


def test_a_duration_of_days_is_counted() -> None:
    """What is longer than the largest bucket counts there, and its exact length as the maximum."""
    histogram = filled([1, 10**18])
    assert histogram.count == 2
    assert histogram.sum_ns == 10**18 + 1
    assert histogram.max_ns == 10**18
    assert histogram.quantile_ns(1.0) > 10**12


def test_nothing_counted_is_zero() -> None:
    """An empty histogram has quantiles of 0 and empty edges."""
    empty = LatencyHistogram()
    assert empty.quantile_ns(0.99) == 0
    assert {count for _, count in empty.cumulative()} == {0}
