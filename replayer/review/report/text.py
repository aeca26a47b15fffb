"""The review for a terminal: the verdict line first, then why it may be believed."""

from __future__ import annotations

from textwrap import fill

from tabulate import tabulate

from captures.text import clean
from replayer.review.report import wording
from replayer.review.report.headline import headline
from replayer.review.verdict import Comparison, EndpointResult

_WIDTH = 110
_HEADERS = (
    "verdict",
    "endpoint",
    "requests",
    "p50",
    "p95",
    "p99",
    "change",
    "95 % CI",
    "would see",
)


def render(comparison: Comparison) -> str:
    """The whole report, lines of text that end with a newline."""
    parts = [headline(comparison), _validity(comparison)]
    if comparison.endpoints:
        parts.append(_table(comparison))
        parts += _section("Notes", _notes(comparison.endpoints))
    parts += _section("Objectives", wording.objective_lines(comparison))
    parts += _section("How sure", wording.how_sure(comparison))
    parts += _section("What next", wording.what_next(comparison))
    return "\n\n".join(parts) + "\n"


def _validity(comparison: Comparison) -> str:
    lines = [f"baseline   {wording.run_line(run)}" for run in comparison.baseline]
    lines += [f"candidate  {wording.run_line(run)}" for run in comparison.candidate]
    lines += [f"warning    {clean(text)}" for text in comparison.warnings]
    notes = {clean(note) for run in (*comparison.baseline, *comparison.candidate) for note in run.notes}
    lines += [f"note       {note}" for note in sorted(notes)]
    return "\n".join(("Validity", *(f"  {line}" for line in lines)))


def _table(comparison: Comparison) -> str:
    rows = [
        (
            wording.verdict_cell(endpoint, comparison.options),
            _name(endpoint),
            wording.requests_cell(endpoint),
            *(wording.quantile_cell(endpoint, quantile) for quantile in (0.5, 0.95, 0.99)),
            *wording.change_cells(endpoint),
        )
        for endpoint in comparison.endpoints
    ]
    used = [at for at in range(len(_HEADERS)) if any(row[at] != "-" for row in rows)]
    return tabulate(
        [[row[at] for at in used] for row in rows],
        headers=[_HEADERS[at] for at in used],
        disable_numparse=True,
    )


def _name(endpoint: EndpointResult) -> str:
    """A label of at most 80 characters, so that the table keeps its shape."""
    return wording.shortened(clean(endpoint.endpoint), 80)


def _notes(endpoints: tuple[EndpointResult, ...]) -> list[str]:
    return [
        f"{_name(endpoint)}: {clean(note)}" for endpoint in endpoints for note in wording.notes_of(endpoint)
    ]


def _section(title: str, lines: list[str]) -> list[str]:
    wrapped = [
        fill(
            line,
            width=_WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines
    ]
    return ["\n".join((title, *wrapped))] if lines else []
