"""A comparison as one page that needs nothing else: its styles, charts and script are inside, no network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from typing import Any

from replayer.review.report import charts, wording
from replayer.review.report.curves import Curves, SideCurves, curves_of
from replayer.review.report.headline import headline
from replayer.review.report.html_text import LONGEST_NAME, escaped, isolated
from replayer.review.report.material import Material
from replayer.review.report.page_tables import (
    LONGEST_NOTE,
    answers_section,
    endpoints_table,
    errors_table,
    figure,
    listed,
    objectives,
    provenance,
    validity,
)
from replayer.review.verdict import Comparison, EndpointResult, Verdict

MAX_BYTES = 400_000
_MOST_CURVES = 12  # endpoints with a chart over time, beside that of all requests
_MOST_PERCENTILES = 3
_MOST_IN_FOREST = 40
_SIDES = '<span class="key baseline">baseline</span><span class="key candidate">candidate</span>'


def render(material: Material) -> str:
    """One HTML document of at most ``MAX_BYTES`` UTF-8 bytes; the same runs give the same bytes."""
    comparison = material.comparison
    curves = _curves(material)
    sections = dict(_sections(material, curves))
    data = json.dumps([_data(one) for one in curves], separators=(",", ":")).replace("<", "\\u003c")
    frame = _frame(comparison, data, sections)
    # What is left of the budget goes to the long tables: the endpoints first, whose notes tell of the others.
    left = MAX_BYTES - len(frame.encode()) - 4_000
    for name, title, make in (
        ("endpoints", "Endpoints, worst first", endpoints_table),
        ("errors", "Statuses and failures", errors_table),
        ("answers", "Answers", answers_section),
    ):
        inside = make(comparison, left)
        if inside:
            sections[name] = (title, inside)
            left -= len(inside.encode())
    return _frame(comparison, data, sections)


_ORDER = (
    "validity", "objectives", "endpoints", "forest", "percentiles", "time",
    "errors", "answers", "sure", "next", "provenance",
)  # fmt: skip


def _sections(material: Material, curves: Sequence[Curves]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Every section whose length is known beforehand: its name, its title and what is inside."""
    comparison = material.comparison
    yield "validity", ("Validity", validity(material))
    if kept := objectives(comparison):
        yield "objectives", ("Objectives", kept)
    drawn = [one for one in comparison.endpoints if one.deciding is not None][:_MOST_IN_FOREST]
    if drawn:
        yield "forest", ("Change of response times", _forest(drawn, comparison))
    tails = [charts.percentiles(one) for one in curves[: 1 + _MOST_PERCENTILES]]
    if any(tails):
        shown = (figure(one.name, _SIDES, tail) for one, tail in zip(curves, tails, strict=False) if tail)
        yield "percentiles", ("Response time by percentile", f'<div class="grid2">{"".join(shown)}</div>')
    if curves:
        yield "time", ("Over the run", _over_time(material, curves))
    sure = wording.how_sure(comparison)
    if sure:
        yield "sure", ("How sure", listed(sure))
    yield "next", ("What next", listed(wording.what_next(comparison)))
    yield "provenance", ("Provenance", provenance(material))


def _forest(drawn: Sequence[EndpointResult], comparison: Comparison) -> str:
    margin = wording.percent_exact(comparison.options.margin)
    keys = f'<span class="key band">within {margin}</span>'
    count = sum(one.deciding is not None for one in comparison.endpoints)
    more = count - len(drawn)
    left_out = f'<p class="soft">{more:,} more stand in the table alone.</p>' if more else ""
    title = "Candidate / baseline, with its 95 % interval"
    return figure(title, keys, charts.forest(drawn, comparison.options)) + left_out


def _over_time(material: Material, curves: Sequence[Curves]) -> str:
    options = "".join(f"<option>{escaped(one.name)}</option>" for one in curves)
    keys = (
        f'{_SIDES}<span class="key">p50</span><span class="key dashed">p95</span>',
        f'{_SIDES}<span class="key">failed</span><span class="key dashed">offered</span>',
    )
    loads = sorted({named.run.header.load for named in (*material.baseline, *material.candidate)})
    said = f'<p class="soft">Offered: {escaped("; ".join(loads), LONGEST_NOTE)}.</p>' if any(loads) else ""
    live = "".join(
        f'<div class="live"><h3>{title}</h3><div id="{place}" role="group" tabindex="0"></div></div>'
        f'<div class="still">{figure(f"{title}, all requests", key, still)}</div>'
        for title, place, key, still in (
            ("Response time", "live-times", keys[0], charts.over_time(curves[0])),
            ("Offered and failed a second", "live-load", keys[1], charts.load_over_time(curves[0])),
        )
    )
    return f'<p class="choice"><label>Requests <select id="pick">{options}</select></label></p>{said}{live}'


def _curves(material: Material) -> list[Curves]:
    """Of all requests, and of the endpoints that were harmed most."""
    if material.comparison.verdict is Verdict.INVALID:
        return []
    shown = [
        (one.endpoint, int(one.outcome[:1] or 0)) for one in material.comparison.endpoints[:_MOST_CURVES]
    ]
    curves = curves_of(material.baseline, material.candidate, shown)
    return [replace(one, name=wording.shortened(one.name, LONGEST_NAME)) for one in curves]


def _data(curves: Curves) -> dict[str, Any]:
    return {
        "name": curves.name,
        "at": curves.starts_s,
        "stages": curves.stages,
        "b": _side(curves.baseline),
        "c": _side(curves.candidate),
    }


def _side(side: SideCurves) -> dict[str, Any]:
    return {"p50": side.p50_ms, "p95": side.p95_ms, "offered": side.offered, "failed": side.failed}


def _frame(comparison: Comparison, data: str, sections: dict[str, tuple[str, str]]) -> str:
    style = _shipped("assets/uplot/uPlot.min.css", "review/report/page.css")
    licence = f"/*\n{_shipped('assets/uplot/LICENSE')}*/\n"  # it asks to stand in every copy
    script = licence + _shipped("assets/uplot/uPlot.iife.min.js", "review/report/page.js")
    # Style and script are named by their hashes, so nothing that traffic could smuggle in would run or load.
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " base-uri 'none'; form-action 'none'"
    )
    named = [(name, *sections[name]) for name in _ORDER if name in sections]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in named)
    body = "\n".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>\n{inside}</section>'
        for name, title, inside in named
    )
    verdict = str(comparison.verdict)
    said = isolated(headline(comparison).removeprefix(f"{verdict}: "), LONGEST_NOTE)
    badge = f'<span class="badge {charts.STYLES[comparison.verdict]}">{verdict}</span>'
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{verdict} · hookreel diff</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#validity">Skip to the report</a>\n'
        f"<header>\n<h1>{badge} {said}</h1>\n</header>\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n<main>\n{body}\n</main>\n'
        "<footer><p>Made by hookreel. Charts over the run by uPlot (MIT licence).</p></footer>\n"
        f'<script type="application/json" id="curves">{data}</script>\n<script>{script}</script>\n'
        "</body>\n</html>\n"
    )


def _shipped(*names: str) -> str:
    return "".join((files("replayer") / name).read_text(encoding="utf-8") for name in names)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
