"""The schedule: order, what is left out, and its hash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from captures.model import Exchange
from captures.reader import CaptureReader
from replayer.schedule import Schedule, build_schedule, schedule_hash

Make = Callable[..., Exchange]
Write = Callable[..., Path]


def load(path: Path, speed: str = "1") -> tuple[Schedule, str]:
    with CaptureReader.open(path) as reader:
        schedule = build_schedule(reader.index, Fraction(speed))
        return schedule, schedule_hash(schedule, reader.header)


def test_due_times_start_at_zero_in_send_order(exchange: Make, capture: Write) -> None:
    """Exchanges written in completion order are scheduled in send order, from the first request on."""
    path = capture([exchange(2, offset_ns=5000), exchange(0, offset_ns=1000), exchange(1, offset_ns=3001)])
    schedule, _ = load(path, "2")
    assert schedule.seq.tolist() == [0, 1, 2]
    assert schedule.due_ns.tolist() == [0, 1000, 2000]
    assert schedule.duration_ns == 2000
    assert schedule.offered_rps == 1e6


def test_websocket_sessions_are_left_out_and_counted(exchange: Make, capture: Write) -> None:
    """An upgrade is no part of the schedule, and the first due time is that of what is left."""
    path = capture([exchange(0, status=101), exchange(1), exchange(2)])
    schedule, _ = load(path)
    assert schedule.seq.tolist() == [1, 2]
    assert schedule.due_ns.tolist() == [0, 1_000_000]
    assert schedule.upgrades == 1


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
