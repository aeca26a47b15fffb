"""What is said of the streams of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from replayer.messages import NO_CAUSE, MessageLog
from replayer.results import Limits, Run, RunHeader, RunRows
from replayer.stream_summary import streams_json, streams_text, summarise_streams

MS = 1_000_000


def make_run(rows: int, log: MessageLog, cause: list[int]) -> Run:
    """Webhooks due every 10 ms and done 1 ms later; the last row is a WebSocket session."""
    due = np.arange(rows, dtype=np.int64) * 10 * MS
    sessions = np.zeros(rows, np.uint16)
    sessions[-1] = 101
    header = RunHeader(
        run_id="a" * 32, capture_id="b" * 32, target="http://h", speed="1x", load="", started_wall_ns=0,
        tool="t", schedule_hash="c" * 32, endpoints=("POST /hook", "GET /socket"), limits=Limits(),
    )  # fmt: skip
    zeros = np.zeros(rows, np.uint32)
    return Run(
        header=header,
        rows=RunRows(
            seq=due,
            endpoint=(sessions == 101).astype(np.uint32),
            connection=zeros,
            due_ns=due,
            sent_ns=due,
            first_byte_ns=due + MS,
            done_ns=due + MS,
            status=sessions,
            recorded_status=sessions,
            instance=zeros,
            waited_ns=zeros.astype(np.int64),
            outcome=zeros.astype(np.uint8),
            response_bytes=zeros,
        ),
        messages=replace(log.rows(), cause=np.array(cause, np.int64)),
    )


def test_the_first_event_about_an_exchange_counts() -> None:
    """Later ones on the same stream are of the same run; the time is from due and from the response."""
    log = MessageLog()
    log.heard(2, 7 * MS, 10)  # about the second, due at 10 ms: never the case, and shown as it is
    log.heard(2, 5 * MS, 10)
    log.heard(2, 4 * MS, 10)
    log.heard(2, 9 * MS, 10)
    found = summarise_streams(make_run(3, log, [1, 0, 0, NO_CAUSE]))
    assert found is not None
    (line,) = found.events
    assert (line.exchange, line.stream, line.since_due.count) == ("POST /hook", "GET /socket", 2)
    assert (line.since_due.p50, line.since_due.max) == (-3 * MS, 4 * MS)
    assert (line.since_response.p50, line.since_response.max) == (-4 * MS, 3 * MS)
    assert (found.messages_received, found.received_bytes) == (4, 40)


def test_late_messages_are_counted_and_told() -> None:
    """Lag above the p99's limit is late."""
    log = MessageLog()
    log.sent(0, 0, 10_000, 4)
    log.sent(0, 0, 2 * MS, 4)
    found = summarise_streams(make_run(1, log, [NO_CAUSE] * 2))
    assert found is not None
    assert (found.messages_sent, found.messages_late, found.message_lag.max) == (2, 1, 2 * MS)
    assert streams_text(found)[1] == "Message send lag: max 2.00 ms; 1 late."
    told = streams_json(found)
    assert told is not None
    assert told["message_lag_ns"]["max"] == 2 * MS


def test_a_run_without_streams_has_nothing_to_tell() -> None:
    """Neither in the text nor in the JSON."""
    run = make_run(2, MessageLog(), [])
    run.rows.recorded_status[:] = 200
    assert summarise_streams(run) is None
    assert streams_text(None) == []
    assert streams_json(None) is None
