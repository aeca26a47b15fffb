"""Rows that find no connection free: how long they wait, and which may be taken without a thought."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from replayer.backlog import Backlog, Patience
from replayer.compile import Trait, Window


class Told:
    """Columns, as far as patience looks at them."""

    def __init__(self) -> None:
        self.unfinished = 10
        self.time_ns = 1_000_000

    def now_ns(self) -> int:
        return self.time_ns


def test_a_row_on_time_waits_for_two_looks() -> None:
    """Two looks at the sockets in vain, then a connection is opened, whatever else was answered meanwhile."""
    told = Told()
    patience = Patience(told)
    assert [patience.until_ns(late=False) for _ in range(3)] == [0, 0, None]
    assert patience.until_ns(late=False) == 0
    told.unfinished -= 1
    assert [patience.until_ns(late=False) for _ in range(2)] == [0, None]
    assert patience.until_ns(late=False) == 0
    patience.begin()
    assert [patience.until_ns(late=False) for _ in range(3)] == [0, 0, None]


def test_a_late_row_waits_while_responses_come() -> None:
    """A connection is opened a tenth of a millisecond after the last response, and the next one likewise."""
    told = Told()
    patience = Patience(told)
    assert patience.until_ns(late=True) == 1_100_000
    told.time_ns = 1_050_000
    assert patience.until_ns(late=True) == 1_100_000
    told.unfinished -= 1
    assert patience.until_ns(late=True) == 1_150_000
    told.time_ns = 1_150_000
    assert patience.until_ns(late=True) is None
    assert patience.until_ns(late=True) == 1_250_000


@pytest.mark.parametrize(
    ("special", "late_ns", "stop"), [(None, 50, 14), (13, 50, 13), (11, 50, 11), (None, 3, 13), (None, 0, 12)]
)
def test_rows_line_up_as_far_as_they_are_alike(special: int | None, late_ns: int, stop: int) -> None:
    """Late rows of the window, up to the first that needs more than its bytes."""
    traits = bytearray(4)
    if special is not None:
        traits[special - 10] = Trait.HEAD
    window = Window(
        first=10,
        wires=memoryview(b"abcd"),
        bounds=array("Q", range(5)),
        traits=bytes(traits),
        unsigned={},
        chained={},
        stream_ns={},
        server_names=(),
    )
    due_ns = np.array([0] * 12 + [2, 4, 6], np.int64).data
    backlog = Backlog(row=11)
    backlog.line_up(window, due_ns, late_ns, [])
    assert max(backlog.row, backlog.stop) == stop
    assert bytes(backlog.wires[backlog.bounds[1] : backlog.bounds[2]]) == b"b"
