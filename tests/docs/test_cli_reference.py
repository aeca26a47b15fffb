"""docs/cli.md is what the commands say themselves."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click
import pytest

from hookreel.cli import COMMANDS, cli

DOCS = Path(__file__).parents[2] / "docs"


def _generator():
    spec = importlib.util.spec_from_file_location("generate_cli", DOCS / "generate_cli.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_current() -> None:
    """A changed option that `make docs` did not write down fails here."""
    assert (DOCS / "cli.md").read_text() == _generator().command_reference()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str) -> None:
    """The list's sentence is the command's own, every option has help, and there is an example."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help
    assert command.help.strip().startswith(COMMANDS[name][1])
    assert f"hookreel {name}" in command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
