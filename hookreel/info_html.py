"""The account of a capture as one page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from captures.keys import create_private_file
from captures.provenance import provenance_sentence
from captures.text import clean, counted
from captures.units import NS_PER_S, format_duration, format_size
from hookreel.account import CaptureAccount, EndpointAccount, StreamAccount
from hookreel.info_svg import Plot, Series, share_bar
from hookreel.info_text import counters_sentence, missing_lines, recorder_lines, started_utc, streams_sentence
from hookreel.timeline import Timeline, format_span

COLUMNS = 160
MOST_ENDPOINTS = 300
_RIGHT = ' class="n"'
_STYLE_OF_COUNTER = {
    "written": "ok",
    "sampled_out": "calm",
    "dropped": "failed",
    "in_flight": "refused",
}


def write_page(path: Path, name: str, account: CaptureAccount) -> None:
    """
    Write the page of the capture called ``name`` to a new file with mode 0600.

    Raises:
        UsageError: the file exists or its folder does not.
        WriteError: it cannot be written.

    """
    text = page_of(name, account)
    with os.fdopen(create_private_file(path), "w", encoding="utf-8") as file:
        file.write(text)


def page_of(name: str, account: CaptureAccount) -> str:
    """The whole page."""
    style = (files("hookreel") / "info.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    # The style sheet is named by its hash, so nothing that traffic could smuggle in would run or load.
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = "\n".join(part for part in _body(name, account) if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(name)} · hookreel</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _text(value: object) -> str:
    return escape(clean(str(value)))


def _body(name: str, account: CaptureAccount) -> Iterator[str]:
    yield from _head(name, account)
    yield _tiles(account)
    yield _section("Account", _account(account))
    for title, problems in (
        ("What is missing", account.problems),
        ("What was missing in the captures it was made from", account.header.source_problems),
    ):
        if problems:
            items = "".join(f"<li>{_text(problem)}</li>" for problem in problems)
            yield _section(title, f"<ul>{items}</ul>")
    if account.exchanges:
        yield _section("Traffic over time", _charts(account), long=True)
        yield _section("Endpoints", _endpoints(account.endpoints), long=True)
        yield _section("Connections", _connections(account), long=True)
    tables = [
        _section(title, _table(names, ((key, count) for key, count in counts.items())))
        for title, names, counts in (
            ("Failures", ("why no whole response came", "exchanges"), account.failures),
            ("Credentials", ("fingerprint", "requests"), account.credentials),
            ("Signed webhooks", ("endpoint and scheme", "requests"), account.signing),
        )
        if counts
    ]
    if tables:
        yield f'<div class="pair">{"".join(tables)}</div>'
    yield _section("Capture", _origin(account))


def _head(name: str, account: CaptureAccount) -> Iterator[str]:
    header = account.header
    yield f"<h1>{_text(name)}</h1>"
    yield f'<p class="soft">Started {_text(started_utc(header))} · {_text(header.source)}</p>'
    lost = 0 if account.counters is None else account.counters.dropped
    badges = [("good", "complete") if account.complete else ("bad", "NOT COMPLETE")]
    badges += [("bad", f"{counted(lost, 'exchange', grouped=True)} lost")] if lost else []
    badges += [
        ("good", "anonymized")
        if header.anonymized is not None
        else ("", "not anonymized: may hold secrets and personal data")
    ]
    badges += [("good", "encrypted")] if account.recipients else []
    yield "<p>" + "".join(f'<span class="badge {kind}">{text}</span>' for kind, text in badges) + "</p>"


def _tiles(account: CaptureAccount) -> str:
    status = account.traffic.status
    bad = int(((status >= 500) | (status == 0)).sum())
    seconds = account.duration_ns / NS_PER_S
    times_ns = account.service_time_ns
    tiles = [
        _number_and_noun(account.exchanges, "exchange"),
        (format_span(account.duration_ns), "first request to last completion"),
        (f"{account.exchanges / seconds:,.1f}" if seconds else "-", "exchanges a second"),
        (f"{bad / account.exchanges:.2%}" if account.exchanges else "-", f"failed or 5xx ({bad:,})"),
        *((format_duration(times_ns[at]), f"service time {at}") for at in ("p50", "p99") if times_ns),
        _number_and_noun(account.connections, "client connection"),
        (format_size(account.file_bytes), "file"),
    ]
    cells = "".join(f'<div class="tile"><b>{value}</b><span>{label}</span></div>' for value, label in tiles)
    return f'<div class="tiles">{cells}</div>'


def _number_and_noun(number: int, noun: str) -> tuple[str, str]:
    digits, _, rest = counted(number, noun, grouped=True).partition(" ")
    return digits, rest


def _section(title: str, inside: str, *, long: bool = False) -> str:
    kind = ' class="long"' if long else ""
    return f"<section{kind}>\n<h2>{title}</h2>\n{inside}\n</section>"


def _account(account: CaptureAccount) -> str:
    facts = "".join(f"<p>{_text(f'{name}: {said}')}</p>" for name, said in missing_lines(account))
    if account.counters is None:
        return f"<p>{counters_sentence(account)}</p>\n{facts}"
    counters = asdict(account.counters)
    parts = [(style, counters[name]) for name, style in _STYLE_OF_COUNTER.items()]
    keys = "".join(
        f'<span class="key {style}"><b>{counters[name]:,}</b> {name.replace("_", " ")}</span>'
        for name, style in _STYLE_OF_COUNTER.items()
    )
    return (
        f"<p>Seen: {counted(counters['seen'], 'exchange', grouped=True)}.</p>\n{facts}"
        f'{share_bar(parts)}\n<div class="account">{keys}</div>'
    )


def _charts(account: CaptureAccount) -> str:
    timeline = account.traffic.timeline(COLUMNS)
    figures = [_exchange_chart(timeline)]
    if not np.isnan(timeline.p99_ns).all():
        figures.append(_time_chart(timeline))
    if timeline.messages.any():
        rates = timeline.a_second(timeline.messages)
        plot = Plot(
            timeline=timeline,
            series=(Series(name="messages a second", style="calm", values=rates),),
            number=_rate,
            summary=f"{np.sum(timeline.messages)} stream messages, at most {_rate(np.max(rates))} a second.",
            height=90,
        )
        figures.append(_figure("WebSocket messages and SSE events a second", "", plot.stacked_bars()))
    return "\n".join(figures)


def _exchange_chart(timeline: Timeline) -> str:
    fine = timeline.exchanges - timeline.refused - timeline.failed
    parts = (
        ("ok", "below 400", fine),
        ("refused", "400 to 499", timeline.refused),
        ("failed", "500 and above, or no response", timeline.failed),
    )
    shown = [part for part in parts if part[2].any()]
    rates = timeline.a_second(timeline.exchanges)
    plot = Plot(
        timeline=timeline,
        series=[
            Series(name=name, style=style, values=timeline.a_second(counts)) for style, name, counts in shown
        ],
        number=_rate,
        summary=(
            f"Between {_rate(np.min(rates))} and {_rate(np.max(rates))} exchanges a second "
            f"over {format_span(timeline.span_ns)}; {int(timeline.failed.sum())} failed."
        ),
    )
    keys = "".join(f'<span class="key {style}">{name}</span>' for style, name, _ in shown)
    unit = f'<span class="unit">a column is {format_span(timeline.step_ns)}</span>'
    return _figure("Exchanges a second", keys + unit, plot.stacked_bars())


def _time_chart(timeline: Timeline) -> str:
    highest = format_span(round(np.nanmax(timeline.p99_ns)))
    plot = Plot(
        timeline=timeline,
        series=(
            Series(name="p50", style="p50", values=timeline.p50_ns),
            Series(name="p99", style="p99", values=timeline.p99_ns),
        ),
        number=lambda value: format_span(round(value)) if value else "0",
        summary=f"Service time of each column; its p99 is at most {highest}.",
        height=130,
    )
    keys = '<span class="key p50">p50</span><span class="key p99">p99</span>'
    return _figure("Service time", keys, plot.lines())


def _figure(title: str, keys: str, chart: str) -> str:
    return f'<figure><figcaption>{title}{keys}</figcaption><div class="scroll">{chart}</div></figure>'


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _endpoints(endpoints: Sequence[EndpointAccount]) -> str:
    most = max(endpoint.exchanges for endpoint in endpoints)
    names = ("endpoint", "exchanges", "statuses", "p50", "p90", "p99", "max", "sent", "received")
    rows = []
    for endpoint in endpoints[:MOST_ENDPOINTS]:
        bar = share_bar((("ok", endpoint.exchanges), ("", most - endpoint.exchanges)))
        times = [
            format_duration(endpoint.service_time_ns[at]) if endpoint.service_time_ns else "-"
            for at in ("p50", "p90", "p99", "max")
        ]
        sizes = format_size(endpoint.request_bytes), format_size(endpoint.response_bytes)
        cells = "".join(f'<td class="n">{cell}</td>' for cell in (*times, *sizes))
        rows.append(
            f'<tr><td class="name">{_text(endpoint.endpoint)}</td>'
            f'<td class="n">{endpoint.exchanges:,}{bar}</td>'
            f"<td>{_statuses(endpoint.statuses)}</td>{cells}</tr>"
        )
    head = "".join(f"<th{'' if name in {'endpoint', 'statuses'} else _RIGHT}>{name}</th>" for name in names)
    left_out = len(endpoints) - MOST_ENDPOINTS
    note = (
        f'<p class="soft">{left_out:,} more are in <code>hookreel info --json</code>.</p>'
        if left_out > 0
        else ""
    )
    return _table_of(head, "".join(rows)) + note


def _statuses(statuses: dict[int, int]) -> str:
    return " ".join(
        f'<span class="status {_style_of(status)}">{status or "failed"}&nbsp;{count:,}</span>'
        for status, count in sorted(statuses.items(), key=lambda item: item[0] or 1000)
    )


def _style_of(status: int) -> str:
    return "failed" if not status or status >= 500 else "refused" if status >= 400 else "ok"


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The first column holds names, the others numbers."""
    head = "".join(f"<th{_RIGHT if at else ''}>{name}</th>" for at, name in enumerate(names))
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="n">{cell if isinstance(cell, str) else f"{cell:,}"}</td>'
            if at
            else f'<td class="name">{_text(cell)}</td>'
            for at, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return _table_of(head, body)


