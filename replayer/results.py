"""A run: the results of one replay, a row per exchange, in columns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Int64s: TypeAlias = NDArray[np.int64]
UInt32s: TypeAlias = NDArray[np.uint32]
UInt16s: TypeAlias = NDArray[np.uint16]
UInt8s: TypeAlias = NDArray[np.uint8]

NEVER_NS = -1  # what a time column holds for something that did not happen


class Outcome(IntEnum):
    """How one exchange of a run ended; every value but COMPLETED and DROPPED is a failure."""

    COMPLETED = 0  # a whole response came
    DROPPED = 1  # due and not sent
    CONNECT_FAILED = 2
    TLS_FAILED = 3
    RESET = 4  # the connection broke after sending
    TIMEOUT = 5
    BAD_RESPONSE = 6  # what came was not HTTP
    INTERRUPTED = 7  # the run was stopped before the response came


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The gates a run must pass to be valid; options set them and the run carries them."""

    lag_p99_ns: int = 1_000_000
    lag_p99_share_of_service_p50: float = 0.05
    lag_max_ns: int = 250_000_000
    rate_error: float = 0.05  # in any one second of the schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """
    What stands once in a run.

    ``started_wall_ns`` is Unix time in ns at run time 0. ``speed`` is the exact multiplier as
    written (``10x``). ``schedule_hash`` is the same for runs that offered the same exchanges at
    the same due times. ``invalid_reasons`` is empty when the run is valid; each is one sentence.
    ``notes`` are things a reader must know (HTTP/2 sent as HTTP/1.1, unsigned exchanges).
    """

    run_id: str
    capture_id: str
    target: str
    speed: str
    started_wall_ns: int
    tool: str
    schedule_hash: str
    endpoints: tuple[str, ...]
    limits: Limits
    invalid_reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    interrupted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunRows:
    """
    A row per exchange in due order; every array has the same length.

    Times are int64 ns since the run's time 0 on one monotonic clock, NEVER_NS where the thing
    did not happen. ``endpoint`` counts into ``RunHeader.endpoints``. ``status`` is 0 without a
    response; ``recorded_status`` is 0 where the capture holds a failure. ``outcome`` holds
    ``Outcome`` values. ``response_bytes`` counts body bytes.
    """

    seq: Int64s
    endpoint: UInt32s
    connection: UInt32s
    due_ns: Int64s
    sent_ns: Int64s
    first_byte_ns: Int64s
    done_ns: Int64s
    status: UInt16s
    recorded_status: UInt16s
    outcome: UInt8s
    response_bytes: UInt32s

    def __len__(self) -> int:
        return len(self.seq)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """One replay's header and rows; save and load are ``write_run`` and ``read_run``."""

    header: RunHeader
    rows: RunRows

    @property
    def valid(self) -> bool:
        """Whether every fidelity gate was passed."""
        return not self.header.invalid_reasons
