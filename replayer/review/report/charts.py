"""Charts of a comparison as SVG that stands in a page: no script, no style of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from captures.text import clean
from replayer.review.report import wording
from replayer.review.report.curves import PERCENTS, Curves
from replayer.review.report.html_text import isolated
from replayer.review.verdict import EndpointResult, Options, Verdict

_WIDTH, _LEFT, _RIGHT, _TOP, _AXIS = 960, 64, 16, 10, 26
_HALF = 480  # two of these charts stand side by side
_CHARACTER = 7.2  # of a label of the forest plot, at most
_ROW = 24
_LONGEST_LABEL = 44
_WIDEST = math.log(64)  # an interval that reaches further is cut, with an arrow
STYLES = {
    Verdict.BEHAVES_DIFFERENTLY: "bad",
    Verdict.SLOWER: "bad",
    Verdict.INCONCLUSIVE: "calm",
    Verdict.SAME: "good",
    Verdict.FASTER: "good",
    Verdict.INVALID: "bad",
}


# Round ratios that are far enough apart on a chart which reaches to so many times.
_TICKS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (1.13, (0.9, 0.95, 1, 1.05, 1.1)),
    (1.35, (0.8, 0.9, 1, 1.1, 1.2, 1.3)),
    (2.2, (0.5, 0.6, 0.7, 0.8, 1, 1.2, 1.4, 1.7, 2)),
    (5, (0.25, 0.35, 0.5, 0.7, 1, 1.5, 2, 3, 4)),
    (30, (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)),
    (math.inf, (0.001, 0.01, 0.1, 1, 10, 100, 1000)),
)


def forest(endpoints: Sequence[EndpointResult], options: Options) -> str:
    """A line for the interval of each endpoint's deciding quantile, a square for its ratio, on a log axis."""
    drawn = [(endpoint, endpoint.deciding) for endpoint in endpoints if endpoint.deciding is not None]
    reach = max(
        (abs(math.log(max(end, 1e-9))) for _, result in drawn for end in (*result.ci, result.ratio)),
        default=0.0,
    )
    reach = min(max(reach * 1.05, 2 * math.log1p(options.margin)), _WIDEST)
    height = _ROW * len(drawn)
    labels = 24 + _CHARACTER * max(
        (len(clean(wording.shortened(endpoint.endpoint, _LONGEST_LABEL))) for endpoint, _ in drawn), default=0
    )

    def x(ratio: float) -> float:
        log = math.log(max(ratio, 1e-9))
        return labels + (_WIDTH - labels - _RIGHT) * (max(-reach, min(reach, log)) / reach + 1) / 2

    low, high = x(1 / (1 + options.margin)), x(1 + options.margin)
    parts = [
        f'<rect class="band" x="{low:.1f}" y="{_TOP}" width="{high - low:.1f}" height="{height}"/>',
        f'<line class="axis" x1="{x(1):.1f}" x2="{x(1):.1f}" y1="{_TOP}" y2="{_TOP + height}"/>',
    ]
    for at, (endpoint, result) in enumerate(drawn):
        y = _TOP + _ROW * (at + 0.5)
        style, name = STYLES[result.verdict], isolated(endpoint.endpoint, _LONGEST_LABEL, "tspan")
        said = f"{wording.label_of(endpoint)} {wording.times(result.ratio)} ({wording.interval(result)})"
        cut = "".join(
            f'<path class="mark {style}" d="M{x(end):.1f} {y - 4:.1f}l{6 * side} 4l{-6 * side} 4z"/>'
            for end, side in zip(result.ci, (-1, 1), strict=True)
            if abs(math.log(max(end, 1e-9))) > reach
        )
        parts.append(
            f"<g><title>{_text(f'{said} {endpoint.verdict}')}</title>"
            f'<text class="end" x="{labels - 12:.1f}" y="{y + 4:.1f}">{name}</text>'
            f'<line class="line {style}" x1="{x(result.ci[0]):.1f}" x2="{x(result.ci[1]):.1f}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>{cut}'
            f'<rect class="mark {style}" x="{x(result.ratio) - 4:.1f}" y="{y - 4:.1f}" width="8" '
            'height="8"/></g>'
        )
    parts += [
        f'<text class="tick" x="{x(ratio):.1f}" y="{_TOP + height + 18}">{ratio:g}x</text>'
        for ratio in _ratio_ticks(reach)
    ]
    said = f"Ratio candidate to baseline with its 95 % interval, {len(drawn)} endpoints, worst first."
    return _svg(_TOP + height + _AXIS, said, parts)


def _ratio_ticks(reach: float) -> list[float]:
    """A few round ratios on both sides of 1, as far apart as ``reach`` (a log) asks for."""
    known = next((ticks for most, ticks in _TICKS if reach <= math.log(most)), _TICKS[-1][1])
    return [tick for tick in known if abs(math.log(tick)) <= reach]


