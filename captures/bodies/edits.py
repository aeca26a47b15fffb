"""Edits at byte offsets, and the way back from decoded text to the bytes it was written as."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import NamedTuple


class Edit(NamedTuple):
    """Replace the bytes ``start:stop`` by ``new``; ``label`` says why, for whoever counts."""

    start: int
    stop: int
    new: bytes
    label: str = ""

    def moved(self, by: int) -> Edit:
        """The same edit ``by`` bytes further on."""
        return Edit(self.start + by, self.stop + by, self.new, self.label)


_START = itemgetter(0)
_PLACE = itemgetter(0, 1)  # half of the time that a function of Python's own takes for it


def splice(data: bytes, edits: Iterable[Edit]) -> bytes:
    """
    ``data`` with every edit made and all other bytes untouched.

    Raises:
        ValueError: two edits overlap or one lies outside of ``data``.

    """
    parts: list[bytes] = []
    position = 0
    for start, stop, new, _ in sorted(edits, key=_PLACE):
        if start < position or stop < start or stop > len(data):
            raise ValueError(f"edit {start}:{stop} overlaps another or is out of range")
        parts.append(data[position:start])
        parts.append(new)
        position = stop
    parts.append(data[position:])
    return b"".join(parts)


def without_overlaps(edits: Iterable[Edit]) -> list[Edit]:
    """
    The edits in order of their start; where two overlap, the longer one (then the earlier) stays.

    What the shorter one had beyond the others becomes ``x``: it is part of what was to go.
    """
    chosen: list[Edit] = []
    starts: list[int] = []
    torn: list[Edit] = []
    for edit in sorted(edits, key=lambda edit: (edit.start - edit.stop, edit.start)):
        at = bisect_left(starts, edit.start)
        if at > 0 and chosen[at - 1].stop > edit.start:
            if chosen[at - 1].stop < edit.stop:
                torn.append(edit)
            continue
        if at < len(chosen) and chosen[at].start < edit.stop:
            if chosen[at].start > edit.start:
                torn.append(edit)
            continue
        starts.insert(at, edit.start)
        chosen.insert(at, edit)
    return _with_rests(chosen, torn) if torn else chosen


def _with_rests(chosen: list[Edit], torn: Iterable[Edit]) -> list[Edit]:
    for edit in torn:
        rests: list[Edit] = []
        position = edit.start
        for other in chosen[max(0, bisect_right(chosen, edit.start, key=_START) - 1) :]:
            if other.start >= edit.stop:
                break
            if other.start > position:
                rests.append(Edit(position, other.start, b"x" * (other.start - position), edit.label))
            position = max(position, other.stop)
        if position < edit.stop:
            rests.append(Edit(position, edit.stop, b"x" * (edit.stop - position), edit.label))
        chosen = sorted([*chosen, *rests], key=_PLACE)
    return chosen


class Unescaped:
    """
    Text with its escapes undone, which knows where each of its bytes came from.

    ``pattern`` finds one escape sequence at a time and ``undo`` gives the bytes it stands for
    (None when it is no escape after all). ``text`` is the result; ``changed`` says whether
    there was any escape.
    """

    __slots__ = ("_raw_starts", "_raw_stops", "_text_starts", "changed", "raw", "text")

    def __init__(
        self,
        raw: bytes,
        pattern: re.Pattern[bytes],
        undo: Callable[[re.Match[bytes]], bytes | None],
    ) -> None:
        self.raw = raw
        parts: list[bytes] = []
        self._text_starts: list[int] = [0]
        self._raw_starts: list[int] = [0]
        self._raw_stops: list[int] = [0]
        position = length = 0
        for match in pattern.finditer(raw):
            plain = undo(match)
            if plain is None:
                continue
            start, stop = match.span()
            self._add(length, position, position)
            parts.append(raw[position:start])
            length += start - position
            self._add(length, start, stop)
            parts.append(plain)
            length += len(plain)
            position = stop
        self._add(length, position, position)
        parts.append(raw[position:])
        self.changed = position > 0
        self.text = b"".join(parts)

    def _add(self, text_start: int, raw_start: int, raw_stop: int) -> None:
        self._text_starts.append(text_start)
        self._raw_starts.append(raw_start)
        self._raw_stops.append(raw_stop)

    def raw_span(self, start: int, stop: int) -> tuple[int, int]:
        """The raw bytes that ``text[start:stop]`` was written as; whole escapes only."""
        return self._raw_start(start), self._raw_stop(stop)

    def _raw_start(self, position: int) -> int:
        at = bisect_right(self._text_starts, position) - 1
        if self._raw_stops[at] > self._raw_starts[at]:
            return self._raw_starts[at]
        return self._raw_starts[at] + position - self._text_starts[at]

    def _raw_stop(self, position: int) -> int:
        at = bisect_left(self._text_starts, position) - 1
        if at < 0:
            return 0
        if self._raw_stops[at] > self._raw_starts[at]:
            return self._raw_stops[at]
        return self._raw_starts[at] + position - self._text_starts[at]

    def raw_edits(self, edits: Iterable[Edit], escape: Callable[[bytes, bytes], bytes]) -> list[Edit]:
        """Edits of ``text`` as edits of the raw bytes; ``escape(new, raw)`` spells them like raw ones."""
        mapped: list[Edit] = []
        for start, stop, new, label in edits:
            raw_start, raw_stop = self.raw_span(start, stop)
            mapped.append(Edit(raw_start, raw_stop, escape(new, self.raw[raw_start:raw_stop]), label))
        return mapped
