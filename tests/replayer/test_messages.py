"""The messages of a run: rows, and what a file may not claim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from captures.columns import ColumnBlock, pack_columns
from captures.errors import CaptureError
from replayer.messages import NEVER_NS, MessageLog, build_messages, joined_messages, message_columns


def log() -> MessageLog:
    made = MessageLog()
    made.sent(0, 100, 130, 5)
    made.heard(1, 150, 2**40)
    made.sent(1, 200, NEVER_NS, 7)
    return made


def test_lag_is_that_of_what_was_sent() -> None:
    """Neither a server's message nor one that never went has any; sizes are capped, not wrapped."""
    rows = log().rows()
    assert rows.lag_ns.tolist() == [30]
    assert rows.from_client.tolist() == [1, 0, 1]
    assert rows.size_bytes.tolist() == [5, 2**32 - 1, 7]
    assert len(joined_messages([rows, rows])) == 6


def test_rows_survive_being_stored() -> None:
    """What is built from the stored columns is what was stored."""
    rows = log().rows()
    blocks = [ColumnBlock(pack_columns(chunk), len(rows)) for chunk in message_columns(rows)]
    again = build_messages(blocks, 2)
    assert again.at_ns.tolist() == rows.at_ns.tolist()
    assert again.cause.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("column", ["stream", "cause"])
def test_a_row_that_is_not_there_is_damage(column: str) -> None:
    """A message of an exchange that the run does not hold is refused."""
    changed: dict[str, Any] = {column: np.array([0, 1, 2], np.int64)}
    rows = replace(log().rows(), **changed)
    blocks = [ColumnBlock(pack_columns(chunk), len(rows)) for chunk in message_columns(rows)]
    with pytest.raises(CaptureError, match="name an exchange that is not there"):
        build_messages(blocks, 2)
