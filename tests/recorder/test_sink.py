from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from captures.errors import HookreelError, WriteError
from captures.model import Counters, Exchange, Failure, FailureReason, Message, MessageKind, Request, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header
from recorder.sink import Sink, SizeReached


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
        self.discarded = False
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

    def discard(self) -> None:
        self.discarded = True


def start(writer: MemoryWriter, notes: list[str] | None = None, **options: object) -> Sink:
    sink = Sink(writer, note=(notes if notes is not None else []).append, **options)
    sink.start()
    return sink


def offer(sink: Sink, **parts: object) -> bool:
    return sink.offer(exchange(sink.saw(), **parts))


def test_a_recording_of_nothing_has_an_account_of_zeros():
    """A sink that saw nothing ends well."""
    account = start(MemoryWriter()).close(in_flight=0, connections=0)
    assert account.counters == Counters()
    assert account.cut_by == ""


def test_what_is_offered_is_written_in_order_and_counted():
    """Every row reaches the writer; the account says how many, and goes into the file."""
    writer = MemoryWriter()
    sink = start(writer)
    assert [offer(sink, truncated_bytes=n % 2) for n in range(10)] == [True] * 10
    assert sink.offer_message(message(MessageKind.EVENT))
    sink.saw()
    account = sink.close(in_flight=1, connections=3)
    assert account.counters == Counters(seen=11, written=10, truncated=5, in_flight=1)
    assert (account.connections, account.messages, account.messages_dropped) == (3, 1, 0)
    assert writer.closed_with == account.counters
    assert [row.seq for row in writer.rows[:10]] == list(range(10))


def test_when_the_writer_falls_behind_exchanges_are_dropped_and_counted():
    """A full queue refuses at once, without waiting; a stream's end still finds room."""
    release = threading.Event()
    writer = MemoryWriter(lambda _row: release.wait(20) and None)
    sink = start(writer, queue_bytes=100_000)
    taken = [offer(sink, body=bytes(10_000)) for _ in range(20)]
    assert 0 < sum(taken) < 20
    assert not sink.offer_message(message(MessageKind.EVENT, bytes(100_000)))
    assert sink.offer_message(message(MessageKind.END))
    release.set()
    account = sink.close(in_flight=0, connections=1)
    assert account.counters == Counters(seen=20, written=sum(taken), dropped=20 - sum(taken))
    assert (account.messages, account.messages_dropped) == (1, 1)


def test_the_queue_takes_more_when_there_is_room_again():
    """Falling behind for a while loses only that while."""
    release = threading.Event()
    writer = MemoryWriter(lambda _row: release.wait(20) and None)
    sink = start(writer, queue_bytes=30_000)
    while offer(sink, body=bytes(10_000)):
        pass
    release.set()
    while not offer(sink, body=bytes(10_000)):
        pass
    account = sink.close(in_flight=0, connections=1)
    assert account.counters.seen == account.counters.written + account.counters.dropped


@pytest.mark.parametrize("error", [WriteError("The disk is full."), OSError(28, "No space left on device")])
def test_a_write_error_ends_the_recording_and_not_the_sink(error: Exception):
    """What was flushed counts as written, the rest as dropped, and the user is told once."""
    notes: list[str] = []

    def full(row: object) -> None:
        if isinstance(row, Exchange) and row.seq == 5:
            raise error

    writer = MemoryWriter(full)
    sink = start(writer, notes)
    for _ in range(10):
        offer(sink)
    writer.flush_if_due = lambda: None  # nothing more gets to the file after the error
    account = sink.close(in_flight=0, connections=1)
    assert account.counters.seen == 10
    assert account.counters.written == writer.exchanges_flushed
    assert account.counters.dropped == 10 - writer.exchanges_flushed
    assert account.cut_by
    assert len(notes) == 1
    assert not offer(sink)


def test_one_exchange_that_cannot_be_packed_is_dropped_alone():
    """An exchange the format has no room for does not end the recording."""

    def too_large(row: object) -> None:
        if isinstance(row, Exchange) and row.seq == 1:
            raise HookreelError("An exchange is too large.")

    notes: list[str] = []
    sink = start(MemoryWriter(too_large), notes)
    for _ in range(3):
        offer(sink)
    account = sink.close(in_flight=0, connections=1)
    assert account.counters == Counters(seen=3, written=2, dropped=1)
    assert account.cut_by == ""
    assert notes == ["An exchange could not be written and is counted as dropped: An exchange is too large."]


def test_an_error_at_the_end_is_in_the_account():
    """When the footer cannot be written the recording is not whole, and says so."""
    writer = MemoryWriter()

    def close(_counters: Counters | None = None) -> None:
        raise WriteError("The disk is full.")

    writer.close = close
    writer.flush_if_due = lambda: None
    sink = start(writer)
    offer(sink)
    account = sink.close(in_flight=0, connections=1)
    assert account.cut_by == "The disk is full."
    assert account.counters == Counters(seen=1, written=0, dropped=1)


def test_rows_reach_the_file_while_nothing_else_comes(tmp_path: Path):
    """An idle recorder writes its open block by itself, so a kill later loses nothing of it."""
    flushed = threading.Event()

    class Watched(CaptureWriter):
        def flush(self) -> None:
            had_rows = self._taken > 0
            super().flush()
            if had_rows:
                flushed.set()

    path = tmp_path / "a.reel"
    sink = start(Watched.create(path, new_header(source="test", started_wall_ns=0)))
    offer(sink)
    assert flushed.wait(5)
    with CaptureReader.open(path) as reader:  # as after a kill: there is no footer yet
        assert len(reader) == 1
        assert not reader.complete
    sink.close(in_flight=0, connections=1)
    with CaptureReader.open(path) as reader:
        assert reader.complete
        assert reader.counters == Counters(seen=1, written=1)


def test_a_stored_response_that_was_cut_counts_as_truncated():
    """Either side's body makes an exchange truncated, once."""
    sink = start(MemoryWriter())
    sink.saw()
    response = Response(
        status=200, reason=b"", http_version=b"HTTP/1.1", headers=(), offset_ns=1, end_ns=2, truncated_bytes=1
    )
    whole = exchange(0, truncated_bytes=1)
    sink.offer(
        Exchange(seq=0, offset_ns=0, request_end_ns=0, connection=0, request=whole.request, outcome=response)
    )
    assert sink.close(in_flight=0, connections=1).counters.truncated == 1


class Even:
    """Chooses every other exchange."""

    def wants(self, exchange: Exchange) -> bool:
        return exchange.seq % 2 == 0


def test_what_is_not_chosen_is_counted_and_not_written():
    """The account stays exact: seen is the sum of what became of all exchanges."""
    writer = MemoryWriter()
    sink = start(writer, chooser=Even())
    assert [offer(sink) for _ in range(11)] == [True, False] * 5 + [True]
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
    assert [offer(sink) for _ in range(4)] == [True, False, False, True]
    assert sink.close(in_flight=0, connections=1).counters == Counters(seen=4, written=2, dropped=2)
    assert len(notes) == 1
    assert "secret" not in notes[0]


class Cleaning:
    """Empties bodies; fails at one exchange."""

    withheld = (3, 7)

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
    sink.offer_message(message(MessageKind.TEXT, b"secret"))
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
    assert not offer(sink)
    assert not sink.offer_message(message(MessageKind.TEXT))
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
    assert not sink._thread.is_alive()


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
