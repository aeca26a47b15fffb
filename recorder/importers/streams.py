"""What importers share about streams: their order, their end, and SSE events that we exported."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from captures.model import Exchange, Message, MessageKind, Response
from recorder.importers.base import Item

_LIMIT_NS = 2**62
_LIMIT_BYTES = 2**40


def stream_items(exchange: Exchange, messages: Sequence[Message]) -> Iterator[Item]:
    """The exchange, then its messages; a stream that has ended is closed by an END message."""
    if exchange.offset_ns < 0:  # the rounding of a float, where nothing says it better
        exchange = replace(exchange, offset_ns=0)
    outcome = exchange.outcome
    if not isinstance(outcome, Response) or not outcome.stream:
        yield exchange
        return
    yield replace(exchange, outcome=replace(outcome, end_ns=None))
    yield from messages
    if outcome.end_ns is not None:
        end_ns = max([outcome.end_ns, *(message.offset_ns for message in messages)])
        yield Message(
            exchange=exchange.seq, offset_ns=end_ns, from_client=False, kind=MessageKind.END, payload=b""
        )


def event_records(messages: Sequence[Message], started_wall_ns: int) -> list[dict[str, Any]]:
    """Messages that a foreign format has no place for, as plain JSON values."""
    return [
        {
            "wall_ns": started_wall_ns + message.offset_ns,
            "kind": message.kind.value,
            "from_client": message.from_client,
            "truncated_bytes": message.truncated_bytes,
            "data": base64.b64encode(message.payload).decode("ascii"),
        }
        for message in messages
    ]


def event_messages(overlay: Any, exchange: Exchange, started_wall_ns: int) -> list[Message]:
    """The messages that ``event_records`` left in an overlay; what is none of them is left out."""
    records = overlay.get("events") if isinstance(overlay, dict) else None
    messages = (
        _event_message(record, exchange, started_wall_ns)
        for record in (records if isinstance(records, list) else ())
    )
    return [message for message in messages if message is not None]


def _event_message(record: Any, exchange: Exchange, started_wall_ns: int) -> Message | None:
    try:
        offset_ns = int(record["wall_ns"]) - started_wall_ns
        truncated_bytes = int(record["truncated_bytes"])
        if not (-_LIMIT_NS < offset_ns < _LIMIT_NS and 0 <= truncated_bytes < _LIMIT_BYTES):
            return None
        return Message(
            exchange=exchange.seq,
            offset_ns=offset_ns,
            from_client=bool(record["from_client"]),
            kind=MessageKind(record["kind"]),
            payload=base64.b64decode(record["data"], validate=True),
            truncated_bytes=truncated_bytes,
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
