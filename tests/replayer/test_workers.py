"""Workers: one schedule, one start, whole sessions, and no word lost when one of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import HookreelError
from captures.model import Exchange
from replayer.board import Board
from replayer.columns import Cells
from replayer.load import Load
from replayer.results import NEVER_NS, Outcome, read_run
from replayer.schedule import Schedule
from replayer.workers import send_in_workers, shares_of

Make = Callable[..., Exchange]
Write = Callable[..., Path]
Serve = Callable[..., Any]
ROOT = Path(__file__).parents[2]
MS = 1_000_000


@given(st.lists(st.integers(0, 12), min_size=1, max_size=200), st.integers(1, 6))
def test_shares_keep_sessions_whole(session: list[int], workers: int) -> None:
    """Every row is in one share, in order, with all others of its session; no share is empty."""
    shares = shares_of(np.array(session), workers)
    assert sorted(row for share in shares for row in share.tolist()) == list(range(len(session)))
    assert len(shares) == min(workers, len(set(session)))
    owners: dict[int, int] = {}
    for number, share in enumerate(shares):
        assert len(share)
        assert bool((np.diff(share) > 0).all())
        for row in share.tolist():
            assert owners.setdefault(session[row], number) == number


def test_shares_are_even() -> None:
    """Large sessions are dealt out first, so shares differ by little."""
    shares = shares_of(np.array([0] * 50 + [1] * 30 + [2] * 30 + [3] * 10), 2)
    assert [len(share) for share in shares] == [60, 60]


def start(path: Path, url: str, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hookreel", "replay", str(path), "--target", url, "-o", str(output)]
    return subprocess.Popen(
        [*command, "--workers", "2", "--json", "--quiet", "--lag-p99", "1s", "--lag-max", "5s", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def result(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, json.loads(out) if out else {}, err


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def traffic(exchange: Make, seconds: float) -> list[Exchange]:
    """A hundred a second on 8 connections."""
    return [
        exchange(number, offset_ns=number * 10 * MS, connection=number % 8, target=b"/%d" % number)
        for number in range(int(seconds * 100))
    ]


def test_two_workers_send_one_schedule(serve: Serve, exchange: Make, capture: Write, tmp_path: Path) -> None:
    """Every exchange arrives once, each connection's in order on one connection, none before it is due."""
    server = serve()
    path, output = capture(traffic(exchange, 1.5)), tmp_path / "a.run"
    code, told, err = result(start(path, server.url, output))
    assert (code, told["sent"], told["completed"], told["valid"]) == (0, 150, 150, True), err
    assert "2 worker processes sent it." in told["notes"]
    rows = read_run(output).rows
    assert rows.seq.tolist() == list(range(150))
    assert bool((rows.sent_ns >= rows.due_ns).all())
    assert bool((rows.status == 200).all())
    for seen in server.by_connection().values():
        targets = [int(one.request.target[1:]) for one in seen]
        assert targets == sorted(targets)
        assert len({target % 8 for target in targets}) == 1
    assert rows.due_ns.tolist() == [number * 10 * MS for number in range(150)]


def wait_for(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        threading.Event().wait(0.005)


def test_a_worker_that_is_killed_ends_the_run_as_invalid(
    serve: Serve, exchange: Make, capture: Write, tmp_path: Path
) -> None:
    """What was sent before is kept, what it no longer sent is dropped, and the run says why it is invalid."""
    server = serve()
    path, output = capture(traffic(exchange, 20)), tmp_path / "a.run"
    process = start(path, server.url, output)
    wait_for(lambda: len(server.seen) > 40)
    victims = children(process.pid)
    os.kill(victims[0], signal.SIGKILL)
    code, told, err = result(process)
    assert (code, told["valid"]) == (4, False), err
    assert any("a worker process ended unexpectedly" in reason for reason in told["invalid_reasons"])
    rows = read_run(output).rows
    assert 40 <= int((rows.outcome == Outcome.COMPLETED).sum()) <= len(server.seen) < 2000
    assert len(rows) < 2000
    assert bool((rows.sent_ns[rows.outcome == Outcome.DROPPED] == NEVER_NS).all())
    assert len(victims) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_a_partial_one(
    serve: Serve, exchange: Make, capture: Write, tmp_path: Path, number: signal.Signals
) -> None:
    """A signal to the command alone ends all workers, and the rows so far are written."""
    server = serve()
    path, output = capture(traffic(exchange, 20)), tmp_path / "a.run"
    process = start(path, server.url, output)
    wait_for(lambda: len(server.seen) > 20)
    process.send_signal(number)
    code, told, err = result(process)
    assert (code, told["interrupted"]) == (4, True), err
    assert any("stopped early (interrupted)" in reason for reason in told["invalid_reasons"])
    run = read_run(output)
    assert run.header.interrupted
    assert 20 <= int((run.rows.outcome == Outcome.COMPLETED).sum()) < 2000


def test_a_worker_that_is_paused_makes_the_run_invalid(
    serve: Serve, exchange: Make, capture: Write, tmp_path: Path
) -> None:
    """300 ms in which one of two workers stood still are seen by the longest lag."""
    server = serve()
    path = capture(traffic(exchange, 3))
    process = start(path, server.url, tmp_path / "a.run", "--lag-max", "250ms")
    wait_for(lambda: len(server.seen) > 20)
    victim = children(process.pid)[0]
    os.kill(victim, signal.SIGSTOP)
    threading.Event().wait(0.35)
    os.kill(victim, signal.SIGCONT)
    code, told, err = result(process)
    assert (code, told["valid"], told["sent"]) == (4, False, 300), err
    assert any("longest send lag" in reason for reason in told["invalid_reasons"])


def test_a_target_that_is_down_is_told_before_anything_is_sent(
    exchange: Make, capture: Write, tmp_path: Path
) -> None:
    """One sentence, exit code 1, no run."""
    path, output = capture(traffic(exchange, 1)), tmp_path / "a.run"
    code, told, err = result(start(path, "http://127.0.0.1:1", output))
    assert (code, told) == (1, {})
    assert "cannot be reached" in err
    assert "Traceback" not in err
    assert not output.exists()


def test_no_worker_outlives_the_command(serve: Serve, exchange: Make, capture: Write, tmp_path: Path) -> None:
    """When the command is killed the workers stop sending."""
    server = serve()
    path = capture(traffic(exchange, 20))
    process = start(path, server.url, tmp_path / "a.run")
    wait_for(lambda: len(server.seen) > 20)
    workers = children(process.pid)
    process.kill()
    process.communicate(timeout=30)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() and _alive(pid) for pid in workers))
    assert len(workers) == 2


