"""The README's tour works as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TOUR = README.split("## Five-minute tour")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a fresh checkout after `make setup`: `make demo` and an environment to activate."""
    folder = tmp_path_factory.mktemp("tour")
    scripts = folder / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "activate").write_text(f'export PATH="{scripts}:$PATH"\n')
    (scripts / "python").symlink_to(sys.executable)
    for name, module in (("hookreel", "hookreel"), ("python", None)):
        (scripts / name).unlink(missing_ok=True)
        arguments = f'-m {module} "$@"' if module else '"$@"'
        call = f'exec "{sys.executable}" {arguments}'
        (scripts / name).write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" {call}\n')
        (scripts / name).chmod(0o755)
    (folder / "Makefile").write_text("demo:\n\t.venv/bin/hookreel demo\n")
    return folder


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(400)
def test_the_tour_works_as_written(checkout: Path) -> None:
    """Every block of the tour runs to its end, and shows what the text around it says."""
    outputs = []
    for block in re.findall(r"```sh\n(.*?)```", TOUR, re.DOTALL):
        result = subprocess.run(
            ["bash", "-e", "-c", block],
            cwd=checkout, capture_output=True, text=True, check=False, timeout=300,
            env={**os.environ, "TERM": "dumb"},
        )  # fmt: skip
        assert result.returncode == 0, f"{block}\n{result.stdout}\n{result.stderr}"
        outputs.append(result.stdout)
    demo, diff, mine, safe = outputs
    assert "No leak found" in demo
    assert "whole" in demo
    assert "SLOWER: GET /api/runs/{id}" in diff
    assert "exit code 3" in diff
    assert "exit code 4" not in mine or "INVALID" in mine
    assert "complete" in mine
    assert "NOT COMPLETE" not in mine
    assert "exit code 1" not in mine + safe
    assert "exit code 2" not in mine + safe
    assert "401" in safe


def test_every_page_that_is_linked_exists() -> None:
    """No link of the README or the docs leads nowhere, anchors included."""
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            linked = (page.parent / path) if path else page
            assert linked.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
                assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, target


def test_the_commands_of_the_readme_exist() -> None:
    """Every `hookreel ...` in the README names a command, and its options are that command's own."""
    import click

    from hookreel.cli import COMMANDS, cli

    for line in re.findall(r"^hookreel .*$", README, re.MULTILINE):
        name, *words = line.split("#")[0].split("||")[0].split()[1:]
        assert name in COMMANDS, line
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, line
