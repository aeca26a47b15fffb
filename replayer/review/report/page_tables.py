"""The tables of the page; whatever came from traffic or a file name is escaped here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from captures.text import clean, counted
from captures.units import NS_PER_S
from replayer.results import RunHeader
from replayer.review.answers import AnswerChange, EndpointAnswers
from replayer.review.report import wording
from replayer.review.report.charts import STYLES
from replayer.review.report.html_text import escaped, isolated
from replayer.review.report.material import Material
from replayer.review.sides import NamedRun
from replayer.review.slo import Proof
from replayer.review.verdict import QUANTILES, Comparison, EndpointResult, Options, StatusMix

LONGEST_NOTE = 1_000  # of one sentence, or of a list of names
_LONGEST_LINE = 2_000
_MOST_RUNS = 40
_PROOFS = {Proof.MET: "good", Proof.NOT_PROVEN: "calm", Proof.MISSED: "bad"}
_STATES = {"INVALID": "bad", "SATURATED": "bad", "valid": "good"}
_MOST_LINES = 40
_MOST_MASKED = 10


def listed(lines: Sequence[str], most: int = _MOST_LINES) -> str:
    """A list of sentences."""
    more = len(lines) - most
    shown = [*lines[:most], *([f"and {more:,} more"] if more > 0 else [])]
    return f"<ul>{''.join(f'<li>{isolated(line, _LONGEST_LINE)}</li>' for line in shown)}</ul>"


def figure(title: str, keys: str, chart: str) -> str:
    """A chart, which is HTML already, under its title; it scrolls sideways where it does not fit."""
    return (
        f"<figure><figcaption><span>{isolated(title)}</span>{keys}</figcaption>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(title)}">{chart}</div></figure>'
    )


def validity(material: Material) -> str:
    """Every run with whether it may be believed, and what a reader must know about them."""
    comparison = material.comparison
    sides = (("baseline", comparison.baseline), ("candidate", comparison.candidate))
    rows = [
        f'<tr><td>{side}</td><th scope="row" class="name">{isolated(run.name)}</th>'
        f"<td>{_badge(_STATES[wording.run_state(run)], wording.run_state(run))}</td>"
        f"{_numbers(f'{run.requests:,}', f'{run.failed:,}', f'{run.dropped:,}')}"
        f'<td class="w">{escaped(run.speed)}</td><td class="name">{isolated(run.target)}</td></tr>'
        for side, runs in sides
        for run in runs[:_MOST_RUNS]
    ]
    head = ("side", "run", "state", "exchanges", "failed", "dropped", "speed", "target")
    lines = [*wording.refusals(comparison), *comparison.warnings]
    lines += sorted({note for _, runs in sides for run in runs for note in run.notes})
    more = sum(max(0, len(runs) - _MOST_RUNS) for _, runs in sides)
    lines += [f"{counted(more, 'more run')} {'is' if more == 1 else 'are'} not listed."] if more else []
    table = _table("Runs", head, {"exchanges", "failed", "dropped"}, rows)
    good = {wording.run_state(run) for _, runs in sides for run in runs} == {"valid"}
    opened = "" if good else " open"
    shown = f'<details aria-label="Each run"{opened}><summary>Each run</summary>{table}</details>'
    return f"<p>{escape(wording.runs_line(comparison))}</p>{listed(lines) if lines else ''}{shown}"


def objectives(comparison: Comparison) -> str:
    """A line for each objective, with its proof as a badge; empty without objectives."""
    lines = "".join(
        f"<li>{_badge(_PROOFS[result.proof], str(result.proof))} "
        f"{escape(clean(line.removeprefix(f'{result.proof}: ')))}</li>"
        for result, line in zip(comparison.objectives, wording.objective_lines(comparison), strict=True)
    )
    return f'<ul class="plain">{lines}</ul>' if lines else ""


def endpoints_table(comparison: Comparison, most_bytes: int) -> str:
    """A row for each endpoint, worst first, as many as fit."""
    judged = {result.quantile for endpoint in comparison.endpoints for result in endpoint.quantiles}
    quantiles = [quantile for quantile in QUANTILES if quantile in judged]
    rows = [_endpoint_row(endpoint, comparison.options, quantiles) for endpoint in comparison.endpoints]
    numbers = ["requests", *map(wording.quantile_name, quantiles), "change", "95 % CI", "would see"]
    head = ["verdict", "endpoint", *numbers]
    return _within("Endpoints, worst first", head, set(numbers), rows, most_bytes) if rows else ""


def _endpoint_row(endpoint: EndpointResult, options: Options, quantiles: Sequence[float]) -> str:
    notes = "".join(
        f'<span class="note">{isolated(note, LONGEST_NOTE)}</span>' for note in wording.notes_of(endpoint)[:6]
    )
    numbers = (
        wording.requests_cell(endpoint),
        *(wording.quantile_cell(endpoint, quantile) for quantile in quantiles),
        *wording.change_cells(endpoint),
    )
    badge = _badge(STYLES[endpoint.verdict], wording.verdict_cell(endpoint, options))
    name = f'<th scope="row" class="name">{isolated(endpoint.endpoint)}{notes}</th>'
    return f"<tr><td>{badge}</td>{name}{_numbers(*numbers)}</tr>"


def errors_table(comparison: Comparison, most_bytes: int) -> str:
    """How often each endpoint answered what, where it is more than one thing."""
    rows = [
        f'<tr><th scope="row" class="name">{isolated(endpoint.endpoint)}</th>'
        f'<td class="name">{isolated(name)}</td>'
        f"{_numbers(*(f'{count:,} ({wording.share(part)})' for count, part in shares))}"
        f"<td>{_badge('bad', 'changed') if name in endpoint.statuses.changed else ''}</td></tr>"
        for endpoint in comparison.endpoints
        for name, shares in _mix_rows(endpoint.statuses)
    ]
    if not rows:
        return ""
    head = ("endpoint", "status or failure", "baseline", "candidate", "")
    return _within("Statuses and failures", head, {"baseline", "candidate"}, rows, most_bytes)


def _mix_rows(mix: StatusMix) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    names = sorted(mix.baseline.keys() | mix.candidate.keys())
    if len(names) < 2 and all(name.startswith("2") for name in names):
        return  # one good status on both sides is no news
    for name in names:
        counts = [(side.get(name, 0), max(1, sum(side.values()))) for side in (mix.baseline, mix.candidate)]
        yield name, [(count, count / total) for count, total in counts]


def answers_section(comparison: Comparison, most_bytes: int) -> str:
    """What changed in the answers to the same requests, with examples; after it what was not compared."""
    found = [(one.endpoint, one.answers) for one in comparison.endpoints if one.answers is not None]
    changed = [_changed(label, answers) for label, answers in found if answers.changes]
    masked = [_masked(label, answers) for label, answers in found if answers.masked]
    parts: list[str] = []
    left = most_bytes
    for part in (*changed, *masked):
        left -= len(part.encode())
        if left < 0:
            parts.append('<p class="soft">The JSON report has the rest.</p>')
            break
        parts.append(part)
    return "".join(parts)


def _changed(label: str, answers: EndpointAnswers) -> str:
    head = ("where", "what", "requests", "example: baseline", "example: candidate")
    table = _table(
        f"Changed answers of {escaped(label)}", head, {"requests"}, map(_change_row, answers.changes)
    )
    return f"<h3>{isolated(label)}</h3>{table}{_not_listed(answers)}"


def _masked(label: str, answers: EndpointAnswers) -> str:
    lines = [f"{wording.place_of(place.part, place.path)}: {place.reason}" for place in answers.masked]
    title = f"{counted(len(lines), 'place')} not compared"
    more = "" if answers.changes else _not_listed(answers)
    inside = f"<summary>{isolated(label)}: {title}</summary>{listed(lines, _MOST_MASKED)}{more}"
    return f'<details aria-label="{escaped(label)}: {title}">{inside}</details>'


def _not_listed(answers: EndpointAnswers) -> str:
    if not answers.left_out:
        return ""
    return f'<p class="soft">{counted(answers.left_out, "more place")} not listed.</p>'


def _change_row(change: AnswerChange) -> str:
    sure = _badge("bad", str(change.change)) if change.sure else _badge("calm", f"{change.change}, not sure")
    texts = [[], []] if not change.examples else [
        [f'<span class="value">{isolated(text)}</span>' for text in side]
        for side in zip(*((one.before, one.after) for one in change.examples), strict=True)
    ]  # fmt: skip
    examples = "".join(f"<td>{'<br>'.join(side)}</td>" for side in texts)
    place = isolated(wording.place_of(change.part, change.path))
    count = f'<td class="n">{change.changed:,} of {change.compared:,}</td>'
    return f'<tr><th scope="row" class="name">{place}</th><td>{sure}</td>{count}{examples}</tr>'


def provenance(material: Material) -> str:
    """Where the runs came from, and the command that makes this page again."""
    rows = [
        f'<tr><td>{side}</td><th scope="row" class="name">{isolated(named.name)}</th>'
        f'<td class="w">{_started(named)}</td><td class="name">{isolated(named.run.header.run_id)}</td>'
        f'<td class="name">{isolated(named.run.header.load)}</td>'
        f'<td class="w">{escaped(named.run.header.tool)}</td></tr>'
        for side, runs in (("baseline", material.baseline), ("candidate", material.candidate))
        for named in runs[:_MOST_RUNS]
    ]
    headers = [named.run.header for named in (*material.baseline, *material.candidate)]
    facts = "".join(
        f"<dt>{name}</dt><dd><code>{escaped(', '.join(sorted(values)), LONGEST_NOTE)}</code></dd>"
        for name, values in (
            ("capture", {header.capture_id for header in headers}),
            ("schedule", {header.schedule_hash for header in headers}),
            ("machine", {_machine(header) for header in headers}),
        )
    )
    head = ("side", "run", "started (UTC)", "run id", "offered", "replayed by")
    command = escape(clean(material.command[:8_000]))
    return (
        f"<dl>{facts}</dl>{_table('Where the runs came from', head, set(), rows)}"
        f"<h3>The command that makes this page</h3><pre><code>{command}</code></pre>"
    )


def _machine(header: RunHeader) -> str:
    host = header.host
    if host is None:
        return "not said"
    return f"{host.cpu_model} x {host.cores}; {host.kernel}; Python {host.python}"


def _started(named: NamedRun) -> str:
    try:
        at = dt.datetime.fromtimestamp(named.run.header.started_wall_ns / NS_PER_S, dt.UTC)
    except (OverflowError, ValueError, OSError):  # a damaged clock must not cost the report
        return "-"
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _numbers(*texts: str) -> str:
    return "".join(f'<td class="n">{escape(text)}</td>' for text in texts)


def _badge(style: str, text: str) -> str:
    return f'<span class="badge {style}">{escape(text)}</span>'


def _table(caption: str, head: Sequence[str], right: set[str], rows: Iterable[str]) -> str:
    names = "".join(
        f'<th scope="col" class="{"n" if name in right else "w"}">{name}</th>' if name else "<td></td>"
        for name in head
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table>'
        f"<thead><tr>{names}</tr></thead>\n<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _within(caption: str, head: Sequence[str], right: set[str], rows: Sequence[str], most_bytes: int) -> str:
    """A table of as many rows as fit, with a word about the others."""
    left, shown = most_bytes - 1_000, 0
    for row in rows:
        left -= len(row.encode())
        if left < 0:
            break
        shown += 1
    more = len(rows) - shown
    said = f'<p class="soft">{more:,} more rows; the JSON report has them all.</p>' if more else ""
    return _table(caption, head, right, rows[:shown]) + said
