"""``--identity`` and ``hookreel keygen``."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from captures.encryption import IDENTITY_VARIABLE
from captures.errors import UsageError
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header
from hookreel.identity import keygen, with_identity


@pytest.fixture
def count() -> click.Command:
    """A command that reads a capture and knows nothing of identities."""

    @click.command()
    @click.argument("capture", type=click.Path(path_type=Path))
    def count(capture: Path) -> None:
        """Count exchanges."""
        with CaptureReader.open(capture) as reader:
            click.echo(f"{len(reader)} exchanges")

    return with_identity(with_identity(count))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, str]:
    """An identity file that keygen made, and its recipient."""
    result = CliRunner().invoke(keygen, ["-o", str(tmp_path / "team.key")])
    assert result.exit_code == 0, result.output
    return tmp_path / "team.key", result.output.strip()


@pytest.fixture
def sealed(tmp_path: Path, pair: tuple[Path, str]) -> Path:
    """An empty sealed capture."""
    path = tmp_path / "sealed.reel"
    header = new_header(source="x", started_wall_ns=1)
    CaptureWriter.create(path, header, recipients=[pair[1]]).close()
    return path


def test_keygen_writes_what_age_reads(pair: tuple[Path, str]) -> None:
    """The file is private and has the form of age-keygen's; the recipient is printed."""
    path, recipient = pair
    lines = path.read_text().splitlines()
    assert lines[0] == f"# public key: {recipient}"
    assert lines[1].startswith("AGE-SECRET-KEY-1")
    assert recipient.startswith("age1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keygen_overwrites_nothing(pair: tuple[Path, str]) -> None:
    """A key that exists is never lost by making another."""
    before = pair[0].read_bytes()
    result = CliRunner().invoke(keygen, ["-o", str(pair[0])])
    assert isinstance(result.exception, UsageError)
    assert pair[0].read_bytes() == before


def test_any_command_reads_a_sealed_capture(
    count: click.Command, sealed: Path, pair: tuple[Path, str]
) -> None:
    """The option is enough, and nothing of it stays in the environment."""
    result = CliRunner().invoke(count, [str(sealed), "--identity", str(pair[0])])
    assert (result.exit_code, result.output) == (0, "0 exchanges\n")
    assert IDENTITY_VARIABLE not in os.environ


def test_the_environment_names_the_identity(
    count: click.Command, sealed: Path, pair: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the option the variable is used, and the option puts another in its place for a while."""
    monkeypatch.setenv(IDENTITY_VARIABLE, str(pair[0]))
    assert CliRunner().invoke(count, [str(sealed)]).output == "0 exchanges\n"
    result = CliRunner().invoke(count, [str(sealed), "--identity", str(pair[0])])
    assert result.exit_code == 0
    assert os.environ[IDENTITY_VARIABLE] == str(pair[0])


def test_without_an_identity_the_error_says_what_to_do(count: click.Command, sealed: Path) -> None:
    """It is a usage error that names the option."""
    result = CliRunner().invoke(count, [str(sealed)])
    assert isinstance(result.exception, UsageError)
    assert "--identity FILE" in str(result.exception)


def test_a_wrong_identity_is_told_first(count: click.Command, tmp_path: Path) -> None:
    """Even when the capture itself is absent."""
    result = CliRunner().invoke(count, ["/no/such.reel", "--identity", str(tmp_path / "absent")])
    assert isinstance(result.exception, UsageError)
    assert "identity" in str(result.exception)


def test_the_option_is_there_once(count: click.Command) -> None:
    """However often a command is loaded, its help shows the option once."""
    assert CliRunner().invoke(count, ["--help"]).output.count("--identity") == 1
