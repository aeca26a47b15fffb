"""A queue of bytes in memory that two processes (or threads) share: one puts, one takes, neither waits."""

from __future__ import annotations

import mmap
import platform
from collections.abc import Iterator

from captures.units import MIB

PIECE_BYTES = 4 * MIB  # what is taken at once, so that a long queue is not held twice
KEPT_BYTES = 4 * MIB  # the places that keep their memory when they are empty

# These processors show one's stores to all others in the order in which they were made. Others may
# show, for some nanoseconds, a position before the bytes in front of it.
_ORDERED = platform.machine().lower() in {"x86_64", "amd64"}
# The cells at the beginning: each is written by one side only.
_PUT, _GAP, _TAKEN = range(3)
_CELLS_BYTES = mmap.PAGESIZE
# Gives pages of shared memory back; only Linux has it.
_REMOVE: int | None = getattr(mmap, "MADV_REMOVE", None)


class Ring:
    """
    Up to ``size_bytes`` bytes that were put and not yet taken; neither side makes a system call.

    Positions count every byte since the beginning; a position's place is its remainder by the
    size. When all that was put has been taken, ``put`` begins at the first place again: so a queue
    that is short touches few pages, and finds them in the processor's cache. What a long one took
    of memory goes back to the system as it is taken, but for the first places.

    It belongs to one putting and one taking side, either side of a fork or in two threads. What
    was put stays for the taker when the putting process is killed.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        # Anonymous and shared: it has no name that others could open and is never on a disk.
        self._memory = mmap.mmap(-1, _CELLS_BYTES + size_bytes)
        memory = memoryview(self._memory)
        self._cells = memory[:_CELLS_BYTES].cast("q")
        self._bytes = memory[_CELLS_BYTES:]
        self._cells[_GAP] = -1
        # Of the putting side:
        self._put = 0
        self._began = 0
        # Of the taking side:
        self._taken = 0
        self._seen = 0
        self._ready = 0

    @property
    def queued_bytes(self) -> int:
        """What waits to be taken, for either side."""
        put, taken = self._cells[_PUT], self._cells[_TAKEN]
        if put == taken:
            return 0
        return put - (self._behind_gap(taken) if taken == self._cells[_GAP] else taken)

    def put(self, data: bytes, spare_bytes: int = 0) -> bool:
        """Adds ``data`` whole; False when that would leave less than ``spare_bytes`` of room."""
        put, taken, size = self._put, self._cells[_TAKEN], self.size_bytes
        if put == taken and put % size:
            self._cells[_GAP] = put
            self._began = put = self._behind_gap(put)
        stop = put + len(data)
        taken = max(taken, self._began)  # the taker does not know yet that it will pass over the gap
        if stop - taken > size - spare_bytes:
            return False
        place = put % size
        if place + len(data) <= size:
            self._bytes[place : place + len(data)] = data
        else:
            first = size - place
            self._bytes[place:] = data[:first]
            self._bytes[: len(data) - first] = data[first:]
        self._put = stop
        self._cells[_PUT] = stop  # last, for this is what shows it to the taker
        return True

    def look(self) -> bool:
        """
        Makes what was put ready to be taken; False when there was nothing since the look before.

        Where it takes time until bytes are in order, what had been put by the look before is made
        ready; looks should be a millisecond apart, and only the one after a False has all.
        """
        before, self._seen = self._seen, self._cells[_PUT]
        self._ready = self._seen if _ORDERED else before
        return self._seen != before

    def take(self) -> Iterator[bytes]:
        """What is ready, in pieces of ``PIECE_BYTES`` at most; the room of each is free once it is given."""
        if self._taken != self._ready and self._taken == self._cells[_GAP]:
            self._taken = self._behind_gap(self._taken)
        while self._taken < self._ready:
            place = self._taken % self.size_bytes
            length = min(self._ready - self._taken, self.size_bytes - place, PIECE_BYTES)
            piece = bytes(self._bytes[place : place + length])
            self._give_back(place, place + length)
            self._taken += length
            self._cells[_TAKEN] = self._taken
            yield piece

    def _give_back(self, start: int, stop: int) -> None:
        """Returns to the system the pages that lie wholly between two places, both still the taker's."""
        page = mmap.PAGESIZE
        first = -(-max(start, KEPT_BYTES) // page) * page
        length = stop // page * page - first
        if length > 0 and _REMOVE is not None:
            self._memory.madvise(_REMOVE, _CELLS_BYTES + first, length)

    def _behind_gap(self, position: int) -> int:
        return position - position % self.size_bytes + self.size_bytes
