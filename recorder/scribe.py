"""The other end of a sink: takes rows from the queue, chooses, cleans, writes and counts them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import msgpack

from captures.codec import build_exchange, build_message, is_exchange_row
from captures.errors import HookreelError, WriteError
from captures.model import Counters, Exchange, Message, MessageKind, RecorderFacts, Response
from recorder.account import Count, Tally
from recorder.ring import Ring

LOOK_S = (
    0.005  # while traffic passes; short, so that what is done at once takes the processor for little time
)
IDLE_LOOK_S = 0.1
_TOLD = 1000  # sentences that are remembered
UNICODE_ERRORS = "surrogateescape"


class SizeReached(Exception):  # noqa: N818 - nothing went wrong
    """A writer has no room left of what the user allows; nothing more will be taken."""


class Writer(Protocol):
    """The part of a capture writer that recording needs."""

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

    def abandon(self) -> None:
        """Ends the file as one that is not whole; raises nothing."""

    def discard(self) -> None:
        """Ends and removes the file."""


class Chooser(Protocol):
    """Says which exchanges are recorded."""

    def wants(self, exchange: Exchange) -> bool:
        """Whether ``exchange`` is recorded; asked once for each, in the order they end."""
        ...


class Cleaner(Protocol):
    """Takes out what must not be written."""

    @property
    def withheld_names(self) -> frozenset[bytes]:
        """The stand-ins of the credentials that were withheld."""
        ...

    @property
    def withheld_uses(self) -> int:
        """How many times one was."""
        ...

    def exchange(self, exchange: Exchange) -> Exchange:
        """What may be written of an exchange."""
        ...

    def message(self, message: Message) -> Message:
        """What may be written of a message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """The order to end: what was in flight, and what the recorder tells of the whole recording."""

    in_flight: int
    facts: RecorderFacts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard:
    """The order to leave nothing of a recording that did not begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a scribe says last."""

    withheld_names: frozenset[bytes]
    parts: tuple[Path, ...]


