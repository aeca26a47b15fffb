"""What is read of a run while it goes, second by second, is what its results say."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from captures.units import NS_PER_MS, NS_PER_S
from replayer.board import Board, Rows
from replayer.live_meter import Meter
from replayer.load import Load
from replayer.results import NEVER_NS, Outcome
from replayer.schedule import Schedule
from replayer.stages import parse_stages

LATE_NS = NS_PER_S  # long after a second has ended
ALL = slice(0, None)


def schedule_of(due_ns: list[int], load: Load | None = None) -> Schedule:
    rows = len(due_ns)
    return Schedule(
        seq=np.arange(rows),
        due_ns=np.array(due_ns, np.int64),
        endpoint=np.zeros(rows, np.uint32),
        connection=np.zeros(rows, np.uint32),
        recorded_status=np.full(rows, 200, np.uint16),
        instance=np.zeros(rows, np.uint32),
        load=load or Load(),
        pace=Fraction(1),
    )


class Script:
    """Writes results on a board as a sender would, by the schedule's row."""

    def __init__(self, schedule: Schedule, parts: list[Rows] | None = None) -> None:
        self.schedule = schedule
        self.board = Board(parts or [ALL], len(schedule))
        self.places = {
            int(row): (share.cells, place)
            for share in self.board.shares
            for place, row in enumerate(np.arange(len(schedule))[share.rows])
        }

    def send(self, row: int, lag_ns: int = 0, waited_ns: int = 0) -> None:
        cells, place = self.places[row]
        cells["waited_ns"][place] = waited_ns
        cells["sent_ns"][place] = int(self.schedule.due_ns[row]) + waited_ns + lag_ns

    def end(self, row: int, done_ns: int, status: int = 200, outcome: Outcome = Outcome.COMPLETED) -> None:
        cells, place = self.places[row]
        cells["outcome"][place] = outcome
        cells["status"][place] = status
        cells["done_ns"][place] = done_ns


