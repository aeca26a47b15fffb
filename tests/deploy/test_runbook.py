"""The runbook speaks of options and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from hookreel.cli import COMMANDS, cli

CHECKOUT = Path(__file__).parents[2]
PAGE = (CHECKOUT / "docs/running.md").read_text()


def test_its_options_exist() -> None:
    """Every option on the page is one of some command of hookreel, but for two of other tools."""
    context = click.Context(cli)
    known = {"--restart", "--now"}  # of podman and docker, of systemctl
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        known |= {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= known


def test_it_shows_every_file_that_is_shipped() -> None:
    """Nothing lies in deploy/ that the page does not speak of."""
    for path in (CHECKOUT / "deploy").iterdir():
        if path.suffix != ".dockerignore":
            assert path.name in PAGE or f"`{path.suffix}`" in PAGE, path.name


@pytest.mark.parametrize("command", re.findall(r"`hookreel (\w+)", PAGE))
def test_its_commands_exist(command: str) -> None:
    """Whatever it says to run is there."""
    assert command in COMMANDS
