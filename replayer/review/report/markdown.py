"""The review for a pull request comment: what changed is in sight, the rest is folded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from captures.text import clean
from replayer.review.report import wording
from replayer.review.report.headline import headline
from replayer.review.verdict import Comparison, EndpointResult, Options, Verdict

_T = TypeVar("_T")

MARKER = "<!-- hookreel diff -->"
"""First line of every report, so that a bot finds its own comment and edits it."""

MAX_BYTES = 60_000
"""GitHub takes 65,536 characters in a comment; the rest is left for what a bot adds."""

_LONGEST_LABEL = 200
_LONGEST_LIST = 20
_PLAIN = frozenset(" /.,:;=?%+-()'{}\"$^")
_CHANGED = (Verdict.BEHAVES_DIFFERENTLY, Verdict.SLOWER, Verdict.FASTER)
_HEAD = (
    "| verdict | endpoint | requests | p50 | p95 | p99 | change | 95 % CI | would see |\n"
    "| --- | --- | ---: | --- | --- | --- | --- | --- | ---: |"
)


def render(comparison: Comparison) -> str:
    """GitHub-flavoured Markdown of at most ``MAX_BYTES`` UTF-8 bytes, with a final newline."""
    changed = [endpoint for endpoint in comparison.endpoints if _in_sight(endpoint)]
    rest = [endpoint for endpoint in comparison.endpoints if not _in_sight(endpoint)]
    top = [MARKER, f"### {_headline(comparison)}"]
    if objectives := wording.objective_lines(comparison):
        top.append("\n".join(f"- {escape(line, code=True)}" for line in objectives[:_LONGEST_LIST]))
    bottom = [
        *_folded("How sure, and which runs", _evidence(comparison)),
        "\n".join(f"- {escape(line, code=True)}" for line in wording.what_next(comparison, markdown=True)),
    ]
    left = (
        MAX_BYTES - _size([*top, *bottom]) - 1_000
    )  # headings, folds and the lines that say what was left out
    row = partial(_row, comparison.options)
    shown, left = _within(changed, row, left)
    if changed:
        top += [_table(shown, len(changed))]
    notes, left = _within(_notes(changed), str, left)
    if notes:
        top += ["\n".join(notes)]
    others, left = _within(rest, row, left)
    if rest:
        top += _folded(
            f"{len(rest)} other endpoint{'' if len(rest) == 1 else 's'}", [_table(others, len(rest))]
        )
    notes, left = _within(_notes(rest), str, left)
    if notes:
        top += _folded("Notes", ["\n".join(notes)])
    return "\n\n".join([*top, *bottom]) + "\n"


def _in_sight(endpoint: EndpointResult) -> bool:
    """Whether it changed, or may have."""
    return endpoint.verdict in _CHANGED or endpoint.suspected is not None


def escape(text: str, *, code: bool = False) -> str:
    """
    The text with everything that Markdown, HTML or a mention could take for its own as entities.

    ``code`` keeps the backticks of our own sentences.
    """
    kept = _PLAIN | {"`"} if code else _PLAIN
    short = text if len(text) <= _LONGEST_LABEL * (3 if code else 1) else text[:_LONGEST_LABEL] + "..."
    return "".join(
        char if (char.isascii() and char.isalnum()) or char in kept else f"&#{ord(char)};"
        for char in clean(short)
    )


def _headline(comparison: Comparison) -> str:
    line = escape(headline(comparison), code=True).replace("`", "&#96;")
    verdict = escape(str(comparison.verdict))
    return f"**{verdict}**{line[len(verdict) :]}"


def _evidence(comparison: Comparison) -> list[str]:
    sides = (("baseline", comparison.baseline), ("candidate", comparison.candidate))
    lines = [
        f"- {name} {escape(wording.run_line(run))}" for name, runs in sides for run in runs[:_LONGEST_LIST]
    ]
    lines += [
        f"- and {len(runs) - _LONGEST_LIST} more {name} runs"
        for name, runs in sides
        if len(runs) > _LONGEST_LIST
    ]
    lines += [f"- warning: {escape(text)}" for text in comparison.warnings[:_LONGEST_LIST]]
    return ["\n".join([*lines, *(f"- {escape(line, code=True)}" for line in wording.how_sure(comparison))])]


def _row(options: Options, endpoint: EndpointResult) -> str:
    cells = [
        wording.verdict_cell(endpoint, options),
        f"<code>{escape(endpoint.endpoint)}</code>",
        wording.requests_cell(endpoint),
        *(wording.quantile_cell(endpoint, quantile) for quantile in (0.5, 0.95, 0.99)),
        *wording.change_cells(endpoint),
    ]
    return f"| {' | '.join(cells)} |"


def _table(rows: list[str], total: int) -> str:
    more = total - len(rows)
    said = [f"\nand {more} more; the JSON report has them all"] if more else []
    return "\n".join([_HEAD, *rows, *said])


def _notes(endpoints: Iterable[EndpointResult]) -> list[str]:
    return [
        f"- <code>{escape(endpoint.endpoint)}</code>: {escape(note, code=True)}"
        for endpoint in endpoints
        for note in wording.notes_of(endpoint)
    ]


def _folded(title: str, parts: list[str]) -> list[str]:
    return [f"<details><summary>{title}</summary>", *parts, "</details>"]


def _within(items: Sequence[_T], line: Callable[[_T], str], left: int) -> tuple[list[str], int]:
    """As many lines as fit into ``left`` bytes, and what is left then."""
    lines: list[str] = []
    for item in items:
        text = line(item)
        left -= len(text.encode()) + 1
        if left < 0:
            return lines, 0
        lines.append(text)
    return lines, left


def _size(parts: list[str]) -> int:
    return sum(len(part.encode()) + 2 for part in parts)
