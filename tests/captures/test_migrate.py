"""Older files are read through one-step migrations."""

from __future__ import annotations

from pathlib import Path

import pytest

from captures import handle as handle_module
from captures import index as index_module
from captures import writer as writer_module
from captures.errors import CaptureError
from captures.migrate import CAPTURE_VERSION, Map, Migration, MigrationPath
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
    monkeypatch.setattr(handle_module, "CAPTURE_VERSION", CAPTURE_VERSION + 1)
    monkeypatch.setattr(
        handle_module, "CAPTURE_MIGRATIONS", {CAPTURE_VERSION: Migration(exchange=lambda row: row[::-1])}
    )
    with CaptureReader.open(path) as reader:
        assert list(reader.exchanges()) == [exchange]
        assert [row.exchange() for row in reader.rows()] == [exchange]


def test_an_old_index_and_footer_are_read_as_new_ones(write_capture, make_exchange, monkeypatch) -> None:
    """A column and a footer entry that were renamed since are found, with and without the footer."""
    exchange = make_exchange(5, 50)

    def columns(values: Map) -> Map:
        return {"offset_ns" if name == "begin_ns" else name: value for name, value in values.items()}

    def footer(values: Map) -> Map:
        return {"index" if name == "indexes" else name: value for name, value in values.items()}

    old_columns = index_module.pack_columns
    monkeypatch.setattr(
        index_module,
        "pack_columns",
        lambda arrays: old_columns({"begin_ns" if n == "offset_ns" else n: a for n, a in arrays.items()}),
    )
    old_packb = writer_module.msgpack.packb
    monkeypatch.setattr(
        writer_module.msgpack,
        "packb",
        lambda value: old_packb(
            {"indexes" if name == "index" else name: entry for name, entry in value.items()}
            if isinstance(value, dict)
            else value
        ),
    )
    path = write_capture([exchange], name="old.reel")
    monkeypatch.undo()
    with pytest.raises(CaptureError), CaptureReader.open(path) as reader:
        list(reader.exchanges())
    monkeypatch.setattr(handle_module, "CAPTURE_VERSION", CAPTURE_VERSION + 1)
    monkeypatch.setattr(
        handle_module, "CAPTURE_MIGRATIONS", {CAPTURE_VERSION: Migration(columns=columns, footer=footer)}
    )
    with CaptureReader.open(path) as reader:
        assert list(reader.exchanges()) == [exchange]
        assert reader.index.offset_ns.tolist() == [50]
    path.write_bytes(path.read_bytes()[:-24])  # as if it had been killed just before the end
    with CaptureReader.open(path) as reader:
        assert list(reader.exchanges()) == [exchange]


def test_what_is_not_of_its_version_is_a_capture_error() -> None:
    """A step that does not find what its version must have does not fail in its own way."""
    table = {1: Migration(footer=lambda values: {"new": values["old"]}, exchange=lambda row: (row[5],))}
    path = MigrationPath(version=1, current=2, table=table)
    with pytest.raises(CaptureError):
        path.footer({})
    with pytest.raises(CaptureError):
        path.exchange(())
