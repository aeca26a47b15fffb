"""A writer in memory, and a sink that writes to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from captures.codec import exchange_row
from captures.model import Counters, Exchange, Failure, FailureReason, Message, MessageKind, Request
from recorder.sink import Sink


def exchange(seq: int, *, body: bytes = b"", truncated_bytes: int = 0) -> Exchange:
    return Exchange(
        seq=seq,
        offset_ns=seq * 1000,
        request_end_ns=seq * 1000,
        connection=0,
        request=Request(
            method=b"POST",
            scheme=b"http",
            authority=b"h",
            target=b"/",
            http_version=b"HTTP/1.1",
            headers=(),
            body=body,
            truncated_bytes=truncated_bytes,
        ),
        outcome=Failure(reason=FailureReason.OTHER, offset_ns=seq * 1000 + 1),
    )


def message(kind: MessageKind, payload: bytes = b"") -> Message:
    return Message(exchange=0, offset_ns=1, from_client=False, kind=kind, payload=payload)


class MemoryWriter:
    """Keeps rows; ``before`` runs first and may block or raise."""

    def __init__(self, before: Callable[[object], None] = lambda _row: None) -> None:
        self.rows: list[object] = []
        self.counters: Counters | None = None
        self.closed_with: Counters | None = None
        self.exchanges_flushed = 0
        self.parts = (Path("memory.reel"),)
        self.discarded = self.abandoned = False
        self.before = before

    def write(self, exchange: Exchange) -> None:
        self.before(exchange)
        self.rows.append(exchange)

    def write_message(self, message: Message) -> None:
        self.before(message)
        self.rows.append(message)

    def flush_if_due(self) -> None:
        self.exchanges_flushed = len(self.rows)

    def count(self, counters: Counters) -> None:
        self.counters = counters

    def close(self, counters: Counters | None = None) -> None:
        self.flush_if_due()
        self.closed_with = counters

    def abandon(self) -> None:
        self.flush_if_due()
        self.abandoned = True

    def discard(self) -> None:
        self.discarded = True


def start(writer: MemoryWriter, notes: list[str] | None = None, **options: object) -> Sink:
    sink = Sink(lambda: writer, note=(notes if notes is not None else []).append, **options)
    sink.start()
    return sink


def offer(sink: Sink, **parts: object) -> bool:
    return sink.offer(exchange_row(exchange(sink.saw(), **parts)))
