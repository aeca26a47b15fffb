"""Takes exchanges from the proxy's thread and writes them on its own; it never makes the proxy wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from captures.errors import HookreelError, WriteError
from captures.model import Counters, Exchange, Message, MessageKind, Response
from captures.units import MIB

QUEUE_BYTES = 128 * MIB  # what may wait to be written; above it exchanges are dropped and counted
FLUSH_PERIOD_S = 0.1
# A stuck disk is given up on after this: at stop the process must not hang for ever.
CLOSE_TIMEOUT_S = 30.0

_ROW_BYTES = 2048  # about what a queued row costs beside its bodies
_Row: TypeAlias = Exchange | Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """
    What became of a recording.

    ``connections`` are client connections that carried at least one request. ``messages`` are
    the rows of WebSocket messages and SSE events taken; ``messages_dropped`` are those that
    were not. ``cut_by`` says in one sentence why the recording is not whole, or is empty.
    """

    counters: Counters
    connections: int
    messages: int
    messages_dropped: int
    cut_by: str = ""


class Writer(Protocol):
    """The part of a capture writer that a sink needs."""

    exchanges_flushed: int

    def write(self, exchange: Exchange) -> None:
        """Takes one exchange."""

    def write_message(self, message: Message) -> None:
        """Takes one message."""

    def flush_if_due(self) -> None:
        """Writes the open block when it is old."""

    def count(self, counters: Counters) -> None:
        """Takes the account as it stands."""

    def close(self, counters: Counters | None = None) -> None:
        """Ends the file."""


class Sink:
    """
    A bounded queue and the thread that writes what is in it.

    ``saw``, ``offer`` and ``offer_message`` belong to one thread, the proxy's, and return at
    once. Every number is written by one thread only and read by the other, so none needs a
    lock. When the queue is full or the file cannot be written, exchanges are dropped and
    counted, and traffic goes on.
    """

    def __init__(
        self, writer: Writer, *, note: Callable[[str], None], queue_bytes: int = QUEUE_BYTES
    ) -> None:
        self.cut_by = ""
        self._writer = writer
        self._note = note
        self._queue_bytes = queue_bytes
        self._queue: queue.SimpleQueue[_Row | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="capture-writer", daemon=True)
        # Of the proxy's thread:
        self._seen = 0
        self._refused = 0
        self._put_bytes = 0
        self._messages_put = 0
        self._messages_refused = 0
        # Of the writer's thread:
        self._taken_bytes = 0
        self._written = 0
        self._truncated = 0
        self._lost = 0
        self._messages_lost = 0
        self._failed = False

    def start(self) -> None:
        """Starts the writer's thread."""
        self._thread.start()

    def saw(self) -> int:
        """Counts a request that was just seen; its seq."""
        self._seen += 1
        return self._seen - 1

    def drop(self) -> None:
        """Counts an exchange that will not be offered."""
        self._refused += 1

    def offer(self, exchange: Exchange) -> bool:
        """Queues an exchange, or counts it as dropped when there is no room or no file."""
        if self._put(exchange, _exchange_bytes(exchange)):
            return True
        self._refused += 1
        return False

    def offer_message(self, message: Message) -> bool:
        """Queues a message of an exchange that was taken; an END always finds room."""
        always = message.kind is MessageKind.END
        if self._put(message, _ROW_BYTES + len(message.payload), always=always):
            self._messages_put += 1
            return True
        self._messages_refused += 1
        return False

    def close(self, *, in_flight: int, connections: int) -> Account:
        """
        Writes what is queued, ends the file and gives the account.

        ``in_flight`` exchanges were seen and had no outcome when the recording ended.
        """
        self._queue.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            self._cut("The disk did not take the capture in time; use a faster one and record again.")
            return self._account(self._counters(in_flight), connections)
        counters = self._counters(in_flight)
        try:
            self._writer.close(counters)
        except (HookreelError, OSError) as error:
            self._cut(_sentence(error))
        if self._failed or self.cut_by:
            counters = self._counters(in_flight)
        return self._account(counters, connections)

    def _put(self, row: _Row, size_bytes: int, *, always: bool = False) -> bool:
        if self._failed:
            return False
        if not always and self._put_bytes - self._taken_bytes + size_bytes > self._queue_bytes:
            return False
        self._put_bytes += size_bytes
        self._queue.put(row)
        return True

    def _run(self) -> None:
        while True:
            try:
                row = self._queue.get(timeout=FLUSH_PERIOD_S)
            except queue.Empty:
                self._flush()
                continue
            if row is None:
                return
            size_bytes = _exchange_bytes(row) if isinstance(row, Exchange) else _ROW_BYTES + len(row.payload)
            self._taken_bytes += size_bytes
            self._write(row)

    def _write(self, row: _Row) -> None:
        if self._failed:
            self._lose(row)
            return
        try:
            # The account goes into the file with each block, so it is brought up to date first.
            self._writer.count(self._counters(None))
            if isinstance(row, Exchange):
                self._writer.write(row)
                self._written += 1
                self._truncated += _is_truncated(row)
            else:
                self._writer.write_message(row)
        except (WriteError, OSError) as error:
            self._lose(row)
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - one odd exchange must not end the recording
            self._lose(row)
            self._note(f"An exchange could not be written and is counted as dropped: {_sentence(error)}")

    def _flush(self) -> None:
        if self._failed:
            return
        try:
            self._writer.count(self._counters(None))
            self._writer.flush_if_due()
        except Exception as error:  # noqa: BLE001 - the thread must live to count what it loses
            self._fail(error)

    def _lose(self, row: _Row) -> None:
        if isinstance(row, Exchange):
            self._lost += 1
        else:
            self._messages_lost += 1

    def _fail(self, error: Exception) -> None:
        self._failed = True
        self._cut(_sentence(error))
        self._note(f"Recording stopped, traffic still passes: {self.cut_by}")

    def _cut(self, reason: str) -> None:
        self.cut_by = self.cut_by or reason

    def _counters(self, in_flight: int | None) -> Counters:
        # Once the file has failed, what the open block held is lost although it was taken.
        cut = bool(self.cut_by)
        written = min(self._written, self._writer.exchanges_flushed) if cut else self._written
        dropped = self._refused + self._lost + (self._written - written)
        if in_flight is None:
            in_flight = self._seen - written - dropped
        return Counters(
            seen=self._seen,
            written=written,
            truncated=min(self._truncated, written),
            dropped=dropped,
            in_flight=in_flight,
        )

    def _account(self, counters: Counters, connections: int) -> Account:
        lost = self._messages_refused + self._messages_lost
        return Account(
            counters=counters,
            connections=connections,
            messages=self._messages_put - self._messages_lost,
            messages_dropped=lost,
            cut_by=self.cut_by,
        )


def _exchange_bytes(exchange: Exchange) -> int:
    outcome = exchange.outcome
    body_bytes = len(outcome.body) if isinstance(outcome, Response) else 0
    return _ROW_BYTES + len(exchange.request.body) + body_bytes


def _is_truncated(exchange: Exchange) -> bool:
    outcome = exchange.outcome
    return exchange.request.truncated_bytes > 0 or (
        isinstance(outcome, Response) and outcome.truncated_bytes > 0
    )


def _sentence(error: Exception) -> str:
    if isinstance(error, HookreelError):
        return str(error)
    if isinstance(error, OSError):
        return f"The capture cannot be written ({error.strerror}); free space or choose another place."
    return f"The capture could not be packed ({type(error).__name__}); report this."
