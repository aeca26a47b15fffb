"""
Who of several processes takes which exchanges: alike ones go to the same process, and none waits.

What a process learns of one body (its layout, its strings) spares it work on the next one like it.
So exchanges are not dealt in turn, where each process would learn all of it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from captures.index import CaptureIndex
from captures.units import MIB

WINDOW_EXCHANGES = 512
WINDOW_BYTES = 8 * MIB  # of bodies; a larger one is a window of its own
PIECES = 4  # of a window for each process, so that who is faster can take more than its own
_OPEN_WINDOWS = 3
_EXCHANGE_BYTES = 2_000  # an exchange without bodies costs as much as so many bytes of one

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Exchanges that follow one another: ``count`` of them from the place ``first`` on, in send order."""

    first: int
    count: int
    pieces: tuple[tuple[int, ...], ...]
    """Places (from 0 in the window) of exchanges that are alike, by the process that they suit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one process does at a time: the exchanges at ``places`` of a window."""

    first: int
    count: int
    places: tuple[int, ...]


def windows(index: CaptureIndex, processes: int) -> Iterator[Window]:
    """All exchanges of a capture, in windows of ``PIECES`` pieces for each of ``processes``."""
    pieces = PIECES * processes
    first = 0
    while first < len(index):
        stop = min(first + WINDOW_EXCHANGES, len(index))
        sizes = index.request_bytes[first:stop].astype(np.int64) + index.response_bytes[first:stop]
        within = int(np.searchsorted(np.cumsum(sizes), WINDOW_BYTES, side="right"))
        sizes = sizes[: max(1, within)]
        order = np.lexsort((sizes, index.endpoint[first : first + len(sizes)]))
        costs = np.cumsum(sizes[order] + _EXCHANGE_BYTES)
        shares = (costs - 1) * pieces // costs[-1]
        cuts = np.searchsorted(shares, np.arange(1, pieces))
        places = tuple(tuple(sorted(part.tolist())) for part in np.split(order, cuts))
        yield Window(first=first, count=len(sizes), pieces=places)
        first += len(sizes)


@dataclass(slots=True)
class _Open(Generic[Answer]):
    window: Window
    waiting: set[int]
    answers: dict[int, Answer] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return len(self.answers) == sum(map(bool, self.window.pieces))


class Dealer(Generic[Answer]):
    """
    Deals the pieces of ``upcoming`` windows to processes, and gives answers back in order.

    Each process gets the pieces that suit it as long as there are some; then it takes from the others
    what is next to its own. No more than a few windows are under way, so memory is bounded.
    """

    def __init__(self, upcoming: Iterator[Window]) -> None:
        self._upcoming = upcoming
        self._open: deque[_Open[Answer]] = deque()
        self._dealt: defaultdict[int, deque[tuple[_Open[Answer], int]]] = defaultdict(deque)

    def deal(self, process: int) -> Piece | None:
        """What ``process`` is to do next; None when there is nothing for now."""
        while len(self._open) < _OPEN_WINDOWS and (window := next(self._upcoming, None)):
            self._open.append(_Open(window, {at for at, places in enumerate(window.pieces) if places}))
        chosen = self._chosen(process)
        if chosen is None:
            return None
        opened, at = chosen
        opened.waiting.remove(at)
        self._dealt[process].append(chosen)
        window = opened.window
        return Piece(first=window.first, count=window.count, places=window.pieces[at])

    def _chosen(self, process: int) -> tuple[_Open[Answer], int] | None:
        middle = PIECES * process + PIECES // 2

        def strangeness(piece: int) -> tuple[bool, int]:
            return piece // PIECES != process, abs(piece - middle)

        foreign = None
        for opened in self._open:
            nearest = min(opened.waiting, key=strangeness, default=None)
            if nearest is None:
                continue
            if nearest // PIECES == process:
                return opened, nearest
            foreign = foreign or (opened, nearest)
        return foreign

    def under_way(self, process: int) -> int:
        """How many pieces ``process`` has not answered yet."""
        return len(self._dealt[process])

    def answer(self, process: int, answer: Answer) -> None:
        """Take what became of the piece that ``process`` has had for longest."""
        opened, at = self._dealt[process].popleft()
        opened.answers[at] = answer

    def whole(self) -> list[Answer] | None:
        """The answers for the next window, if all of it was answered."""
        if not self._open or not self._open[0].whole:
            return None
        return [*self._open.popleft().answers.values()]

    @property
    def finished(self) -> bool:
        """Whether nothing is left when nothing could be dealt."""
        return not self._open