def test_each_second_has_what_happened_in_it() -> None:
    """Due, sent, done and errors by the second of each; lag and response time count from the due time."""
    script = Script(schedule_of([0, 500 * NS_PER_MS, 900 * NS_PER_MS, 1500 * NS_PER_MS]))
    meter = Meter(script.schedule, script.board.shares)
    for row in range(3):
        script.send(row, lag_ns=NS_PER_MS)
    script.end(0, 10 * NS_PER_MS)
    script.end(1, 520 * NS_PER_MS, status=503)
    first = meter.read(LATE_NS + NS_PER_S // 2)
    (pulse,) = meter.pulses
    assert (pulse.due, pulse.sent, pulse.done, pulse.errors, pulse.waiting) == (3, 3, 2, 1, 1)
    assert (pulse.lag_p50_ns, pulse.lag_max_ns) == (NS_PER_MS, NS_PER_MS)
    assert (pulse.response_p50_ns, pulse.response_p99_ns) == (10 * NS_PER_MS, 20 * NS_PER_MS)
    assert (first.due, first.sent, first.done, first.errors, first.total) == (3, 3, 2, 1, 4)
    script.end(2, 1_100 * NS_PER_MS, outcome=Outcome.TIMEOUT)
    script.send(3)
    script.end(3, 1_700 * NS_PER_MS)
    second = meter.read(2 * NS_PER_S + LATE_NS // 2)
    pulse = meter.pulses[-1]
    assert (pulse.second, pulse.due, pulse.sent, pulse.done, pulse.errors, pulse.waiting) == (
        1,
        1,
        1,
        1,
        1,
        0,
    )
    assert (second.due, second.sent, second.done, second.errors, second.dropped) == (4, 4, 3, 2, 0)
    assert second.pulse == pulse


def test_nothing_is_counted_twice_or_missed() -> None:
    """Thousands of results in random order, read every second from two processes' cells: the sums agree."""
    rng = np.random.default_rng(7)
    total, seconds = 5_000, 8
    due_ns = np.sort(rng.integers(0, seconds * NS_PER_S, total)).tolist()
    owner = rng.integers(0, 2, total)
    script = Script(schedule_of(due_ns), [np.flatnonzero(owner == number) for number in range(2)])
    meter = Meter(script.schedule, script.board.shares)
    events = []
    outcomes = rng.choice([Outcome.COMPLETED] * 8 + [Outcome.RESET, Outcome.DROPPED], total)
    for row, outcome in enumerate(outcomes.tolist()):
        if outcome == Outcome.DROPPED:
            events.append((due_ns[row], row, outcome, NEVER_NS))
            continue
        done_ns = due_ns[row] + int(rng.integers(NS_PER_MS, 3 * NS_PER_S))
        events += [(due_ns[row], row, None, 0), (done_ns, row, outcome, done_ns)]
    events.sort(key=lambda event: event[0])
    for second in range(seconds + 4):
        while events and events[0][0] < (second + 1) * NS_PER_S:
            _, row, outcome, done_ns = events.pop(0)
            if outcome is None:
                script.send(row, lag_ns=1000)
            else:
                script.end(row, done_ns, outcome=Outcome(outcome))
        reading = meter.read((second + 1) * NS_PER_S + LATE_NS // 2)
    assert not events
    assert len(meter.pulses) == seconds + 4
    counts = {outcome: int((outcomes == outcome).sum()) for outcome in Outcome}
    sent = total - counts[Outcome.DROPPED]
    assert (reading.due, reading.sent) == (total, sent)
    assert (reading.done, reading.errors) == (counts[Outcome.COMPLETED], counts[Outcome.RESET])
    assert (reading.dropped, reading.waiting) == (counts[Outcome.DROPPED], 0)
    assert sum(pulse.sent for pulse in meter.pulses) == sent
    assert sum(pulse.done for pulse in meter.pulses) == reading.done


def test_what_waits_is_counted_at_the_end_of_the_second() -> None:
    """Not when it is read: an answer that came meanwhile was waited for."""
    script = Script(schedule_of([0, 999 * NS_PER_MS, NS_PER_S]))
    meter = Meter(script.schedule, script.board.shares)
    for row, done_ns in enumerate((NS_PER_MS, 1_010 * NS_PER_MS, 1_020 * NS_PER_MS)):
        script.send(row)
        script.end(row, done_ns)
    meter.read(2 * NS_PER_S + LATE_NS // 2)
    assert [pulse.waiting for pulse in meter.pulses] == [1, 0]


def test_a_chained_exchange_counts_from_when_it_had_what_it_needed() -> None:
    """Its wait is none of our lag, nor of the target's response time."""
    script = Script(schedule_of([0, 100 * NS_PER_MS]))
    meter = Meter(script.schedule, script.board.shares)
    script.send(1, lag_ns=2_000, waited_ns=1_500 * NS_PER_MS)
    script.end(1, 1_650 * NS_PER_MS)
    meter.read(2 * NS_PER_S + LATE_NS // 2)
    assert [pulse.due for pulse in meter.pulses] == [2, 0]
    assert [pulse.sent for pulse in meter.pulses] == [0, 1]
    assert meter.pulses[1].lag_max_ns == 2_000
    assert meter.pulses[1].response_p50_ns == 50 * NS_PER_MS


def test_a_stream_counts_when_it_ends() -> None:
    """It is timed by its head, which came seconds before; until it ends it waits, and then it counts once."""
    script = Script(schedule_of([0, 5 * NS_PER_S]))
    meter = Meter(script.schedule, script.board.shares)
    script.send(0)
    meter.read(3 * NS_PER_S + LATE_NS // 2)
    script.end(0, 20 * NS_PER_MS)
    meter.read(4 * NS_PER_S + LATE_NS // 2)
    reading = meter.end(5 * NS_PER_S)
    assert [pulse.done for pulse in meter.pulses[:4]] == [0, 0, 0, 1]
    assert [pulse.waiting for pulse in meter.pulses[:4]] == [1, 1, 1, 0]
    assert (reading.done, reading.errors) == (1, 0)


def test_a_second_is_read_once_its_results_are_written() -> None:
    """Not at its very end: whoever sends may be a moment late in writing."""
    script = Script(schedule_of([0]))
    meter = Meter(script.schedule, script.board.shares)
    assert meter.read(-NS_PER_S).pulse is None
    assert meter.read(NS_PER_S).pulse is None
    assert meter.read(meter.next_ns).pulse is not None
    assert meter.next_ns > 2 * NS_PER_S


def test_quantiles_of_the_whole_run_are_near_the_exact_ones() -> None:
    """They are of bins, within three hundredths; the maximum is exact."""
    rng = np.random.default_rng(3)
    times_ns = (rng.lognormal(0, 1.5, 20_000) * 5 * NS_PER_MS).astype(np.int64)
    script = Script(schedule_of(np.arange(20_000).tolist()))
    meter = Meter(script.schedule, script.board.shares)
    for row, time_ns in enumerate(times_ns.tolist()):
        script.send(row, lag_ns=time_ns)
        script.end(row, row + time_ns)
    reading = meter.read(60 * NS_PER_S)
    assert reading.response_p50_ns == pytest.approx(np.quantile(times_ns, 0.5), rel=0.03)
    assert reading.response_p99_ns == pytest.approx(np.quantile(times_ns, 0.99), rel=0.03)
    assert reading.lag_max_ns == times_ns.max()


def test_stages_are_told_apart_by_when_an_exchange_was_due() -> None:
    """A response that comes in a later stage is one of the stage that asked for it."""
    stages = parse_stages("1x:1s,ramp 2x-4x:2s")
    script = Script(schedule_of([0, 900 * NS_PER_MS, 1_200 * NS_PER_MS], Load(stages=stages)))
    meter = Meter(script.schedule, script.board.shares)
    for row, time_ns in enumerate((10 * NS_PER_MS, 700 * NS_PER_MS, 20 * NS_PER_MS)):
        script.send(row)
        script.end(row, int(script.schedule.due_ns[row]) + time_ns, status=500 if row == 1 else 200)
    first, second = meter.read(4 * NS_PER_S).stages
    assert (first.name, first.total, first.sent, first.errors) == ("1x", 2, 2, 1)
    assert (second.name, second.total, second.sent, second.errors) == ("ramp 2x-4x", 1, 1, 0)
    assert first.response_p50_ns == pytest.approx(10 * NS_PER_MS, rel=0.03)
    assert first.response_p99_ns == pytest.approx(700 * NS_PER_MS, rel=0.03)
    assert second.response_p50_ns == pytest.approx(20 * NS_PER_MS, rel=0.03)


def test_the_end_of_a_run_counts_without_being_a_second() -> None:
    """Totals are of all there was; half a second makes no rate."""
    script = Script(schedule_of([0, 1_200 * NS_PER_MS]))
    meter = Meter(script.schedule, script.board.shares)
    for row in range(2):
        script.send(row)
        script.end(row, int(script.schedule.due_ns[row]) + NS_PER_MS)
    reading = meter.end(1_300 * NS_PER_MS)
    assert (reading.due, reading.sent, reading.done, reading.waiting) == (2, 2, 2, 0)
    assert [pulse.second for pulse in meter.pulses] == [0]