class Scribe:
    """
    Writes what the other end of ``ring`` puts into it, and counts it in ``tally``.

    Orders come over ``line``; when its other end is gone, what waits is written and the file
    ends without a footer, as not whole. Over it go ("open", parts) or ("refused", error) first,
    then ("note", sentence), ("cut", sentence), ("full", None), and for the order to end
    ("drained", None) and ("ended", Ending).
    """

    def __init__(
        self,
        *,
        ring: Ring,
        tally: Tally,
        line: Connection,
        open_writer: Callable[[], Writer],
        chooser: Chooser | None,
        cleaner: Cleaner | None,
    ) -> None:
        self._ring = ring
        self._tally = tally
        self._line = line
        self._open_writer = open_writer
        self._chooser = chooser
        self._cleaner = cleaner
        self._rows = msgpack.Unpacker(
            use_list=False, max_buffer_size=2 * ring.size_bytes, unicode_errors=UNICODE_ERRORS
        )
        self._cut = False
        self._full = False
        self._told: set[str] = set()
        self._left_out: dict[int, bool] = {}
        """Open streams without an exchange in the file, by seq; whether their messages count as lost."""

    def run(self) -> None:
        """From the opened file to the closed one."""
        with self._line:
            try:
                self._writer = self._open_writer()
            except HookreelError as error:
                self._tell("refused", error)
            else:
                self._tell("open", self._writer.parts)
                self._record()

    def _record(self) -> None:
        order = self._until_order()
        self._drain()
        if isinstance(order, Close):
            self._end(order)
        elif isinstance(order, Discard):
            self._writer.discard()
        else:
            self._writer.count(self._tally.counters(None, cut=self._cut))
            self._writer.abandon()

    def _until_order(self) -> object:
        while True:
            busy = self._ring.look()
            self._take()
            self._flush()
            try:
                if self._line.poll(LOOK_S if busy else IDLE_LOOK_S):
                    return self._line.recv()
            except (EOFError, OSError):
                return None

    def _drain(self) -> None:
        # The order came after the last row, so both are in order by now.
        while self._ring.look():
            self._take()
        self._take()

    def _take(self) -> None:
        for piece in self._ring.take():
            self._rows.feed(piece)
            for row in self._rows:
                self._handle(row)

    def _handle(self, row: tuple[Any, ...]) -> None:
        try:
            if is_exchange_row(row):
                self._exchange(build_exchange(row))
            else:
                self._message(build_message(row))
        except Exception as error:  # noqa: BLE001 - one odd row must not end the recording
            self._tally.add(Count.LOST if is_exchange_row(row) else Count.MESSAGES_LOST)
            self._note(f"An exchange could not be written and is counted as dropped: {sentence(error)}")

    def _exchange(self, exchange: Exchange) -> None:
        chosen = self._chosen(exchange)
        if chosen and self._write_exchange(exchange):
            return
        outcome = exchange.outcome
        if isinstance(outcome, Response) and outcome.stream and outcome.end_ns is None:
            self._left_out[exchange.seq] = chosen is not False and not self._full

    def _chosen(self, exchange: Exchange) -> bool | None:
        """None when that could not be told; counts what is not chosen."""
        try:
            chosen = not self._full and (self._chooser is None or self._chooser.wants(exchange))
        except Exception as error:  # noqa: BLE001 - as above
            self._tally.add(Count.LOST)
            self._note(
                f"It could not be told whether to record an exchange ({type(error).__name__}); "
                "it is counted as dropped."
            )
            return None
        if not chosen:
            self._tally.add(Count.SAMPLED_OUT)
        return chosen

    def _write_exchange(self, exchange: Exchange) -> bool:
        tally = self._tally
        if self._cut:
            tally.add(Count.LOST)
            return False
        try:
            # The account goes into the file with each block, so it is brought up to date first.
            self._writer.count(tally.counters(None, cut=False))
            if self._cleaner is not None:
                exchange = self._cleaner.exchange(exchange)
            self._writer.write(exchange)
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(error, Count.LOST, Count.SAMPLED_OUT)
            return False
        tally.add(Count.WRITTEN)
        tally[Count.FLUSHED] = self._writer.exchanges_flushed
        if _is_truncated(exchange):
            tally.add(Count.TRUNCATED)
        if self._cleaner is not None:
            tally[Count.WITHHELD_USES] = self._cleaner.withheld_uses
        return True

    def _message(self, message: Message) -> None:
        seq = message.exchange
        lost = self._left_out.pop(seq, None) if message.kind is MessageKind.END else self._left_out.get(seq)
        if self._full or lost is False:
            return
        if self._cut or lost:
            self._tally.add(Count.MESSAGES_LOST)
            return
        try:
            self._writer.count(self._tally.counters(None, cut=False))
            self._writer.write_message(message if self._cleaner is None else self._cleaner.message(message))
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(error, Count.MESSAGES_LOST, None)
            return
        if message.kind is not MessageKind.END:  # it says that there are no more, and is none
            self._tally.add(Count.MESSAGES)
        self._tally[Count.FLUSHED] = self._writer.exchanges_flushed

    def _refuse(self, error: Exception, lost: Count, beyond: Count | None) -> None:
        """Counts a row that was not written, and ends the recording where no other will be."""
        if isinstance(error, SizeReached):
            if beyond is not None:
                self._tally.add(beyond)
            self._full = True
            self._note("The capture has the size that --max-size allows; nothing more is recorded.")
            self._tell("full", None)
            return
        self._tally.add(lost)
        if isinstance(error, WriteError | OSError):
            self._fail(error)
        else:
            self._note(f"An exchange could not be written and is counted as dropped: {sentence(error)}")

    def _flush(self) -> None:
        if self._cut:
            return
        try:
            self._writer.count(self._tally.counters(None, cut=False))
            self._writer.flush_if_due()
        except Exception as error:  # noqa: BLE001 - the scribe must live to count what it loses
            self._fail(error)
        self._tally[Count.FLUSHED] = self._writer.exchanges_flushed

    def _fail(self, error: Exception) -> None:
        self._cut = True
        self._tally[Count.FLUSHED] = self._writer.exchanges_flushed
        self._tell("cut", sentence(error))
        self._note(f"Recording stopped, traffic still passes: {sentence(error)}")

    def _end(self, order: Close) -> None:
        self._tell("drained", None)
        counters = self._tally.counters(order.in_flight, cut=self._cut)
        try:
            self._writer.facts = order.facts
            self._writer.close(counters)
        except Exception as error:  # noqa: BLE001 - whatever it is, the account is given
            self._tell("cut", sentence(error))
        self._tally[Count.FLUSHED] = self._writer.exchanges_flushed
        names = frozenset() if self._cleaner is None else self._cleaner.withheld_names
        self._tell("ended", Ending(withheld_names=names, parts=self._writer.parts))

    def _note(self, text: str) -> None:
        """Tells a sentence once: what is wrong with one exchange may be wrong with all."""
        if text not in self._told:
            if len(self._told) < _TOLD:
                self._told.add(text)
            self._tell("note", text)

    def _tell(self, kind: str, value: object) -> None:
        with suppress(OSError):  # the proxy is gone and hears nothing
            self._line.send((kind, value))


def sentence(error: Exception) -> str:
    """What may be told of an error, which may quote traffic when it is not our own."""
    if isinstance(error, HookreelError):
        return str(error)
    if isinstance(error, OSError):
        return f"The capture cannot be written ({error.strerror}); free space or choose another place."
    return f"The capture could not be packed ({type(error).__name__}); report this."


def _is_truncated(exchange: Exchange) -> bool:
    outcome = exchange.outcome
    return exchange.request.truncated_bytes > 0 or (
        isinstance(outcome, Response) and outcome.truncated_bytes > 0
    )
