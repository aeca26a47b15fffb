"""Figures for other tools, a quantile per run and endpoint: the Go benchmark format, and CSV for Otava."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
from collections.abc import Iterator, Sequence
from urllib.parse import quote

import numpy as np

from captures.units import NS_PER_S
from replayer.quantiles import BEYOND
from replayer.review.quantile_estimates import harrell_davis
from replayer.review.report import wording
from replayer.review.report.material import Material
from replayer.review.sides import NamedRun, by_start, split_by_endpoint
from replayer.review.verdict import QUANTILES, Verdict

_LONGEST_NAME = 120
_SAFE = "/{}.:~"  # beside letters, digits, _ and -: no blank, quote or comma; none of them starts a formula

Figures = dict[tuple[str, float], float]


def benchstat(material: Material) -> str:
    """
    The Go benchmark format, both sides in one text: ``benchstat -col side FILE`` compares them.

    A line per run and endpoint with the quantiles of its response times; empty of lines for
    an INVALID comparison, as no figure of it may be used.
    """
    lines = ["tool: hookreel"]
    lines += [f"Unit {wording.quantile_name(quantile)}-ns better=lower" for quantile in QUANTILES]
    for side, named, figures in _runs(material):
        lines += ["", f"# run {_name(named.name)}", f"side: {side}"]
        for label in _labels(material):
            values = [
                f"{figures[label, quantile]:.0f} {wording.quantile_name(quantile)}-ns"
                for quantile in QUANTILES
                if (label, quantile) in figures
            ]
            if values:
                method, _, path = label.partition(" ")
                lines.append(f"BenchmarkReplay/{_name(method)}{_name(path)} 1 {' '.join(values)}")
    return "\n".join(lines) + "\n"


def otava(material: Material) -> str:
    """
    A CSV file for Apache Otava: a row per run, the baseline's first, a column per endpoint and quantile.

    Times are in ms, ``time`` is when the run started (UTC); a quantile with too few answers is empty.
    """
    metrics = [(label, quantile) for label in _labels(material) for quantile in QUANTILES]
    rows = list(_runs(material))
    used = [metric for metric in metrics if any(metric in figures for _, _, figures in rows)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f"{_name(label.replace(' ', ':', 1))}.{wording.quantile_name(q)}_ms" for label, q in used]
    writer.writerow(["time", "side", "run", *names])
    for side, named, figures in rows:
        cells = [f"{figures[metric] / 1e6:.4f}" if metric in figures else "" for metric in used]
        writer.writerow([_started(named), side, named.run.header.run_id, *cells])
    return out.getvalue()


def _runs(material: Material) -> Iterator[tuple[str, NamedRun, Figures]]:
    if material.comparison.verdict is Verdict.INVALID:
        return
    classes = {one.endpoint: int(one.outcome[0]) for one in material.comparison.endpoints if one.outcome}
    for side, runs in (("baseline", material.baseline), ("candidate", material.candidate)):
        for named in by_start(runs):
            yield side, named, _figures(named, classes)


def _figures(named: NamedRun, classes: dict[str, int]) -> Figures:
    """The quantiles in ns of each endpoint's compared class of answers, where enough came."""
    figures: Figures = {}
    for label, sample in split_by_endpoint(named.run).items():
        times = np.sort(sample.times_ns.get(classes.get(label, 0), np.empty(0)))
        for quantile in QUANTILES:
            if round(len(times) * (1 - quantile), 6) >= BEYOND:
                figures[label, quantile] = harrell_davis(times, quantile)
    return figures


def _labels(material: Material) -> Sequence[str]:
    return sorted(endpoint.endpoint for endpoint in material.comparison.endpoints)


def _name(text: str) -> str:
    """
    ``text`` as one word of letters, digits and a few signs, everything else percent-encoded.

    Of a very long one the beginning and a digest of all of it, so that two never become the same.
    """
    word = quote(text, safe=_SAFE, errors="backslashreplace")
    if len(word) > _LONGEST_NAME:
        word = f"{word[:_LONGEST_NAME]}...{hashlib.sha256(word.encode()).hexdigest()[:8]}"
    return f"%2D{word[1:]}" if word.startswith("-") else word


def _started(named: NamedRun) -> str:
    seconds = min(max(named.run.header.started_wall_ns // NS_PER_S, 0), 253_402_300_799)  # the year 9999
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%dT%H:%M:%S+00:00}"
