"""Splits a text/event-stream body into events as the bytes pass."""

from __future__ import annotations

import re
from dataclasses import dataclass

# WHATWG HTML, section 9.2.5: lines end in CRLF, LF or CR, and a blank line ends an event.
# "\r" counts alone only when no "\n" follows, or CRLF would look like two line ends.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SseEvent:
    """One event with its closing blank line; ``truncated_bytes`` more passed and were not kept."""

    payload: bytes
    truncated_bytes: int = 0


class EventSplitter:
    """
    Gives the whole events of a stream, in memory bounded by ``limit_bytes``.

    The payloads of all events and of ``rest`` joined are the stream's bytes, cut events aside.
    """

    __slots__ = ("_buffer", "_limit_bytes", "_skipped_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()
        self._skipped_bytes = 0  # bytes of the open event that were above the limit

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that ``chunk`` completes, in order."""
        # A blank line may begin up to three bytes before the new chunk ("\r\n\r" + "\n").
        search_from = max(0, len(self._buffer) - 3)
        self._buffer += chunk
        events = []
        start = 0
        while match := _BLANK_LINE.search(self._buffer, search_from):
            end = match.end()
            at_carriage_return = end == len(self._buffer) and self._buffer.endswith(b"\r")
            del match  # it locks the buffer's size
            if at_carriage_return:
                break  # a "\n" may still belong to this line end
            events.append(self._event(bytes(self._buffer[start:end])))
            start = search_from = end
        del self._buffer[:start]
        self._forget_excess()
        return events

    def rest(self) -> SseEvent | None:
        """What the stream ended with after its last blank line, or None."""
        pending = bytes(self._buffer)
        self._buffer.clear()
        return self._event(pending) if pending else None

    def _event(self, payload: bytes) -> SseEvent:
        kept = payload[: self._limit_bytes]
        truncated_bytes = self._skipped_bytes + len(payload) - len(kept)
        self._skipped_bytes = 0
        return SseEvent(payload=kept, truncated_bytes=truncated_bytes)

    def _forget_excess(self) -> None:
        # The last four bytes stay, since the blank line that ends the event may be half seen.
        excess_bytes = len(self._buffer) - self._limit_bytes - 4
        if excess_bytes > 0:
            del self._buffer[self._limit_bytes : -4]
            self._skipped_bytes += excess_bytes
