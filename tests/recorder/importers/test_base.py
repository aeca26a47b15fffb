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
    contents = (
        TEXT,
        gzip.compress(TEXT, mtime=0),
        gzip.compress(TEXT[:half], mtime=0) + gzip.compress(TEXT[half:], mtime=0),
    )
    for content in contents:
        path = tmp_path / "x"
        path.write_bytes(content)
        with open_bytes(path) as file:
            parts = [file.read(7), file.read(100_000)]
            while data := file.read(65_536):
                parts.append(data)
        assert b"".join(parts) == TEXT


ZIPPED = gzip.compress(TEXT, mtime=0)
STORED = gzip.compress(TEXT, 0, mtime=0)
CUT, DAMAGED = "gzip file that is cut, read up to there", "gzip file that is damaged, read up to there"


def unzipped(path: Path, content: bytes) -> tuple[bytes, list[str]]:
    path.write_bytes(content)
    tally = Tally()
    with open_bytes(path, tally) as file:
        return file.read(), list(tally.remarks.elements())


@pytest.mark.parametrize(
    ("content", "least_bytes", "why"),
    [
        (ZIPPED[: len(ZIPPED) // 2], len(TEXT) // 3, CUT),
        (STORED[:-1000] + b"\0" + STORED[-999:], len(TEXT) - 1000, DAMAGED),
        (ZIPPED[:-1], len(TEXT), CUT),
        (ZIPPED[:-8] + bytes(8), len(TEXT), DAMAGED),
        (gzip.compress(b"short", mtime=0)[:-8] + bytes(8), 5, DAMAGED),
        (ZIPPED + b"trailing junk", len(TEXT), DAMAGED),
        (ZIPPED + ZIPPED[:100], len(TEXT), CUT),
    ],
    ids=["half", "overwritten", "cut end", "checksum", "short", "junk behind", "second member cut"],
)
def test_damaged_gzip_gives_all_that_came_before(
    tmp_path: Path, content: bytes, least_bytes: int, why: str
) -> None:
    """Where a gzip file is cut or changed its contents end, without an error, and that is told."""
    got, remarks = unzipped(tmp_path / "x", content)
    assert len(got) >= least_bytes
    assert got[:least_bytes] == (TEXT if len(got) > 5 else b"short")[:least_bytes]
    assert remarks == [why]


@pytest.mark.parametrize("behind", [b"", bytes(700), bytes(70_000), bytes(9) + ZIPPED])
def test_zeros_behind_gzip_are_no_damage(tmp_path: Path, behind: bytes) -> None:
    """Some tools fill a file with zeros up to a size."""
    assert unzipped(tmp_path / "x", ZIPPED + behind) == (TEXT * (2 if behind.endswith(ZIPPED) else 1), [])


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
