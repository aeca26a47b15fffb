"""The front door: lazy commands, one sentence an error, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from captures.errors import CaptureError, UsageError
from captures.lineage import derived_header
from captures.reader import CaptureReader
from captures.writer import CaptureWriter
from hookreel import __version__
from hookreel.cli import COMMANDS, cli

ROOT = Path(__file__).parents[2]


def run_hookreel(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hookreel", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, **options,
    )  # fmt: skip


def test_version_and_help_load_no_command() -> None:
    """--help and --version answer without importing mitmproxy, aiohttp or numpy."""
    code = (
        "import sys; from hookreel.cli import cli\n"
        "try: cli(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('mitmproxy', 'aiohttp', 'numpy') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.endswith("[]\n")
    for name, (_, sentence) in COMMANDS.items():
        assert name in result.stdout
        assert sentence[:40] in result.stdout
    assert "Exit codes: 0 good," in result.stdout
    assert run_hookreel("--version").stdout.strip() == f"hookreel, version {__version__}"


def test_an_unknown_command_is_wrong_usage() -> None:
    """Exit code 2, and no traceback."""
    result = run_hookreel("replai")
    assert result.returncode == 2
    assert "No such command" in result.stderr


@pytest.mark.parametrize(
    ("error", "exit_code", "sentence"),
    [
        (UsageError("Bad option; use another."), 2, "Error: Bad option; use another."),
        (CaptureError("Broken; mend it."), 1, "Error: Broken; mend it."),
        (OSError(28, "No space left on device", "/x"), 1, "Error: /x: No space left on device"),
        (ValueError("secret traffic"), 1, "Error: hookreel failed unexpectedly (ValueError)"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, exit_code: int, sentence: str
) -> None:
    """Each kind of error has its code; an unexpected one does not quote what it was about."""

    def fail(*_: object, **__: object) -> None:
        raise error

    failing = click.Command("info", callback=fail)
    monkeypatch.setattr("hookreel.info_cli.info", failing)
    result = CliRunner().invoke(cli, ["info"])
    assert result.exit_code == exit_code
    assert result.stderr.startswith(sentence)
    assert "Traceback" not in result.stderr
    assert "secret traffic" not in result.output
    assert isinstance(CliRunner().invoke(cli, ["--debug", "info"]).exception, type(error))


@pytest.mark.parametrize(
    "arguments",
    [
        "info FILE",
        "info FILE --json",
        "cat FILE",
        "export FILE --format jsonl",
        "verify FILE",
        "--help",
        "cat --help",
    ],
)
def test_a_closed_pipe_ends_quietly(capture: Path, arguments: str) -> None:
    """`hookreel info ... | true` prints nothing and ends as a shell's own commands do."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    words = arguments.replace("FILE", str(capture)).split()
    result = subprocess.run(
        [sys.executable, "-m", "hookreel", *words],
        cwd=ROOT, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write_end)
    assert (result.returncode, result.stderr) == (141, "")


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    """`hookreel cat big.reel | head -1`: the first line is read, the rest is not missed."""
    path = tmp_path / "big.reel"
    sample = ROOT / "captures/samples/github-webhooks.reel"
    with CaptureReader.open(sample) as reader, CaptureWriter.create(path, derived_header(reader)) as writer:
        exchanges = list(reader.exchanges())
        for seq in range(3000):  # more than a pipe holds
            writer.write(replace(exchanges[seq % len(exchanges)], seq=seq))
    with subprocess.Popen(
        [sys.executable, "-m", "hookreel", "cat", str(path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert " #" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_broken_connection_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A BrokenPipeError that is not about the output is an error like any other."""

    def fail() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("hookreel.info_cli.info", click.Command("info", callback=fail))
    result = CliRunner().invoke(cli, ["info"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Broken pipe")
