"""Older files are read through one-step migrations."""

from __future__ import annotations

from pathlib import Path

import pytest

from captures import reader as reader_module
from captures import writer as writer_module
from captures.errors import CaptureError
from captures.migrate import CAPTURE_VERSION, Migration, MigrationPath
from captures.reader import CaptureReader


def test_steps_are_applied_in_order() -> None:
    """A file two versions old goes through both steps, oldest first."""
    table = {
        1: Migration(exchange=lambda row: (*row, "1to2")),
        2: Migration(exchange=lambda row: (*row, "2to3"), header=lambda values: {**values, "new": 0}),
    }
    path = MigrationPath(version=1, current=3, table=table)
    assert path.needed
    assert path.exchange(("row",)) == ("row", "1to2", "2to3")
    assert path.message(("kept",)) == ("kept",)
    assert path.header({"old": 1}) == {"old": 1, "new": 0}
    assert path.counters({"seen": 1}) == {"seen": 1}


def test_a_missing_step_is_an_error() -> None:
    """A version that no step leads away from is refused in one sentence."""
    with pytest.raises(CaptureError, match="older hookreel"):
        MigrationPath(version=1, current=3, table={2: Migration()})
    with pytest.raises(CaptureError):
        MigrationPath(version=0, current=1, table={})


def test_an_old_capture_is_read_as_a_new_one(
    write_capture, make_exchange, monkeypatch, tmp_path: Path
) -> None:
    """A whole file of the version before, with swapped fields, reads as if it were current."""
    exchange = make_exchange(5, 50)
    original = writer_module.exchange_row
    monkeypatch.setattr(writer_module, "exchange_row", lambda e: original(e)[::-1])
    path = write_capture([exchange])
    monkeypatch.setattr(reader_module, "CAPTURE_VERSION", CAPTURE_VERSION + 1)
    monkeypatch.setattr(
        reader_module, "CAPTURE_MIGRATIONS", {CAPTURE_VERSION: Migration(exchange=lambda row: row[::-1])}
    )
    with CaptureReader.open(path) as reader:
        assert list(reader.exchanges()) == [exchange]
        assert [row.exchange() for row in reader.rows()] == [exchange]
