"""The schedule: order, what is left out, and its hash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from captures.conditions import any_holds, parse_condition
from captures.errors import UsageError
from captures.model import Exchange
from captures.reader import CaptureReader
from replayer.load import Arrivals, Load
from replayer.schedule import Schedule, build_schedule, schedule_hash
from replayer.stages import parse_stages

Make = Callable[..., Exchange]
Write = Callable[..., Path]
MS = 1_000_000


def load(path: Path, speed: str = "1") -> tuple[Schedule, str]:
    with CaptureReader.open(path) as reader:
        schedule = build_schedule(reader.index, Load(multiplier=Fraction(speed)))
        return schedule, schedule_hash(schedule, reader.header)


def test_due_times_start_at_zero_in_send_order(exchange: Make, capture: Write) -> None:
    """Exchanges written in completion order are scheduled in send order, from the first request on."""
    path = capture([exchange(2, offset_ns=5000), exchange(0, offset_ns=1000), exchange(1, offset_ns=3001)])
    schedule, _ = load(path, "2")
    assert schedule.seq.tolist() == [0, 1, 2]
    assert schedule.due_ns.tolist() == [0, 1000, 2000]
    assert schedule.duration_ns == 2000
    assert schedule.offered_rps == 1e6


def test_websocket_sessions_are_scheduled_and_counted(exchange: Make, capture: Write) -> None:
    """A session is due like any exchange, and the schedule says how many there are."""
    path = capture([exchange(0, status=101), exchange(1), exchange(2)])
    schedule, _ = load(path)
    assert schedule.seq.tolist() == [0, 1, 2]
    assert schedule.due_ns.tolist() == [0, 1_000_000, 2_000_000]
    assert schedule.sockets == 1


def test_a_single_exchange_has_no_rate(exchange: Make, capture: Write) -> None:
    """Without time between exchanges the offered rate is 0, not a division by it."""
    schedule, _ = load(capture([exchange(0)]))
    assert (len(schedule), schedule.duration_ns, schedule.offered_rps) == (1, 0, 0.0)


def test_the_hash_names_what_is_offered(exchange: Make, capture: Write) -> None:
    """It is equal for a capture and its descendants at one speed, and differs otherwise."""
    exchanges = [exchange(number) for number in range(5)]
    original = capture(exchanges, capture_id="0" * 32)
    child = capture(exchanges, capture_id="1" * 32, lineage=("0" * 32,))
    stranger = capture(exchanges, capture_id="2" * 32)
    shifted = capture([*exchanges[:-1], replace(exchanges[-1], offset_ns=9_999_999)], capture_id="0" * 32)
    first = load(original)[1]
    assert first == load(original)[1] == load(child)[1]
    assert len({first, load(stranger)[1], load(shifted)[1], load(original, "2")[1]}) == 4


def rows_of(path: Path, load: Load) -> list[tuple[int, int, int, int]]:
    """Seq, instance, connection and due time in ms of each row."""
    with CaptureReader.open(path) as reader:

        def chosen() -> np.ndarray:
            return np.array([any_holds(load.match, exchange) for exchange in reader.exchanges()])

        schedule = build_schedule(reader.index, load, chosen)
    due_ms = (schedule.due_ns // 1_000_000).tolist()
    columns = schedule.seq.tolist(), schedule.instance.tolist(), schedule.connection.tolist(), due_ms
    return list(zip(*columns, strict=True))


def test_copies_run_beside_each_other_on_connections_of_their_own(exchange: Make, capture: Write) -> None:
    """Three copies at the recorded pace, spread over the stagger, in due order."""
    path = capture([exchange(0, offset_ns=0, connection=4), exchange(1, offset_ns=100 * MS, connection=7)])
    rows = rows_of(path, Load(copies=3, stagger_ns=90 * MS))
    assert rows == [
        (0, 0, 4, 0),
        (0, 1, 12, 30),
        (0, 2, 20, 60),
        (1, 0, 7, 100),
        (1, 1, 15, 130),
        (1, 2, 23, 160),
    ]


def test_loops_follow_after_a_mean_gap(exchange: Make, capture: Write) -> None:
    """The next loop begins as if the traffic had gone on, with new connections, at any speed."""
    path = capture([exchange(number, offset_ns=number * 10 * MS, connection=0) for number in range(3)])
    rows = rows_of(path, Load(loops=2, multiplier=Fraction(2)))
    assert rows == [(0, 0, 0, 0), (1, 0, 0, 5), (2, 0, 0, 10), (0, 1, 1, 15), (1, 1, 1, 20), (2, 1, 1, 25)]


def test_a_duration_cuts_or_repeats(exchange: Make, capture: Write) -> None:
    """A run has the length that is asked for; --loop bounds how often the capture begins again."""
    path = capture([exchange(number, offset_ns=number * 10 * MS) for number in range(3)])
    assert [row[3] for row in rows_of(path, Load(duration_ns=15 * MS))] == [0, 10]
    assert [row[3] for row in rows_of(path, Load(duration_ns=55 * MS))] == [0, 10, 20, 30, 40, 50]
    assert [row[3] for row in rows_of(path, Load(duration_ns=55 * MS, loops=1))] == [0, 10, 20]


def test_stages_go_through_the_capture_as_often_as_they_need(exchange: Make, capture: Write) -> None:
    """After a stage at 1x the capture goes by twice as fast, into its next loop, until the stages end."""
    path = capture([exchange(number, offset_ns=number * 10 * MS) for number in range(3)])
    rows = rows_of(path, Load(stages=parse_stages("1x:20ms,2x:20ms")))
    assert [(seq, instance, due) for seq, instance, _, due in rows] == [
        (0, 0, 0), (1, 0, 10), (2, 0, 20), (0, 1, 25), (1, 1, 30), (2, 1, 35),
    ]  # fmt: skip


def test_a_rate_keeps_the_order_and_draws_arrivals(exchange: Make, capture: Write) -> None:
    """Evenly or by a seed; the same seed gives the same arrivals, the number is that of rate and time."""
    path = capture([exchange(number, offset_ns=number**2 * MS) for number in range(4)])
    even = rows_of(path, Load(rate=Fraction(100), arrivals=Arrivals.EVEN, duration_ns=60 * MS))
    assert [(seq, instance, due) for seq, instance, _, due in even] == [
        (0, 0, 0), (1, 0, 10), (2, 0, 20), (3, 0, 30), (0, 1, 40), (1, 1, 50),
    ]  # fmt: skip
    drawn = Load(rate=Fraction(1000), duration_ns=4_000 * MS)
    rows = rows_of(path, drawn)
    assert rows == rows_of(path, drawn) != rows_of(path, replace(drawn, seed=2))
    assert [row[0] for row in rows] == [0, 1, 2, 3] * 1000
    gaps = np.diff([row[3] for row in rows])
    assert 0.9 < gaps.std() / gaps.mean() < 1.1  # exponential gaps vary as much as they are long


def test_a_part_of_the_capture(exchange: Make, capture: Write) -> None:
    """A window counts from the capture's start, conditions leave out, and the first due time is 0."""
    path = capture([exchange(number, offset_ns=number * 10 * MS, status=200 + number) for number in range(5)])
    window = Load(from_ns=10 * MS, to_ns=40 * MS)
    assert [(seq, due) for seq, _, _, due in rows_of(path, window)] == [(1, 0), (2, 10), (3, 20)]
    some = replace(window, match=(parse_condition("status=201"), parse_condition("status=203")))
    assert [(seq, due) for seq, _, _, due in rows_of(path, some)] == [(1, 0), (3, 20)]
    assert rows_of(path, replace(window, from_ns=39 * MS)) == []


