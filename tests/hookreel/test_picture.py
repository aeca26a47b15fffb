"""The picture of the traffic in a terminal."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from captures.units import NS_PER_MS, NS_PER_S
from hookreel.picture import HEIGHT, Canvas, picture_of
from hookreel.timeline import MessageSteps, Traffic


def traffic(*, status: int = 200, messages: int = 0) -> Traffic:
    """One exchange a second for a minute, ten more in second 30; the last one has ``status``."""
    offsets_ns = sorted([second * NS_PER_S for second in range(60)] + [30 * NS_PER_S] * 10)
    made = Traffic(
        span_ns=offsets_ns[-1],
        offset_ns=np.array(offsets_ns, np.int64),
        status=np.array([200] * 69 + [status], np.uint16),
        service_ns=np.full(70, 5 * NS_PER_MS, np.int64),
        messages=MessageSteps(first_ns=0, span_ns=offsets_ns[-1]),
    )
    made.messages.add([10 * NS_PER_S] * messages)
    return made


def chart_rows(lines: list[str], edge: str = "│") -> list[str]:
    return [line.split(edge, 1)[1] for line in lines if edge in line]


def test_columns_are_as_high_as_their_rate() -> None:
    """The peak reaches the top, one exchange a column shows as a small block, and time stands below."""
    lines = picture_of(traffic(), Canvas(columns=80))
    rows = chart_rows(lines)
    assert lines[0] == "exchanges a second, a column is 1 s"
    assert len(rows) == HEIGHT
    assert [row.find("█") for row in rows[1:]] == [30] * (HEIGHT - 1)
    assert rows[-1][0] in "▁▂▃▄▅"
    assert rows[0].strip() in "▁▂▃▄▅▆▇█"
    assert lines[HEIGHT + 2].split() == ["0", "s", "60", "s"]
    assert any("at most 5 ms" in line or "at most 5.00 ms" in line for line in lines)


@given(st.integers(1, 400))
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    """It adapts from 40 columns on; below that it keeps 40."""
    lines = picture_of(traffic(messages=3, status=500), Canvas(columns=columns))
    assert max(map(len, lines)) <= max(columns, 40) + 30 * (columns < 70)
    chart = [line for line in lines if "│" in line or "└" in line]
    assert max(map(len, chart)) <= max(columns, 40)


def test_more_columns_show_more() -> None:
    """A wide terminal has finer steps."""
    narrow, wide = (picture_of(traffic(), Canvas(columns=columns)) for columns in (60, 150))
    assert max(map(len, chart_rows(wide))) > max(map(len, chart_rows(narrow)))


def test_strips_stand_only_for_what_happened() -> None:
    """Failed, refused and messages have a strip of their own, and none when there were none."""
    calm = "\n".join(picture_of(traffic(), Canvas()))
    assert "failed" not in calm
    assert "refused" not in calm
    assert "messages" not in calm
    assert "1 failed or 5xx" in "\n".join(picture_of(traffic(status=0), Canvas()))
    assert "1 refused (4xx)" in "\n".join(picture_of(traffic(status=429), Canvas()))
    assert "4 WebSocket messages" in "\n".join(picture_of(traffic(messages=4), Canvas()))


def test_plain_output_has_no_escapes_and_ascii_when_asked() -> None:
    """Colours only on a terminal; without blocks everything is ASCII."""
    assert "\x1b" not in "\n".join(picture_of(traffic(status=500), Canvas()))
    assert "\x1b[31m" in "\n".join(picture_of(traffic(status=500), Canvas(colour=True)))
    plain = "\n".join(picture_of(traffic(status=500, messages=2), Canvas(blocks=False)))
    assert plain.isascii()
    assert len(chart_rows(plain.split("\n"), "|")) == HEIGHT


def test_an_empty_capture_has_no_picture() -> None:
    """Nothing to show is nothing shown."""
    empty = Traffic(
        span_ns=0,
        offset_ns=np.empty(0, np.int64),
        status=np.empty(0, np.uint16),
        service_ns=np.empty(0, np.int64),
        messages=MessageSteps(first_ns=0, span_ns=0),
    )
    assert picture_of(empty, Canvas()) == []
