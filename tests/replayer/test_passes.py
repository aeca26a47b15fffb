"""Passes: each row gets its exchange, whatever copies and loops do to the order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from captures.errors import CaptureError
from captures.model import Exchange
from captures.reader import CaptureReader
from replayer.load import Load
from replayer.passes import exchanges_of
from replayer.schedule import build_schedule

Make = Callable[..., Exchange]
Write = Callable[..., Path]


def test_each_row_gets_its_exchange_and_its_client(exchange: Make, capture: Write) -> None:
    """Rows of overlapping copies and loops come with the seq of the row, made over for their instance."""
    path = capture([exchange(number, offset_ns=number * 10**6) for number in range(6)])
    with CaptureReader.open(path) as reader:
        schedule = build_schedule(reader.index, Load(copies=2, loops=2, stagger_ns=3 * 10**6))

        def owned(one: Exchange, instance: int) -> Exchange:
            return replace(one, connection=1000 + instance)

        found = list(exchanges_of(schedule, reader.exchanges, owned))
    assert [one.seq for one in found] == schedule.seq.tolist()
    assert [one.connection - 1000 for one in found] == schedule.instance.tolist()
    assert sorted(set(schedule.instance.tolist())) == [0, 1, 2, 3]


def test_a_pass_is_open_only_while_it_is_needed(exchange: Make, capture: Write) -> None:
    """A hundred loops after one another are never open two at a time."""
    path = capture([exchange(number, offset_ns=number * 10**6) for number in range(3)])
    opened: list[int] = []
    live: set[int] = set()
    with CaptureReader.open(path) as reader:
        schedule = build_schedule(reader.index, Load(loops=100, multiplier=Fraction(2)))

        def open_pass() -> Iterator[Exchange]:
            number = len(opened)
            opened.append(number)
            live.add(number)
            try:
                yield from reader.exchanges()
            finally:
                live.discard(number)

        for _ in exchanges_of(schedule, open_pass):
            assert len(live) == 1
    assert len(opened) == 100


def test_a_capture_that_lost_exchanges_is_told(exchange: Make, capture: Write) -> None:
    """An exchange that the index names and the capture does not hold ends it."""
    path = capture([exchange(number, offset_ns=number * 10**6) for number in range(3)])
    with CaptureReader.open(path) as reader:
        schedule = build_schedule(reader.index, Load())
        missing = (one for one in reader.exchanges() if one.seq != 1)
        with pytest.raises(CaptureError, match="verify"):
            list(exchanges_of(schedule, lambda: missing))
