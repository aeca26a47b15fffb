"""``hookreel cat --follow``: a capture while it is being recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from captures.endpoints import shape_label
from captures.follow import Follower
from captures.model import Exchange, Message, MessageKind, Response
from hookreel.show import exchange_lines, exchange_record, message_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What is printed of what comes; offsets in ns, endpoints by the shape of their paths."""

    start_ns: int | None = None
    stop_ns: int | None = None
    endpoints: Collection[str] = ()
    limit: int | None = None
    as_json: bool = False
    bodies: bool = False
    show_secrets: bool = False


def follow(
    path: Path, chosen: Following, wait: Callable[[], None], note: Callable[[str], None]
) -> Iterator[str]:
    """
    Lines as they come, until the recording ends or the limit is reached; ``note`` takes what is missing.

    Raises:
        UsageError: the file cannot be read.
        CaptureError: it is no capture, or is damaged.

    """
    printed = 0
    streams: set[int] = set()
    with Follower.open(path) as follower:
        for item in follower.items(wait):
            if isinstance(item, Message):
                yield from _message(item, chosen, streams)
            elif _wanted(item, chosen):
                yield from _exchange(item, chosen)
                printed += 1
                if isinstance(item.outcome, Response) and item.outcome.stream:
                    streams.add(item.seq)
            if chosen.limit is not None and printed >= chosen.limit:
                return
        for problem in follower.problems:
            note(problem)


def _wanted(exchange: Exchange, chosen: Following) -> bool:
    if chosen.start_ns is not None and exchange.offset_ns < chosen.start_ns:
        return False
    if chosen.stop_ns is not None and exchange.offset_ns >= chosen.stop_ns:
        return False
    request = exchange.request
    return not chosen.endpoints or shape_label(request.method, request.target) in chosen.endpoints


def _exchange(exchange: Exchange, chosen: Following) -> Iterator[str]:
    if chosen.as_json:
        yield json.dumps(exchange_record(exchange, bodies=chosen.bodies, show_secrets=chosen.show_secrets))
    else:
        yield from exchange_lines(exchange, (), bodies=chosen.bodies, show_secrets=chosen.show_secrets)


def _message(message: Message, chosen: Following, streams: set[int]) -> Iterator[str]:
    if message.exchange not in streams:
        return
    if message.kind is MessageKind.END:
        streams.discard(message.exchange)
    if chosen.as_json:
        record = {"message_of": message.exchange, **message_record(message, bodies=chosen.bodies)}
        yield json.dumps(record)
    else:
        arrow = ">" if message.from_client else "<"
        text = (
            f" {message.payload.decode('utf-8', errors='backslashreplace').strip()}" if chosen.bodies else ""
        )
        size = f"{len(message.payload)} B"
        yield f"{message.offset_ns / 1e9:12.6f}s #{message.exchange}   {arrow} {message.kind} {size}{text}"
