"""The container file: what it names exists, and it leaves no privilege and no secret behind."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from hookreel.recording import record

CHECKOUT = Path(__file__).parents[2]
TEXT = (CHECKOUT / "deploy" / "Containerfile").read_text()
IGNORE = (CHECKOUT / "deploy" / "Containerfile.dockerignore").read_text()
KNOWN = frozenset(
    {"ARG", "FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}
    | {"ENTRYPOINT", "CMD"}
)


@dataclass
class Instruction:
    """One instruction with its continuation lines joined."""

    name: str
    rest: str


def instructions() -> list[Instruction]:
    lines = [line for line in TEXT.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def stages() -> list[list[Instruction]]:
    """Instructions by stage, without what stands before the first FROM."""
    found: list[list[Instruction]] = []
    for item in instructions():
        if item.name == "FROM":
            found.append([])
        if found:
            found[-1].append(item)
    return found


def last(name: str) -> str:
    (found,) = [item.rest for item in stages()[-1] if item.name == name]
    return found


def test_it_is_made_of_known_instructions() -> None:
    """Every line is an instruction of the format; nothing is fetched with ADD."""
    assert {item.name for item in instructions()} <= KNOWN


def test_the_last_stage_holds_only_what_was_installed() -> None:
    """Two stages of the same image; the last one copies nothing from the checkout."""
    build, final = stages()
    assert build[0].rest == "${PYTHON_IMAGE} AS build"
    assert final[0].rest == "${PYTHON_IMAGE}"
    assert [item.rest for item in final if item.name == "COPY"] == [
        "--from=build /opt/hookreel /opt/hookreel"
    ]


def test_its_python_is_one_that_is_recommended() -> None:
    """3.12 or newer, since 3.11 brings an h2 with a known advisory."""
    version = re.search(r"PYTHON_IMAGE=\S+python:3\.(\d+)-slim", TEXT)
    assert version is not None
    assert int(version[1]) >= 12


def test_everything_copied_exists_and_reaches_the_builder() -> None:
    """The sources of COPY are there, the ignore file lets them through, and all packages are among them."""
    sources = [source for item in stages()[0] if item.name == "COPY" for source in item.rest.split()[:-1]]
    let_through = {line[1:] for line in IGNORE.splitlines() if line.startswith("!")}
    assert set(sources) == let_through
    assert all((CHECKOUT / source).exists() for source in sources)
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(sources)
    assert project["project"]["readme"] in sources
    assert set(project["project"]["license-files"]) <= set(sources)


@pytest.mark.parametrize("name", ["staging.reel.key", "staging.reel", ".venv", "tests", "captures/x.key"])
def test_captures_and_keys_do_not_reach_the_builder(name: str) -> None:
    """What lies about in a checkout stays out of the image."""
    patterns = [line for line in IGNORE.splitlines() if line and not line.startswith("#")]
    assert patterns[0] == "*"
    kept = any(fnmatch(name, pattern[1:]) for pattern in patterns if pattern.startswith("!"))
    dropped = any(
        fnmatch(name, pattern.removeprefix("**/")) or fnmatch(Path(name).name, pattern.removeprefix("**/"))
        for pattern in patterns[1:]
        if not pattern.startswith("!")
    )
    assert dropped or not kept


def test_it_runs_as_a_numbered_user() -> None:
    """Kubernetes' runAsNonRoot needs a number, and it is not root's."""
    user, _, group = last("USER").partition(":")
    assert int(user) >= 1000
    assert int(group) >= 1000
    assert f"useradd --uid {user} --gid {group}" in TEXT


def test_it_drains_on_stop_and_tells_its_health() -> None:
    """SIGTERM ends it, and the health check is a module that is installed."""
    assert last("STOPSIGNAL") == "SIGTERM"
    command = json.loads(last("HEALTHCHECK").split("CMD", 1)[1])
    assert command[:2] == ["python", "-m"]
    assert importlib.util.find_spec(command[2]) is not None
    assert json.loads(last("ENTRYPOINT")) == ["hookreel"]
    assert json.loads(last("CMD")) == ["record", "--help"]


def test_its_volumes_are_made_for_the_user() -> None:
    """Captures and the certificate authority outlive the container, and only the user reads them."""
    volumes = json.loads(last("VOLUME"))
    made = re.search(r"install -d -o hookreel -g hookreel -m 0700 (.*)", TEXT)
    assert made is not None
    assert made[1].split() == volumes


def test_the_run_line_in_its_head_uses_real_options() -> None:
    """The options it shows for `hookreel record` exist."""
    line = re.search(r"record (--mode .*)", TEXT)
    assert line is not None
    options = {word for word in line[1].split() if word.startswith("-")}
    assert options <= {name for parameter in record.params for name in parameter.opts}
