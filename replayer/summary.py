"""What a run came to: the numbers for machines, and a page of text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tabulate import tabulate

from captures.provenance import provenance_map
from captures.text import clean, counted
from captures.units import NS_PER_S, format_duration
from replayer.fidelity import lag_ns, lag_p99_limit_ns, response_ns, service_ns, worst_second
from replayer.quantiles import Quantiles, quantiles
from replayer.results import NEVER_NS, Outcome, Run, RunRows
from replayer.shape import Shape, shape_of
from replayer.stream_summary import streams_json, streams_text, summarise_streams

_MOST_ENDPOINTS = 40
_SENDS_FOR_P99 = 100  # with fewer there is not one beyond it


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointLine:
    """One endpoint's part of a run; ``response`` is of its completed exchanges, in ns."""

    endpoint: str
    exchanges: int
    failed: int
    statuses: dict[str, int]
    response: Quantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """
    Totals of a run; quantiles are in ns.

    ``sent`` counts what was not dropped: ``completed + failed``, a failure to connect included.
    ``status_mismatches`` counts what was answered otherwise than recorded, or not at all where an
    answer is recorded. ``duration_ns`` is first due to last completion, 0 without one; ``offered_rps`` and
    ``achieved_rps`` count between the first and the last due or sent exchange, 0 when that is
    no time. ``endpoints`` holds the busiest of the ``endpoint_count``.
    """

    sent: int
    completed: int
    failed: int
    dropped: int
    outcomes: dict[str, int]
    statuses: dict[str, int]
    status_matches: int
    status_mismatches: int
    send_lag: Quantiles
    service: Quantiles
    response: Quantiles
    offered_rps: float
    achieved_rps: float
    duration_ns: int
    shape: Shape
    endpoint_count: int
    endpoints: tuple[EndpointLine, ...]


def summarise(run: Run) -> Summary:
    """The summary of ``run``."""
    rows = run.rows
    completed = rows.outcome == Outcome.COMPLETED
    dropped = int((rows.outcome == Outcome.DROPPED).sum())
    last_ns = int(np.max(rows.done_ns[completed], initial=0))
    sent_ns = rows.sent_ns[rows.sent_ns != NEVER_NS]
    return Summary(
        sent=len(rows) - dropped,
        completed=int(completed.sum()),
        failed=len(rows) - int(completed.sum()) - dropped,
        dropped=dropped,
        outcomes={
            Outcome(number).name: count
            for number, count in sorted(Counter(rows.outcome.tolist()).items())
            if number != Outcome.COMPLETED
        },
        statuses=_statuses(rows, completed),
        status_matches=int((completed & (rows.status == rows.recorded_status)).sum()),
        status_mismatches=int(((rows.recorded_status != 0) & (rows.status != rows.recorded_status)).sum()),
        send_lag=quantiles(lag_ns(rows)),
        service=quantiles(service_ns(rows)),
        response=quantiles(response_ns(rows)),
        offered_rps=_rate(rows.due_ns),
        achieved_rps=_rate(sent_ns),
        duration_ns=max(0, last_ns - int(rows.due_ns[0])) if len(rows) else 0,
        shape=shape_of(rows),
        endpoint_count=len(np.unique(rows.endpoint)),
        endpoints=tuple(_endpoint_lines(run)),
    )


def as_json(
    run: Run, summary: Summary, spare_connections: int, http_versions: Mapping[str, int]
) -> dict[str, Any]:
    """The summary as the command line's JSON has it: every number is a number."""
    return {
        "run_id": run.header.run_id,
        "capture_id": run.header.capture_id,
        "target": run.header.target,
        "speed": run.header.speed,
        "load": run.header.load,
        "sent": summary.sent,
        "completed": summary.completed,
        "failed": summary.failed,
        "dropped": summary.dropped,
        "outcomes": summary.outcomes,
        "statuses": summary.statuses,
        "status_matches": summary.status_matches,
        "status_mismatches": summary.status_mismatches,
        "valid": run.valid,
        "invalid_reasons": list(run.header.invalid_reasons),
        "interrupted": run.header.interrupted,
        "send_lag_ns": summary.send_lag.numbers(),
        "service_time_ns": summary.service.numbers(),
        "response_time_ns": summary.response.numbers(),
        "offered_rps": summary.offered_rps,
        "achieved_rps": summary.achieved_rps,
        "duration_ns": summary.duration_ns,
        "spare_connections": spare_connections,
        "http_versions": dict(http_versions),
        "fidelity": _fidelity(run, summary),
        "streams": streams_json(summarise_streams(run)),
        "chains": None if run.header.chains is None else asdict(run.header.chains),
        "anonymized": provenance_map(run.header.anonymized),
        "capture_problems": list(run.header.capture_problems),
        "kept": None if run.header.kept is None else asdict(run.header.kept),
        "host": None if run.header.host is None else asdict(run.header.host),
        "tool": run.header.tool,
        "notes": list(run.header.notes),
    }


def _fidelity(run: Run, summary: Summary) -> dict[str, Any]:
    """How well the schedule was kept, and at what cost; a number that could not be computed is null."""
    shape, rows = summary.shape, run.rows
    second, error = worst_second(rows, lag_p99_limit_ns(rows, run.header.limits))
    return {
        "early_sends": int((lag_ns(rows) < 0).sum()),
        "drift_ppm": shape.drift_ppm,
        "drift_interval_ppm": [shape.drift_low_ppm, shape.drift_high_ppm],
        "worst_second": second,
        "worst_second_rate_error": error,
        "gap_ks": shape.gap_ks,
        "gap_w1_ns": shape.gap_w1_ns,
        "dispersion_ratios": {str(window_ns): ratio for window_ns, ratio in shape.dispersion.items()},
        "inversions": shape.inversions,
        "generator": None if run.header.generator is None else asdict(run.header.generator),
    }


