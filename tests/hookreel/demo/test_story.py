from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from captures.errors import HookreelError
from hookreel.demo import story
from hookreel.demo.folder import DemoFolder
from hookreel.demo.narrator import Narrator
from hookreel.demo.processes import Children, Finished
from hookreel.demo.story import Scene, read_judgement, replay_once, replay_patiently
from hookreel.demo.target import SLOWER_ENDPOINT, Release
from replayer.results import Limits, Run, RunHeader, RunRows, write_run


def report(**verdicts: str) -> str:
    endpoints = [{"endpoint": name, "verdict": verdict} for name, verdict in verdicts.items()]
    return json.dumps({"verdict": "SLOWER", "endpoints": endpoints})


def test_only_the_planted_endpoint_alone_is_as_planted():
    """The story succeeds when that endpoint, and no other, is SLOWER; other verdicts do not matter."""
    right = read_judgement(report(**{SLOWER_ENDPOINT: "SLOWER", "GET /health": "INCONCLUSIVE"}))
    assert right.as_planted
    assert right.alarms == (f"{SLOWER_ENDPOINT}: SLOWER",)
    assert not read_judgement(report(**{SLOWER_ENDPOINT: "SLOWER", "GET /health": "SLOWER"})).as_planted
    assert not read_judgement(report(**{SLOWER_ENDPOINT: "SAME"})).as_planted
    assert not read_judgement(report(**{"GET /health": "SLOWER"})).as_planted


def write_answers(path: Path, statuses: list[int]) -> None:
    count = len(statuses)
    times = np.arange(count, dtype=np.int64)
    rows = RunRows(
        seq=times,
        endpoint=np.zeros(count, np.uint32),
        connection=np.zeros(count, np.uint32),
        due_ns=times,
        sent_ns=times,
        first_byte_ns=times,
        done_ns=times,
        status=np.array(statuses, np.uint16),
        recorded_status=np.full(count, 200, np.uint16),
        instance=np.zeros(count, np.uint32),
        waited_ns=np.zeros(count, np.int64),
        outcome=np.zeros(count, np.uint8),
        response_bytes=np.zeros(count, np.uint32),
    )
    header = RunHeader(
        run_id="0" * 32,
        capture_id="1" * 32,
        target="http://127.0.0.1:1",
        speed="10x",
        load="time compressed 10x",
        started_wall_ns=1,
        tool="test",
        schedule_hash="2" * 32,
        endpoints=("GET /",),
        limits=Limits(),
    )
    write_run(path, Run(header=header, rows=rows))


@pytest.fixture
def scene(tmp_path):
    out = io.StringIO()
    narrator = Narrator(Console(file=out, width=200), steps=1)
    with Children(tmp_path) as children:
        scene = Scene(
            folder=DemoFolder(tmp_path),
            scratch=tmp_path,
            children=children,
            narrator=narrator,
            sleep=lambda _seconds: None,
        )
        yield scene, out


def replays(monkeypatch, *attempts: tuple[int, list[int]]) -> None:
    """Let each replay end with an exit code and a run of these statuses."""
    left = list(attempts)

    def fake(_scene, _tenants, _release, run: Path) -> Finished:
        exit_code, statuses = left.pop(0)
        write_answers(run, statuses)
        said = {
            "sent": len(statuses),
            "duration_ns": 10**9,
            "send_lag_ns": {"p99": 1},
            "response_time_ns": {"p50": 1},
            "invalid_reasons": ["It was late."] if exit_code else [],
        }
        return Finished(exit_code=exit_code, stdout=json.dumps(said), stderr="")

    monkeypatch.setattr(story, "_replay_fresh", fake)


def test_an_invalid_replay_is_repeated_and_said_so(scene, tmp_path, monkeypatch):
    """An INVALID run is thrown away, its reason is told, and the next attempt counts."""
    replays(monkeypatch, (4, [200]), (0, [200, 200]))
    replayed = replay_once(scene[0], (), Release.A, tmp_path / "a.run")
    assert (replayed.attempts, replayed.sent, replayed.as_recorded) == (2, 2, 1.0)
    assert "INVALID run: It was late." in scene[1].getvalue()


