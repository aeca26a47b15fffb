"""Manners: connections, crowding, early ends, expectations and the mark, as the target sees them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captures.errors import UsageError
from captures.model import Exchange
from replayer.manners import AbortOn, Connections, Manners, parse_abort_on
from replayer.results import Outcome

Make = Callable[..., Exchange]
Serve = Callable[..., Any]
Send = Callable[..., Any]
MS = 1_000_000


def traffic(exchange: Make, count: int, connections: int = 1) -> list[Exchange]:
    return [
        exchange(n, offset_ns=n * 10 * MS, connection=n % connections, target=b"/%d" % n)
        for n in range(count)
    ]


def test_each_exchange_may_have_a_connection_of_its_own(serve: Serve, exchange: Make, send: Send) -> None:
    """NEW never sends two requests on one connection, and the run keeps the recorded numbers."""
    server = serve()
    replayed = send(traffic(exchange, 12, 2), server.url, manners=Manners(connections=Connections.NEW))
    assert [len(seen) for seen in server.by_connection().values()] == [1] * 12
    assert replayed.run.rows.connection.tolist() == [0, 1] * 6


def test_a_pool_shares_what_is_free(serve: Serve, exchange: Make, send: Send) -> None:
    """Twelve recorded connections that are never busy at once need a single one."""
    server = serve()
    replayed = send(traffic(exchange, 12, 12), server.url, manners=Manners(connections=Connections.POOL))
    assert len(server.by_connection()) <= 2
    assert bool((replayed.run.rows.outcome == Outcome.COMPLETED).all())
    assert not any("spare" in note for note in replayed.run.header.notes)


def test_what_is_due_while_too_many_wait_is_dropped(
    serve: Serve, answer: Any, exchange: Make, send: Send
) -> None:
    """Two may wait: the others are counted as dropped, so the run is invalid and says why."""
    hold = threading.Event()

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/1":  # the last is due 60 ms after it
            threading.Timer(1.5, hold.set).start()
        return answer(hold=hold if seen.request.target in {b"/0", b"/1"} else None)

    server = serve(respond)
    replayed = send(traffic(exchange, 8, 8), server.url, manners=Manners(max_in_flight=2))
    outcomes = replayed.run.rows.outcome.tolist()
    assert outcomes == [Outcome.COMPLETED] * 2 + [Outcome.DROPPED] * 6
    assert any("6 exchanges were dropped as --max-in-flight" in note for note in replayed.run.header.notes)
    assert not replayed.run.valid


def test_a_connection_whose_last_exchange_is_dropped_is_not_opened_again(
    serve: Serve, answer: Any, exchange: Make, send: Send
) -> None:
    """It is closed, and nobody waits for it any more."""
    hold = threading.Event()

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/busy":
            threading.Timer(0.3, hold.set).start()
            return answer(hold=hold)
        return answer()

    exchanges = [
        exchange(0, connection=1),
        exchange(1, offset_ns=60 * MS, target=b"/busy"),
        exchange(2, offset_ns=120 * MS, connection=1),
    ]
    run = send(exchanges, serve(respond).url, manners=Manners(max_in_flight=1)).run
    assert run.rows.outcome.tolist() == [Outcome.COMPLETED, Outcome.COMPLETED, Outcome.DROPPED]
    assert not any("opened again" in note for note in run.header.notes)


def chained(exchange: Make, offset_ns: int) -> list[Exchange]:
    """An order, and a look at it so long after its response."""
    made = b"9f8d7c6b-1111-4222-8333-444455556666"
    order = exchange(0, method=b"POST", target=b"/orders")
    order = replace(order, outcome=replace(order.outcome, headers=((b"Location", b"/orders/" + made),)))
    return [order, exchange(1, offset_ns=offset_ns, target=b"/orders/" + made)]


def test_what_waits_for_its_parent_is_not_crowded_out_by_it(
    serve: Serve, answer: Any, exchange: Make, send: Send
) -> None:
    """With one at a time a chained exchange goes once its parent is answered, however late that is."""
    hold = threading.Event()

    def respond(seen: Any) -> Any:
        if seen.request.method == b"POST":
            threading.Timer(0.1, hold.set).start()
            return answer(hold=hold)
        return answer()

    rows = send(chained(exchange, 10 * MS), serve(respond).url, manners=Manners(max_in_flight=1)).run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED] * 2
    assert rows.waited_ns[1] > 0


def test_what_is_held_back_takes_nobodys_place(serve: Serve, answer: Any, exchange: Make, send: Send) -> None:
    """Two may be in flight: the order, and another at whose coming that is answered."""
    ordered = threading.Event()

    def respond(seen: Any) -> Any:
        if seen.request.target == b"/other":
            ordered.set()
        return answer(hold=ordered)

    exchanges = [*chained(exchange, 10 * MS), exchange(2, offset_ns=60 * MS, connection=1, target=b"/other")]
    rows = send(exchanges, serve(respond).url, manners=Manners(max_in_flight=2)).run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED] * 3
    assert rows.sent_ns[1] > rows.sent_ns[2]


def test_what_is_chained_is_crowded_out_like_any(
    serve: Serve, answer: Any, exchange: Make, send: Send
) -> None:
    """When it is due while as many wait as may it is dropped."""
    never = threading.Event()
    server = serve(lambda seen: answer(hold=never if seen.request.target == b"/other" else None))
    other = exchange(2, offset_ns=150 * MS, connection=1, target=b"/other")
    replayed = send(
        [*chained(exchange, 200 * MS), other], server.url, manners=Manners(max_in_flight=1), timeout_s=0.3
    )
    never.set()
    rows = replayed.run.rows
    assert dict(zip(rows.seq.tolist(), rows.outcome.tolist(), strict=True)) == {
        0: Outcome.COMPLETED,
        1: Outcome.DROPPED,
        2: Outcome.TIMEOUT,
    }
    assert any("1 exchanges were dropped as --max-in-flight" in note for note in replayed.run.header.notes)


def test_a_run_ends_itself_when_the_target_fails(
    serve: Serve, answer: Any, exchange: Make, send: Send
) -> None:
    """Above the share of errors nothing more is sent; the partial run says how many there were."""
    server = serve(lambda _: answer(parts=[b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"]))
    manners = Manners(abort_on=AbortOn(errors=0.05))
    replayed = send(traffic(exchange, 500, 4), server.url, manners=manners)
    assert len(replayed.run.rows) < 500
    assert replayed.run.header.interrupted
    assert "failed or were answered with an error" in replayed.run.header.invalid_reasons[0]


def test_what_is_dropped_is_no_error_of_the_target(
    serve: Serve, exchange: Make, send: Send, answer: Any
) -> None:
    """A share of errors is one of what was sent: drops neither end a run nor hide that the target fails."""
    bad = [
        exchange(number, offset_ns=number * 10 * MS, method=b"BAD METHOD", connection=number % 4)
        for number in range(50)
    ]
    manners = Manners(abort_on=AbortOn(errors=0.3))
    good = [exchange(50 + number, offset_ns=(500 + number) * MS, connection=4) for number in range(25)]
    late = exchange(75, offset_ns=1_000 * MS, connection=4)
    run = send([*bad, *good, late], serve().url, manners=manners).run
    assert not run.header.interrupted
    assert run.rows.outcome.tolist() == [Outcome.DROPPED] * 50 + [Outcome.COMPLETED] * 26
    server = serve(lambda _: answer(parts=[b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"]))
    run = send([*bad, *good, late], server.url, manners=manners).run
    assert run.header.invalid_reasons[0].startswith(
        "The run was stopped early (25 of 25 exchanges failed or were answered with an error)"
    )


def test_what_is_asked_of_a_run(
    command: Any, serve: Serve, answer: Any, exchange: Make, capture: Any
) -> None:
    """--expect recorded-status exits with 3 for another status; --mark names the run in each request."""
    statuses = iter([b"200 OK", b"404 Gone"])
    server = serve(lambda _: answer(parts=[b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % next(statuses)]))
    limits = ("--lag-p99", "1s", "--lag-max", "5s", "--rate-error", "100%")
    told = command(
        capture(traffic(exchange, 2)),
        "--target",
        server.url,
        "--json",
        "--expect",
        "recorded-status",
        "--mark",
        *limits,
    )
    found = json.loads(told.stdout)
    assert (told.exit_code, found["status_mismatches"]) == (3, 1)
    marks = [
        value for seen in server.seen for name, value in seen.request.headers if name == b"X-Hookreel-Run"
    ]
    assert marks == [found["run_id"].encode()] * 2


def test_a_run_as_expected_exits_with_0(command: Any, serve: Serve, exchange: Make, capture: Any) -> None:
    """Without --mark no header is added."""
    server = serve()
    limits = ("--lag-p99", "1s", "--lag-max", "5s", "--rate-error", "100%")
    path: Path = capture(traffic(exchange, 2))
    told = command(path, "--target", server.url, "--expect", "recorded-status", *limits)
    assert told.exit_code == 0
    assert b"x-hookreel" not in b"".join(seen.raw.lower() for seen in server.seen)


def test_conditions_to_abort_on() -> None:
    """Shares and times are read; a share counts from 20 finished exchanges on."""
    parsed = parse_abort_on(("errors>5%", "lag > 100ms"))
    assert parsed == AbortOn(errors=0.05, lag_ns=100 * MS)
    assert parsed.reason(errors=19, finished=19, lag_ns=0) is None
    assert parsed.reason(errors=1, finished=20, lag_ns=0) is None
    assert (
        parsed.reason(errors=2, finished=20, lag_ns=0)
        == "2 of 20 exchanges failed or were answered with an error"
    )
    assert parsed.reason(errors=0, finished=0, lag_ns=101 * MS) == "the send lag is 101 ms"
    assert AbortOn().reason(errors=99, finished=99, lag_ns=10**12) is None


@pytest.mark.parametrize("text", ["errors", "p50>1s", "errors>x", "lag>5%"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    """A condition names what it watches and a limit of its kind."""
    with pytest.raises(UsageError):
        parse_abort_on((text,))