def test_more_rows_than_fit_are_refused(exchange: Make, capture: Write) -> None:
    """A load that would fill the memory is an error before anything is allocated."""
    path = capture([exchange(number, offset_ns=number * MS) for number in range(3)])
    for load in (Load(loops=10**9), Load(rate=Fraction(10**6), duration_ns=3600 * 10**9)):
        with pytest.raises(UsageError, match="exchanges; give"):
            rows_of(path, load)


def test_a_recorded_length_scales_with_the_stage(exchange: Make, capture: Write) -> None:
    """What took 10 ms takes half of it where time is compressed twice."""
    path = capture([exchange(number, offset_ns=number * 10 * MS) for number in range(3)])
    with CaptureReader.open(path) as reader:
        schedule = build_schedule(reader.index, Load(stages=parse_stages("1x:20ms,2x:20ms")))
    assert (schedule.scale_ns(0, 10 * MS), schedule.scale_ns(3, 10 * MS)) == (10 * MS, 5 * MS)


def test_copies_change_the_hash(exchange: Make, capture: Write) -> None:
    """Runs whose passes differ did not offer the same."""
    path = capture([exchange(number) for number in range(4)])
    with CaptureReader.open(path) as reader:
        one, two = (build_schedule(reader.index, Load(copies=copies)) for copies in (1, 2))
        assert schedule_hash(one, reader.header) != schedule_hash(two, reader.header)
