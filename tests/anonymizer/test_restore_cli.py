"""What goes wrong when a capture is restored: one sentence, the right exit code, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from anonymizer import cli
from anonymizer.restore_cli import restore
from captures.errors import HookreelError
from captures.writer import CaptureWriter, new_header


@dataclass(kw_only=True)
class Given:
    """What is named on the command line."""

    capture: Path
    vault: Path
    key: Path
    output: Path

    def arguments(self) -> list[str]:
        """In their order."""
        named = ["--vault", self.vault, "--vault-key", self.key, "-o", self.output]
        return [str(self.capture), *map(str, named)]


@pytest.fixture
def folder(tmp_path: Path, make_exchange: Any) -> Path:
    """Two captures, anonymized with a vault each."""
    for name in ("a", "b"):
        source = tmp_path / f"{name}.in"
        with CaptureWriter.create(source, new_header(source="x", started_wall_ns=1)) as writer:
            writer.write(make_exchange(0, body=b'{"email": "alice.anderson@corp.com"}'))
        asked = [source, "-o", tmp_path / f"{name}.reel", "--vault", tmp_path / f"{name}.vault"]
        assert CliRunner().invoke(cli.anonymize, [*map(str, asked)]).exit_code == 0
    return tmp_path


def other_key(given: Given) -> None:
    given.key = given.key.with_name("b.vault.key")


def key_of_stand_ins(given: Given) -> None:
    given.key = given.key.with_name("a.reel.key")


def absent_key(given: Given) -> None:
    given.key = given.key.with_name("none.key")


def other_vault(given: Given) -> None:
    given.vault, given.key = given.vault.with_name("b.vault"), given.key.with_name("b.vault.key")


def damaged_vault(given: Given) -> None:
    data = bytearray(given.vault.read_bytes())
    data[len(data) // 2] ^= 1
    given.vault.write_bytes(data)


def cut_vault(given: Given) -> None:
    given.vault.write_bytes(given.vault.read_bytes()[:-5])


def absent_vault(given: Given) -> None:
    given.vault = given.vault.with_name("none.vault")


def no_capture(given: Given) -> None:
    given.capture = given.vault


def existing_output(given: Given) -> None:
    given.output = given.output.with_name("b.in")


def absent_folder(given: Given) -> None:
    given.output = given.output.with_name("none") / "out.reel"


def no_folder(given: Given) -> None:
    given.output = given.output.with_name("a.in") / "out.reel"


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (other_key, 2, "has another key"),
        (key_of_stand_ins, 2, "is not a hookreel vault-key file"),
        (absent_key, 2, "cannot be read"),
        (other_vault, 2, "belongs to another capture"),
        (damaged_vault, 1, "was changed or cut"),
        (cut_vault, 1, "was changed or cut"),
        (absent_vault, 2, "cannot be read"),
        (no_capture, 2, "is not a capture"),
        (existing_output, 2, "exists already"),
        (absent_folder, 2, "does not exist"),
        (no_folder, 1, "cannot be created"),
    ],
)
def test_what_cannot_be_restored_leaves_nothing(
    folder: Path, spoil: Callable[[Given], None], code: int, words: str
) -> None:
    """The error is one sentence with what to do, and every file is as it was."""
    given = Given(
        capture=folder / "a.reel",
        vault=folder / "a.vault",
        key=folder / "a.vault.key",
        output=folder / "out.reel",
    )
    spoil(given)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    error = CliRunner().invoke(restore, given.arguments()).exception
    assert isinstance(error, HookreelError)
    assert error.exit_code == code
    assert words in str(error)
    assert "\n" not in str(error)
    assert str(error).endswith(".")
    assert "alice" not in str(error)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
