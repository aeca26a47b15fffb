"""The jobs of docs/ci.md, and every command and rule file that the pages on verdicts show."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from hookreel.cli import COMMANDS, cli
from replayer.review.noise_rules import read_rules
from replayer.review.report.writers import WRITERS
from replayer.review.review_cli import REPORTS
from replayer.templates import read_templates

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("ci.md", "reading-a-verdict.md", "troubleshooting.md")


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def jobs() -> list[dict]:
    return [YAML(typ="safe").load(block) for block in blocks("ci.md", "yaml")]


def scripts() -> list[str]:
    """Every line that a job runs."""
    github, gitlab = jobs()
    steps = [step["run"] for job in github["jobs"].values() for step in job["steps"] if "run" in step]
    job = gitlab["release-review"]
    lines = [line for step in steps for line in step.splitlines()]
    return [*lines, *job["before_script"], *job["script"]]


def known_options(words: list[str]) -> tuple[set[str], list[str]]:
    """The options of the command that ``words`` name, and the words after its name."""
    assert words[0] in COMMANDS, words
    command, rest = cli.get_command(click.Context(cli), words[0]), words[1:]
    assert command is not None
    if isinstance(command, click.Group):
        command, rest = command.commands[rest[0]], rest[1:]
    return {option for parameter in command.params for option in parameter.opts}, rest


def commands() -> list[str]:
    text = [
        line for page in PAGES for kind in ("", "sh") for line in "".join(blocks(page, kind)).splitlines()
    ]
    return [line for line in [*scripts(), *text] if line.startswith("hookreel ")]


def test_both_jobs_have_what_their_system_runs() -> None:
    """The YAML is that of a GitHub workflow and of a GitLab job, with reports that their pages show."""
    github, gitlab = jobs()
    steps = github["jobs"]["review"]["steps"]
    assert github["on"] == "pull_request"
    assert all(("uses" in step) != ("run" in step) for step in steps)
    assert github["jobs"]["review"]["runs-on"]
    reports = gitlab["release-review"]["artifacts"]["reports"]
    assert reports == {REPORTS[name]: f"review/{name}" for name in ("junit.xml", "codequality.json")}


@pytest.mark.parametrize("line", commands())
def test_each_command_and_option_exists(line: str) -> None:
    """What a reader copies is a command of hookreel with options of its own."""
    words = shlex.split(line.split("||", maxsplit=1)[0])[1:]
    known, rest = known_options(words)
    assert {word for word in rest if word.startswith("-")} <= known
    for option, value in pairwise(rest):
        if option == "--format":
            assert value in WRITERS


@pytest.fixture
def found_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place to run scripts in, with a hookreel that writes its report and ends with 3, and a gh."""
    tools = tmp_path / "tools"
    tools.mkdir()
    hookreel = 'while [ $# -gt 1 ]; do if [ "$1" = -o ]; then echo found > "$2"; fi; shift; done; exit 3'
    for name, does in (("hookreel", hookreel), ("gh", 'echo "$@" >> gh.log')):
        tool = tools / name
        tool.write_text(f"#!/bin/sh\n{does}\n")
        tool.chmod(0o755)
    (tmp_path / "review").mkdir()
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    return tmp_path


def run(lines: list[str], place: Path) -> int:
    """Run lines as both systems do: in one shell that ends at the first command that fails."""
    script = re.sub(r"\$\{\{.*?\}\}", "1", "\n".join(lines))
    return subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], cwd=place, check=False).returncode


def steps_with(word: str) -> list[str]:
    return [step["run"] for step in jobs()[0]["jobs"]["review"]["steps"] if word in step.get("run", "")]


def test_what_was_found_does_not_fail_the_step_that_annotates(found_something: Path) -> None:
    """Its exit code 3 is the review's to tell."""
    (annotate,) = steps_with("--annotate")
    assert run([annotate], found_something) == 0
    assert {path.name for path in (found_something / "review").iterdir()} == {"diff.txt"}


def test_a_review_without_a_report_fails_no_further_step(found_something: Path) -> None:
    """A run that proves nothing leaves no report.md to show; with one it is shown and sent."""
    (comment,) = steps_with("gh pr comment")
    assert run([comment], found_something) == 0
    assert not (found_something / "gh.log").exists()
    (found_something / "review" / "report.md").write_text("told\n")
    assert run([comment], found_something) == 0
    assert (found_something / "summary.md").read_text() == "told\n"
    assert "--body-file review/report.md" in (found_something / "gh.log").read_text()


def test_what_is_learned_of_noise_is_kept_also_by_a_job_that_fails() -> None:
    """Both cache the file that a review puts beside its capture, under one name to save and restore."""
    github, gitlab = jobs()
    capture = next(line for line in scripts() if line.startswith("hookreel review")).split()[2]
    steps = github["jobs"]["review"]["steps"]
    restore, save = (step for step in steps if "actions/cache" in step.get("uses", ""))
    assert steps.index(restore) < steps.index(next(step for step in steps if "review" in step.get("run", "")))
    assert "always()" in save["if"]
    assert restore["with"]["path"] == save["with"]["path"] == f"{capture}.noise"
    assert save["with"]["key"] == restore["with"]["key"]
    assert restore["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert gitlab["release-review"]["cache"]["paths"] == [f"{capture}.noise"]
    assert gitlab["release-review"]["cache"]["when"] == "always"


def test_there_are_commands_to_check() -> None:
    """A page whose blocks are not found would pass for a good one."""
    assert len(commands()) >= 6
    assert any("review" in line for line in scripts())


def test_the_templates_and_rules_on_the_page_are_read(tmp_path: Path) -> None:
    """The example of each file is one, and says of requests what stands beside them."""
    templates, rules = blocks("reading-a-verdict.md", "toml")
    path = tmp_path / "rules.toml"
    path.write_text(rules)
    assert len(read_rules(path)) == 3
    path.write_text(templates)
    read = read_templates(path)
    assert read.of_request(b"GET", b"/runs/latest") == "GET /runs/latest"
    assert read.of_request(b"GET", b"/runs/17") == "GET /runs/{run}"
    assert read.of_request(b"POST", b"/rpc?id=1&method=pay") == "POST /rpc?method=pay"


def test_every_format_is_on_the_page() -> None:
    """The table of formats is whole."""
    page = (DOCS / "reading-a-verdict.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(WRITERS)


def test_every_exit_code_is_on_the_page() -> None:
    """A job's author finds what each code means."""
    rows = re.findall(r"^\| ([\d, ]+) \|", (DOCS / "ci.md").read_text(), re.MULTILINE)
    assert json.loads(f"[{','.join(rows)}]") == [0, 1, 2, 3, 4, 5]
