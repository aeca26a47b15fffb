"""How a run goes, on a terminal or as lines in a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from captures.text import clean
from captures.units import NS_PER_S, format_duration
from replayer.live_meter import Pulse, Reading, StageLine

_LINE_EVERY_S = 10
_MOST_STAGES = 6
_BAR_COLUMNS = 32
_NO_VALUE = "-"


class TerminalView:
    """A panel that is drawn over once a second, and gone at the end."""

    def __init__(self, console: Console, title: str) -> None:
        self._title = clean(title)
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)

    async def open(self) -> None:
        """Take the place on the screen."""
        self._live.start()

    def show(self, reading: Reading, _fresh: Sequence[Pulse]) -> None:
        """Draw ``reading``."""
        self._live.update(panel(self._title, reading), refresh=True)

    async def close(self) -> None:
        """Leave the screen as it was."""
        self._live.stop()


class LinesView:
    """A line every ten seconds, for a log."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    async def open(self) -> None:
        """Nothing has to be prepared."""

    def show(self, reading: Reading, fresh: Sequence[Pulse]) -> None:
        """Write the line if another ten seconds are over."""
        if any((pulse.second + 1) % _LINE_EVERY_S == 0 for pulse in fresh):
            self._file.write(f"{line(reading)}\n")
            self._file.flush()

    async def close(self) -> None:
        """Nothing is left behind."""


def line(reading: Reading) -> str:
    """A reading in a line; rates and times are those of its last second."""
    pulse = reading.pulse
    assert pulse is not None
    return (
        f"{pulse.second + 1} s of {_seconds(reading.duration_ns)}: "
        f"{reading.sent:,} of {reading.total:,} sent, {pulse.due:,}/s due, {pulse.sent:,}/s sent; "
        f"send lag p99 {_time(pulse.lag_p99_ns)}; "
        f"response p50 {_time(pulse.response_p50_ns)}, p99 {_time(pulse.response_p99_ns)}; "
        f"{reading.errors:,} errors, {reading.dropped:,} dropped, {pulse.waiting:,} waiting"
    )


def panel(title: str, reading: Reading) -> RenderableType:
    """A reading as a panel of at most 80 columns."""
    parts: list[RenderableType] = [
        Text(title, style="bold", no_wrap=True, overflow="ellipsis"),
        _progress(reading),
        Text(),
        _numbers(reading),
    ]
    if reading.stages:
        parts += [Text(), _stages(reading)]
    return Group(*parts)


def _progress(reading: Reading) -> RenderableType:
    whole_ns = max(1, reading.duration_ns)
    now_ns = min(max(0, reading.now_ns), whole_ns)
    row = Table.grid(padding=(0, 2))
    row.add_row(
        ProgressBar(total=whole_ns, completed=now_ns, width=_BAR_COLUMNS),
        Text(f"{now_ns / whole_ns:4.0%}"),
        Text(_time_left(reading)),
    )
    return row


def _time_left(reading: Reading) -> str:
    left_ns = reading.duration_ns - reading.now_ns
    if left_ns > 0:
        left, now, whole = (_seconds(one) for one in (left_ns, reading.now_ns, reading.duration_ns))
        return f"{now} of {whole}, {left} left"
    return f"all was due; {reading.waiting:,} waiting for a response"


def _numbers(reading: Reading) -> Table:
    pulse = reading.pulse
    table = Table.grid(padding=(0, 3))
    for justify in ("left", "right", "right"):
        table.add_column(justify=justify)
    table.add_row("", Text("last second", style="dim"), Text("whole run", style="dim"))
    if pulse is None:
        return table
    share = f" ({reading.errors / reading.sent:.2%})" if reading.sent else ""
    bad = "red" if pulse.errors else ""
    rows: Iterable[tuple[str, str, str, str]] = (
        ("offered", f"{pulse.due:,}/s", f"{reading.due:,} of {reading.total:,}", ""),
        ("achieved", f"{pulse.sent:,}/s", f"{reading.sent:,}", ""),
        ("answered", f"{pulse.done:,}/s", f"{reading.done:,}", ""),
        ("waiting", f"{pulse.waiting:,}", "", ""),
        ("errors", f"{pulse.errors:,}/s", f"{reading.errors:,}{share}", bad),
        ("dropped", "", f"{reading.dropped:,}", "red" if reading.dropped else ""),
        ("send lag p50", _time(pulse.lag_p50_ns), _time(reading.lag_p50_ns), ""),
        ("         p99", _time(pulse.lag_p99_ns), _time(reading.lag_p99_ns), ""),
        ("         max", _time(pulse.lag_max_ns), _time(reading.lag_max_ns), ""),
        ("response p50", _time(pulse.response_p50_ns), _time(reading.response_p50_ns), ""),
        ("         p99", _time(pulse.response_p99_ns), _time(reading.response_p99_ns), ""),
    )
    for name, now, whole, style in rows:
        table.add_row(Text(name), Text(now, style=style), Text(whole, style=style))
    return table


def _stages(reading: Reading) -> Table:
    table = Table.grid(padding=(0, 3))
    for justify in ("left", "right", "right", "right", "right"):
        table.add_column(justify=justify, no_wrap=True)
    headings = ("stage", "sent", "errors", "response p50", "p99")
    table.add_row(*(Text(name, style="dim") for name in headings))
    current = _current(reading)
    first = max(0, min(current - _MOST_STAGES // 2, len(reading.stages) - _MOST_STAGES))
    for number, stage in enumerate(reading.stages[first : first + _MOST_STAGES], first):
        style = "bold" if number == current else "dim" if number > current else ""
        table.add_row(*(Text(cell, style=style) for cell in _stage_cells(stage)))
    return table


def _stage_cells(stage: StageLine) -> tuple[str, ...]:
    return (
        f"{stage.name}:{_seconds(stage.stop_ns - stage.start_ns)}",
        f"{stage.sent:,} of {stage.total:,}",
        f"{stage.errors:,}",
        _time(stage.response_p50_ns),
        _time(stage.response_p99_ns),
    )


def _current(reading: Reading) -> int:
    over = sum(stage.stop_ns <= reading.now_ns for stage in reading.stages)
    return min(over, len(reading.stages) - 1)


def _seconds(duration_ns: int) -> str:
    seconds = round(duration_ns / NS_PER_S)
    if seconds < 120:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes}:{seconds:02d} min" if minutes < 120 else f"{minutes // 60}:{minutes % 60:02d} h"


def _time(duration_ns: float | None) -> str:
    return _NO_VALUE if duration_ns is None else format_duration(duration_ns)
