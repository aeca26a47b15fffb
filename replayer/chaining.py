"""
Chains while a replay runs: who waits for whom, and the values that fresh responses minted.

A chained exchange is due at its due time, or once its parents are done and the recorded think
time has gone by at the speed of the moment, whichever is later. Everything else is sent open loop.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from captures.model import Request
from replayer.answers import headers_of
from replayer.chain import Chains, Link
from replayer.places import Spot, fits, minted, spots, substituted
from replayer.results import ChainCounts, Outcome
from replayer.schedule import Schedule


@dataclass(slots=True)
class _Parent:
    """A row whose response is needed: which places of it, and by which rows."""

    wanted: set[tuple[str, int]] = field(default_factory=set)
    children: list[int] = field(default_factory=list)
    values: dict[tuple[str, int], bytes] = field(default_factory=dict, repr=False)
    done_ns: int | None = None
    left: int = 0


class Chaining:
    """The chains of one schedule; rows are its row numbers, times are run time."""

    def __init__(self, schedule: Schedule, chains: Chains) -> None:
        self._schedule = schedule
        self._parents: dict[int, _Parent] = {}
        self._links: dict[int, list[tuple[int | None, Link]]] = {}
        self._unfinished: dict[int, int] = {}
        self.counts = ChainCounts()
        rows = rows_of(schedule, chains.parents)
        for row in np.flatnonzero(np.isin(schedule.seq, list(chains.links))).tolist():
            instance = int(schedule.instance[row])
            self._add(row, chains.links[int(schedule.seq[row])], rows, instance)

    def _add(
        self, row: int, links: tuple[Link, ...], rows: dict[tuple[int, int], int], instance: int
    ) -> None:
        found: list[tuple[int | None, Link]] = []
        for link in links:
            parent_row = rows.get((instance, link.parent))
            found.append((parent_row, link))
            if parent_row is not None:
                parent = self._parents.setdefault(parent_row, _Parent())
                if link.spots:
                    parent.wanted.add((link.place, link.ordinal))
                parent.children.append(row)
                parent.left += 1
        self._links[row] = found
        self._unfinished[row] = sum(parent_row is not None for parent_row, _ in found)
        self.counts.chained += 1

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Every (row, parent row): these belong to one session."""
        for row, links in self._links.items():
            for parent_row, _ in links:
                if parent_row is not None:
                    yield row, parent_row

    @property
    def parent_rows(self) -> Container[int]:
        """The rows whose outcome somebody waits for."""
        return self._parents.keys()

    def is_chained(self, row: int) -> bool:
        """Whether ``row`` carries minted values."""
        return row in self._links

    def is_parent(self, row: int) -> bool:
        """Whether somebody needs the response to ``row``."""
        return row in self._parents

    def answered(self, row: int, head: bytes, body: bytes) -> None:
        """Take the values that the response to ``row`` minted; ``head`` is its raw head."""
        parent = self._parents.get(row)
        if parent is None or not parent.wanted:
            return  # messages say its values, and no request does
        places = {place for place, _ in parent.wanted}
        for found in minted(headers_of(head) or (), body, places):
            if (found.place, found.ordinal) in parent.wanted:
                parent.values[found.place, found.ordinal] = found.value

    def done(self, row: int, outcome: Outcome, done_ns: int) -> list[int]:
        """``row`` has its outcome; the rows that wait for nothing any more."""
        parent = self._parents[row]
        parent.done_ns = done_ns
        if outcome is not Outcome.COMPLETED:
            parent.values.clear()
        released = []
        for child in parent.children:
            self._unfinished[child] -= 1
            if not self._unfinished[child]:
                released.append(child)
        return released

    def due_ns(self, row: int) -> int | None:
        """When a chained row is due, None while a parent is not done."""
        if self._unfinished[row]:
            return None
        due_ns = int(self._schedule.due_ns[row])
        for parent_row, link in self._links[row]:
            if parent_row is not None:
                done_ns = self._parents[parent_row].done_ns or 0
                due_ns = max(due_ns, done_ns + self._schedule.scale_ns(row, link.think_ns))
        return due_ns

    def waited(self, row: int, due_ns: int) -> int:
        """Count how much later than scheduled ``row`` is due."""
        waited_ns = due_ns - int(self._schedule.due_ns[row])
        if waited_ns > 0:
            self.counts.waited += 1
            self.counts.waited_ns += waited_ns
        return max(0, waited_ns)

    def find_again(self, row: int, request: Request) -> None:
        """Take the spots of ``row`` from ``request``, in which other values have got other lengths."""
        now: dict[tuple[str, bytes], list[Spot]] = {}
        for spot in spots(request):
            now.setdefault((spot.place, spot.value), []).append(spot)
        self._links[row] = [
            (parent_row, link._replace(spots=tuple(_moved(link.spots, now))))
            for parent_row, link in self._links[row]
        ]

    def finish(self, row: int, request: Request) -> Request:
        """
        ``request`` with all fresh values that are known and fit; asked once for each chained row.

        Where there is none, the recorded value stays, and the chain counts as broken.
        """
        changes: list[tuple[Spot, bytes]] = []
        whole = True
        for parent_row, link in self._links.pop(row):
            fresh = None
            if parent_row is not None:
                parent = self._parents[parent_row]
                fresh = parent.values.get((link.place, link.ordinal))
                parent.left -= 1
                if not parent.left:
                    del self._parents[parent_row]
            for spot in link.spots:
                if fresh is None or not fits(fresh, spot.spelling):
                    whole = False
                else:
                    changes.append((spot, fresh))
        self.counts.substituted += whole
        self.counts.broken += not whole
        return substituted(request, changes) if changes else request


def _moved(old: tuple[Spot, ...], now: dict[tuple[str, bytes], list[Spot]]) -> Iterator[Spot]:
    """Where the values of ``old`` stand now; equal values at equal places are one to a chain."""
    for known in dict.fromkeys((spot.place, spot.value) for spot in old):
        yield from now.get(known, ())


def rows_of(schedule: Schedule, wanted: Collection[int]) -> dict[tuple[int, int], int]:
    """The rows of the exchanges with these seqs, by instance and seq."""
    rows = np.flatnonzero(np.isin(schedule.seq, list(wanted)))
    instances, sequence = schedule.instance[rows].tolist(), schedule.seq[rows].tolist()
    return {
        (instance, seq): row for instance, seq, row in zip(instances, sequence, rows.tolist(), strict=True)
    }


def sessions(schedule: Schedule, ties: Iterable[tuple[int, int]] = ()) -> NDArray[np.int64]:
    """
    For each row the number of its session: connections whose rows ``ties`` tie together are one.

    int64 of the schedule's length.
    """
    numbers, owner = np.unique(schedule.connection, return_inverse=True)
    root = list(range(len(numbers)))

    def find(at: int) -> int:
        while root[at] != at:
            root[at] = at = root[root[at]]
        return at

    for row, parent_row in ties:
        one, other = find(int(owner[row])), find(int(owner[parent_row]))
        root[max(one, other)] = min(one, other)
    found = np.array([find(at) for at in range(len(numbers))], np.int64)
    result: NDArray[np.int64] = found[owner]
    return result
