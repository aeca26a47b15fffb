"""Runs come back as they were; damage is named, never read as numbers."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.columns import MAX_ROWS, pack_columns
from captures.errors import CaptureError, UsageError
from captures.frames import RUN_MAGIC, BlockPacker, BlockType, pack_file_header, pack_trailer
from captures.migrate import RUN_VERSION, Migration
from replayer import results
from replayer.host import HostFacts
from replayer.results import Limits, Outcome, Run, RunHeader, RunRows, read_run, write_run


def make_run(rows: int = 5) -> Run:
    times = np.arange(rows, dtype=np.int64) * 1000
    return Run(
        header=RunHeader(
            run_id="ab" * 16, capture_id="cd" * 16, target="http://127.0.0.1:1",
            speed="3/2x", load="all of it",
            started_wall_ns=9,
            tool="hookreel 0", schedule_hash="h", endpoints=("GET /", "POST /x"),
            limits=Limits(rate_error=0.1),
            invalid_reasons=("Too late.",), notes=("A note.",), interrupted=True,
        ),
        rows=RunRows(
            seq=times, endpoint=np.arange(rows, dtype=np.uint32) % 2, connection=np.zeros(rows, np.uint32),
            due_ns=times, sent_ns=times + 7, first_byte_ns=times + 8, done_ns=np.full(rows, -1),
            status=np.full(rows, 202, np.uint16), recorded_status=np.zeros(rows, np.uint16),
            instance=np.arange(rows, dtype=np.uint32),
            waited_ns=np.zeros(rows, np.int64),
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


def craft(path: Path, change: Callable[[dict[str, Any]], object], *, copies: int = 1, rows: int = 5) -> Path:
    """A run of sound blocks whose header ``change`` got, with its columns ``copies`` times."""
    packer = BlockPacker()
    run = make_run(rows)
    values = asdict(run.header)
    change(values)
    columns = pack_columns({name: getattr(run.rows, name) for name in RunRows.__slots__})
    content = pack_file_header(RUN_MAGIC, RUN_VERSION, b"i" * 16)
    content += packer.pack(BlockType.META, msgpack.packb(values))
    for _ in range(copies):
        content += packer.pack(BlockType.COLUMNS, columns, rows=rows, compress=False)
    path.write_bytes(content + pack_trailer(len(content), 0))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"started_wall_ns": float("inf")}, {"started_wall_ns": 2**64 - 1}, {"started_wall_ns": "9" * 5000},
        {"interrupted": 1}, {"endpoints": "GET"}, {"endpoints": [5]}, {"notes": None}, {"speed": 2},
        {"limits": {"lag_p99_ns": "soon"}}, {"limits": {"lag_p99_ns": 1.5}}, {"limits": {"rate_error": None}},
        {"limits": {"rate_error": float("nan")}}, {"limits": [1]}, {"limits": {"lag_max_ns": True}},
        {"kept": {}}, {"kept": 1}, {"anonymized": {"policy": 1, "key_fingerprint": "a"}},
        {"anonymized": {"policy": "a", "key_fingerprint": "a", "audit_passed": 1}}, {"capture_problems": [1]},
        {"services": ["a.test"] * 7}, {"services": None}, {"services": [1]},
        {"host": {}}, {"host": 1}, {"host": {"cpu_model": "x", "cores": "2", "kernel": "k", "python": "3"}},
        {"host": {"cpu_model": "x", "cores": 2, "kernel": None, "python": "3"}},
    ],
)  # fmt: skip
def test_a_header_of_other_types_is_a_capture_error(tmp_path: Path, change: dict[str, Any]) -> None:
    """Nothing is turned into what it should be; it is of its type or the run is damaged."""
    assert len(read_run(craft(tmp_path / "a.run", lambda _values: None)).rows) == 5
    with pytest.raises(CaptureError, match="header block"):
        read_run(craft(tmp_path / "b.run", lambda values: values.update(change)))


def test_more_rows_than_a_file_can_hold_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    """Hundreds of blocks of a million rows in a small file are a bomb."""
    path = craft(tmp_path / "a.run", lambda _values: None)
    content = path.read_bytes()
    packer = BlockPacker(first_number=1)
    zeros = pack_columns({name: np.zeros(MAX_ROWS, dtype) for name, dtype in results._COLUMN_TYPES.items()})
    body = content[:-24] + b"".join(
        packer.pack(BlockType.COLUMNS, zeros, rows=MAX_ROWS, compress=False) for _ in range(40)
    )
    path.write_bytes(body + pack_trailer(len(body), 0))
    with pytest.raises(CaptureError, match="damaged or cut"):
        read_run(path)


HOSTILE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_a_sound_header_only_capture_errors_come(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Any value at any place of the header, its limits included."""

    def change(values: dict[str, Any]) -> None:
        inside = values["limits"] if data.draw(st.booleans()) else values
        inside[data.draw(st.sampled_from(sorted(inside)))] = data.draw(HOSTILE)

    with contextlib.suppress(CaptureError):
        assert len(read_run(craft(tmp_path / "a.run", change)).rows) == 5


