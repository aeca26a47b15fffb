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

_LONGEST_LINE = 1_000  # characters of one sentence; the longest of our own with two names are half of it
_EVIDENCE_BYTES = 15_000
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
    objectives, _ = _within(wording.objective_lines(comparison), _item, _EVIDENCE_BYTES)
    if objectives:
        top.append("\n".join(objectives))
    bottom = [
        *_folded("How sure, and which runs", [_evidence(comparison)]),
        "\n".join(f"- {escape(line, code=True)}" for line in wording.what_next(comparison, markdown=True)),
    ]
    # Headings, folds and the lines that say what was left out need the rest.
    left = MAX_BYTES - _size([*top, *bottom]) - 1_000
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
    return "".join(
        char if (char.isascii() and char.isalnum()) or char in kept else f"&#{ord(char)};"
        for char in clean(text)
    )


def _sentence(text: str) -> str:
    """One of our own sentences, whatever names stand in it; its end, which is the advice, is never cut."""
    return escape(wording.shortened(text, _LONGEST_LINE))


def _item(text: str) -> str:
    return f"- {_sentence(text)}"


def _headline(comparison: Comparison) -> str:
    line = _sentence(headline(comparison))
    verdict = escape(str(comparison.verdict))
    return f"**{verdict}**{line[len(verdict) :]}"


def _evidence(comparison: Comparison) -> str:
    """What the verdict rests on, what to be warned of first; the runs as many as fit."""
    lines = [f"warning: {text}" for text in comparison.warnings]
    lines += wording.how_sure(comparison)
    lines += [
        f"{name} {wording.run_line(run)}"
        for name, runs in (("baseline", comparison.baseline), ("candidate", comparison.candidate))
        for run in runs
    ]
    shown, _ = _within(lines, _item, _EVIDENCE_BYTES)
    more = len(lines) - len(shown)
    return "\n".join([*shown, *([f"- and {more} more; the JSON report has them all"] if more else [])])


def _row(options: Options, endpoint: EndpointResult) -> str:
    cells = [
        wording.verdict_cell(endpoint, options),
        _code(endpoint),
        wording.requests_cell(endpoint),
        *(wording.quantile_cell(endpoint, quantile) for quantile in (0.5, 0.95, 0.99)),
        *wording.change_cells(endpoint),
    ]
    return f"| {' | '.join(cells)} |"


def _code(endpoint: EndpointResult) -> str:
    return f"<code>{escape(wording.label_of(endpoint))}</code>"


def _table(rows: list[str], total: int) -> str:
    more = total - len(rows)
    said = [f"\nand {more} more; the JSON report has them all"] if more else []
    return "\n".join([_HEAD, *rows, *said])


def _notes(endpoints: Iterable[EndpointResult]) -> list[str]:
    return [
        f"- {_code(endpoint)}: {_sentence(note)}"
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
