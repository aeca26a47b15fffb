"""
Tell quickly which of very many texts may stand in some bytes: by windows instead of an automaton.

Every text is a row of its first bytes, or of its last where many begin alike. The windows that
begin at the first places of a row, as many as a stride has, are put in a table; in the bytes only
the windows at the places of the stride are looked up, since one of them lies in every row that is
there. What the table knows is compared with the whole row. That takes some 5 ns for each byte,
however many texts there are, and building takes a tenth of an automaton's time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

ROW_BYTES = 12
"""So much of a text is compared; what looks at the rest must be exact."""

_WINDOW_BYTES = 8
_SHORT_WINDOW_BYTES = 5
_STRIDE = 4
_LONG_BYTES = _WINDOW_BYTES + _STRIDE - 1
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 by the golden ratio: neighbours fall far apart
_TABLE_BITS = (10, 22)
_ENTRY_BITS = 5  # 32 places for each entry: one in 32 foreign windows has to be looked at again
_FRONT, _BACK = b"\xff" * _WINDOW_BYTES, b"\xff" * 2 * ROW_BYTES
_EXPANDED_MAX = 1 << 18
_ALIKE_MAX = 8

Bytes: TypeAlias = NDArray[np.uint8]
Ints: TypeAlias = NDArray[np.int64]
Keys: TypeAlias = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts as rows of ``ROW_BYTES`` (shape (n, 12)), their sizes in bytes and the originals they betray."""

    text: Bytes = field(repr=False)
    size_bytes: Ints
    owner: Ints

    @classmethod
    def of(cls, texts: list[bytes], owners: list[int]) -> Rows:
        """The beginning of each of ``texts``, or its end where many begin alike."""
        parts = [text[:ROW_BYTES] for text in texts]
        shared = {part for part, count in Counter(parts).items() if count > _ALIKE_MAX}
        if shared:
            parts = [
                text[-ROW_BYTES:] if part in shared else part for part, text in zip(parts, texts, strict=True)
            ]
        data = b"".join([part.ljust(ROW_BYTES, b"\0") for part in parts])
        return cls(
            np.frombuffer(data, np.uint8).reshape(-1, ROW_BYTES),
            np.fromiter(map(len, parts), np.int64, len(parts)),
            np.array(owners, np.int64),
        )

    @classmethod
    def joined(cls, parts: list[Rows]) -> Rows:
        """All of ``parts``, of which there is one at least."""
        return cls(
            np.concatenate([part.text for part in parts]),
            np.concatenate([part.size_bytes for part in parts]),
            np.concatenate([part.owner for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.owner)

    def where(self, mask: NDArray[np.bool_]) -> Rows:
        """Those of ``mask``."""
        return Rows(self.text[mask], self.size_bytes[mask], self.owner[mask])


class Windows:
    """All of ``rows`` at once; they are looked for in bytes that ``spelling`` translates to theirs."""

    def __init__(self, rows: Rows, spelling: bytes | None = None) -> None:
        self._spelling = spelling
        long = rows.size_bytes >= _LONG_BYTES
        self._grids = []
        if long.any():
            self._grids.append(_Grid(rows.where(long), _WINDOW_BYTES, _STRIDE))
        if not long.all():
            short = rows.where(~long)
            room_bytes = int(np.min(short.size_bytes)) - _SHORT_WINDOW_BYTES + 1
            stride = next(stride for stride in (4, 2, 1) if stride <= max(room_bytes, 1))
            self._grids.append(_Grid(short, _SHORT_WINDOW_BYTES, stride))

        self._size = len(rows)

    def __len__(self) -> int:
        return self._size

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Where in ``data`` a row stands (its first byte) and its owner, for each row that does."""
        if self._spelling is not None:
            data = data.translate(self._spelling)
        padded = _FRONT + data + _BACK
        return [hit for grid in self._grids for hit in grid.find(padded, len(data))]


class _Grid:
    """Windows of ``width_bytes``; rows have at least ``width_bytes + stride - 1``."""

    def __init__(self, rows: Rows, width_bytes: int, stride: int) -> None:
        self._rows, self._stride = rows, stride
        self._mask = np.uint64((1 << 8 * width_bytes) - 1)
        heads = [rows.text[:, skip : skip + _WINDOW_BYTES] for skip in range(stride)]
        keys = np.concatenate([np.ascontiguousarray(head).view("<u8")[:, 0] for head in heads]) & self._mask
        self._entries = np.argsort(keys)  # of row r the window that begins at its byte s is r + s * rows
        self._keys = keys[self._entries]
        low, high = _TABLE_BITS
        bits = min(max(len(keys).bit_length() + _ENTRY_BITS, low), high)
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        self._table[self._places(keys)] = True

    def _places(self, keys: Keys) -> Ints:
        places = keys * _SPREAD
        places >>= self._shift
        return places.view(np.int64)

    def find(self, padded: bytes, size_bytes: int) -> list[tuple[int, int]]:
        count = -(-size_bytes // _WINDOW_BYTES)
        keys, places = [], []
        for skip in range(0, _WINDOW_BYTES, self._stride):
            # a copy for each, since numpy is slow where numbers do not begin at multiples of 8
            shifted = padded[_WINDOW_BYTES + skip : _WINDOW_BYTES * (1 + count) + skip]
            windows = np.frombuffer(shifted, "<u8") & self._mask
            likely = np.flatnonzero(self._table.take(self._places(windows), mode="wrap"))
            keys.append(windows[likely])
            places.append(likely * _WINDOW_BYTES + skip)
        return self._sure(padded, np.concatenate(keys), np.concatenate(places))

    def _sure(self, padded: bytes, keys: Keys, places: Ints) -> list[tuple[int, int]]:
        """Where a row stands, of those that have one of ``keys``, which stand at ``places``."""
        first = np.searchsorted(self._keys, keys)
        known = self._keys.take(first, mode="clip") == keys
        if not known.any():
            return []
        first, places = first[known], places[known]
        counts = np.searchsorted(self._keys, keys[known], "right") - first
        hits: list[tuple[int, int]] = []
        ends = np.cumsum(counts)
        start = 0
        while start < len(counts):  # windows that many rows have would take much memory at once
            done = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + _EXPANDED_MAX, "right")))
            part = slice(start, stop)
            hits += self._compared(padded, first[part], counts[part], places[part])
            start = stop
        return hits

    def _compared(self, padded: bytes, first: Ints, counts: Ints, places: Ints) -> list[tuple[int, int]]:
        """The rows themselves: of each of ``places`` those of ``counts`` entries from ``first`` on."""
        before = np.cumsum(counts) - counts
        entries = self._entries[np.repeat(first - before, counts) + np.arange(int(counts.sum()))]
        skips, numbers = np.divmod(entries, len(self._rows))
        starts = np.repeat(places, counts) - skips
        data = np.frombuffer(padded, np.uint8)
        columns = np.arange(ROW_BYTES)
        there = data[(starts + _WINDOW_BYTES)[:, None] + columns] == self._rows.text[numbers]
        there |= columns >= self._rows.size_bytes[numbers][:, None]
        same = there.all(axis=1)
        return list(zip(starts[same].tolist(), self._rows.owner[numbers[same]].tolist(), strict=True))
