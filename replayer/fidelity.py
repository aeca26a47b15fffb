"""How well a run kept its schedule: a run that did not is invalid and proves nothing."""

from __future__ import annotations

import numpy as np

from captures.text import counted
from captures.units import NS_PER_S, format_duration
from replayer.messages import MessageRows
from replayer.quantiles import quantiles
from replayer.results import NEVER_NS, Int64s, Limits, Outcome, RunRows

_NEVER_SENT = (Outcome.CONNECT_FAILED, Outcome.TLS_FAILED)


def lag_ns(rows: RunRows) -> Int64s:
    """Send lag of each row that was sent, in row order."""
    sent = rows.sent_ns != NEVER_NS
    times_ns: Int64s = np.subtract(rows.sent_ns[sent], rows.due_ns[sent])
    return times_ns


def service_ns(rows: RunRows) -> Int64s:
    """Service time (done - sent) of each completed row, in row order."""
    completed = rows.outcome == Outcome.COMPLETED
    times_ns: Int64s = np.subtract(rows.done_ns[completed], rows.sent_ns[completed])
    return times_ns


def response_ns(rows: RunRows) -> Int64s:
    """Response time (done - due) of each completed row, in row order."""
    completed = rows.outcome == Outcome.COMPLETED
    times_ns: Int64s = np.subtract(rows.done_ns[completed], rows.due_ns[completed])
    return times_ns


def lag_p99_limit_ns(rows: RunRows, limits: Limits) -> int:
    """The lag p99 that a run may have: a fixed time, or a share of the service time if that is more."""
    share_ns = limits.lag_p99_share_of_service_p50 * quantiles(service_ns(rows)).p50
    return max(limits.lag_p99_ns, int(share_ns))


def invalid_reasons(rows: RunRows, limits: Limits, messages: MessageRows | None = None) -> tuple[str, ...]:
    """Why the run is invalid, one sentence each; empty for a valid run."""
    reasons = []
    lag = lag_ns(rows)
    lags = quantiles(lag)
    p99_limit_ns = lag_p99_limit_ns(rows, limits)
    early = int((lag < 0).sum())
    if early:
        verb = "was" if early == 1 else "were"
        reasons.append(f"{counted(early, 'exchange')} {verb} sent before due.")
    if lags.p99 > p99_limit_ns:
        reasons.append(
            f"The send lag's p99 is {format_duration(lags.p99)}, above the limit of "
            f"{format_duration(p99_limit_ns)}."
        )
    if lags.max > limits.lag_max_ns:
        reasons.append(
            f"The longest send lag is {format_duration(lags.max)}, above the limit of "
            f"{format_duration(limits.lag_max_ns)}."
        )
    if messages is not None:
        reasons += _message_reasons(messages, p99_limit_ns, limits)
    dropped = int((rows.outcome == Outcome.DROPPED).sum())
    if dropped:
        verb = "was" if dropped == 1 else "were"
        reasons.append(f"{counted(dropped, 'exchange')} {verb} due and not sent.")
    second, error = worst_second(rows, p99_limit_ns)
    if error > limits.rate_error:
        reasons.append(
            f"In second {second} the rate was off by {error:.1%}, above the limit of {limits.rate_error:.1%}."
        )
    return tuple(reasons)


def _message_reasons(messages: MessageRows, p99_limit_ns: int, limits: Limits) -> list[str]:
    """What the messages of WebSocket clients were late by more than may be."""
    lags = quantiles(messages.lag_ns)
    found = (("p99", lags.p99, p99_limit_ns), ("maximum", lags.max, limits.lag_max_ns))
    return [
        f"The {name} of the WebSocket messages' send lag is {format_duration(lag)}, above the limit of "
        f"{format_duration(limit)}."
        for name, lag, limit in found
        if lag > limit
    ]


def worst_second(rows: RunRows, tolerated_lag_ns: int) -> tuple[int, float]:
    """
    The second of the schedule whose rate was off most, and by which share of what was due in it.

    An exchange with at most ``tolerated_lag_ns`` of lag counts in the second it was due in, as
    the border of a second is no reason to call it late. One exchange more or less in a second
    is not counted as an error: at a few exchanges a second it would be all there is. Exchanges
    whose connection the target refused say nothing about the sender and are left out.
    """
    offered = ~np.isin(rows.outcome, _NEVER_SENT)
    if not offered.any():
        return 0, 0.0
    sent = offered & (rows.sent_ns != NEVER_NS)
    due_second = rows.due_ns // NS_PER_S
    late = rows.sent_ns - rows.due_ns > tolerated_lag_ns
    sent_second = np.where(late, rows.sent_ns // NS_PER_S, due_second)[sent]
    due_counts = np.bincount(due_second[offered])
    seconds = len(due_counts)
    sent_counts = np.bincount(np.minimum(sent_second, seconds), minlength=seconds + 1)[:seconds]
    off = np.maximum(np.abs(sent_counts - due_counts) - 1, 0) / np.maximum(due_counts, 1)
    worst = int(np.argmax(off))
    return worst, float(off[worst])
