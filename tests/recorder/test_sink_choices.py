"""What a sink does with choices, cleaning and sizes, and that its account is exact."""

from __future__ import annotations

import threading
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from captures.codec import exchange_row, message_row
from captures.errors import HookreelError, WriteError
from captures.model import Counters, Exchange, Message, MessageKind
from recorder.scribe import SizeReached
from tests.recorder.memory import MemoryWriter, exchange, message, offer, start


class Even:
    """Chooses every other exchange."""

    def wants(self, exchange: Exchange) -> bool:
        return exchange.seq % 2 == 0


def test_what_is_not_chosen_is_counted_and_not_written():
    """The account stays exact: seen is the sum of what became of all exchanges."""
    writer = MemoryWriter()
    sink = start(writer, chooser=Even())
    assert all(offer(sink) for _ in range(11))
    sink.saw()
    account = sink.close(in_flight=1, connections=1)
    assert account.counters == Counters(seen=12, written=6, sampled_out=5, in_flight=1)
    assert [row.seq for row in writer.rows] == [0, 2, 4, 6, 8, 10]


def test_the_account_in_the_file_counts_what_is_not_chosen_while_it_grows():
    """What a kill leaves behind has an account that adds up, too."""
    writer = MemoryWriter()
    sink = start(writer, chooser=Even())
    for _ in range(10):
        offer(sink)
    sink.close(in_flight=0, connections=1)
    counters = writer.counters
    assert counters is not None
    parts = (counters.written, counters.sampled_out, counters.dropped, counters.in_flight)
    assert counters.seen == sum(parts)


def test_an_error_of_the_chooser_drops_the_exchange_and_never_reaches_the_proxy():
    """The loss is counted, told once, and the next exchange has its chance."""

    class Broken:
        def wants(self, exchange: Exchange) -> bool:
            if exchange.seq in {1, 2}:
                raise RuntimeError("secret")
            return True

    notes: list[str] = []
    sink = start(MemoryWriter(), notes, chooser=Broken())
    assert all(offer(sink) for _ in range(4))
    assert sink.close(in_flight=0, connections=1).counters == Counters(seen=4, written=2, dropped=2)
    assert len(notes) == 1
    assert "secret" not in notes[0]


class Cleaning:
    """Empties bodies; fails at one exchange."""

    withheld_names = frozenset({b"a", b"b", b"c"})
    withheld_uses = 7

    def exchange(self, exchange: Exchange) -> Exchange:
        if exchange.seq == 1:
            raise RuntimeError("secret")
        return replace(exchange, request=replace(exchange.request, body=b"clean"))

    def message(self, message: Message) -> Message:
        return replace(message, payload=b"clean")


def test_only_what_was_cleaned_is_written():
    """Rows pass the cleaner; one that cannot be cleaned is dropped, never written as it was."""
    writer, notes = MemoryWriter(), []
    sink = start(writer, notes, cleaner=Cleaning())
    for _ in range(3):
        offer(sink, body=b"secret")
    sink.offer_message(message_row(message(MessageKind.TEXT, b"secret")))
    account = sink.close(in_flight=0, connections=1)
    assert account.counters == Counters(seen=3, written=2, dropped=1)
    assert (account.withheld, account.withheld_uses) == (3, 7)
    assert b"secret" not in repr(writer.rows).encode()
    assert len(writer.rows) == 3
    assert "secret" not in "".join(notes)


def test_at_the_size_that_is_allowed_the_recording_ends_and_traffic_does_not():
    """What comes later is counted as left out, the user is told once, and whoever waits is called."""

    def full(row: object) -> None:
        if isinstance(row, Message) or row.seq >= 3:
            raise SizeReached

    notes: list[str] = []
    called = threading.Event()
    writer = MemoryWriter(full)
    sink = start(writer, notes)
    sink.when_full(called.set)
    for _ in range(3):
        offer(sink)
    assert not called.is_set()
    offer(sink)
    assert called.wait(20)
    offer(sink)
    sink.offer_message(message_row(message(MessageKind.TEXT)))
    account = sink.close(in_flight=0, connections=1)
    assert account.counters == Counters(seen=5, written=3, sampled_out=2)
    assert (account.cut_by, account.messages_dropped) == ("", 0)
    assert len(notes) == 1
    assert "--max-size" in notes[0]
    late = threading.Event()
    sink.when_full(late.set)
    assert late.is_set()


