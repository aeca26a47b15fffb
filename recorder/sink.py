"""Takes exchanges from the proxy's thread and writes them on its own; it never makes the proxy wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from captures.errors import HookreelError, WriteError
from captures.model import Counters, Exchange, Message, MessageKind, RecorderFacts, Response
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
    were not. ``withheld`` different credentials were replaced ``withheld_uses`` times. ``parts``
    are the files, in the order in which they were written. ``cut_by`` says in one
    sentence why the recording is not whole, or is empty.
    """

    counters: Counters
    connections: int
    messages: int
    messages_dropped: int
    withheld: int = 0
    withheld_uses: int = 0
    parts: tuple[Path, ...] = ()
    cut_by: str = ""


class SizeReached(Exception):  # noqa: N818 - nothing went wrong
    """A writer has no room left of what the user allows; nothing more will be taken."""


class Writer(Protocol):
    """The part of a capture writer that a sink needs."""

    facts: RecorderFacts | None
    """What the recorder tells; it goes into the file at its end."""

    @property
    def exchanges_flushed(self) -> int:
        """Exchanges that are in the file."""
        ...

    @property
    def parts(self) -> tuple[Path, ...]:
        """The files, in the order in which they were written."""
        ...

    def write(self, exchange: Exchange) -> None:
        """Takes one exchange; may raise SizeReached."""

    def write_message(self, message: Message) -> None:
        """Takes one message; may raise SizeReached."""

    def flush_if_due(self) -> None:
        """Writes the open block when it is old."""

    def count(self, counters: Counters) -> None:
        """Takes the account as it stands."""

    def close(self, counters: Counters | None = None) -> None:
        """Ends the file."""

    def discard(self) -> None:
        """Ends and removes the file."""


class Chooser(Protocol):
    """Says which exchanges are recorded."""

    def wants(self, exchange: Exchange) -> bool:
        """Whether ``exchange`` is recorded; asked once for each."""
        ...


class Cleaner(Protocol):
    """Takes out what must not be written."""

    @property
    def withheld(self) -> tuple[int, int]:
        """How many credentials were withheld, and how many times."""
        ...

    def exchange(self, exchange: Exchange) -> Exchange:
        """What may be written of an exchange."""
        ...

    def message(self, message: Message) -> Message:
        """What may be written of a message."""
        ...


