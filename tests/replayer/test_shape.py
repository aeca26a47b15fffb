"""The shape of a run: each number sees what it is there for, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from replayer.results import NEVER_NS, Outcome, RunRows
from replayer.shape import shape_of

MS, S = 1_000_000, 1_000_000_000


def make_rows(due_ns: np.ndarray, sent_ns: np.ndarray, connection: np.ndarray | None = None) -> RunRows:
    rows = len(due_ns)
    zeros = np.zeros(rows, np.uint32)
    return RunRows(
        seq=np.arange(rows, dtype=np.int64),
        endpoint=zeros,
        connection=zeros if connection is None else connection.astype(np.uint32),
        due_ns=due_ns.astype(np.int64),
        sent_ns=sent_ns.astype(np.int64),
        first_byte_ns=sent_ns.astype(np.int64),
        done_ns=sent_ns.astype(np.int64),
        status=zeros.astype(np.uint16),
        recorded_status=zeros.astype(np.uint16),
        instance=zeros,
        waited_ns=zeros.astype(np.int64),
        outcome=np.full(rows, Outcome.COMPLETED, np.uint8),
        response_bytes=zeros,
    )


@pytest.fixture
def due_ns() -> np.ndarray:
    """Poisson arrivals, 200 a second for 200 s."""
    return np.sort(np.random.default_rng(7).integers(0, 200 * S, 40_000))


def test_a_perfect_run(due_ns: np.ndarray) -> None:
    """Without lag there is no drift, no distance, equal bursts at every scale, and no inversion."""
    shape = shape_of(make_rows(due_ns, due_ns))
    assert shape.drift_ppm == shape.drift_low_ppm == shape.drift_high_ppm == 0
    assert (shape.gap_ks, shape.gap_w1_ns, shape.inversions) == (0, 0, 0)
    assert shape.dispersion == dict.fromkeys((10 * MS, 100 * MS, S, 10 * S), 1)


def test_a_clock_that_runs_away_is_a_drift_with_its_interval(due_ns: np.ndarray) -> None:
    """100 ppm under noise of 50 us are found to a tenth of a ppm; a lag that only varies is no drift."""
    noise = np.random.default_rng(8).exponential(50_000, len(due_ns))
    shape = shape_of(make_rows(due_ns, due_ns * (1 + 100e-6) + noise))
    assert shape.drift_low_ppm < shape.drift_ppm < shape.drift_high_ppm
    assert [shape.drift_low_ppm, shape.drift_high_ppm] == pytest.approx([100, 100], abs=0.1)
    still = shape_of(make_rows(due_ns, due_ns + noise))
    assert still.drift_low_ppm < 0 < still.drift_high_ppm
    assert abs(still.drift_ppm) < 1


def test_batches_change_gaps_and_bursts(due_ns: np.ndarray) -> None:
    """Sending every 50 ms is far in gaps and in bursts at 10 ms, and the same at 1 s."""
    batched = -(-due_ns // (50 * MS)) * (50 * MS)
    shape = shape_of(make_rows(due_ns, batched))
    assert shape.gap_ks > 0.5
    assert shape.dispersion[10 * MS] > 3
    assert shape.dispersion[S] == pytest.approx(1, abs=0.1)


def test_distances_are_those_of_the_library(due_ns: np.ndarray) -> None:
    """Kolmogorov-Smirnov and Wasserstein-1 agree with SciPy's."""
    sent_ns = np.sort(due_ns + np.random.default_rng(9).integers(0, 9 * MS, len(due_ns)))
    shape = shape_of(make_rows(due_ns, sent_ns))
    gaps, scheduled = np.diff(sent_ns), np.diff(due_ns)
    assert shape.gap_ks == pytest.approx(stats.ks_2samp(scheduled, gaps).statistic)
    assert shape.gap_w1_ns == pytest.approx(stats.wasserstein_distance(scheduled, gaps))


def test_inversions_count_within_a_connection() -> None:
    """An exchange that overtakes one of another connection is in order."""
    due = np.array([0, 10, 20, 30]) * MS
    sent = np.array([25, 10, 20, 30]) * MS
    assert shape_of(make_rows(due, sent, np.array([0, 1, 0, 1]))).inversions == 1
    assert shape_of(make_rows(due, sent, np.array([0, 1, 1, 0]))).inversions == 0


@pytest.mark.parametrize(("bursts", "found"), [((59, 1), False), ((55, 5), True), ((30, 30), True)])
def test_bursts_give_a_drift_or_none(bursts: tuple[int, ...], *, found: bool) -> None:
    """Sends of one moment have no slope between them: every number is finite, or there is none."""
    due = np.repeat(np.arange(len(bursts)) * 10 * S, bursts)
    shape = shape_of(make_rows(due, due + MS))
    drift = (shape.drift_ppm, shape.drift_low_ppm, shape.drift_high_ppm)
    assert drift == ((0.0, 0.0, 0.0) if found else (None, None, None))


def test_a_run_too_short_for_a_number_has_none() -> None:
    """Few sends give no drift and no dispersion; none at all give zeros; what was not sent is left out."""
    due = np.arange(4) * MS
    sent = np.array([NEVER_NS, MS, NEVER_NS, 3 * MS])
    shape = shape_of(make_rows(due, sent))
    assert (shape.drift_ppm, shape.dispersion, shape.gap_w1_ns) == (None, {}, 0)
    nothing = shape_of(make_rows(due, np.full(4, NEVER_NS)))
    assert (nothing.drift_ppm, nothing.gap_ks, nothing.inversions) == (None, 0, 0)
