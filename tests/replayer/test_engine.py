"""The engine: absolute due times, never early, open loop, ended in good order."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captures.errors import CaptureError, HookreelError
from captures.model import Exchange
from captures.reader import CaptureReader
from replayer.compile import Window
from replayer.connection import Connection
from replayer.dial import Dial, Dials
from replayer.engine import Engine
from replayer.feed import WindowFeed
from replayer.load import Load
from replayer.replay import Replayed
from replayer.results import NEVER_NS, Outcome, read_run
from replayer.schedule import Schedule, build_schedule
from replayer.sent import Sent
from replayer.targets import parse_target

Make = Callable[..., Exchange]
Send = Callable[..., Replayed]
Serve = Callable[..., Any]
MS = 1_000_000
REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def make_schedule(due_ns: list[int]) -> Schedule:
    rows = len(due_ns)
    return Schedule(
        seq=np.arange(rows, dtype=np.int64),
        due_ns=np.array(due_ns, np.int64),
        endpoint=np.zeros(rows, np.uint32),
        connection=np.zeros(rows, np.uint32),
        recorded_status=np.zeros(rows, np.uint16),
        instance=np.zeros(rows, np.uint32),
        load=Load(),
        pace=Fraction(1),
    )


def window(first: int, rows: int) -> Window:
    return Window(
        first=first,
        wires=memoryview(REQUEST * rows),
        bounds=array("Q", range(0, len(REQUEST) * (rows + 1), len(REQUEST))),
        traits=bytes(rows),
        unsigned={},
        chained={},
        stream_ns={},
        server_names=(),
    )


def run_engine(
    schedule: Schedule,
    windows: Iterator[Window],
    url: str,
    ahead: int = 5,
) -> Sent:
    feed = WindowFeed(windows, ahead_bytes=300 * ahead)
    feed.prime()

    async def run() -> Sent:
        dial = Dial(target=parse_target(url), tls=None, timeout_ns=5_000 * MS)
        return await Engine(schedule=schedule, feed=feed, dials=Dials(each=(dial,))).run()

    try:
        return asyncio.run(run())
    finally:
        feed.close()


def test_ten_times_as_fast_sends_exactly_what_was_captured(
    exchange: Make, send: Send, serve: Serve, capture: Callable[..., Path]
) -> None:
    """20 s of traffic take 2 s: every request once, its bytes unchanged, in order, none early."""
    random = np.random.default_rng(1)
    offsets = np.sort(random.integers(0, 20_000 * MS, 398)).tolist()
    exchanges = [
        exchange(
            number,
            offset_ns=offset,
            connection=number % 7,
            method=b"POST",
            target=b"/items/%d?x=%%20" % number,
            headers=(
                (b"Host", b"recorded.test"),
                (b"X-Dup", b"1"),
                (b"x-dup", b"2"),
                (b"Content-Length", b"3"),
            ),
            body=b"a%02d" % (number % 100),
        )
        for number, offset in enumerate([0, *offsets, 20_000 * MS])
    ]
    server = serve()
    path = capture(exchanges)
    replayed = send(path, server.url, "10", recorded_host=True)
    rows = replayed.run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED] * 400
    assert rows.due_ns.tolist() == [one.offset_ns // 10 for one in exchanges]
    assert (rows.sent_ns >= rows.due_ns).all()
    assert (np.diff(rows.sent_ns) >= 0).all()
    expected = {
        one.request.target: b"POST %s HTTP/1.1\r\nHost: recorded.test\r\nX-Dup: 1\r\nx-dup: 2\r\n"
        b"Content-Length: 3\r\n\r\n%s" % (one.request.target, one.request.body)
        for one in exchanges
    }
    assert {one.request.target: one.raw for one in server.seen} == expected
    assert len(server.seen) == 400
    with CaptureReader.open(path) as reader:
        due = build_schedule(reader.index, Load(multiplier=Fraction(10))).due_ns
    first_ns = min(one.at_ns for one in server.seen) - 1_000 * MS  # time 0 is at most that long before
    for one in server.seen:
        number = int(one.request.target.split(b"/")[2].split(b"?")[0])
        assert one.at_ns - first_ns >= due[number]


def test_a_stalled_target_delays_no_send(exchange: Make, send: Send, serve: Serve, answer: Any) -> None:
    """Open loop: while nothing is answered all that is due goes out, and response time shows it."""
    release = threading.Event()
    seen_all = 30

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/29":
            release.set()
        return answer(hold=release)

    server = serve(respond)
    exchanges = [
        exchange(number, offset_ns=number * 10 * MS, target=b"/%d" % number, connection=number % 3)
        for number in range(seen_all)
    ]
    rows = send(exchanges, server.url).run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED] * seen_all
    assert (rows.done_ns[:-1] >= rows.sent_ns[-1]).all()  # none was answered before the last was sent
    assert rows.done_ns[0] - rows.due_ns[0] >= 290 * MS


def test_everything_due_at_once_goes_at_once(exchange: Make, send: Send, serve: Serve) -> None:
    """A burst with one due time is sent in order, from time 0 on."""
    server = serve()
    exchanges = [exchange(number, offset_ns=0, connection=number) for number in range(50)]
    rows = send(exchanges, server.url).run.rows
    assert rows.due_ns.tolist() == [0] * 50
    assert (rows.sent_ns >= 0).all()
    assert rows.outcome.tolist() == [Outcome.COMPLETED] * 50


def test_windows_are_taken_as_they_are_compiled(serve: Serve) -> None:
    """A schedule of many windows is sent whole while the compiler stays few windows ahead."""
    server = serve()
    schedule = make_schedule([number * MS for number in range(200)])
    sent = run_engine(schedule, (window(first, 10) for first in range(0, 200, 10)), server.url, ahead=2)
    assert sent.rows.outcome.tolist() == [Outcome.COMPLETED] * 200
    assert sent.stopped is None
    assert len(server.seen) == 200


def test_a_capture_that_breaks_in_mid_run_keeps_what_was_measured(serve: Serve) -> None:
    """The run stops with the reason; what came due and could not be sent is dropped."""

    def windows() -> Iterator[Window]:
        for first in range(0, 40, 10):
            yield window(first, 10)
        raise CaptureError("A block is damaged; verify it.")

    server = serve()
    due_ns = [number * 2 * MS for number in range(40)] + [2_000 * MS] * 30 + [3_600_000 * MS] * 30
    sent = run_engine(make_schedule(due_ns), windows(), server.url, ahead=1)
    assert sent.stopped == "A block is damaged; verify it"
    assert sent.rows.outcome.tolist() == [Outcome.COMPLETED] * 40 + [Outcome.DROPPED] * 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_good_order(
    exchange: Make, send: Send, serve: Serve, answer: Any, number: int
) -> None:
    """What waits is interrupted, what was not due yet is left out, and the run says why it is invalid."""
    release = threading.Event()

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/3":
            os.kill(os.getpid(), number)
            return answer(hold=release)
        return answer()

    server = serve(respond)
    exchanges = [exchange(one, offset_ns=one * 30 * MS, target=b"/%d" % one) for one in range(4)] + [
        exchange(4, offset_ns=3_600_000 * MS)
    ]
    replayed = send(exchanges, server.url)
    release.set()
    run = replayed.run
    assert run.rows.outcome.tolist() == [Outcome.COMPLETED] * 3 + [Outcome.INTERRUPTED]
    assert run.rows.done_ns[3] == NEVER_NS
    assert run.header.interrupted
    assert run.header.invalid_reasons[0] == (
        "The run was stopped early (interrupted): it offered 4 of 5 exchanges."
    )


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), ValueError("sesame")])
def test_any_error_of_the_compiler_ends_the_run(serve: Serve, error: Exception) -> None:
    """Whatever its kind: what was sent is kept, and of an unforeseen error only the kind is told."""

    def windows() -> Iterator[Window]:
        for first in range(0, 40, 10):
            yield window(first, 10)
        raise error

    due_ns = [number * 2 * MS for number in range(40)] + [2_000 * MS] * 10
    sent = run_engine(make_schedule(due_ns), windows(), serve().url, ahead=1)
    assert sent.rows.outcome.tolist() == [Outcome.COMPLETED] * 40 + [Outcome.DROPPED] * 10
    assert sent.stopped is not None
    assert sent.stopped.startswith("The capture cannot be read further (")
    assert "sesame" not in sent.stopped


def test_an_error_before_the_first_send_is_the_runs_own(serve: Serve) -> None:
    """A compiler that gives nothing ends the run with its error, not with a run of nothing."""

    def windows() -> Iterator[Window]:
        raise CaptureError("A block is damaged; verify it.")
        yield window(0, 1)

    with pytest.raises(CaptureError, match="A block is damaged"):
        run_engine(make_schedule([0]), windows(), serve().url)
    with pytest.raises(CaptureError, match="ended before its schedule"):
        run_engine(make_schedule([0]), iter([]), serve().url)


def test_only_a_transports_own_os_errors_are_passed_over(serve: Serve) -> None:
    """An OSError without a transport would otherwise leave the run waiting for ever."""

    async def run(context: dict[str, Any]) -> Sent:
        feed = WindowFeed(iter([window(0, 1)]))
        feed.prime()
        dial = Dial(target=parse_target(server.url), tls=None, timeout_ns=5_000 * MS)
        loop = asyncio.get_running_loop()
        loop.call_later(0.2, loop.call_exception_handler, context)
        try:
            return await Engine(
                schedule=make_schedule([500 * MS]), feed=feed, dials=Dials(each=(dial,))
            ).run()
        finally:
            feed.close()

    server = serve()
    error = OSError(errno.EIO, "Input/output error")
    sent = asyncio.run(run({"message": "", "exception": error, "transport": object()}))
    assert sent.rows.outcome.tolist() == [Outcome.COMPLETED]
    with pytest.raises(OSError, match="Input/output"):
        asyncio.run(run({"message": "", "exception": error}))


def test_an_error_in_the_engine_is_not_a_hang(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in a callback ends the run with the error itself."""
    monkeypatch.setattr(Engine, "_send", lambda _self, _row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_engine(make_schedule([0, MS]), iter([window(0, 2)]), serve().url)


@pytest.mark.parametrize("place", ["_send", "_sweep"])
def test_an_error_in_mid_run_keeps_what_was_measured(
    serve: Serve, exchange: Make, capture: Callable[..., Path], command: Any, tmp_path: Path, place: str
) -> None:
    """In a callback of ours or of the event loop: an INVALID run (exit 4) with its kind, not its text."""
    server = serve()
    usual = getattr(Engine, place)

    def broken(engine: Engine, *arguments: Any) -> Any:
        if len(server.seen) >= 3:
            raise ValueError("sesame")
        return usual(engine, *arguments)

    exchanges = [exchange(number, offset_ns=number * 60 * MS) for number in range(4)]
    exchanges.append(exchange(4, offset_ns=3_600_000 * MS))
    output = tmp_path / "a.run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, place, broken)
        told = command(capture(exchanges), "--target", server.url, "--json", "-o", output)
    assert told.exit_code == 4
    run = read_run(output)
    assert run.rows.outcome.tolist()[:3] == [Outcome.COMPLETED] * 3
    assert run.header.interrupted
    assert "(it failed unexpectedly (ValueError at test_engine.py:" in run.header.invalid_reasons[0]
    assert "sesame" not in told.stdout + told.stderr


def test_an_error_at_the_end_keeps_what_was_measured(
    serve: Serve, exchange: Make, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that cannot be given up is closed, the rows are there, and the run says what failed."""

    def broken(*_: object) -> None:
        raise ValueError

    monkeypatch.setattr(Connection, "give_up", broken)
    run = send([exchange(0)], serve().url).run
    assert run.rows.outcome.tolist() == [Outcome.COMPLETED]
    assert "it failed unexpectedly (ValueError at" in run.header.invalid_reasons[0]


def test_what_waits_for_its_parent_at_the_end_is_dropped(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """It was never sent, so it counts neither as sent nor as failed; its parent was interrupted."""
    made, hold = b"9f8d7c6b-1111-4222-8333-444455556666", threading.Event()

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/last":
            os.kill(os.getpid(), signal.SIGINT)
        return answer(hold=hold)

    parent = exchange(0, method=b"POST", target=b"/orders")
    parent = replace(parent, outcome=replace(parent.outcome, headers=((b"Location", b"/orders/" + made),)))
    exchanges = [
        parent,
        exchange(1, offset_ns=10 * MS, target=b"/orders/" + made),
        exchange(2, offset_ns=60 * MS, connection=1, target=b"/last"),
        exchange(3, offset_ns=3_600_000 * MS),
    ]
    rows = send(exchanges, serve(respond).url).run.rows
    hold.set()
    assert rows.outcome.tolist() == [Outcome.INTERRUPTED, Outcome.DROPPED, Outcome.INTERRUPTED]
    assert rows.sent_ns[1] == NEVER_NS


def test_an_unreachable_target_is_one_sentence() -> None:
    """Nothing is sent, and the error says what to do."""
    with pytest.raises(HookreelError, match=r"^http://127\.0\.0\.1:1 cannot be reached .*--target\.$"):
        run_engine(make_schedule([0]), iter([window(0, 1)]), "http://127.0.0.1:1")


def test_streams_end_at_their_recorded_length(exchange: Make, send: Send, serve: Serve, answer: Any) -> None:
    """A stream that goes on is closed after its recorded length over the speed, timed at its head."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    never = threading.Event()

    def respond(seen: Any) -> Any:
        return answer([head], hold=None) if seen.request.target == b"/logs" else answer()

    server = serve(respond)
    exchanges = [
        exchange(0, target=b"/logs", stream_ns=600 * MS),
        exchange(1, offset_ns=50 * MS, connection=0),
        exchange(2, offset_ns=100 * MS, connection=1, target=b"/logs", stream_ns=0),
    ]
    replayed = send(exchanges, server.url, "2")
    never.set()
    rows = replayed.run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED] * 3
    assert rows.done_ns[0] == rows.first_byte_ns[0]
    assert replayed.spare_connections == 1
    assert "2 streams" in " ".join(replayed.run.header.notes)


def test_streams_without_a_recorded_end_last_until_the_run_ends(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """They are closed when nothing else is under way, and completed."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = serve(lambda seen: answer([head]) if seen.request.target == b"/logs" else answer())
    stream = exchange(0, target=b"/logs", stream_ns=1)
    endless = replace(stream, outcome=replace(stream.outcome, end_ns=None))
    rows = send([endless, exchange(1, offset_ns=100 * MS, connection=1)], server.url).run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED] * 2


def test_a_stream_that_ends_by_itself_is_completed_and_one_that_breaks_is_reset(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """Only the connection's break before the recorded end is a failure."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = serve(
        lambda seen: (
            answer([head, b"0\r\n\r\n"]) if seen.request.target == b"/ends" else answer([head], close=True)
        )
    )
    exchanges = [
        exchange(0, target=b"/ends", stream_ns=5_000 * MS),
        exchange(1, target=b"/breaks", stream_ns=5_000 * MS, connection=1),
    ]
    rows = send(exchanges, server.url).run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED, Outcome.RESET]