def as_text(run: Run, summary: Summary) -> str:
    """The summary for people; a quantile with too few samples beyond it is printed as ``-``."""
    parts = [
        f"Replayed against {run.header.target} "
        f"in {format_duration(summary.duration_ns)} ({clean(run.header.load)}): "
        f"{summary.offered_rps:.1f} requests/s offered, {summary.achieved_rps:.1f} achieved.",
        f"{summary.sent} sent, {summary.completed} completed, {summary.failed} failed, "
        f"{summary.dropped} dropped; {summary.status_matches} answered with the recorded status.",
    ]
    if summary.outcomes:
        parts.append("Not completed: " + _listed(summary.outcomes) + ".")
    levels = ["p50", "p90", "p99", "p999", "max"]
    times = [
        ["send lag", *_cells(summary.send_lag, levels)],
        ["service time", *_cells(summary.service, levels)],
        ["response time", *_cells(summary.response, levels)],
    ]
    parts += ["", tabulate(times, headers=["", "p50", "p90", "p99", "p99.9", "max"], disable_numparse=True)]
    lines = [
        [
            clean(line.endpoint),
            line.exchanges,
            line.failed,
            _listed(line.statuses),
            *_cells(line.response, ["p50", "p90", "p99", "max"]),
        ]
        for line in summary.endpoints
    ]
    headers = ["endpoint", "exchanges", "failed", "statuses", "p50", "p90", "p99", "max"]
    parts += ["", tabulate(lines, headers=headers, disable_numparse=True)]
    if summary.endpoint_count > len(summary.endpoints):
        more = counted(summary.endpoint_count - len(summary.endpoints), "endpoint")
        parts.append(f"... and {more} with fewer exchanges.")
    parts.append("")
    parts += streams_text(summarise_streams(run))
    parts += [f"Note: {clean(note)}" for note in run.header.notes]
    parts.append(_fidelity_line(run, summary))
    parts.append("VALID: the schedule was kept." if run.valid else "INVALID: this run proves nothing.")
    parts += [f"  {clean(reason)}" for reason in run.header.invalid_reasons]
    if not run.valid:
        parts += [f"  {sentence}" for sentence in few_sends(summary.sent)]
    return "\n".join(parts)


def few_sends(sent: int) -> tuple[str, ...]:
    """What an invalid run of so few sends must be read with: where a p99 says nothing, one send decides."""
    if not 0 < sent < _SENDS_FOR_P99:
        return ()
    return (
        f"Of {counted(sent, 'send')} the p99 is the longest lag, so a single late one decides; "
        "replay more exchanges, or permit more with --lag-p99.",
    )


def _fidelity_line(run: Run, summary: Summary) -> str:
    shape, facts = summary.shape, run.header.generator
    words = []
    if shape.drift_ppm is not None and shape.drift_low_ppm is not None and shape.drift_high_ppm is not None:
        words.append(
            f"drift {shape.drift_ppm:+.1f} ppm ({shape.drift_low_ppm:+.1f} to {shape.drift_high_ppm:+.1f})"
        )
    words.append(f"gaps off by {format_duration(shape.gap_w1_ns)} on average (KS {shape.gap_ks:.3f})")
    if shape.inversions:
        words.append(f"{shape.inversions} sends out of their connection's order")
    if facts is not None:
        share = facts.cpu_ns / facts.wall_ns if facts.wall_ns else 0.0
        words.append(f"{share:.0%} of a processor")
        if facts.stalls:
            words.append(f"{facts.stalls} stalls up to {format_duration(facts.longest_stall_ns)}")
        if facts.steal_ns:
            words.append(f"{format_duration(facts.steal_ns)} stolen by the host")
    return f"Fidelity: {', '.join(words)}."


def _endpoint_lines(run: Run) -> Iterable[EndpointLine]:
    rows = run.rows
    counts = np.bincount(rows.endpoint, minlength=len(run.header.endpoints))
    response = rows.done_ns - rows.due_ns
    for number in np.argsort(-counts, kind="stable")[:_MOST_ENDPOINTS].tolist():
        if not counts[number]:
            break
        here = rows.endpoint == number
        completed = here & (rows.outcome == Outcome.COMPLETED)
        yield EndpointLine(
            endpoint=run.header.endpoints[number],
            exchanges=int(counts[number]),
            failed=int((here & ~completed & (rows.outcome != Outcome.DROPPED)).sum()),
            statuses=_statuses(rows, completed),
            response=quantiles(response[completed]),
        )


def _statuses(rows: RunRows, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, int]:
    statuses, counts = np.unique(rows.status[chosen], return_counts=True)
    return {str(status): count for status, count in zip(statuses.tolist(), counts.tolist(), strict=True)}


def _rate(times_ns: np.ndarray[Any, np.dtype[np.int64]]) -> float:
    span_ns = int(np.max(times_ns) - np.min(times_ns)) if len(times_ns) else 0
    return (len(times_ns) - 1) * NS_PER_S / span_ns if span_ns > 0 else 0.0


def _cells(found: Quantiles, levels: list[str]) -> list[str]:
    numbers = found.numbers()
    return [format_duration(numbers[level]) if found.sound(level) else "-" for level in levels]


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} x {count}" for name, count in counts.items())
