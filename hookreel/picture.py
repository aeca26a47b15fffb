"""Traffic over time as lines of block characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captures.units import format_duration
from hookreel.timeline import Timeline, Traffic, format_span, round_up

HEIGHT = 6
NARROWEST = 40
WIDEST = 160
_MARGIN = 11  # the axis with its numbers
_BLOCKS = " ▁▂▃▄▅▆▇█"
_PLAIN_BLOCKS = " .:-=+*##"  # where the output's encoding has no blocks
_RED, _YELLOW, _DIM, _RESET = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """
    What the picture is drawn on.

    ``blocks`` tells whether the output can show block characters, ``colour`` whether it is a
    terminal that wants colours.
    """

    columns: int = 80
    blocks: bool = True
    colour: bool = False

    @property
    def width(self) -> int:
        """Columns beside the axis, within what is readable."""
        return min(max(self.columns, NARROWEST), WIDEST) - _MARGIN

    def paint(self, text: str, colour: str) -> str:
        """The text in a colour, if there are any."""
        return f"{colour}{text}{_RESET}" if self.colour and text.strip() else text


def picture_of(traffic: Traffic, canvas: Canvas) -> list[str]:
    """
    The traffic as lines of at most ``canvas.columns`` characters (40 at least).

    A chart of exchanges a second; below it, in the same columns, a strip for what failed, one
    for the service time and one for messages, each only when there is something to show.
    """
    if not len(traffic.offset_ns):
        return []
    timeline = traffic.timeline(canvas.width)
    lines = [f"exchanges a second, a column is {format_span(timeline.step_ns)}"]
    lines += _chart(timeline.a_second(timeline.exchanges), canvas)
    lines += _time_axis(timeline, canvas)
    strips = (
        ("failed", timeline.failed, _RED, f"{timeline.failed.sum()} failed or 5xx"),
        ("4xx", timeline.refused, _YELLOW, f"{timeline.refused.sum()} refused (4xx)"),
        ("p99 time", timeline.p99_ns, "", _highest_time(timeline)),
        ("messages", timeline.messages, "", f"{timeline.messages.sum()} WebSocket messages and SSE events"),
    )
    for name, values, colour, legend in strips:
        heights = np.nan_to_num(values.astype(np.float64))
        if heights.any():
            lines.append(f"{name:>9} {canvas.paint(_strip(heights, canvas), colour)}".rstrip())
            lines.append(canvas.paint(f"{'':{_MARGIN}}{legend}", _DIM))
    return lines


def _chart(rates: NDArray[np.float64], canvas: Canvas) -> list[str]:
    top = round_up(float(np.max(rates)))
    # Eighths of a row; whatever is not nothing shows.
    eighths = np.where(rates > 0, np.maximum(np.round(rates / top * HEIGHT * 8), 1), 0).astype(np.int64)
    lines = []
    for row in range(HEIGHT - 1, -1, -1):
        level = np.clip(eighths - row * 8, 0, 8)
        label = {HEIGHT - 1: _number(top), HEIGHT // 2 - 1: _number(top / 2)}.get(row, "")
        edge = "│" if canvas.blocks else "|"
        lines.append(f"{label:>9} {edge}{_cells(level, canvas)}".rstrip())
    return lines


def _time_axis(timeline: Timeline, canvas: Canvas) -> list[str]:
    steps = len(timeline.exchanges)
    start, end = "0 s", format_span(timeline.span_ns)
    line = ("└" + "─" * steps) if canvas.blocks else ("+" + "-" * steps)
    room = max(steps - len(start) - len(end), 1)
    return [f"{'':10}{line}", f"{'':{_MARGIN}}{start}{'':{room}}{end}"]


def _strip(values: NDArray[np.float64], canvas: Canvas) -> str:
    level = np.where(values > 0, np.maximum(np.round(values / np.max(values) * 8), 1), 0)
    return f" {_cells(level.astype(np.int64), canvas)}"


def _cells(levels: Sequence[int] | NDArray[np.int64], canvas: Canvas) -> str:
    blocks = _BLOCKS if canvas.blocks else _PLAIN_BLOCKS
    return "".join(blocks[level] for level in levels)


def _highest_time(timeline: Timeline) -> str:
    known = timeline.p99_ns[~np.isnan(timeline.p99_ns)]
    return f"p99 service time of a column, at most {format_duration(np.max(known))}" if len(known) else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
