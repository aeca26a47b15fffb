from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.errors import UsageError
from recorder.importers.base import Tally, open_bytes

TEXT = b"".join(b"line %d\n" % number for number in range(50_000))


def test_plain_and_gzip_files_read_the_same(tmp_path: Path) -> None:
    """A gzip file, of one member or several, gives what was put into it, in any portions."""
    half = len(TEXT) // 2
    contents = (TEXT, gzip.compress(TEXT), gzip.compress(TEXT[:half]) + gzip.compress(TEXT[half:]))
    for content in contents:
        path = tmp_path / "x"
        path.write_bytes(content)
        with open_bytes(path) as file:
            parts = [file.read(7), file.read(100_000)]
            while data := file.read(65_536):
                parts.append(data)
        assert b"".join(parts) == TEXT


def test_damaged_gzip_gives_what_came_before(tmp_path: Path) -> None:
    """Where a gzip file is cut or changed its contents end, without an error."""
    whole = gzip.compress(TEXT)
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 0xFF
    for content in (whole[: len(whole) // 2], bytes(changed), whole + b"trailing junk"):
        path = tmp_path / "x"
        path.write_bytes(content)
        with open_bytes(path) as file:
            got = file.read()
        assert got[:1000] == TEXT[:1000]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60))
def test_any_bytes_behind_a_gzip_magic_end(tmp_path: Path, content: bytes) -> None:
    """Reading never raises on what only starts like gzip."""
    path = tmp_path / "x"
    path.write_bytes(b"\x1f\x8b\x08" + content)
    with open_bytes(path) as file:
        assert isinstance(file.read(), bytes)


def test_absent_file(tmp_path: Path) -> None:
    """A file that is not there is a usage error."""
    with pytest.raises(UsageError, match="cannot be read"):
        open_bytes(tmp_path / "none")


def test_tally_adds_up() -> None:
    """What is dropped counts as an exchange, what is remarked does not."""
    tally = Tally()
    tally.drop("no request", 2)
    tally.remark("made up")
    assert (tally.dropped, tally.in_flight) == (2, 0)
    assert tally.remarks == {"no request": 2, "made up": 1}
