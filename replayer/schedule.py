"""The schedule: which exchanges are sent, and when each is due. Columns, no bodies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from captures.errors import CaptureError, UsageError
from captures.index import CaptureIndex
from captures.model import CaptureHeader
from captures.units import NS_PER_S
from replayer.load import Arrivals, Load
from replayer.pace import due_times_ns, scale_ns
from replayer.results import Int64s, UInt16s, UInt32s
from replayer.stages import stage_at, staged_due_ns

ROWS_MAX = 50_000_000  # a row of results takes some 60 bytes
UPGRADED = 101  # Switching Protocols: a WebSocket session
_CONNECTIONS_MAX = 2**32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """
    A row per exchange that will be sent, in due order; every array has the same length.

    ``due_ns`` counts from the first send. ``instance`` numbers the passes through the capture:
    each copy and each loop of it is one, counted from 0, with connections of its own.
    """

    seq: Int64s
    due_ns: Int64s
    endpoint: UInt32s
    connection: UInt32s
    recorded_status: UInt16s
    instance: UInt32s
    load: Load
    pace: Fraction

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def duration_ns(self) -> int:
        """From the first due time to the last."""
        return int(self.due_ns[-1]) if len(self) else 0

    @property
    def offered_rps(self) -> float:
        """Exchanges a second between the first due time and the last; 0 when that is no time."""
        return (len(self) - 1) * NS_PER_S / self.duration_ns if self.duration_ns else 0.0

    @property
    def instances(self) -> int:
        """Passes through the capture, begun ones included."""
        return int(np.max(self.instance)) + 1 if len(self) else 0

    @property
    def sockets(self) -> int:
        """WebSocket sessions, every copy and loop of them."""
        return int((self.recorded_status == UPGRADED).sum())

    def scale_ns(self, row: int, duration_ns: int) -> int:
        """A recorded duration at the multiplier that holds when ``row`` is due."""
        if self.load.stages:
            due_ns = int(self.due_ns[row])
            return scale_ns(duration_ns, stage_at(self.load.stages, due_ns).multiplier_at(due_ns))
        return scale_ns(duration_ns, self.pace)


def build_schedule(
    index: CaptureIndex, load: Load, chosen: Callable[[], NDArray[np.bool_]] | None = None
) -> Schedule:
    """
    The schedule of a capture under ``load``.

    ``chosen`` tells, for each exchange in send order, whether the load's conditions hold; it is
    called only when there are any.

    Raises:
        UsageError: a due time does not fit 64 bits, or there would be too many rows.
        CaptureError: the index is not in send order.

    """
    status = np.asarray(index.status)
    offsets_ns = np.asarray(index.offset_ns, dtype=np.int64)
    if len(offsets_ns) and bool((np.diff(offsets_ns) < 0).any()):
        raise CaptureError("The capture's index is not in send order; make the capture again.")
    wanted = _in_window(offsets_ns, load)
    if load.match and chosen is not None:
        wanted &= chosen()
    kept = np.flatnonzero(wanted)
    elapsed_ns = offsets_ns[kept] - (offsets_ns[kept[0]] if len(kept) else 0)
    place, instance, due_ns, pace = _laid_out(elapsed_ns, load)
    rows = kept[place]
    connection = np.asarray(index.connection, dtype=np.int64)
    apart = int(np.max(connection)) + 1 if len(connection) else 1
    numbers = connection[rows] + instance.astype(np.int64) * apart
    if len(numbers) and int(np.max(numbers)) >= _CONNECTIONS_MAX:
        raise UsageError("So many copies and loops need more connections than can be numbered; give fewer.")
    return Schedule(
        seq=np.asarray(index.seq, dtype=np.int64)[rows],
        due_ns=due_ns,
        endpoint=np.asarray(index.endpoint, dtype=np.uint32)[rows],
        connection=numbers.astype(np.uint32),
        recorded_status=status.astype(np.uint16)[rows],
        instance=instance.astype(np.uint32),
        load=load,
        pace=pace,
    )


def _in_window(offsets_ns: Int64s, load: Load) -> NDArray[np.bool_]:
    inside = np.ones(len(offsets_ns), dtype=np.bool_)
    if load.from_ns is not None:
        inside &= offsets_ns >= load.from_ns
    if load.to_ns is not None:
        inside &= offsets_ns < load.to_ns
    return inside


def _laid_out(elapsed_ns: Int64s, load: Load) -> tuple[Int64s, Int64s, Int64s, Fraction]:
    """For each row its place among the kept exchanges, its instance and due time; and the pace."""
    count = len(elapsed_ns)
    nothing = np.empty(0, np.int64)
    if not count:
        return nothing, nothing, nothing, load.multiplier
    # From the last exchange of a loop to the first of the next: the mean gap, as if it had gone on.
    last_ns = int(elapsed_ns[-1])
    period_ns = last_ns + max(1, last_ns // max(1, count - 1))
    if load.rate is not None:
        return _at_rate(count, period_ns, load, load.rate)
    loops = _loops(period_ns, load)
    if count * loops * load.copies > ROWS_MAX:
        raise UsageError(
            f"The load comes to more than {ROWS_MAX:,} exchanges; give fewer loops or copies, or less time."
        )
    recorded_ns = (elapsed_ns[None, :] + np.arange(loops, dtype=np.int64)[:, None] * period_ns).reshape(-1)
    parts = []
    for copy in range(load.copies):
        due_ns = _paced(recorded_ns, load) + np.int64(copy * load.stagger_ns // load.copies)
        if load.run_ns is not None:
            due_ns = due_ns[: int(np.searchsorted(due_ns, load.run_ns))]
        rows = np.arange(len(due_ns), dtype=np.int64)
        parts.append((rows % count, (rows // count) * load.copies + copy, due_ns))
    place, instance, due_ns = (np.concatenate([part[column] for part in parts]) for column in range(3))
    if load.copies > 1:
        order = np.lexsort((place, instance, due_ns))
        place, instance, due_ns = place[order], instance[order], due_ns[order]
    return place, instance, due_ns, load.multiplier


def _loops(period_ns: int, load: Load) -> int:
    """How often the capture is gone through."""
    if load.stages:
        needed_ns = load.stages[-1].capture_stop_ns
    elif load.duration_ns is not None:
        needed_ns = load.duration_ns * load.multiplier
    else:
        return load.loops or 1
    needed = max(1, -int(-needed_ns // period_ns))
    return needed if load.loops is None else min(needed, load.loops)


def _paced(recorded_ns: Int64s, load: Load) -> Int64s:
    if load.stages:
        return staged_due_ns(recorded_ns, load.stages)
    return due_times_ns(recorded_ns, 0, load.multiplier)


def _at_rate(
    count: int, period_ns: int, load: Load, rate: Fraction
) -> tuple[Int64s, Int64s, Int64s, Fraction]:
    """The exchanges in their order, again and again, at arrivals of their own."""
    rows = count * (load.loops or 1)
    if load.duration_ns is not None:
        wanted = max(1, int(rate * load.duration_ns / NS_PER_S))
        rows = wanted if load.loops is None else min(wanted, rows)
    if rows > ROWS_MAX:
        raise UsageError(f"The load comes to more than {ROWS_MAX:,} exchanges; give less time or rate.")
    if load.arrivals is Arrivals.EVEN:
        due_ns = due_times_ns(np.arange(rows, dtype=np.int64) * NS_PER_S, 0, rate)
    else:
        # Poisson arrivals, given their number, are uniform over the time they take, sorted.
        span_ns = int(rows * NS_PER_S / rate) if load.duration_ns is None else load.duration_ns
        drawn = np.random.Generator(np.random.PCG64(load.seed)).random(rows)
        due_ns = np.sort((drawn * span_ns).astype(np.int64))
        due_ns -= due_ns[0]
    number = np.arange(rows, dtype=np.int64)
    pace = rate * period_ns / NS_PER_S / count
    return number % count, number // count, due_ns, pace


def schedule_hash(schedule: Schedule, header: CaptureHeader) -> str:
    """
    32 hex digits that are the same for runs that offer the same exchanges at the same due times.

    The capture at the root of the lineage takes part, not the one at hand, so that a capture
    and its anonymized copy, which offer the same schedule, can be compared.
    """
    root = header.lineage[-1] if header.lineage else header.capture_id
    digest = hashlib.blake2b(root.encode(), digest_size=16, person=b"hookreel-sched")
    digest.update(np.ascontiguousarray(schedule.seq, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(schedule.due_ns, dtype="<i8").tobytes())
    if schedule.instances > 1:
        digest.update(np.ascontiguousarray(schedule.instance, dtype="<u4").tobytes())
    return digest.hexdigest()
