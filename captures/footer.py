"""What a capture says of itself at its end, and how many bytes that will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import msgpack

from captures.codec import facts_map
from captures.model import Counters, Exchange, RecorderFacts, Response

# Most bytes of one entry below, each an array of numbers in msgpack.
_POSITION_BYTES = 9
_MESSAGE_BLOCK_BYTES = 1 + 4 * 9
_STREAM_END_BYTES = 1 + 2 * 9
_DICTIONARY_BYTES = 1 + 2 * 9


@dataclass(slots=True)
class Totals:
    """What a footer says of all exchanges together: how many are cut, when they began and ended."""

    truncated: int = 0
    first_ns: int | None = None
    last_end_ns: int = 0

    def add(self, exchange: Exchange) -> None:
        """One more."""
        outcome = exchange.outcome
        end_ns = outcome.offset_ns
        cut_bytes = exchange.request.truncated_bytes
        if isinstance(outcome, Response):
            end_ns = max(end_ns, outcome.end_ns or 0)
            cut_bytes += outcome.truncated_bytes
        self.truncated += cut_bytes > 0
        first_ns = self.first_ns
        self.first_ns = exchange.offset_ns if first_ns is None else min(first_ns, exchange.offset_ns)
        self.last_end_ns = max(self.last_end_ns, end_ns)


def pack_footer(
    *,
    index: Sequence[int],
    messages: Sequence[tuple[int, int, int, int]],
    stream_ends: Sequence[tuple[int, int]],
    dictionaries: Sequence[tuple[int, int]],
    counters: Counters,
    facts: RecorderFacts | None,
    totals: Totals,
) -> bytes:
    """
    The FOOTER payload.

    ``index`` are positions; ``messages`` (position, first ns, last ns, rows) of blocks; ``stream_ends``
    (exchange, ns); ``dictionaries`` (number, position).
    """
    return bytes(
        msgpack.packb(
            {
                "index": index,
                "messages": messages,
                "stream_ends": stream_ends,
                "dictionaries": dictionaries,
                "counters": asdict(counters),
                "facts": None if facts is None else facts_map(facts),
                "first_ns": totals.first_ns or 0,
                "last_end_ns": max([totals.last_end_ns, *(end_ns for _, end_ns in stream_ends)]),
            }
        )
    )


def lists_bytes(*, index: int, messages: int, stream_ends: int, dictionaries: int) -> int:
    """At most so many bytes are a footer's lists of these lengths."""
    return (
        index * _POSITION_BYTES
        + messages * _MESSAGE_BLOCK_BYTES
        + stream_ends * _STREAM_END_BYTES
        + dictionaries * _DICTIONARY_BYTES
    )