def percentiles(curves: Curves) -> str:
    """Response time against percentile, the tail stretched, both sides."""
    sides = (("baseline", curves.baseline), ("candidate", curves.candidate))
    values = [value for _, side in sides for value in side.percentiles_ms if value is not None]
    if not values:
        return ""
    last = max(at for _, side in sides for at, value in enumerate(side.percentiles_ms) if value is not None)
    places = [-math.log10(1 - percent / 100) for percent in PERCENTS[: last + 1]]
    top, height = _round_up(max(values)), 150

    def x(at: int) -> float:
        span = max(places[-1] - places[0], 1e-9)
        return _LEFT + (_HALF - _LEFT - _RIGHT) * (places[at] - places[0]) / span

    parts = _grid(top, height, _ms, _HALF)
    for name, side in sides:
        points = [
            (x(at), _TOP + height * (1 - value / top), percent, value)
            for at, (percent, value) in enumerate(zip(PERCENTS, side.percentiles_ms, strict=True))
            if value is not None
        ]
        path = "L".join(f"{px:.1f} {py:.1f}" for px, py, _, _ in points)
        parts.append(f'<path class="line {name}" d="M{path}"/>' if points else "")
        parts += [
            f'<circle class="mark {name}" cx="{px:.1f}" cy="{py:.1f}" r="4">'
            f"<title>{name} p{percent:g} {_ms(value)}</title></circle>"
            for px, py, percent, value in points
        ]
    parts += [
        f'<text class="tick" x="{x(at):.1f}" y="{_TOP + height + 18}">p{PERCENTS[at]:g}</text>'
        for at in range(last + 1)
    ]
    said = ", ".join(
        f"{name} p{percent:g} {_ms(value)}"
        for name, side in sides
        for percent, value in zip(PERCENTS, side.percentiles_ms, strict=True)
        if value is not None and percent in {50.0, 95.0, 99.0}
    )
    said = f"{clean(curves.name)}, response time by percentile: {said}."
    return _svg(_TOP + height + _AXIS, said, parts, _HALF)


def over_time(curves: Curves) -> str:
    """The p50 and p95 of both sides in each step of the run."""
    series = (
        ("baseline", "", curves.baseline.p50_ms), ("baseline", " dashed", curves.baseline.p95_ms),
        ("candidate", "", curves.candidate.p50_ms), ("candidate", " dashed", curves.candidate.p95_ms),
    )  # fmt: skip
    values = [value for _, _, points in series for value in points if value is not None]
    if not values:
        return ""
    top = _round_up(max(values))
    parts = [*_grid(top, 180, _ms), *_seconds(curves, 180)]
    parts += [_line(f"{name}{dash}", points, top, 180) for name, dash, points in series]
    said = f"{clean(curves.name)}, response time over the run; the highest p50 or p95 is {_ms(max(values))}."
    return _svg(_TOP + 180 + _AXIS, said, parts)


def load_over_time(curves: Curves) -> str:
    """What was offered, and what failed, in each step of the run."""
    sides = (("baseline", curves.baseline), ("candidate", curves.candidate))
    top = _round_up(max(max((*side.offered, *side.failed), default=0.0) for _, side in sides))
    parts = [*_grid(top, 100, _rate), *_seconds(curves, 100)]
    parts += [_line(f"{name} dashed", side.offered, top, 100) for name, side in sides]
    parts += [_line(f"{name} thick", side.failed, top, 100) for name, side in sides]
    worst = [max(side.failed, default=0.0) for _, side in sides]
    said = (
        f"{clean(curves.name)}, offered at most {_rate(max(curves.candidate.offered, default=0.0))};"
        f" failed at most {_rate(worst[0])} in the baseline and {_rate(worst[1])} in the candidate."
    )
    return _svg(_TOP + 100 + _AXIS, said, parts)


def _line(style: str, points: Sequence[float | None], top: float, height: int) -> str:
    """A line, interrupted where there is no value."""
    width = (_WIDTH - _LEFT - _RIGHT) / max(1, len(points))
    path, pen_down = [], False
    for at, value in enumerate(points):
        if value is None:
            pen_down = False
            continue
        x, y = _LEFT + (at + 0.5) * width, _TOP + height * (1 - value / top)
        # A point without neighbours is a line of no length, drawn round by its caps.
        path.append(f"L{x:.1f} {y:.1f}" if pen_down else f"M{x:.1f} {y:.1f}h0")
        pen_down = True
    return f'<path class="line {style}" d="{"".join(path)}"/>' if path else ""


def _grid(top: float, height: int, number_of: Callable[[float], str], width: int = _WIDTH) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _TOP + height * (1 - share)
        style = "axis" if share == 0 else "grid"
        parts.append(f'<line class="{style}" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = escape(number_of(top * share)) if share else "0"
        parts.append(f'<text class="end" x="{_LEFT - 8}" y="{y + 4:.1f}">{label}</text>')
    return parts


def _seconds(curves: Curves, height: int) -> Iterable[str]:
    span_s = curves.step_s * len(curves.baseline.offered)
    tick_s = _round_up(span_s / 9)
    for number in range(int(span_s / tick_s) + 1):
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * number * tick_s / span_s
        yield f'<text class="tick" x="{x:.1f}" y="{_TOP + height + 18}">{number * tick_s:g} s</text>'
    for text, start_s in curves.stages:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, start_s / span_s)
        yield f'<line class="grid stage" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_TOP + height}"/>'
        yield f'<text x="{x + 4:.1f}" y="{_TOP + 10}">{_text(text)}</text>'


def _svg(height: int, said: str, parts: Iterable[str], width: int = _WIDTH) -> str:
    style = "chart half" if width == _HALF else "chart"
    return (
        f'<svg class="{style}" role="img" viewBox="0 0 {width} {height}" aria-label="{_text(said)}">'
        f"{''.join(parts)}</svg>"
    )


def _text(value: str) -> str:
    return escape(clean(value))


def _ms(value: float) -> str:
    return f"{value / 1000:.3g} s" if value >= 1000 else f"{value:.3g} ms"


def _rate(value: float) -> str:
    return f"{value:.3g}/s"


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 and 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return power * next((step for step in (1, 2, 2.5, 5) if value <= step * power), 10)