def _table_of(head: str, body: str) -> str:
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _connections(account: CaptureAccount) -> str:
    facts = "".join(
        f"<dt>{_text(protocol)}</dt><dd>{counted(count, 'connection', grouped=True)}</dd>"
        for protocol, count in account.protocols.items()
    )
    if account.streams != StreamAccount():
        facts += f"<dt>streams</dt><dd>{_text(streams_sentence(account.streams))}</dd>"
    for name, said in recorder_lines(account.facts):
        facts += f"<dt>{name}</dt><dd>{_text(said)}</dd>"
    start_ns = int(account.traffic.offset_ns[0])
    rows = (
        (
            f"{connection.connection}: {connection.protocol}",
            connection.exchanges,
            connection.streams,
            format_span(max(0, connection.first_ns - start_ns)),
            format_span(max(0, connection.last_ns - connection.first_ns)),
        )
        for connection in account.busiest
    )
    names = ("busiest connections", "exchanges", "streams", "first seen at", "used for")
    return f"<dl>{facts}</dl>{_table(names, rows)}"


def _origin(account: CaptureAccount) -> str:
    header = account.header
    facts = [("capture id", header.capture_id), ("written by", header.tool), ("source", header.source)]
    if account.recipients:
        facts.append(("encrypted to", ", ".join(account.recipients)))
    if header.lineage:
        facts.append(("made from", ", ".join(header.lineage)))
    if header.anonymized is not None:
        facts.append(("provenance", provenance_sentence(header.anonymized)))
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in facts) + "</dl>"
