"""The systemd units: they run what they say, as nobody, and make room for one another."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from hookreel.recording import record
from recorder.modes import parse_listen, parse_mode

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = ("hookreel-record.service", "hookreel-bypass.socket", "hookreel-bypass.service")


def settings(name: str) -> dict[str, list[str]]:
    """``Section.Key`` -> values, in order; every line is a comment, a section or a setting."""
    section, found = "", {}
    for line in (DEPLOY / name).read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        else:
            key, separator, value = line.partition("=")
            assert separator, line
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


def environment() -> dict[str, str]:
    lines = (DEPLOY / "record.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An installation whose commands print their arguments, one a line."""
    scripts = tmp_path / "bin"
    scripts.mkdir()
    for name in ("hookreel", "python"):
        (scripts / name).write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
        (scripts / name).chmod(0o755)
    return tmp_path


def run_line(line: str, prefix: Path, state: Path) -> list[str]:
    """What the command of an Exec line is called with, as systemd would start it."""
    values = {**environment(), "STATE_DIRECTORY": str(state)}
    line = line.replace("%%", "%").replace("/opt/hookreel", str(prefix))
    line = re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], line)
    result = subprocess.run(
        shlex.split(line), env={**os.environ, **values}, capture_output=True, text=True, check=True
    )
    return result.stdout.splitlines()


def test_it_records_what_the_environment_file_says(prefix: Path, tmp_path: Path) -> None:
    """Every option is one of `hookreel record`, with values that it takes; each start has a new file."""
    (line,) = settings(UNITS[0])["Service.ExecStart"]
    called = run_line(line, prefix, tmp_path / "state")
    assert called[:2] == [str(prefix / "bin/hookreel"), "record"]
    options = dict(zip(called[2::2], called[3::2], strict=False))
    assert parse_mode(options["--mode"]).spec == environment()["MODE"]
    assert parse_listen(options["--listen"]).loopback
    output = Path(options["-o"])
    assert output.parent == tmp_path / "state/captures"
    assert re.fullmatch(r"\d{8}T\d{6}Z\.reel", output.name)
    known = {name for parameter in record.params for name in parameter.opts}
    assert {word for word in called[2:] if word.startswith("-")} <= known


def test_it_is_started_once_it_is_ready(prefix: Path, tmp_path: Path) -> None:
    """The unit waits for the probe, which asks the address of --metrics."""
    (line,) = settings(UNITS[0])["Service.ExecStartPost"]
    called = run_line(line, prefix, tmp_path)
    assert called[1:] == ["-m", "recorder.probe", environment()["METRICS"], "--wait", "30"]


def test_a_stop_waits_longer_than_the_drain() -> None:
    """A drain of 5 s and a stuck disk of 30 s end before systemd kills."""
    unit = settings(UNITS[0])
    assert unit["Service.KillSignal"] == ["SIGTERM"]
    assert unit["Service.KillMode"] == ["mixed"]  # workers are ended by their parent
    assert int(unit["Service.TimeoutStopSec"][0]) > 5 + 30
    assert unit["Service.RestartPreventExitStatus"] == ["2"]


def test_recorder_and_bypass_never_run_together() -> None:
    """Each stops the other, they share the address, and a failed recorder starts the bypass."""
    unit, socket, service = map(settings, UNITS)
    assert unit["Unit.Conflicts"] == unit["Unit.OnFailure"] == [UNITS[1]]
    assert socket["Unit.Conflicts"] == [UNITS[0]]
    assert socket["Socket.ListenStream"] == [environment()["LISTEN"]]
    upstream = environment()["MODE"].removeprefix("reverse:http://")
    assert service["Service.ExecStart"][0].split()[-1] == upstream


@pytest.mark.parametrize("name", [UNITS[0], UNITS[2]])
def test_services_run_without_privileges(name: str) -> None:
    """A user of their own, no capabilities, nothing of the system writable."""
    unit = settings(name)
    assert unit["Service.DynamicUser"] == ["yes"]
    assert unit["Service.NoNewPrivileges"] == ["yes"]
    assert unit["Service.CapabilityBoundingSet"] == [""]
    assert unit["Service.ProtectSystem"] == ["strict"]


def test_systemd_accepts_the_units(prefix: Path, tmp_path: Path) -> None:
    """Where systemd is at hand, it knows every setting and finds the service hardly exposed."""
    tool = shutil.which("systemd-analyze")
    folder = tmp_path / "units"
    folder.mkdir()
    for name in UNITS:
        text = (DEPLOY / name).read_text().replace("/opt/hookreel", str(prefix))
        (folder / name).write_text(text)
    if tool is None:
        return
    verified = subprocess.run(
        [tool, "verify", "--man=no", *(str(folder / name) for name in UNITS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    complaints = [line for line in verified.stderr.splitlines() if "hookreel" in line]
    assert complaints == []
    exposed = subprocess.run(
        [tool, "security", "--offline=yes", "--threshold=20", str(folder / UNITS[0])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert exposed.returncode == 0, exposed.stdout[-300:]
