"""The schedule: which exchanges are sent, and when each is due. Columns, no bodies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from captures.errors import CaptureError
from captures.index import CaptureIndex
from captures.model import CaptureHeader
from captures.units import NS_PER_S
from replayer.pace import due_times_ns
from replayer.results import Int64s, UInt16s, UInt32s

_UPGRADED = 101  # Switching Protocols: a WebSocket session


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """
    A row per exchange that will be sent, in due order; every array has the same length.

    ``due_ns`` counts from the first send. ``upgrades`` counts the WebSocket sessions that the
    capture holds and this schedule leaves out. ``multiplier`` is the exact time compression.
    """

    seq: Int64s
    due_ns: Int64s
    endpoint: UInt32s
    connection: UInt32s
    recorded_status: UInt16s
    multiplier: Fraction
    upgrades: int

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


def build_schedule(index: CaptureIndex, multiplier: Fraction) -> Schedule:
    """
    The schedule of a whole capture at ``multiplier``.

    Raises:
        UsageError: a due time does not fit 64 bits.
        CaptureError: the index is not in send order.

    """
    kept = np.asarray(index.status) != _UPGRADED
    offsets_ns = np.asarray(index.offset_ns, dtype=np.int64)[kept]
    if len(offsets_ns) and bool((np.diff(offsets_ns) < 0).any()):
        raise CaptureError("The capture's index is not in send order; make the capture again.")
    first_ns = int(offsets_ns[0]) if len(offsets_ns) else 0
    return Schedule(
        seq=np.asarray(index.seq, dtype=np.int64)[kept],
        due_ns=due_times_ns(offsets_ns, first_ns, multiplier),
        endpoint=np.asarray(index.endpoint, dtype=np.uint32)[kept],
        connection=np.asarray(index.connection, dtype=np.uint32)[kept],
        recorded_status=np.asarray(index.status, dtype=np.uint16)[kept],
        multiplier=multiplier,
        upgrades=int(len(kept) - kept.sum()),
    )


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
    return digest.hexdigest()
