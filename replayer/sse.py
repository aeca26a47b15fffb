"""Where the events of an SSE stream end, however the target cut them into pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator

from captures.units import MIB

_HELD_BYTES = 1 * MIB  # of an event without an end
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class EventCutter:
    """Tells of each event when its closing blank line came; memory is bounded by ``_HELD_BYTES``."""

    __slots__ = ("_held", "_passed_bytes")

    def __init__(self) -> None:
        self._held = b""
        self._passed_bytes = 0  # of the event that goes on, not held any more

    def feed(self, data: bytes, start_bytes: int) -> Iterator[tuple[int, bytes]]:
        """The size and at most the first ``start_bytes`` of each event that ends with ``data``."""
        held = self._held + data
        begin = 0
        for match in _BLANK_LINE.finditer(held):
            stop = match.end()
            yield self._passed_bytes + stop - begin, held[begin : min(stop, begin + start_bytes)]
            self._passed_bytes = 0
            begin = stop
        held = held[begin:]
        if len(held) > _HELD_BYTES:
            self._passed_bytes += len(held) - 3
            held = held[-3:]  # the start of a blank line, perhaps
        self._held = held
