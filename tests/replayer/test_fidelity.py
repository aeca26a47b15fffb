"""Gates: each says in one sentence why a run is invalid, and passes one that is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from replayer.fidelity import invalid_reasons, lag_ns, response_ns, service_ns, worst_second
from replayer.messages import MessageLog
from replayer.quantiles import quantiles
from replayer.results import NEVER_NS, Limits, Outcome, RunRows

MS = 1_000_000
S = 1_000_000_000


def make_rows(due_ns: Any, lag: Any = 10_000, service: Any = MS, outcome: Any = Outcome.COMPLETED) -> RunRows:
    due = np.array(due_ns, np.int64)
    rows = len(due)
    outcomes = np.broadcast_to(np.array(outcome, np.uint8), rows).copy()
    unsent = np.isin(outcomes, [Outcome.DROPPED, Outcome.CONNECT_FAILED])
    sent = np.where(unsent, NEVER_NS, due + lag)
    done = np.where(outcomes == Outcome.COMPLETED, sent + service, NEVER_NS)
    zeros = np.zeros(rows, np.uint32)
    return RunRows(
        seq=np.arange(rows, dtype=np.int64),
        endpoint=zeros,
        connection=zeros,
        due_ns=due,
        sent_ns=sent,
        first_byte_ns=done,
        done_ns=done,
        status=zeros.astype(np.uint16),
        recorded_status=zeros.astype(np.uint16),
        instance=zeros,
        waited_ns=zeros.astype(np.int64),
        outcome=outcomes,
        response_bytes=zeros,
    )


EVEN = np.arange(5000) * MS  # 1,000 a second for 5 s


def test_a_run_that_kept_its_schedule_is_valid() -> None:
    """Small lags raise nothing, and an empty run has nothing to say."""
    assert invalid_reasons(make_rows(EVEN), Limits()) == ()
    assert invalid_reasons(make_rows([]), Limits()) == ()


def test_late_messages_make_a_run_invalid() -> None:
    """A WebSocket client that spoke late is a schedule that was not kept; who never spoke has no lag."""
    log = MessageLog()
    log.sent(0, 0, 10_000, 1)
    log.sent(0, 5, NEVER_NS, 1)
    assert invalid_reasons(make_rows(EVEN), Limits(), log.rows()) == ()
    log.sent(0, 0, 300 * MS, 1)
    first, second = invalid_reasons(make_rows(EVEN), Limits(), log.rows())
    assert first == "The p99 of the WebSocket messages' send lag is 300 ms, above the limit of 1.00 ms."
    assert second.startswith("The maximum of the WebSocket messages' send lag is 300 ms")


def test_times_are_of_the_rows_that_have_them() -> None:
    """Lag is of what was sent, service and response of what completed."""
    rows = make_rows([0, S, 2 * S], 5, 7, [Outcome.COMPLETED, Outcome.TIMEOUT, Outcome.DROPPED])
    assert lag_ns(rows).tolist() == [5, 5]
    assert service_ns(rows).tolist() == [7]
    assert response_ns(rows).tolist() == [12]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            make_rows(EVEN, np.where(np.arange(5000) % 50 == 0, 2 * MS, 0)),
            "p99 is 2.00 ms, above the limit of 1.00 ms",
        ),
        (make_rows(EVEN, np.where(np.arange(5000) == 7, 251 * MS, 0)), "longest send lag is 251 ms"),
        (
            make_rows(EVEN, 0, MS, [Outcome.DROPPED] + [Outcome.COMPLETED] * 4999),
            "1 exchange was due and not sent",
        ),
        (make_rows(EVEN + S, -1), "5000 exchanges were sent before due"),
        (
            make_rows(EVEN, np.where(EVEN // S == 2, 200 * MS, 0)),
            "In second 2 the rate was off by 19.9%",
        ),
    ],
)
def test_each_gate_tells_its_reason(rows: RunRows, told: str) -> None:
    """A lag, a drop, an early send and a rate are each named with number and limit."""
    assert told in " ".join(invalid_reasons(rows, Limits()))
    for reason in invalid_reasons(rows, Limits()):
        assert reason.endswith(".")


def test_a_slow_service_tolerates_more_lag() -> None:
    """5 % of the service time's p50 counts when it is more than 1 ms; a limit can be set."""
    rows = make_rows(EVEN, 4 * MS, 100 * MS)
    assert invalid_reasons(rows, Limits()) == ()
    assert len(invalid_reasons(rows, Limits(lag_p99_share_of_service_p50=0.0))) == 1


def test_the_border_of_a_second_is_no_rate_error() -> None:
    """At ten a second, one that is due just before the border and sent just after counts where it was due."""
    rows = make_rows(np.arange(1, 41) * (S // 10) - 20_000, 100_000)
    assert worst_second(rows, MS) == (0, 0.0)


def test_a_target_that_refuses_connections_is_not_the_senders_error() -> None:
    """What could not be connected is failed; the rate gate leaves it out."""
    outcomes = np.where(EVEN // S == 1, Outcome.CONNECT_FAILED, Outcome.COMPLETED)
    assert invalid_reasons(make_rows(EVEN, 0, MS, outcomes), Limits()) == ()
    nothing = make_rows(EVEN, 0, MS, Outcome.CONNECT_FAILED)
    assert invalid_reasons(nothing, Limits()) == ()


def test_a_stalled_target_shows_in_the_p99_from_due() -> None:
    """Of 20 s with a stall of 1.4 s a hundredth waits longer than 1.2 s, and the run is valid."""
    due_ns = np.arange(10_000) * 2 * MS
    start_ns, stop_ns = 5 * S, 5 * S + 1_400 * MS
    service = np.where((due_ns >= start_ns) & (due_ns < stop_ns), stop_ns - due_ns, 0) + MS // 2
    run = make_rows(due_ns, service=service)
    assert quantiles(response_ns(run)).p99 == pytest.approx(1_400 * MS - 20 * S // 100, rel=0.02)
    assert quantiles(response_ns(run)).p50 < MS
    assert invalid_reasons(run, Limits()) == ()
