"""The connections of a run: recorded ones kept apart, spares when busy, opened anew when closed."""

from __future__ import annotations

import asyncio
import errno
import resource
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from captures.errors import HookreelError
from captures.model import Exchange
from replayer.columns import Columns
from replayer.connection import IDLE, Connection
from replayer.dial import Dial, Dials
from replayer.load import Load
from replayer.pool import Pool
from replayer.replay import Replayed
from replayer.results import NEVER_NS, Outcome
from replayer.schedule import Schedule
from replayer.summary import summarise
from replayer.targets import parse_target

Make = Callable[..., Exchange]
Send = Callable[..., Replayed]
Serve = Callable[..., Any]
MS = 1_000_000


def test_each_recorded_connection_is_one_connection(exchange: Make, send: Send, serve: Serve) -> None:
    """Requests of one client connection arrive in order on one, and those of two never share one."""
    server = serve()
    exchanges = [
        exchange(number, offset_ns=number * 4 * MS, connection=number % 5, target=b"/%d" % number)
        for number in range(100)
    ]
    replayed = send(exchanges, server.url)
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 100
    if replayed.spare_connections:  # a stall of the machine made one busy: order is all that is left to see
        assert len(server.seen) == 100
        return
    by_connection = [
        [int(one.request.target[1:]) for one in seen] for seen in server.by_connection().values()
    ]
    assert sorted(by_connection) == [list(range(start, 100, 5)) for start in range(5)]


