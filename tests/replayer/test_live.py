"""Looking on at real replays: a terminal, a log and a page are told, results and exit codes stay."""

from __future__ import annotations

import http.client
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from captures.model import Exchange
from replayer.results import read_run

Make = Callable[..., Exchange]
Write = Callable[..., Path]
Serve = Callable[..., Any]
MS = 1_000_000
ROOT = Path(__file__).parents[2]
LENIENT = ("--lag-p99", "10s", "--lag-max", "10s", "--rate-error", "100%")  # tests run on busy machines
RATE, SECONDS = 50, 4  # enough for some whole seconds before the end


@pytest.fixture
def path(exchange: Make, capture: Write) -> Path:
    return capture(
        [exchange(n, offset_ns=n * 1_000 * MS // RATE, connection=n % 4) for n in range(RATE * SECONDS)]
    )


@pytest.fixture
def start(path: Path, serve: Serve) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Begin ``hookreel replay`` in a process of its own."""
    server = serve()
    begun: list[subprocess.Popen[bytes]] = []

    def go(*options: object, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "hookreel",
            "replay",
            path,
            "--target",
            server.url,
            *LENIENT,
            *options,
        ]
        process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"},
        )  # fmt: skip
        begun.append(process)
        return process

    yield go
    for process in begun:
        process.kill()
        process.communicate()


def on_a_terminal(start: Callable[..., Any], *options: object) -> tuple[int, bytes, str]:
    """Exit code, stdout, and what the terminal got."""
    ours, theirs = pty.openpty()
    process = start(*options, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # nobody has the terminal open any more
            break
        if not part:
            break
        seen += part
    os.close(ours)
    stdout, _ = process.communicate(timeout=60)
    return process.returncode, stdout, seen.decode()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_terminal_shows_the_run(start: Callable[..., Any], workers: int, tmp_path: Path) -> None:
    """Rates of the last second while it goes; the screen is free at the end, and stdout has JSON alone."""
    code, stdout, seen = on_a_terminal(start, "--json", "--workers", workers, "-o", tmp_path / "a.run")
    assert code == 0
    assert json.loads(stdout)["sent"] == RATE * SECONDS
    assert f"of {RATE * SECONDS}" in seen
    assert f"{RATE}/s" in seen
    assert "send lag p50" in seen
    assert seen.rstrip().endswith("\x1b[2K")  # the last line of the panel was cleared
    assert "\x1b[?25h" in seen  # and the cursor is back
    assert len(read_run(tmp_path / "a.run").rows) == RATE * SECONDS


def test_quiet_says_nothing(start: Callable[..., Any]) -> None:
    """On a terminal, too."""
    code, stdout, seen = on_a_terminal(start, "--quiet")
    assert (code, seen) == (0, "")
    assert b"VALID" in stdout


def test_a_short_run_leaves_no_lines_in_a_log(start: Callable[..., Any]) -> None:
    """A line is for ten seconds."""
    process = start()
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, b"")


def test_a_log_gets_lines(start: Callable[..., Any]) -> None:
    """Without a terminal, every ten seconds."""
    process = start("--speed", "1/3x", "--quiet")
    other = start("--speed", "1/3x")
    assert process.communicate(timeout=60)[1] == b""
    lines = other.communicate(timeout=60)[1].decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("10 s of 12 s: ")
    assert f"of {RATE * SECONDS} sent" in lines[0]


def told_on(process: Any) -> tuple[str, int]:
    """Where the page is."""
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    assert line.startswith("Live page: http://127.0.0.1:")
    return "127.0.0.1", int(line.rsplit(":", 1)[1].strip("/\n"))


@contextmanager
def events_of(host: str, port: int) -> Iterator[http.client.HTTPResponse]:
    """What a page tells."""
    with closing(http.client.HTTPConnection(host, port, timeout=30)) as connection:
        connection.request("GET", "/events")
        with connection.getresponse() as response:
            yield response


@pytest.mark.parametrize("workers", [1, 2])
def test_the_page_is_told_every_second_until_the_end(start: Callable[..., Any], workers: int) -> None:
    """Its sums are those of the run; the run ends as without it."""
    process = start("--live", "0", "--json", "--quiet", "--workers", workers)
    with events_of(*told_on(process)) as response:
        events = response.read().decode().split("\n\n")
    names = [event.partition("\n")[0].removeprefix("event: ") for event in events if event]
    assert names[0] == "title"
    assert names[-1] == "end"
    assert set(names[1:-1]) == {"reading"}
    readings = [json.loads(event.split("data: ", 1)[1]) for event in events[1 : len(names) - 1]]
    seconds = [pulse["second"] for reading in readings for pulse in reading["pulses"]]
    assert seconds == list(range(len(seconds)))
    assert len(seconds) >= SECONDS - 1
    assert [pulse["due"] for reading in readings for pulse in reading["pulses"]][:3] == [RATE] * 3
    last = readings[-1]["reading"]
    assert (last["sent"], last["done"], last["errors"]) == (RATE * SECONDS, RATE * SECONDS, 0)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(stdout)["completed"] == RATE * SECONDS


def test_an_interrupted_run_leaves_no_onlooker(start: Callable[..., Any], path: Path) -> None:
    """Ctrl-C reaches every process of a terminal; the run ends in good order and the page with it."""
    process = start("--live", "0", "--json", "--quiet", "--speed", "1/100x")
    host, port = told_on(process)
    with events_of(host, port) as response:
        while b"event: reading" not in response.readline():
            pass
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), 2)  # as a terminal would
        process.send_signal(2)
        assert b"event: end" in response.read()
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    assert json.loads(stdout)["interrupted"] is True
    with pytest.raises(ConnectionRefusedError), events_of(host, port):
        pass


def test_a_page_that_nobody_may_have_is_refused_before_anything_is_sent(start: Callable[..., Any]) -> None:
    """Exit 2."""
    process = start("--live", "0.0.0.0:8090")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"for this machine alone" in stderr