def schedule_of(workers: int, due_ns: list[int]) -> tuple[Schedule, Board]:
    """As many rows for each worker, at these due times."""
    rows = len(due_ns) * workers
    schedule = Schedule(
        seq=np.arange(rows, dtype=np.int64),
        due_ns=np.repeat(np.array(due_ns, np.int64), workers),
        endpoint=np.zeros(rows, np.uint32),
        connection=np.arange(rows, dtype=np.uint32) % workers,
        recorded_status=np.zeros(rows, np.uint16),
        instance=np.zeros(rows, np.uint32),
        load=Load(),
        pace=Fraction(1),
    )
    return schedule, Board(shares_of(schedule.connection.astype(np.int64), workers), rows)


def test_workers_that_wait_are_ended_when_another_cannot_begin() -> None:
    """They see the end of their pipes, though signals are not theirs then, and a later process lives on."""
    waiting_read, waiting_write = os.pipe()
    told_read, told_write = os.pipe()

    def send_share(share: Schedule, start: Callable[[], int], _cells: Cells) -> Any:
        number = int(share.connection[0])
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if number == 1:
            os.read(waiting_read, 1)
            raise HookreelError("Nobody is there.")
        if number == 2:
            os.write(waiting_write, b".")
            os.close(told_write)
            os.read(told_read, 1)  # lives until the first has ended
            os._exit(0)
        try:
            start()
        except (EOFError, OSError):
            os.write(told_write, b".!")
        os._exit(0)

    schedule, board = schedule_of(3, [0])
    with pytest.raises(HookreelError, match="Nobody is there"):
        send_in_workers(schedule, board, send_share)
    os.close(told_write)
    assert os.read(told_read, 2) == b"!"


def test_a_worker_that_fails_in_mid_run_ends_it_and_loses_nothing() -> None:
    """Its rows are kept, what it had not sent is dropped, the others end, and the reason is its own."""

    def send_share(share: Schedule, start: Callable[[], int], cells: Cells) -> Any:
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        start()
        cells["sent_ns"][:3] = cells["done_ns"][:3] = 1
        cells["outcome"][:3] = [Outcome.COMPLETED, Outcome.COMPLETED, Outcome.INTERRUPTED]
        cells["outcome"][3] = Outcome.CONNECT_FAILED
        if share.connection[0] == 0:
            raise ValueError("sesame")
        assert ended.wait(30)
        raise HookreelError("It was interrupted.")

    schedule, board = schedule_of(2, [-1_000 * MS] * 5 + [3_600_000 * MS])  # from before time 0 on
    sent = send_in_workers(schedule, board, send_share).sent
    each = [
        Outcome.COMPLETED, Outcome.COMPLETED, Outcome.INTERRUPTED, Outcome.CONNECT_FAILED, Outcome.DROPPED,
    ]  # fmt: skip
    assert sent.rows.outcome.tolist() == [outcome for outcome in each for _ in range(2)]
    assert sent.stopped is not None
    assert sent.stopped.startswith(
        "A worker process had to end, as it failed unexpectedly (ValueError at test_workers.py"
    )
    assert "sesame" not in sent.stopped


def test_no_more_processes_than_sessions(serve: Serve, exchange: Make, send: Callable[..., Any]) -> None:
    """Where there are fewer sessions than workers asked for, the run tells how many sent."""
    server = serve()
    one = send([exchange(0)], server.url, workers=3).run.header
    assert not any("worker processes" in note for note in one.notes)
    two = send([exchange(0), exchange(1, connection=1)], server.url, workers=3).run.header
    assert "2 worker processes sent it." in two.notes
    assert (one.generator.workers, two.generator.workers) == (1, 2)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
