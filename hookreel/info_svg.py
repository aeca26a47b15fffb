"""Charts of a capture's traffic as SVG that stands in a page: no script, no style of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from hookreel.timeline import Timeline, format_span, nice_step_ns, round_up

WIDTH, LEFT, RIGHT, TOP = 960, 64, 12, 10
_AXIS_HEIGHT = 24
_FEWEST_TICKS = 9

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One row of values, an entry a step; ``style`` is a class of the page's style sheet."""

    name: str
    style: str
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """
    A chart over the steps of a timeline, ``height`` units high.

    ``number`` writes a value of the vertical axis; ``summary`` is what a screen reader says.
    """

    timeline: Timeline
    series: Sequence[Series]
    number: Callable[[float], str]
    summary: str
    height: int = 180

    @property
    def steps(self) -> int:
        """Columns of the chart."""
        return len(self.timeline.exchanges)

    @property
    def step_width(self) -> float:
        """Units a column is wide."""
        return (WIDTH - LEFT - RIGHT) / self.steps

    def stacked_bars(self) -> str:
        """The series on top of one another."""
        top = round_up(max(float(np.sum([one.values for one in self.series], axis=0).max()), 1e-9))
        base = np.zeros(self.steps)
        parts = []
        for one in self.series:
            for step in np.flatnonzero(one.values > 0):
                # What is not nothing is at least one unit high.
                size = max(one.values[step] / top * self.height, 1.0)
                x, y = self._x(int(step)), TOP + self.height - base[step] - size
                width = max(self.step_width - (1 if self.step_width > 4 else 0), 0.5)
                parts.append(
                    f'<rect class="{one.style}" x="{x:.1f}" y="{y:.1f}" '
                    f'width="{width:.1f}" height="{size:.1f}"/>'
                )
                base[step] += size
        return self._svg(top, parts)

    def lines(self) -> str:
        """The series as lines, interrupted where a value is NaN."""
        largest = max((float(np.nanmax(one.values)) for one in self.series), default=1.0)
        top = round_up(max(largest, 1e-9))
        parts = []
        for one in self.series:
            path, pen_down = [], False
            for step, value in enumerate(one.values):
                if np.isnan(value):
                    pen_down = False
                    continue
                x, y = self._x(step) + self.step_width / 2, TOP + self.height * (1 - value / top)
                # A point without neighbours is a line of no length, drawn round by its caps.
                path.append(f"L{x:.1f} {y:.1f}" if pen_down else f"M{x:.1f} {y:.1f}h0")
                pen_down = True
            parts.append(f'<path class="line {one.style}" d="{"".join(path)}"/>')
        return self._svg(top, parts)

    def _x(self, step: int) -> float:
        return LEFT + step * self.step_width

    def _svg(self, top: float, parts: Sequence[str]) -> str:
        return "\n".join(
            (
                f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {TOP + self.height + _AXIS_HEIGHT}" '
                f'aria-label="{escape(self.summary)}">',
                *self._grid(top),
                *parts,
                *self._time_ticks(),
                *self._hints(),
                "</svg>",
            )
        )

    def _grid(self, top: float) -> Iterator[str]:
        for share in (0.0, 0.5, 1.0):
            y = TOP + self.height * (1 - share)
            style = "axis" if share == 0 else "grid"
            yield f'<line class="{style}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            label = escape(self.number(top * share))
            yield f'<text class="number" x="{LEFT - 8}" y="{y + 4:.1f}">{label}</text>'

    def _time_ticks(self) -> Iterator[str]:
        span_ns = self.timeline.span_ns
        tick_ns = nice_step_ns(span_ns, _FEWEST_TICKS)
        y = TOP + self.height
        for at_ns in range(0, span_ns + 1, tick_ns):
            x = LEFT + (WIDTH - LEFT - RIGHT) * at_ns / span_ns
            yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 4}"/>'
            anchor = "end" if x > WIDTH - 40 else "middle"
            label = format_span(at_ns) if at_ns else "0"
            yield f'<text class="tick {anchor}" x="{x:.1f}" y="{y + 18}">{label}</text>'

    def _hints(self) -> Iterator[str]:
        """What a pointer over a column is told."""
        step_ns = self.timeline.step_ns
        for step in range(self.steps):
            said = ", ".join(
                f"{one.name} {self.number(float(one.values[step]))}"
                for one in self.series
                if not np.isnan(one.values[step])
            )
            when = f"from {format_span(step * step_ns)} to {format_span((step + 1) * step_ns)}"
            yield (
                f'<rect class="hint" x="{self._x(step):.1f}" y="{TOP}" width="{self.step_width:.1f}" '
                f'height="{self.height}"><title>{escape(f"{when}: {said}" if said else when)}</title></rect>'
            )


def share_bar(parts: Sequence[tuple[str, float]]) -> str:
    """One bar of the whole width, divided in proportion; ``parts`` are style (empty: no ink) and size."""
    whole = sum(size for _, size in parts) or 1.0
    x, rects = 0.0, []
    for style, size in parts:
        width = size / whole * 100
        if width > 0 and style:
            rects.append(f'<rect class="{style}" x="{x:.3f}" width="{width:.3f}" height="10"/>')
        x += width
    return (
        '<svg class="share" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(rects)}</svg>"
    )
