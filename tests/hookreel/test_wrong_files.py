"""Every command that reads a file says the same of one that it cannot read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from captures.frames import RUN_MAGIC, pack_file_header
from hookreel.cli import cli

READING = [
    "info FILE",
    "info FILE --json",
    "cat FILE",
    "cat FILE --follow",
    "verify FILE",
    "verify FILE --salvage OUT",
    "slice FILE -o OUT",
    "merge FILE -o OUT",
    "export FILE --format jsonl -o OUT",
    "export FILE --format har -o OUT",
    "anonymize FILE -o OUT",
    "audit FILE FILE",
    "replay FILE --target http://127.0.0.1:9 --dry-run",
    "replay FILE --target http://127.0.0.1:9 -o OUT",
]


@pytest.fixture
def file_of(capture: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Files that are no capture, each in its own way."""

    def make(kind: str) -> Path:
        path = tmp_path / kind
        whole = capture.read_bytes()
        if kind == "folder":
            path.mkdir()
        elif kind != "absent":
            path.write_bytes(
                {
                    "run": pack_file_header(RUN_MAGIC, 1, bytes(16)) + bytes(500),
                    "har": b'{"log": {"version": "1.2", "entries": []}}',
                    "cut": whole[:40],
                    "empty": b"",
                    "flipped": whole[:30] + b"?" + whole[31:],
                }[kind]
            )
        return path

    return make


@pytest.mark.parametrize("command", READING)
@pytest.mark.parametrize(
    ("kind", "exit_code", "said"),
    [
        ("run", 2, "run is a run, not a capture; give the capture that was replayed."),
        ("har", 2, "har is not a capture; give a file that hookreel record or hookreel import wrote."),
        ("cut", 1, "cut ends within its first 64 bytes; give an undamaged copy."),
        ("empty", 1, "empty is empty; give an undamaged copy."),
        ("flipped", 1, "The first 64 bytes of flipped are damaged; give an undamaged copy."),
        ("folder", 2, "folder is a folder; give a capture."),
        ("absent", 2, "absent cannot be read (No such file or directory); give a capture that exists."),
    ],
)
def test_every_command_says_the_same_of_a_wrong_file(
    file_of: Callable[[str], Path], tmp_path: Path, command: str, kind: str, exit_code: int, said: str
) -> None:
    """One sentence; 2 for a file of another kind, 1 for a damaged one; nothing is left behind."""
    file, out = file_of(kind), tmp_path / "out"
    words = command.replace("FILE", str(file)).replace("OUT", str(out)).split()
    before = set(tmp_path.iterdir())
    result = CliRunner().invoke(cli, words)
    assert (result.exit_code, result.stderr.replace(f"{tmp_path}/", "")) == (exit_code, f"Error: {said}\n")
    assert result.stdout == ""
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("kind", "exit_code", "said"),
    [
        ("capture", 2, "is a capture, not a run; give a file that hookreel replay wrote."),
        ("har", 2, "is not a run; give a file that hookreel replay wrote."),
        ("empty", 1, "is empty; give an undamaged copy."),
        ("absent", 2, "cannot be read (No such file or directory)"),
    ],
)
def test_diff_says_what_is_no_run(
    file_of: Callable[[str], Path], capture: Path, kind: str, exit_code: int, said: str
) -> None:
    """A capture in place of a run is the likely mistake, and is named."""
    file = capture if kind == "capture" else file_of(kind)
    result = CliRunner().invoke(cli, ["diff", str(file), str(file)])
    assert result.exit_code == exit_code
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
