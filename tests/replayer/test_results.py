"""Runs come back as they were; damage is named, never read as numbers."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.errors import CaptureError, UsageError
from captures.frames import RUN_MAGIC, BlockPacker, BlockType, pack_file_header, pack_trailer
from replayer import results
from replayer.results import Limits, Outcome, Run, RunHeader, RunRows, read_run, write_run


def make_run(rows: int = 5) -> Run:
    times = np.arange(rows, dtype=np.int64) * 1000
    return Run(
        header=RunHeader(
            run_id="ab" * 16, capture_id="cd" * 16, target="http://127.0.0.1:1", speed="3/2x",
            started_wall_ns=9,
            tool="hookreel 0", schedule_hash="h", endpoints=("GET /", "POST /x"),
            limits=Limits(rate_error=0.1),
            invalid_reasons=("Too late.",), notes=("A note.",), interrupted=True,
        ),
        rows=RunRows(
            seq=times, endpoint=np.arange(rows, dtype=np.uint32) % 2, connection=np.zeros(rows, np.uint32),
            due_ns=times, sent_ns=times + 7, first_byte_ns=times + 8, done_ns=np.full(rows, -1),
            status=np.full(rows, 202, np.uint16), recorded_status=np.zeros(rows, np.uint16),
            outcome=np.full(rows, Outcome.TIMEOUT, np.uint8), response_bytes=np.full(rows, 9, np.uint32),
        ),
    )  # fmt: skip


def same(one: Run, other: Run) -> bool:
    names = RunRows.__slots__
    return one.header == other.header and all(
        np.array_equal(getattr(one.rows, name), getattr(other.rows, name)) for name in names
    )


@pytest.mark.parametrize("rows", [0, 1, 25])
def test_a_run_comes_back(tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Header and every column survive, over several column blocks too; the file is private."""
    monkeypatch.setattr(results, "MAX_ROWS", 10)
    run = make_run(rows)
    write_run(tmp_path / "a.run", run)
    assert same(read_run(tmp_path / "a.run"), run)
    assert stat.S_IMODE((tmp_path / "a.run").stat().st_mode) == 0o600
    assert not run.valid


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """A run is evidence: it is never replaced by accident."""
    write_run(tmp_path / "a.run", make_run())
    with pytest.raises(UsageError, match="exists already"):
        write_run(tmp_path / "a.run", make_run())


@given(st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_run_is_a_capture_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut or changed anywhere, a run raises CaptureError, or reads exactly as it was."""
    path = tmp_path_factory.mktemp("r") / "a.run"
    run = make_run()
    write_run(path, run)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(CaptureError):
        assert same(read_run(path), run)


@given(st.binary(max_size=500))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_are_a_capture_error(tmp_path: Path, data: bytes) -> None:
    """Random bytes, alone or inside a sound container, raise CaptureError and nothing else."""
    path = tmp_path / "random.run"
    path.write_bytes(data)
    with pytest.raises(CaptureError):
        read_run(path)
    packer = BlockPacker()
    content = pack_file_header(RUN_MAGIC, 1, b"i" * 16) + packer.pack(BlockType.META, data)
    content += packer.pack(BlockType.COLUMNS, data, rows=3)
    path.write_bytes(content + pack_trailer(len(content), 0))
    with pytest.raises(CaptureError):
        read_run(path)


@pytest.mark.parametrize(
    "change",
    [lambda v: v.pop("limits"), lambda v: v.update(limits={"x": 1}), lambda v: v.update(endpoints=[])],
)
def test_a_header_that_does_not_fit_is_a_capture_error(tmp_path: Path, change: Callable[..., object]) -> None:
    """Missing and foreign fields, and endpoints that rows name and the header lacks, are refused."""
    path = tmp_path / "a.run"
    write_run(path, make_run())
    content = path.read_bytes()
    packer = BlockPacker()
    run = make_run()
    from dataclasses import asdict

    values = asdict(run.header)
    change(values)
    head = pack_file_header(RUN_MAGIC, 1, b"i" * 16) + packer.pack(BlockType.META, msgpack.packb(values))
    old_meta = len(BlockPacker().pack(BlockType.META, msgpack.packb(asdict(run.header))))
    blocks = head + content[64 + old_meta : -24]
    path.write_bytes(blocks + pack_trailer(len(blocks), 0))
    with pytest.raises(CaptureError):
        read_run(path)


def test_an_absent_run_is_a_usage_error(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(UsageError, match=r"absent\.run"):
        read_run(tmp_path / "absent.run")