def test_a_busy_connection_makes_the_exchange_go_on_a_spare_one(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """What is due is sent while the first response is outstanding, and it is counted and said."""
    second_seen = threading.Event()

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/second":
            second_seen.set()
            return answer()
        return answer(hold=second_seen)

    server = serve(respond)
    exchanges = [exchange(0), exchange(1, offset_ns=20 * MS, target=b"/second")]
    replayed = send(exchanges, server.url)
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 2
    assert replayed.spare_connections == 1
    assert "1 spare connections" in " ".join(replayed.run.header.notes)
    assert len({one.connection for one in server.seen}) == 2


def test_spares_are_used_again(exchange: Make, send: Send, serve: Serve, answer: Any) -> None:
    """While one connection is held up, the others' worth of exchanges shares few spares."""
    last_seen = threading.Event()

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/0":
            return answer(hold=last_seen)
        if seen.request.target == b"/20":
            last_seen.set()
        return answer()

    server = serve(respond)
    exchanges = [exchange(number, offset_ns=number * 25 * MS, target=b"/%d" % number) for number in range(21)]
    replayed = send(exchanges, server.url)
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 21
    assert 1 <= replayed.spare_connections < 20


def test_a_target_that_closes_after_each_response_is_connected_to_again(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """Connection: close and a silent close are both followed by a new connection ahead of the next send."""
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    for parts in ([closing], [closing.replace(b"Connection: close\r\n", b"")]):
        server = serve(lambda _seen, parts=parts: answer(parts, close=True))
        exchanges = [exchange(number, offset_ns=number * 40 * MS) for number in range(6)]
        replayed = send(exchanges, server.url)
        assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 6
        assert len({one.connection for one in server.seen}) == 6
        assert "opened again" in " ".join(replayed.run.header.notes)


def test_a_connection_closed_while_the_request_was_under_way_is_a_reset(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """It is reported and not sent a second time, and the next exchange gets a new connection."""
    server = serve(lambda seen: answer([], close=True) if seen.request.target == b"/1" else answer())
    exchanges = [exchange(number, offset_ns=number * 40 * MS, target=b"/%d" % number) for number in range(3)]
    rows = send(exchanges, server.url).run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED, Outcome.RESET, Outcome.COMPLETED]
    assert [one.request.target for one in server.seen] == [b"/0", b"/1", b"/2"]


def test_a_target_that_goes_away_is_rows_with_a_reason(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """After it stopped listening each exchange is a failed connection, unsent, and the run ends by itself."""
    servers: list[Any] = []

    def respond(_seen: Any) -> Any:
        servers[0]._listener.close()
        return answer(close=True)

    servers.append(serve(respond))
    exchanges = [exchange(number, offset_ns=number * 300 * MS) for number in range(3)]
    replayed = send(exchanges, servers[0].url)
    rows = replayed.run.rows
    # A spare that was open before may still be in the listener's queue, so only the last is sure.
    assert rows.outcome[0] == Outcome.COMPLETED
    assert rows.outcome[2] == Outcome.CONNECT_FAILED
    assert rows.sent_ns[2] == NEVER_NS
    assert replayed.run.valid or "rate" not in " ".join(replayed.run.header.invalid_reasons)


def test_many_short_connections_are_opened_and_closed(exchange: Make, send: Send, serve: Serve) -> None:
    """A capture with a connection for each exchange is replayed as one."""
    server = serve()
    exchanges = [exchange(number, offset_ns=number * 3 * MS, connection=number) for number in range(120)]
    replayed = send(exchanges, server.url)
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * 120
    assert len({one.connection for one in server.seen}) == 120


def make_schedule() -> Schedule:
    return Schedule(
        seq=np.arange(3, dtype=np.int64),
        due_ns=np.zeros(3, np.int64),
        endpoint=np.zeros(3, np.uint32),
        connection=np.zeros(3, np.uint32),
        recorded_status=np.zeros(3, np.uint16),
        instance=np.zeros(3, np.uint32),
        load=Load(),
        pace=Fraction(1),
    )


def test_a_new_spare_is_the_last_resort(serve: Serve) -> None:
    """Only a busy connection without a standing spare makes the sender look at responses first."""
    server = serve()
    schedule = make_schedule()

    async def run() -> list[bool]:
        columns = Columns(schedule, lambda: None)
        dial = Dial(target=parse_target(server.url), tls=None, timeout_ns=5_000 * MS)
        dials = Dials(each=(dial,))
        pool = Pool(dials=dials, columns=columns, connection=schedule.connection, pump=lambda: None)
        found = [pool.must_open(0, "127.0.0.1")]
        pool.prepare(0, "127.0.0.1")
        await pool.dialled()
        found.append(pool.must_open(0, "127.0.0.1"))
        own = pool.take(0, "127.0.0.1")
        own.row = 0  # as if it waited for a response
        found.append(pool.must_open(0, "127.0.0.1"))
        pool.open_reserve()
        await pool.dialled()
        found.append(pool.must_open(0, "127.0.0.1"))
        own.row = IDLE
        await pool.close()
        return found

    assert asyncio.run(run()) == [False, False, True, False]


def test_the_reserve_is_not_refilled_while_sending_is_behind(serve: Serve) -> None:
    """Each taken spare is replaced ahead of need, but not while that would make sends even later."""
    server = serve()
    schedule = make_schedule()

    async def run() -> tuple[bool, ...]:
        columns = Columns(schedule, lambda: None)
        dials = Dials(each=(Dial(target=parse_target(server.url), tls=None, timeout_ns=5_000 * MS),))
        pool = Pool(
            dials=dials, columns=columns, connection=schedule.connection, pump=lambda: None, pooled=True
        )
        numbers = []
        for behind in (False, True):
            pool.open_reserve()
            await pool.dialled()
            pool.behind = behind
            taken = pool.take(0, "127.0.0.1")
            assert taken.connected
            taken.row = 0  # as if it waited for a response
            numbers.append(pool.must_open(0, "127.0.0.1"))
            await pool.dialled()
            numbers.append(pool.must_open(0, "127.0.0.1"))
        await pool.close()
        return tuple(numbers)

    assert asyncio.run(run()) == (True, False, True, True)


def test_the_first_address_that_answers_is_used(exchange: Make, send: Send, serve: Serve) -> None:
    """A host name may have addresses on which nobody listens."""
    server = serve()
    where = parse_target(
        f"http://localhost:{server.port}", resolver=lambda _host, _port: ["127.0.0.2", "127.0.0.1"]
    )
    replayed = send([exchange(0)], server.url, target=where)
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED]
    assert server.seen[0].request.headers[0][1] == b"localhost:%d" % server.port


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_machine_without_descriptors_drops_exchanges(
    exchange: Make, send: Send, serve: Serve, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    """They say nothing about the target: dropped, so the run is invalid, and a note says why."""
    if loop == "asyncio":
        monkeypatch.setattr("replayer.sending._new_loop", asyncio.new_event_loop)
    connect = Pool._connect

    async def connect_without_descriptors(pool: Pool, connection: Connection) -> None:
        if connection.number != 1:
            await connect(pool, connection)
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            await connect(pool, connection)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    monkeypatch.setattr(Pool, "_connect", connect_without_descriptors)
    exchanges = [exchange(number, offset_ns=number * 40 * MS, connection=number % 2) for number in range(6)]
    run = send(exchanges, serve().url).run
    assert run.rows.outcome.tolist() == [Outcome.COMPLETED, Outcome.DROPPED] * 3
    assert run.rows.sent_ns[1] == run.rows.done_ns[1] == NEVER_NS
    assert "3 exchanges were due and not sent." in run.header.invalid_reasons
    notes = " ".join(run.header.notes)
    assert "3 exchanges were dropped as this machine could open no connection" in notes
    assert "(too many open files)" in notes
    assert "opened again" not in notes
    summary = summarise(run)
    assert (summary.sent, summary.completed, summary.failed, summary.dropped) == (3, 3, 0, 3)


def test_a_machine_that_can_open_nothing_is_told(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target is not blamed for it."""

    async def connect(_pool: Pool, _connection: Connection) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async def run() -> None:
        columns = Columns(schedule, lambda: None)
        dial = Dial(target=parse_target(server.url), tls=None, timeout_ns=5_000 * MS)
        dials = Dials(each=(dial,))
        await Pool(dials=dials, columns=columns, connection=schedule.connection, pump=lambda: None).probe()

    server = serve()
    schedule = make_schedule()
    monkeypatch.setattr(Pool, "_connect", connect)
    with pytest.raises(HookreelError, match=r"on this machine \(too many open files\)"):
        asyncio.run(run())
