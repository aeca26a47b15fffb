"""How a run is told on a terminal of 80 columns, and in a log."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace

import pytest
from rich.console import Console

from captures.units import NS_PER_MS, NS_PER_S
from replayer.live_meter import Pulse, Reading, StageLine
from replayer.live_terminal import LinesView, TerminalView, line, panel

PULSE = Pulse(
    second=36, due=500, sent=499, done=480, errors=2, waiting=31,
    lag_p50_ns=26_000, lag_p99_ns=77_000, lag_max_ns=300_000,
    response_p50_ns=1.2 * NS_PER_MS, response_p99_ns=8.1 * NS_PER_MS,
)  # fmt: skip
READING = Reading(
    now_ns=37 * NS_PER_S, duration_ns=60 * NS_PER_S, total=30_000, due=18_500, sent=18_499, done=18_400,
    errors=12, dropped=1, pulse=PULSE, lag_p50_ns=25_000, lag_p99_ns=80_000, lag_max_ns=900_000,
    response_p50_ns=1.1 * NS_PER_MS, response_p99_ns=9 * NS_PER_MS, stages=(),
)  # fmt: skip


def stage(number: int) -> StageLine:
    return StageLine(
        name=f"ramp {number}x-{number + 1}x", start_ns=number * 10 * NS_PER_S,
        stop_ns=(number + 1) * 10 * NS_PER_S, total=9_000_000, sent=8_999_999, errors=1_234_567,
        response_p50_ns=123.0 * NS_PER_MS, response_p99_ns=4.5 * NS_PER_S,
    )  # fmt: skip


def drawn(reading: Reading, title: str = "time compressed 10x, to http://127.0.0.1:3000") -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    console.print(panel(title, reading))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_panel_has_rates_lag_response_errors_and_the_time_left() -> None:
    """Each beside what it was over the whole run."""
    words = [" ".join(row.split()) for row in drawn(READING).splitlines()]
    assert "62% 37 s of 60 s, 23 s left" in words[1]
    for expected in (
        "offered 500/s 18,500 of 30,000", "achieved 499/s 18,499", "answered 480/s 18,400", "waiting 31",
        "errors 2/s 12 (0.06%)", "dropped 1", "send lag p50 26.0 us 25.0 us", "p99 77.0 us 80.0 us",
        "max 300 us 900 us", "response p50 1.20 ms 1.10 ms", "p99 8.10 ms 9.00 ms",
    ):  # fmt: skip
        assert expected in words


def test_the_panel_fits_80_columns_and_24_lines() -> None:
    """Whatever the numbers, the title and the stages; the stage of the moment is among those shown."""
    huge = replace(
        READING, total=50_000_000, due=49_999_999, sent=49_999_999, errors=49_999_999,
        duration_ns=100 * NS_PER_S, now_ns=75 * NS_PER_S, stages=tuple(map(stage, range(10))),
    )  # fmt: skip
    rows = drawn(huge, "stages " * 40).splitlines()
    assert max(map(len, rows)) <= 80
    assert len(rows) <= 24
    assert any("ramp 7x-8x" in row for row in rows)
    assert sum("ramp" in row for row in rows) == 6


def test_what_is_due_is_told_to_be_waited_for() -> None:
    """After the last due time the bar is full, and a run that has not begun has no numbers."""
    assert "all was due; 31 waiting for a response" in drawn(replace(READING, now_ns=61 * NS_PER_S))
    empty = drawn(replace(READING, now_ns=-1, pulse=None))
    assert "0 s of 60 s" in empty
    assert "offered" not in empty


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    """Not more often, however many seconds a reading brings; none is missed."""
    file = io.StringIO()
    view = LinesView(file)
    for fresh in ([8], [9], [10, 11], [], [18, 19, 20]):
        view.show(READING, [replace(PULSE, second=second) for second in fresh])
    rows = file.getvalue().splitlines()
    assert rows == [line(READING)] * 2
    assert rows[0] == (
        "37 s of 60 s: 18,499 of 30,000 sent, 500/s due, 499/s sent; send lag p99 77.0 us; "
        "response p50 1.20 ms, p99 8.10 ms; 12 errors, 1 dropped, 31 waiting"
    )


@pytest.mark.parametrize("title", ["to http://h\x1b[2J", "to \x07[bold]http://h"])
def test_a_title_cannot_command_the_terminal(title: str) -> None:
    """What a target is called is shown, and nothing of it is obeyed."""

    async def show() -> str:
        console = Console(file=io.StringIO(), width=80, force_terminal=True, legacy_windows=False)
        view = TerminalView(console, title)
        await view.open()
        view.show(READING, [PULSE])
        await view.close()
        file = console.file
        assert isinstance(file, io.StringIO)
        return file.getvalue()

    written = asyncio.run(show())
    assert "\x1b[2J" not in written
    assert "\x07" not in written
