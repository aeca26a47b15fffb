from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from captures.codec import exchange_row, message_row
from captures.errors import HookreelError, WriteError
from captures.model import Counters, Exchange, MessageKind, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header
from recorder import sink as sink_module
from recorder.sink import Sink
from tests.recorder.memory import MemoryWriter, exchange, message, offer, start


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
    assert sink.offer_message(message_row(message(MessageKind.EVENT)))
    sink.saw()
    account = sink.close(in_flight=1, connections=3)
    assert account.counters == Counters(seen=11, written=10, truncated=5, in_flight=1)
    assert (account.connections, account.messages, account.messages_dropped) == (3, 1, 0)
    assert writer.closed_with == account.counters
    assert [row.seq for row in writer.rows[:10]] == list(range(10))


def test_when_the_writer_falls_behind_exchanges_are_dropped_and_counted():
    """A full queue refuses at once, without waiting, and tells so once; a stream's end still finds room."""
    release = threading.Event()
    writer = MemoryWriter(lambda _row: release.wait(20) and None)
    notes: list[str] = []
    sink = start(writer, notes, queue_bytes=100_000)
    taken = [offer(sink, body=bytes(10_000)) for _ in range(20)]
    assert 0 < sum(taken) < 20
    assert not sink.offer_message(message_row(message(MessageKind.EVENT, bytes(100_000))))
    assert sink.offer_message(message_row(message(MessageKind.END)), ends=True)
    release.set()
    account = sink.close(in_flight=0, connections=1)
    assert account.counters == Counters(seen=20, written=sum(taken), dropped=20 - sum(taken))
    # An end is no message, and is written like one.
    assert (account.messages, account.messages_dropped) == (0, 1)
    assert writer.rows[-1] == message(MessageKind.END)
    assert len(notes) == 1
    assert "counted as dropped" in notes[0]


def test_a_terminal_that_is_gone_does_not_end_the_recording():
    """A note that nobody can be given is left out, and all else goes on."""

    def too_large(row: object) -> None:
        if isinstance(row, Exchange) and row.seq == 0:
            raise HookreelError("An exchange is too large.")

    def gone(_text: str) -> None:
        raise BrokenPipeError

    sink = Sink(lambda: MemoryWriter(too_large), note=gone)
    sink.start()
    for _ in range(3):
        assert offer(sink)
    account = sink.close(in_flight=0, connections=1)
    assert account.counters == Counters(seen=3, written=2, dropped=1)
    assert account.cut_by == ""


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


def test_what_is_wrong_with_every_exchange_is_told_once():
    """A note for each would flood whoever reads them; all are counted."""
    writer = MemoryWriter(lambda _row: 1 / 0 if _row.seq else (_ for _ in ()).throw(TypeError))
    notes: list[str] = []
    sink = start(writer, notes)
    for _ in range(10):
        assert offer(sink)
    account = sink.close(in_flight=0, connections=1)
    assert account.counters == Counters(seen=10, dropped=10)
    assert [note.count("ZeroDivisionError") for note in notes] == [0, 1]


def test_a_slow_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    """At the end all that is queued is written, however often the wait for it ends before."""
    permits = threading.Semaphore(0)
    sink = start(MemoryWriter(lambda _row: permits.acquire() and None))
    drained = sink._drained

    def wait_for_a_row(_timeout_s: float) -> bool:
        before = sink._tally.numbers()
        permits.release()
        while not drained.wait(0.001) and sink._tally.numbers() == before:
            pass
        return drained.is_set()

    monkeypatch.setattr(sink, "_drained", SimpleNamespace(wait=wait_for_a_row, set=drained.set))
    for _ in range(6):
        assert offer(sink)
    account = sink.close(in_flight=0, connections=1)
    assert account.cut_by == ""
    assert account.counters == Counters(seen=6, written=6)


def test_a_stuck_disk_is_given_up(monkeypatch: pytest.MonkeyPatch):
    """A process that must end does not wait for a disk that takes nothing any more."""
    monkeypatch.setattr(sink_module, "CLOSE_TIMEOUT_S", 0.01)
    stuck = threading.Event()
    sink = start(MemoryWriter(lambda _row: stuck.wait(20) and None))
    for _ in range(6):
        assert offer(sink)
    account = sink.close(in_flight=0, connections=1)
    stuck.set()
    assert "disk" in account.cut_by
    assert account.counters.dropped == 6


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
            had_rows = self.open_bytes > 0
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
    sink.offer(exchange_row(replace(whole, outcome=response)))
    assert sink.close(in_flight=0, connections=1).counters.truncated == 1
