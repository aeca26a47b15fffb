"""Responses that are read by us: known heads, in whatever pieces, and a backlog sent as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from captures.model import Exchange
from replayer.manners import Connections, Manners
from replayer.replay import Replayed
from replayer.results import Outcome

Make = Callable[..., Exchange]
Send = Callable[..., Replayed]
Serve = Callable[..., Any]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POOL = Manners(connections=Connections.POOL)


def number(seen: Any) -> int:
    """Which request a server saw."""
    return int(seen.request.target[1:])


@pytest.mark.parametrize("cut", [10, len(OK) - 4, len(OK) - 1])
def test_a_known_head_may_come_in_pieces(
    exchange: Make, send: Send, serve: Serve, answer: Any, cut: int
) -> None:
    """A response that does not come whole is put together, whatever was known before."""
    server = serve(lambda seen: answer([OK] if number(seen) % 2 else [OK[:cut], OK[cut:]]))
    rows = send([exchange(one, target=b"/%d" % one) for one in range(60)], server.url, manners=POOL).run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED] * 60
    assert rows.status.tolist() == [200] * 60
    assert rows.response_bytes.tolist() == [2] * 60


def test_a_known_head_before_too_many_bytes_ends_its_connection(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """What is behind a whole response is nobody's answer, though its head is known: nobody else gets it."""
    server = serve(lambda seen: answer([OK + OK] if number(seen) == 5 else [OK]))
    exchanges = [exchange(one, offset_ns=one * 5_000_000, target=b"/%d" % one) for one in range(10)]
    rows = send(exchanges, server.url, manners=POOL).run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED] * 10
    doubled = next(seen.connection for seen in server.seen if number(seen) == 5)
    assert not [seen for seen in server.seen if seen.connection == doubled and number(seen) > 5]


@pytest.mark.parametrize("manners", [Manners(), POOL])
def test_a_backlog_is_sent_once_and_in_order(
    exchange: Make, send: Send, serve: Serve, answer: Any, manners: Manners
) -> None:
    """Everything is due at once: each request goes out once, after those before it, whatever it asks for."""
    server = serve(lambda seen: answer([OK[:-2]] if seen.request.method == b"HEAD" else [OK]))
    exchanges = [
        exchange(one, connection=one % 4, target=b"/%d" % one, method=b"GET" if one % 50 else b"HEAD")
        for one in range(400)
    ]
    rows = send(exchanges, server.url, manners=manners).run.rows
    assert rows.outcome.tolist() == [Outcome.COMPLETED] * 400
    assert rows.response_bytes.tolist() == [2 if one % 50 else 0 for one in range(400)]
    assert sorted(map(number, server.seen)) == list(range(400))
    assert bool((np.diff(rows.sent_ns) >= 0).all())
    assert bool((rows.sent_ns <= rows.first_byte_ns).all())


def test_a_connection_that_ends_in_a_backlog_fails_one_exchange(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """A target that closes without an answer has failed that one; the rows behind it go on others."""
    server = serve(lambda seen: answer([], close=True) if number(seen) == 150 else answer([OK]))
    exchanges = [exchange(one, target=b"/%d" % one) for one in range(300)]
    rows = send(exchanges, server.url, manners=POOL).run.rows
    assert [(one, Outcome(rows.outcome[one])) for one in range(300) if rows.outcome[one]] == [
        (150, Outcome.RESET)
    ]
    assert sorted(map(number, server.seen)) == list(range(300))


def test_errors_of_the_target_are_counted_in_a_backlog(
    exchange: Make, send: Send, serve: Serve, answer: Any
) -> None:
    """The same error again and again is an error each time, so that a run can be given up for it."""
    error = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    server = serve(lambda _seen: answer([error]))
    rows = send([exchange(one) for one in range(100)], server.url, manners=POOL).run.rows
    assert rows.status.tolist() == [500] * 100
