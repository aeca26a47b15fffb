"""The memory that all processes of a run share: its results as they are written, and when it began."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from captures.units import NS_PER_MS
from replayer.columns import Cells, cells_bytes, make_cells
from replayer.sent import Start

_START_DELAY_NS = 50 * NS_PER_MS
_CLOCK_BYTES = 8

Rows: TypeAlias = slice | NDArray[np.int64]
"""Row numbers of a schedule, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Share:
    """The rows that one process sends, and the cells in which it writes what comes of them."""

    rows: Rows
    cells: Cells


class Board:
    """
    Results of a run by the process that sends them, in memory that forked processes share.

    What a process that died had found out is not lost with it, and a process that only looks
    costs those that send nothing.
    """

    def __init__(self, parts: Sequence[Rows], total: int) -> None:
        """``parts`` are the rows of each process, of a schedule of ``total``."""
        lengths = [len(range(total)[rows]) if isinstance(rows, slice) else len(rows) for rows in parts]
        memory = memoryview(mmap.mmap(-1, _CLOCK_BYTES + sum(map(cells_bytes, lengths))))
        self._zero_ns = memory[:_CLOCK_BYTES].cast("q")
        shares = []
        taken = _CLOCK_BYTES
        for rows, length in zip(parts, lengths, strict=True):
            size = cells_bytes(length)
            shares.append(Share(rows=rows, cells=make_cells(length, memory[taken : taken + size])))
            taken += size
        self.shares = tuple(shares)

    @property
    def zero_ns(self) -> int | None:
        """Run time 0 on CLOCK_MONOTONIC, None before it is known."""
        return self._zero_ns[0] or None

    def noting(self, start: Start) -> Start:
        """``start``, whose answer is written down for all."""

        def noted() -> int:
            zero_ns = self._zero_ns[0] = start()
            return zero_ns

        return noted


def soon() -> int:
    """A run time 0 that leaves just enough time to begin."""
    return monotonic_ns() + _START_DELAY_NS