def test_a_recording_that_did_not_begin_is_discarded():
    """The thread ends and the writer removes its file."""
    writer = MemoryWriter()
    sink = start(writer)
    sink.discard()
    assert writer.discarded
    assert writer.closed_with is None


def test_any_error_at_the_end_still_gives_an_account():
    """Even an error that nobody thought of does not take the account away, nor is its text shown."""
    writer = MemoryWriter()

    def close(_counters: Counters | None = None) -> None:
        raise RuntimeError("secret")

    writer.close = close
    sink = start(writer)
    offer(sink)
    account = sink.close(in_flight=0, connections=1)
    assert account.counters.seen == 1
    assert "RuntimeError" in account.cut_by
    assert "secret" not in account.cut_by


def test_whoever_is_told_of_the_size_cannot_break_the_account():
    """A callback that fails, since its event loop has ended, leaves the writer's thread at work."""

    def full(row: object) -> None:
        raise SizeReached

    def broken() -> None:
        raise RuntimeError("Event loop is closed")

    sink = start(MemoryWriter(full))
    sink.when_full(broken)
    for _ in range(5):
        offer(sink)
    assert sink.close(in_flight=0, connections=1).counters == Counters(seen=5, sampled_out=5)


class Troubled:
    """Chooses, cleans and writes by a script: what happens to the exchange with each seq."""

    withheld_names = frozenset()
    withheld_uses = 0

    def __init__(self, script: list[str]) -> None:
        self.script = script

    def wants(self, exchange: Exchange) -> bool:
        if self.script[exchange.seq] == "choosing fails":
            raise RuntimeError
        return self.script[exchange.seq] != "not chosen"

    def exchange(self, exchange: Exchange) -> Exchange:
        if self.script[exchange.seq] == "cleaning fails":
            raise RuntimeError
        return exchange

    def message(self, message: Message) -> Message:
        return message

    def write(self, row: object) -> None:
        assert isinstance(row, Exchange)
        error = {
            "too large": HookreelError("too large"),
            "disk full": WriteError("full"),
            "size reached": SizeReached(),
        }.get(self.script[row.seq])
        if error is not None:
            raise error


FATES = (
    "written",
    "not chosen",
    "choosing fails",
    "cleaning fails",
    "too large",
    "disk full",
    "size reached",
)


@given(st.lists(st.sampled_from((*FATES, "written", "written", "in flight")), max_size=25))
@settings(deadline=None, max_examples=60)
def test_the_account_is_exact_whatever_happens(script: list[str]):
    """Seen is always the sum of written, sampled out, dropped and in flight, at the end and in the file."""
    trouble = Troubled(script)
    writer = MemoryWriter(trouble.write)
    sink = start(writer, chooser=trouble, cleaner=trouble)
    for fate in script:
        seq = sink.saw()
        if fate != "in flight":
            sink.offer(exchange_row(exchange(seq)))
    in_flight = script.count("in flight")
    counters = sink.close(in_flight=in_flight, connections=1).counters
    for account in (counters, writer.counters or Counters()):
        parts = (account.written, account.sampled_out, account.dropped, account.in_flight)
        assert account.seen == sum(parts)
        assert min(parts) >= 0
    assert counters.seen == len(script)
    assert counters.in_flight == in_flight
    if not {"disk full", "size reached"} & set(script):
        assert counters.written == script.count("written")
        assert counters.sampled_out == script.count("not chosen")
