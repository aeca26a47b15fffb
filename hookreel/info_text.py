"""The account of a capture as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tabulate import tabulate

from captures.model import CaptureHeader, RecorderFacts
from captures.provenance import provenance_sentence
from captures.text import clean, counted
from captures.units import NS_PER_S, format_duration, format_size
from hookreel.account import CaptureAccount, StreamAccount
from hookreel.picture import Canvas, picture_of
from hookreel.show import source_problem_lines


def info_text(capture: Path, account: CaptureAccount, canvas: Canvas) -> str:
    """What is in the capture, what is missing, and a picture of its traffic."""
    lines = [
        headline(capture, account),
        origin(account.header),
        *([f"encrypted to {', '.join(map(clean, account.recipients))}"] if account.recipients else []),
        f"account: {counters_sentence(account)}",
        *(f"{name}: {said}" for name, said in missing_lines(account)),
        *connection_lines(account),
        "complete" if account.complete else "NOT COMPLETE",
        *(f"  {clean(problem)}" for problem in account.problems),
        *source_problem_lines(account.header.source_problems),
    ]
    picture = picture_of(account.traffic, canvas)
    if picture:
        lines += ["", *picture]
    if account.endpoints:
        lines += ["", _endpoint_table(account)]
    if account.credentials:
        lines += ["", tabulate(list(account.credentials.items()), headers=("credential", "requests"))]
    if account.signing:
        rows = [(clean(name), count) for name, count in account.signing.items()]
        lines += ["", tabulate(rows, headers=("signed endpoint and scheme", "requests"))]
    return "\n".join(lines)


def headline(capture: Path, account: CaptureAccount) -> str:
    """Size and rate in one line."""
    seconds = account.duration_ns / NS_PER_S
    rate = f", {account.exchanges / seconds:.1f} a second" if seconds > 0 else ""
    exchanges, connections = (
        counted(account.exchanges, "exchange"),
        counted(account.connections, "connection"),
    )
    return (
        f"{capture}: {exchanges} in {format_duration(account.duration_ns)}{rate}, "
        f"{connections}, {format_size(account.file_bytes)}"
    )


def origin(header: CaptureHeader) -> str:
    """When, from where and by what; and how it was anonymized."""
    made = f"recorded {started_utc(header)} from {clean(header.source)} by {clean(header.tool)}"
    if header.anonymized is None:
        return made
    return f"{made}\n{clean(provenance_sentence(header.anonymized))}"


def started_utc(header: CaptureHeader) -> str:
    """The capture's start in ISO 8601, or words when the file holds no possible time."""
    try:
        return datetime.fromtimestamp(header.started_wall_ns / NS_PER_S, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"


def counters_sentence(account: CaptureAccount) -> str:
    """Every counter with its name; of a file without an account, that it has none."""
    if account.counters is None:
        return "unknown, the file has none"
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in asdict(account.counters).items())


def missing_lines(account: CaptureAccount) -> Iterator[tuple[str, str]]:
    """Failures by reason, and bodies that are not whole by why: a name and what there is to say."""
    if account.failures:
        by_reason = ", ".join(f"{count} {reason}" for reason, count in account.failures.items())
        yield (
            "failures",
            f"{counted(sum(account.failures.values()), 'exchange')} without a whole response: {by_reason}",
        )
    cut = account.cut_bodies
    said = []
    if cut.kept_in_part:
        said.append(f"{counted(cut.kept_in_part, 'exchange')} with a body of which only a part was kept")
    if cut.broken_off:
        said.append(f"{counted(cut.broken_off, 'failed exchange')} with a request that broke off")
    if said:
        yield "bodies", ", ".join(said)


def connection_lines(account: CaptureAccount) -> list[str]:
    """What clients spoke, how they shared connections, and their streams."""
    lines = []
    if account.protocols:
        spoken = ", ".join(f"{count} {clean(name)}" for name, count in account.protocols.items())
        most = account.busiest[0].exchanges
        lines.append(f"connections: {spoken}; at most {counted(most, 'exchange')} on one")
    if account.streams != StreamAccount():
        lines.append(f"streams: {streams_sentence(account.streams)}")
    return lines + [f"{name}: {said}" for name, said in recorder_lines(account.facts)]


def recorder_lines(facts: RecorderFacts | None) -> Iterator[tuple[str, str]]:
    """What the recorder told of TLS and of itself: a name and what there is to say."""
    if facts is None:
        return
    for name, counts in (("TLS with clients", facts.client_tls), ("TLS with upstreams", facts.server_tls)):
        if counts:
            yield name, ", ".join(f"{count} {clean(agreed)}" for agreed, count in counts.items())
    if facts.added_ns:
        times = (f"{name} {format_duration(value)}" for name, value in facts.added_ns.items())
        yield "the proxy's own time per exchange", ", ".join(times)


def streams_sentence(streams: StreamAccount) -> str:
    """How many streams there were and what passed on them."""
    still_open = f", {streams.open} still open at the end" if streams.open else ""
    return (
        f"{streams.websockets} WebSocket, {streams.event_streams} SSE{still_open}; "
        f"{counted(streams.messages, 'message')} ({streams.from_client} from clients), "
        f"{format_size(streams.message_bytes)}"
    )


def statuses_text(statuses: dict[int, int]) -> str:
    """Counts by status in ascending order, failures first."""
    return " ".join(f"{status or 'failed'}:{count}" for status, count in sorted(statuses.items()))


def _endpoint_table(account: CaptureAccount) -> str:
    rows = [
        (
            clean(endpoint.endpoint),
            endpoint.exchanges,
            statuses_text(endpoint.statuses),
            *(
                format_duration(endpoint.service_time_ns[name]) if endpoint.service_time_ns else "-"
                for name in ("p50", "p99")
            ),
            format_size(endpoint.request_bytes),
            format_size(endpoint.response_bytes),
        )
        for endpoint in account.endpoints
    ]
    headers = ("endpoint", "exchanges", "statuses", "p50", "p99", "sent", "received")
    right = ("left", "right", "left", *["right"] * 4)
    return tabulate(rows, headers=headers, disable_numparse=True, colalign=right)
