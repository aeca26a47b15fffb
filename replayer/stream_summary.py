"""What the streams of a run came to: message lag, and how long a webhook's event took to a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tabulate import tabulate

from captures.text import clean, counted
from captures.units import format_duration, format_size
from replayer.fidelity import lag_p99_limit_ns
from replayer.messages import NEVER_NS, NO_CAUSE
from replayer.quantiles import Quantiles, quantiles
from replayer.results import Run
from replayer.schedule import UPGRADED

_MOST_PAIRS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """
    How long the first event about an exchange took to a stream, for two endpoints; in ns.

    ``since_due`` counts from when the exchange was due, ``since_response`` from the end of its
    response: below 0 where the event was quicker.
    """

    exchange: str
    stream: str
    since_due: Quantiles
    since_response: Quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    """
    Totals; quantiles are in ns.

    ``messages_late`` counts client messages with more lag than the run's p99 may have,
    ``messages_unsent`` those whose session was refused or over before they were due.
    """

    sessions: int
    opened: int
    messages_sent: int
    messages_unsent: int
    messages_late: int
    messages_received: int
    received_bytes: int
    message_lag: Quantiles
    events: tuple[EventLine, ...]


def summarise_streams(run: Run) -> StreamSummary | None:
    """The summary of a run's streams, None where there were none."""
    rows, messages = run.rows, run.messages
    sessions = rows.recorded_status == UPGRADED
    if not len(messages) and not sessions.any():
        return None
    client = messages.from_client == 1
    lag_ns = messages.lag_ns
    return StreamSummary(
        sessions=int(sessions.sum()),
        opened=int((sessions & (rows.status == UPGRADED)).sum()),
        messages_sent=len(lag_ns),
        messages_unsent=int((client & (messages.at_ns == NEVER_NS)).sum()),
        messages_late=int((lag_ns > lag_p99_limit_ns(rows, run.header.limits)).sum()),
        messages_received=int((~client).sum()),
        received_bytes=int(messages.size_bytes[~client].sum(dtype=np.int64)),
        message_lag=quantiles(lag_ns),
        events=tuple(_events(run)),
    )


def _events(run: Run) -> Iterator[EventLine]:
    rows, messages = run.rows, run.messages
    caused = np.flatnonzero(messages.cause != NO_CAUSE)
    caused = caused[np.argsort(messages.at_ns[caused], kind="stable")]
    pairs = np.stack([messages.cause[caused], messages.stream[caused]], axis=1)
    # An exchange has many events on a stream, as a run logs line by line: the first one counts.
    _, first = np.unique(pairs, axis=0, return_index=True)
    cause, stream, at_ns = pairs[first, 0], pairs[first, 1], messages.at_ns[caused[first]]
    kinds = np.stack([rows.endpoint[cause], rows.endpoint[stream]], axis=1)
    found, number, counts = np.unique(kinds, axis=0, return_inverse=True, return_counts=True)
    for kind in np.argsort(-counts, kind="stable")[:_MOST_PAIRS].tolist():
        here = number.reshape(-1) == kind
        yield EventLine(
            exchange=run.header.endpoints[int(found[kind, 0])],
            stream=run.header.endpoints[int(found[kind, 1])],
            since_due=quantiles(at_ns[here] - rows.due_ns[cause[here]]),
            since_response=quantiles(at_ns[here] - rows.done_ns[cause[here]]),
        )


def streams_json(summary: StreamSummary | None) -> dict[str, Any] | None:
    """The summary as the command line's JSON has it."""
    if summary is None:
        return None
    return {
        "sessions": summary.sessions,
        "opened": summary.opened,
        "messages_sent": summary.messages_sent,
        "messages_unsent": summary.messages_unsent,
        "messages_late": summary.messages_late,
        "messages_received": summary.messages_received,
        "received_bytes": summary.received_bytes,
        "message_lag_ns": summary.message_lag.numbers(),
        "events": [
            {
                "exchange": line.exchange,
                "stream": line.stream,
                "count": line.since_due.count,
                "since_due_ns": line.since_due.numbers(),
                "since_response_ns": line.since_response.numbers(),
            }
            for line in summary.events
        ],
    }


def streams_text(summary: StreamSummary | None) -> list[str]:
    """The summary for people, in lines."""
    if summary is None:
        return []
    unsent = f", {summary.messages_unsent} not sent" if summary.messages_unsent else ""
    lines = [
        f"Streams: {summary.opened} of {counted(summary.sessions, 'WebSocket session')} opened, "
        f"{counted(summary.messages_sent, 'message')} sent{unsent}, "
        f"{summary.messages_received} received ({format_size(summary.received_bytes)})."
    ]
    if summary.messages_sent:
        words = [
            f"{name} {format_duration(summary.message_lag.numbers()[level])}"
            for level, name in (("p50", "p50"), ("p90", "p90"), ("p99", "p99"), ("max", "max"))
            if summary.message_lag.sound(level)
        ]
        lines.append(f"Message send lag: {', '.join(words)}; {summary.messages_late} late.")
    if summary.events:
        cells = [
            [
                f"{clean(line.exchange)} -> {clean(line.stream)}",
                line.since_due.count,
                *(
                    format_duration(line.since_due.numbers()[level]) if line.since_due.sound(level) else "-"
                    for level in ("p50", "p90", "p99", "max")
                ),
                format_duration(line.since_response.p50),
            ]
            for line in summary.events
        ]
        headers = ["event after due", "events", "p50", "p90", "p99", "max", "after response (p50)"]
        lines += ["", tabulate(cells, headers=headers, disable_numparse=True)]
    return lines