def test_three_invalid_replays_end_the_story(scene, tmp_path, monkeypatch):
    """After three attempts the reason is raised instead of a fourth one made."""
    replays(monkeypatch, (4, [200]), (4, [200]), (4, [200]))
    with pytest.raises(HookreelError, match="It was late"):
        replay_once(scene[0], (), Release.A, tmp_path / "a.run")


def test_a_busy_machine_gets_a_wider_limit_openly(scene, tmp_path, monkeypatch):
    """When three attempts were INVALID, three more follow with a wider limit, and the story says so."""
    replays(monkeypatch, *[(4, [200])] * 4, (0, [200, 200]))
    made = story._replay_fresh
    options = []
    monkeypatch.setattr(
        story, "_replay_fresh", lambda *given: (options.append(given[0].replay_options), made(*given))[1]
    )
    assert replay_patiently(scene[0], (), Release.A, tmp_path / "a.run").attempts == 2
    assert options == [()] * 3 + [("--lag-p99", story.BUSY_LAG_P99)] * 2
    assert "This machine is busy" in scene[1].getvalue()


def test_a_replay_that_is_answered_otherwise_ends_the_story(scene, tmp_path, monkeypatch):
    """A run with many answers other than the recorded ones would compare nothing, so it is refused."""
    replays(monkeypatch, (0, [200] * 9 + [401]))
    with pytest.raises(HookreelError, match=r"Only 90\.0%"):
        replay_once(scene[0], (), Release.A, tmp_path / "a.run")


def test_a_failed_command_is_quoted(scene, tmp_path, monkeypatch):
    """The error has the command's name, its exit code and the last thing it said."""
    monkeypatch.setattr(
        story, "_replay_fresh", lambda *_: Finished(exit_code=1, stdout="", stderr="x\nError: no.\n")
    )
    with pytest.raises(HookreelError, match=r"replay ended with exit code 1: Error: no\."):
        replay_once(scene[0], (), Release.A, tmp_path / "a.run")


def demo_command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "hookreel", "demo", "--folder", str(folder)]


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_the_whole_story(tmp_path):
    """The demo exits 0, names the planted endpoint, leaves its files in one folder and no process."""
    folder = tmp_path / "demo-files"
    done = subprocess.run(demo_command(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert SLOWER_ENDPOINT in done.stdout.splitlines()[0]
    names = {path.name for path in folder.iterdir()}
    assert names == DemoFolder(folder).names()
    private = {path.name for path in folder.iterdir() if path.stat().st_mode & 0o077 == 0}
    assert {"staging.reel", "safe.reel", "safe.reel.key", "credentials.toml", "a1.run"} <= private
    assert read_judgement((folder / "diff.json").read_text()).slower == (SLOWER_ENDPOINT,)
    assert SLOWER_ENDPOINT in (folder / "diff.md").read_text()
    assert "$ " in done.stderr
    assert "answered with the recorded status" in done.stderr
    assert not processes_about(folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process(tmp_path, number):
    """Ctrl-C or SIGTERM in the middle of the recording ends the demo and everything it started."""
    folder = tmp_path / "demo-files"
    with subprocess.Popen(demo_command(folder), stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "calls sent" in line:  # the recorder and the target are at work
                break
        assert processes_about(folder)
        os.kill(process.pid, number)
        assert process.wait(30) != 0
    deadline_s = time.monotonic() + 10
    while processes_about(folder) and time.monotonic() < deadline_s:
        os.sched_yield()
    assert not processes_about(folder)


def processes_about(folder: Path) -> list[int]:
    """Processes other than this one whose command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            named = entry.name.isdecimal() and str(folder).encode() in (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if named and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found
