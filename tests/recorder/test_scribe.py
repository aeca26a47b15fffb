"""The process that writes the capture: it outlives the proxy, and the proxy outlives it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from captures.codec import exchange_row, message_row
from captures.model import Counters, MessageKind
from recorder.sink import Sink
from tests.recorder.made import made_exchange
from tests.recorder.memory import MemoryWriter, message, start
from tests.recorder.support import RawClient, RawServer, Recorder, read_capture

GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
CALLS = 50


def writer_of(recorder: Recorder) -> int:
    """The process that writes the capture."""
    pid = recorder.process.pid
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def call(recorder: Recorder, calls: int = CALLS) -> None:
    """That many exchanges."""
    with RawClient(recorder.port) as client:
        for number in range(calls):
            assert client.call(GET % number).status == 200


def test_a_killed_proxy_leaves_all_that_it_answered(
    start_server: Callable[..., RawServer], start_recorder: Callable[..., Recorder]
):
    """Its writer still writes what was on its way, and the file says that it is not whole."""
    recorder = start_recorder(start_server().port)
    call(recorder)
    recorder.process.kill()
    recorder.wait()  # until the writer has closed its standard output, too
    capture = read_capture(recorder.output)
    assert [item.request.target for item in capture.exchanges] == [b"/%d" % n for n in range(CALLS)]
    assert not capture.complete
    assert capture.problems


def test_a_killed_writer_ends_the_recording_and_not_the_traffic(
    start_server: Callable[..., RawServer], start_recorder: Callable[..., Recorder]
):
    """The user is told at once, what passes later counts as dropped, and the account adds up."""
    recorder = start_recorder(start_server().port)
    call(recorder)
    os.kill(writer_of(recorder), signal.SIGKILL)
    assert "traffic still passes" in recorder.next_note()
    call(recorder)
    assert recorder.stop() == 1
    account = recorder.account
    assert account["seen"] == 2 * CALLS
    assert account["written"] + account["dropped"] == 2 * CALLS
    assert account["dropped"] >= CALLS
    assert not account["complete"]
    assert len(read_capture(recorder.output).exchanges) == account["written"]


def test_signals_to_the_writer_change_nothing(
    start_server: Callable[..., RawServer], start_recorder: Callable[..., Recorder]
):
    """Ctrl-C and a service manager's SIGTERM reach every process; only the proxy decides on the end."""
    recorder = start_recorder(start_server().port)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(writer_of(recorder), number)
    call(recorder)
    assert recorder.stop() == 0
    assert recorder.account["written"] == CALLS
    assert read_capture(recorder.output).complete


def test_the_port_is_free_when_the_proxy_is_gone(
    start_server: Callable[..., RawServer], start_recorder: Callable[..., Recorder]
):
    """The writer holds nothing that clients could still reach."""
    recorder = start_recorder(start_server().port)
    writer = writer_of(recorder)
    held = {str(item.readlink()) for item in Path(f"/proc/{writer}/fd").iterdir()}
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = [row[9] for row in rows if row[1].endswith(f":{recorder.port:04X}")]
    assert inodes
    assert not held & {f"socket:[{inode}]" for inode in inodes}


def test_messages_of_a_stream_that_is_not_in_the_file_are_left_out():
    """Without its exchange a message says nothing; when that was not chosen, none of them is a loss."""

    class Never:
        def wants(self, _exchange: object) -> bool:
            return False

    for chooser, before, lost in (
        (Never(), lambda _row: None, 0),
        (None, lambda row: 1 / 0 if hasattr(row, "request") else None, 3),
    ):
        writer = MemoryWriter(before)
        sink = start(writer, chooser=chooser)
        sink.offer(exchange_row(made_exchange(sink.saw(), stream=True)))
        for kind in (MessageKind.EVENT, MessageKind.EVENT, MessageKind.END):
            sink.offer_message(message_row(message(kind)), ends=kind is MessageKind.END)
        account = sink.close(in_flight=0, connections=1)
        assert (account.messages, account.messages_dropped) == (0, lost)
        assert writer.rows == []
        expected = Counters(seen=1, dropped=1) if lost else Counters(seen=1, sampled_out=1)
        assert account.counters == expected


def test_a_sink_whose_other_side_is_gone_abandons_the_file():
    """A file that lacks what is to come must not look whole."""
    left = threading.Event()

    class Watched(MemoryWriter):
        def abandon(self) -> None:
            super().abandon()
            left.set()

    writer = Watched()
    sink: Sink = start(writer)
    sink.offer(exchange_row(made_exchange(sink.saw())))
    sink._theirs.close()  # as far as the writing side can tell, the proxy is gone
    assert left.wait(20)
    assert writer.abandoned
    assert len(writer.rows) == 1
    assert writer.closed_with is None


def test_memory_that_runs_out_costs_the_recording_first(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """The kernel is told to end the writer before the proxy that traffic passes through."""
    recorder = start_recorder(start_server().port)

    def score(pid: int) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    assert score(writer_of(recorder)) == min(1000, score(recorder.process.pid) + 500)
