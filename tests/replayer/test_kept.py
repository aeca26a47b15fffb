"""Kept responses come back by the row of their exchange; damage is named, never read as a body."""

from __future__ import annotations

import contextlib
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.columns import pack_columns
from captures.errors import CaptureError
from captures.frames import RUN_MAGIC, BlockPacker, BlockType, pack_file_header, pack_trailer
from captures.migrate import RUN_VERSION
from captures.model import Provenance
from replayer.kept import KeptFacts, KeptResponse, KeptResponses
from replayer.results import _COLUMN_TYPES, Limits, Run, RunHeader, RunRows, read_run, write_run

FACTS = KeptFacts(
    policy="mismatches,sample:1%",
    budget_bytes=1000,
    kept=3,
    over_budget=2,
    lost=1,
    anonymized=Provenance(policy="default", key_fingerprint="ab12"),
)
GZIP = KeptResponse(
    row=3,
    headers=((b"Content-Type", b"application/json"), (b"content-encoding", b"gzip")),
    body=b"\x1f\x8b\x00",
    truncated_bytes=7,
)


def made(rows: int = 9, *responses: KeptResponse) -> Run:
    columns: dict[str, Any] = {name: np.zeros(rows, dtype) for name, dtype in _COLUMN_TYPES.items()}
    return Run(
        header=RunHeader(
            run_id="ab" * 16, capture_id="cd" * 16, target="http://127.0.0.1:1", speed="1x", load="all",
            started_wall_ns=9, tool="hookreel 0", schedule_hash="h", endpoints=("GET /",), limits=Limits(),
            kept=FACTS, anonymized=Provenance(policy="p", key_fingerprint="f", audit_passed=True),
            capture_problems=("One block is missing.",),
        ),
        rows=RunRows(**columns),
        kept=KeptResponses.of(responses),
    )  # fmt: skip


def crafted(path: Path, payload: bytes, rows: int = 1) -> Path:
    """A sound run with a block of kept responses that holds ``payload``."""
    packer, run = BlockPacker(), made()
    columns = pack_columns({name: getattr(run.rows, name) for name in _COLUMN_TYPES})
    content = pack_file_header(RUN_MAGIC, RUN_VERSION, b"i" * 16)
    content += packer.pack(BlockType.META, msgpack.packb(asdict(run.header)))
    content += packer.pack(BlockType.COLUMNS, columns, rows=9, compress=False)
    content += packer.pack(BlockType.KEPT, payload, rows=rows)
    path.write_bytes(content + pack_trailer(len(content), 0))
    return path


def test_kept_responses_come_back(tmp_path: Path) -> None:
    """Headers, coded body and what is missing of it, by row, over several blocks; the file is private."""
    large = [KeptResponse(row=row, headers=(), body=bytes([row]) * 700_000) for row in (8, 5, 0)]
    write_run(tmp_path / "a.run", made(9, *large, GZIP))
    run = read_run(tmp_path / "a.run")
    assert run.header == made().header
    assert list(run.kept) == [0, 3, 5, 8]
    assert run.kept[3] == GZIP
    assert (run.kept[3].content_type, run.kept[3].content_encoding) == (b"application/json", b"gzip")
    assert [run.kept.body(row) for row in (8, 5, 0)] == [one.body for one in large]
    assert run.kept.body(1) is None
    assert run.kept.get(1) is None
    assert stat.S_IMODE((tmp_path / "a.run").stat().st_mode) == 0o600
    write_run(tmp_path / "b.run", run)  # what was read can be written again
    assert dict(read_run(tmp_path / "b.run").kept) == dict(run.kept)


def test_bodies_that_compress_well_are_no_bombs(tmp_path: Path) -> None:
    """A megabyte of zeros takes little of a file, and comes back."""
    write_run(tmp_path / "a.run", made(9, KeptResponse(row=0, headers=(), body=bytes(3_000_000))))
    assert (tmp_path / "a.run").stat().st_size < 10_000
    assert read_run(tmp_path / "a.run").kept.body(0) == bytes(3_000_000)


def test_nothing_kept_is_shown_by_repr() -> None:
    """A traceback must not quote what a target answered."""
    assert "gzip" not in repr(GZIP)
    assert "1f" not in repr(GZIP)


@pytest.mark.parametrize(
    "rows",
    [
        [[9, 0, [], b""]],  # no such row
        [[-1, 0, [], b""]], [[1, -1, [], b""]], [[1, 0, [], "text"]], [[1, 0, [[b"a"]], b""]],
        [[1, 0, [[b"a", "b"]], b""]], [[1, 0, [], b"", 1]], [[True, 0, [], b""]], {}, 5, [5],
        [[1, 0, [], b""], [1, 0, [], b""]], [],
    ],
)  # fmt: skip
def test_what_does_not_fit_is_a_capture_error(tmp_path: Path, rows: Any) -> None:
    """Rows that are not there or come twice, other types, and blocks of another length than they say."""
    count = len(rows) if rows and isinstance(rows, list) else 1
    with pytest.raises(CaptureError):
        read_run(crafted(tmp_path / "a.run", msgpack.packb(rows), count))
    good = crafted(tmp_path / "b.run", msgpack.packb([[1, 0, [[b"a", b"b"]], b"body"]]))
    assert read_run(good).kept.body(1) == b"body"


@given(st.binary(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_bytes_are_a_capture_error(tmp_path: Path, data: bytes) -> None:
    """Random bytes in a sound block raise CaptureError and nothing else."""
    with contextlib.suppress(CaptureError):
        assert len(read_run(crafted(tmp_path / "a.run", data)).kept) == 1
