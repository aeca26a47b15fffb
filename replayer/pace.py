"""When each exchange is due: exact integer arithmetic, no clock and no I/O."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from captures.errors import UsageError
from replayer.results import Int64s

_INT64_MAX = 2**63 - 1


def due_times_ns(offsets_ns: Int64s, first_offset_ns: int, multiplier: Fraction) -> Int64s:
    """
    ``(offset - first) / multiplier`` for each offset, rounded down to whole ns.

    ``offsets_ns`` is int64 of shape (n,) and none is before ``first_offset_ns``. The result has
    the same shape; it keeps order and equals what ``Fraction`` arithmetic gives, to the ns.

    Raises:
        UsageError: a due time would be centuries away and does not fit 64 bits.

    """
    elapsed_ns = offsets_ns - np.int64(first_offset_ns)
    if not len(elapsed_ns):
        return elapsed_ns
    longest_ns = int(np.max(elapsed_ns))
    numerator, denominator = multiplier.numerator, multiplier.denominator
    if longest_ns * denominator // numerator > _INT64_MAX:
        raise UsageError("At this speed the replay would take centuries; choose a larger multiplier.")
    if denominator == 1 and numerator <= _INT64_MAX:
        return elapsed_ns // np.int64(numerator)
    if numerator * denominator <= _INT64_MAX:
        whole, rest = np.divmod(elapsed_ns, np.int64(numerator))
        due_ns: Int64s = whole * np.int64(denominator) + rest * np.int64(denominator) // np.int64(numerator)
        return due_ns
    exact = [elapsed * denominator // numerator for elapsed in elapsed_ns.tolist()]
    return np.array(exact, dtype=np.int64)


def scale_ns(duration_ns: int, multiplier: Fraction) -> int:
    """A recorded duration at ``multiplier``, rounded down to whole ns."""
    return duration_ns * multiplier.denominator // multiplier.numerator