class Sink:
    """
    A bounded queue and the thread that writes what is in it.

    ``saw``, ``offer`` and ``offer_message`` belong to one thread, the proxy's, and return at
    once. Every number is written by one thread only and read by the other, so none needs a
    lock. ``chooser`` is asked on the proxy's thread, ``cleaner`` works on the writer's. When the
    queue is full or the file cannot be written, exchanges are dropped and counted, and traffic
    goes on; one that cannot be cleaned is dropped too.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        note: Callable[[str], None],
        chooser: Chooser | None = None,
        cleaner: Cleaner | None = None,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.cut_by = ""
        self._writer = writer
        self._note = note
        self._chooser = chooser
        self._cleaner = cleaner
        self._queue_bytes = queue_bytes
        self._on_full: Callable[[], object] | None = None
        self._queue: queue.SimpleQueue[_Row | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="capture-writer", daemon=True)
        # Of the proxy's thread:
        self._seen = 0
        self._refused = 0
        self._not_chosen = 0
        self._choice_failed = False
        self._put_bytes = 0
        self._messages_put = 0
        self._messages_refused = 0
        # Of the writer's thread:
        self._taken_bytes = 0
        self._written = 0
        self._truncated = 0
        self._lost = 0
        self._beyond = 0  # left out since the user's size was reached
        self._messages_lost = 0
        self._messages_beyond = 0
        self._failed = False
        self._full = False

    def start(self) -> None:
        """Starts the writer's thread."""
        self._thread.start()

    def when_full(self, callback: Callable[[], object]) -> None:
        """Has ``callback`` called, once and from any thread, when the size that is allowed is reached."""
        self._on_full = callback
        if self._full:
            callback()

    def discard(self) -> None:
        """Ends a recording that did not begin; nothing of it stays."""
        self._queue.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        self._writer.discard()

    def saw(self) -> int:
        """Counts a request that was just seen; its seq."""
        self._seen += 1
        return self._seen - 1

    def drop(self) -> None:
        """Counts an exchange that will not be offered."""
        self._refused += 1

    def offer(self, exchange: Exchange) -> bool:
        """Queues an exchange, or counts it as sampled out or, without room or file, as dropped."""
        if not self._chosen(exchange):
            return False
        if self._put(exchange, _exchange_bytes(exchange)):
            return True
        if self._full:
            self._not_chosen += 1
        else:
            self._refused += 1
        return False

    def offer_message(self, message: Message) -> bool:
        """Queues a message of an exchange that was taken; an END always finds room."""
        always = message.kind is MessageKind.END
        if self._put(message, _ROW_BYTES + len(message.payload), always=always):
            self._messages_put += 1
            return True
        if not self._full:
            self._messages_refused += 1
        return False

    def _chosen(self, exchange: Exchange) -> bool:
        try:
            chosen = not self._full and (self._chooser is None or self._chooser.wants(exchange))
        except Exception as error:  # noqa: BLE001 - the proxy must go on
            self._refused += 1
            if not self._choice_failed:
                self._choice_failed = True
                self._note(
                    f"It could not be told whether to record an exchange ({type(error).__name__}); "
                    "it is counted as dropped."
                )
            return False
        self._not_chosen += not chosen
        return chosen

    def close(self, *, in_flight: int, connections: int, facts: RecorderFacts | None = None) -> Account:
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
            self._writer.facts = facts
            self._writer.close(counters)
        except Exception as error:  # noqa: BLE001 - whatever it is, the account is given
            self._cut(_sentence(error))
        if self._failed or self.cut_by:
            counters = self._counters(in_flight)
        return self._account(counters, connections)

    def _put(self, row: _Row, size_bytes: int, *, always: bool = False) -> bool:
        if self._failed or self._full:
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
        if self._full:
            self._leave_out(row)
            return
        try:
            # The account goes into the file with each block, so it is brought up to date first.
            self._writer.count(self._counters(None))
            if isinstance(row, Exchange):
                self._writer.write(row if self._cleaner is None else self._cleaner.exchange(row))
                self._written += 1
                self._truncated += _is_truncated(row)
            else:
                self._writer.write_message(row if self._cleaner is None else self._cleaner.message(row))
        except SizeReached:
            self._leave_out(row)
            self._fill()
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

    def _leave_out(self, row: _Row) -> None:
        if isinstance(row, Exchange):
            self._beyond += 1
        else:
            self._messages_beyond += 1

    def _fill(self) -> None:
        self._full = True
        self._note("The capture has the size that --max-size allows; nothing more is recorded.")
        if self._on_full is not None:
            with suppress(Exception):  # whoever waited may have ended; what is queued is still counted
                self._on_full()

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
        sampled_out = self._not_chosen + self._beyond
        if in_flight is None:
            in_flight = self._seen - written - dropped - sampled_out
        return Counters(
            seen=self._seen,
            written=written,
            sampled_out=sampled_out,
            truncated=min(self._truncated, written),
            dropped=dropped,
            in_flight=in_flight,
        )

    def _account(self, counters: Counters, connections: int) -> Account:
        withheld, withheld_uses = (0, 0) if self._cleaner is None else self._cleaner.withheld
        return Account(
            counters=counters,
            connections=connections,
            messages=self._messages_put - self._messages_lost - self._messages_beyond,
            messages_dropped=self._messages_refused + self._messages_lost,
            withheld=withheld,
            withheld_uses=withheld_uses,
            parts=self._writer.parts,
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
