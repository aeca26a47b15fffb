"""Exchanges with the messages of their streams, in few passes over the messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from captures.model import Exchange, Message
from captures.units import MIB

_MOST_EXCHANGES = 20_000
_MOST_BYTES = 64 * MIB
_MESSAGE_BYTES = 300  # what a message takes beside its payload, roughly


def with_messages(
    exchanges: Iterable[Exchange],
    read_messages: Callable[[], Iterator[Message]],
    most_bytes: int = _MOST_BYTES,
) -> Iterator[tuple[Exchange, list[Message]]]:
    """
    Each exchange with its messages in the order they were written; an empty list if it is no stream.

    ``read_messages`` gives all messages of the capture and is called once for the sizes and
    then once for many streams. Streams wait for it until they and their messages make up
    ``most_bytes``, so memory is bounded by that and by the largest single stream.
    """
    sizes: dict[int, int] | None = None
    waiting: list[Exchange] = []
    waiting_bytes = 0
    for exchange in exchanges:
        is_stream = bool(getattr(exchange.outcome, "stream", False))
        if not waiting and not is_stream:
            yield exchange, []
            continue
        if sizes is None:
            sizes = _sizes(read_messages())
        size_bytes = len(exchange.request.body) + len(getattr(exchange.outcome, "body", b"")) + _MESSAGE_BYTES
        size_bytes += sizes.get(exchange.seq, 0) if is_stream else 0
        if waiting and (waiting_bytes + size_bytes > most_bytes or len(waiting) >= _MOST_EXCHANGES):
            yield from _joined(waiting, read_messages())
            waiting, waiting_bytes = [], 0
        waiting.append(exchange)
        waiting_bytes += size_bytes
    if waiting:
        yield from _joined(waiting, read_messages())


def _sizes(messages: Iterator[Message]) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for message in messages:
        sizes[message.exchange] = sizes.get(message.exchange, 0) + len(message.payload) + _MESSAGE_BYTES
    return sizes


def _joined(
    exchanges: list[Exchange], messages: Iterator[Message]
) -> Iterator[tuple[Exchange, list[Message]]]:
    found: dict[int, list[Message]] = {
        exchange.seq: [] for exchange in exchanges if getattr(exchange.outcome, "stream", False)
    }
    for message in messages if found else ():
        if message.exchange in found:
            found[message.exchange].append(message)
    for exchange in exchanges:
        yield exchange, found.get(exchange.seq, [])
