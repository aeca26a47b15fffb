"""Summaries: numbers for machines, and honest text for people."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from replayer.results import NEVER_NS, Limits, Outcome, Run, RunHeader, RunRows
from replayer.summary import as_json, as_text, summarise

MS = 1_000_000


def make_run(outcomes: list[Outcome], statuses: list[int], **header: Any) -> Run:
    rows = len(outcomes)
    outcome = np.array(outcomes, np.uint8)
    due = np.arange(rows, dtype=np.int64) * 10 * MS
    sent = np.where(np.isin(outcome, [Outcome.DROPPED, Outcome.CONNECT_FAILED]), NEVER_NS, due + 1000)
    done = np.where(outcome == Outcome.COMPLETED, sent + MS, NEVER_NS)
    filled: dict[str, Any] = {
        "run_id": "a" * 32,
        "capture_id": "b" * 32,
        "target": "http://localhost:3000",
        "speed": "10x",
        "load": "time compressed 10x",
        "started_wall_ns": 0,
        "tool": "hookreel",
        "schedule_hash": "c" * 32,
        "endpoints": ("GET /a", "POST /b"),
        "limits": Limits(),
        **header,
    }
    return Run(
        header=RunHeader(**filled),
        rows=RunRows(
            seq=np.arange(rows, dtype=np.int64),
            endpoint=(np.arange(rows) % 3 == 0).astype(np.uint32),
            connection=np.zeros(rows, np.uint32),
            due_ns=due,
            sent_ns=sent,
            first_byte_ns=done,
            done_ns=done,
            status=np.array(statuses, np.uint16),
            recorded_status=np.full(rows, 200, np.uint16),
            instance=np.zeros(rows, np.uint32),
            waited_ns=np.zeros(rows, np.int64),
            outcome=outcome,
            response_bytes=np.zeros(rows, np.uint32),
        ),
    )


MIXED = make_run(
    [Outcome.COMPLETED, Outcome.COMPLETED, Outcome.TIMEOUT, Outcome.DROPPED, Outcome.CONNECT_FAILED],
    [200, 503, 0, 0, 0],
    invalid_reasons=("Something was dropped.",),
    notes=("A note.",),
)


def test_every_exchange_is_counted_once() -> None:
    """Sent are completed and failed, failures to connect included; with dropped they are all."""
    summary = summarise(MIXED)
    assert (summary.sent, summary.completed, summary.failed, summary.dropped) == (4, 2, 2, 1)
    assert summary.statuses == {"200": 1, "503": 1}
    assert summary.status_matches == 1
    assert summary.outcomes == {"DROPPED": 1, "CONNECT_FAILED": 1, "TIMEOUT": 1}
    assert (summary.offered_rps, summary.achieved_rps) == (100.0, 100.0)
    assert summary.duration_ns == 11 * MS + 1000
    assert summary.response.max == MS + 1000
    assert summary.send_lag.count == 3
    assert [(line.endpoint, line.exchanges, line.failed) for line in summary.endpoints] == [
        ("GET /a", 3, 2),
        ("POST /b", 2, 0),
    ]


def test_a_timeout_is_no_completion() -> None:
    """The duration ends with the last response, not with the last that was given up."""
    run = make_run([Outcome.COMPLETED, Outcome.TIMEOUT], [200, 0])
    run.rows.done_ns[1] = 30_000 * MS
    assert summarise(run).duration_ns == MS + 1000
    assert summarise(make_run([Outcome.TIMEOUT], [0])).duration_ns == 0


def test_json_is_numeric_whatever_happened() -> None:
    """A run without a single response has the same keys and numbers as any other."""
    nothing = make_run([Outcome.CONNECT_FAILED], [0])
    for run in (MIXED, nothing):
        document = json.loads(json.dumps(as_json(run, summarise(run), 2, {"HTTP/1": 4})))
        for name in ("sent", "completed", "failed", "dropped", "duration_ns", "offered_rps", "achieved_rps"):
            assert isinstance(document[name], int | float)
        for name in ("send_lag_ns", "service_time_ns", "response_time_ns"):
            assert set(document[name]) == {"p50", "p90", "p99", "p999", "max"}
            assert all(isinstance(number, int) for number in document[name].values())
        assert document["spare_connections"] == 2
    assert as_json(MIXED, summarise(MIXED), 0, {})["valid"] is False
    assert as_json(nothing, summarise(nothing), 0, {})["valid"] is True


def test_text_prints_no_quantile_that_says_nothing() -> None:
    """With two samples there is a maximum and no p50; reasons and notes are there."""
    text = as_text(MIXED, summarise(MIXED))
    (lag_line,) = [line for line in text.splitlines() if line.startswith("send lag")]
    assert lag_line.split() == ["send", "lag", "-", "-", "-", "-", "1.00", "us"]
    assert "INVALID" in text
    assert "Something was dropped." in text
    assert "Note: A note." in text
    assert "TIMEOUT x 1" in text
    valid = make_run([Outcome.COMPLETED] * 30, [200] * 30)
    assert "VALID: the schedule was kept." in as_text(valid, summarise(valid))


def test_an_invalid_run_of_few_sends_says_what_its_p99_is() -> None:
    """With fewer than 100 sends a single late one decides; with more, or in a valid run, that is no news."""
    said = {
        (sends, reasons): "the p99 is the longest lag"
        in as_text(
            run := make_run([Outcome.COMPLETED] * sends, [200] * sends, invalid_reasons=reasons),
            summarise(run),
        )
        for sends in (1, 99, 100)
        for reasons in ((), ("Late.",))
    }
    assert [key for key, told in said.items() if told] == [(1, ("Late.",)), (99, ("Late.",))]


def test_labels_and_notes_cannot_steer_a_terminal() -> None:
    """They come from recorded traffic, so what cannot be printed is escaped."""
    evil = "\x1b]0;pwned\x07"
    run = make_run(
        [Outcome.COMPLETED],
        [200],
        endpoints=("GET /", f"GET /{evil}"),
        notes=(evil,),
        invalid_reasons=(evil,),
    )
    text = as_text(run, summarise(run))
    assert text.count("\\x1b]0;pwned\\x07") == 3
    assert "\x1b" not in text


def test_many_endpoints_are_cut_and_counted() -> None:
    """The busiest are listed, the rest is said to exist."""
    run = make_run([Outcome.COMPLETED] * 60, [200] * 60, endpoints=tuple(f"GET /{one}" for one in range(60)))
    rows = run.rows
    object.__setattr__(rows, "endpoint", np.arange(60, dtype=np.uint32))
    summary = summarise(run)
    assert summary.endpoint_count == 60
    assert "... and 20 endpoints with fewer exchanges." in as_text(run, summary)