def test_an_old_runs_columns_are_read_as_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that was renamed since is found."""
    path = tmp_path / "a.run"
    original = results.pack_columns
    with monkeypatch.context() as old:
        old.setattr(
            results,
            "pack_columns",
            lambda columns: original({"begin_ns" if n == "sent_ns" else n: c for n, c in columns.items()}),
        )
        write_run(path, make_run())
    with pytest.raises(CaptureError):
        read_run(path)
    rename = Migration(columns=lambda v: {"sent_ns" if n == "begin_ns" else n: c for n, c in v.items()})
    monkeypatch.setattr(results, "RUN_VERSION", RUN_VERSION + 1)
    monkeypatch.setattr(results, "RUN_MIGRATIONS", {RUN_VERSION: rename})
    assert same(read_run(path), make_run())


def test_a_run_of_the_first_version_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before copies and loops every row was of the first pass, and the speed was the load."""
    path = tmp_path / "a.run"
    original_columns, original_header = results.pack_columns, results.asdict
    with monkeypatch.context() as old:
        old.setattr(results, "RUN_VERSION", 1)
        old.setattr(
            results,
            "pack_columns",
            lambda columns: original_columns({n: c for n, c in columns.items() if n != "instance"}),
        )
        old.setattr(
            results,
            "asdict",
            lambda header: {n: v for n, v in original_header(header).items() if n != "load"},
        )
        write_run(path, make_run())
    read, written = read_run(path), make_run()
    assert read.header == replace(written.header, load="time compressed 3/2x")
    assert read.rows.instance.tolist() == [0] * len(written.rows)
    assert np.array_equal(read.rows.due_ns, written.rows.due_ns)


def test_a_run_of_the_third_version_is_read() -> None:
    """A file that an older release wrote: it says all it said, and not which machine sent."""
    read = read_run(Path(__file__).parent / "data" / "version-3.run")
    assert same(read, make_run())
    assert read.header.host is None
    assert [kept.body for kept in read.kept.values()] == [b"kept"]


def test_the_machine_that_sent_comes_back(tmp_path: Path) -> None:
    """Processor, cores, kernel and Python."""
    host = HostFacts(cpu_model="AMD EPYC", cores=2, kernel="Linux 6.18.3", python="3.13.5")
    run = make_run()
    run = replace(run, header=replace(run.header, host=host))
    write_run(tmp_path / "a.run", run)
    assert read_run(tmp_path / "a.run").header.host == host


def test_a_run_of_the_second_version_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before responses were kept there were none, provenance stood in a note, and there was one target."""
    path = tmp_path / "a.run"
    original, new = results.asdict, {"kept", "anonymized", "capture_problems", "services"}
    with monkeypatch.context() as old:
        old.setattr(results, "RUN_VERSION", 2)
        old.setattr(
            results, "asdict", lambda header: {n: v for n, v in original(header).items() if n not in new}
        )
        write_run(path, make_run())
    read = read_run(path)
    assert same(read, make_run())
    assert len(read.kept) == 0
