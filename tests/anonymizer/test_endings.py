"""A command that is ended from outside takes its unfinished files with it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from anonymizer import cli
from anonymizer.endings import tidied_when_ended
from captures.writer import CaptureWriter, new_header

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[int, Any]]:
    """The handlers of the test runner, which every test must leave as they were."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield before
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_an_exit_that_cleans_up(number: signal.Signals, capsys: Any) -> None:
    """What is to be done at the end is done, in peace from more signals, and one sentence says why."""
    done = []

    @tidied_when_ended()
    def work() -> None:
        try:
            os.kill(os.getpid(), number)
            threading.Event().wait(10)
        finally:
            os.kill(os.getpid(), number)
            done.append("cleaned")

    with pytest.raises(SystemExit) as ended:
        work()
    assert ended.value.code == 128 + number
    assert done == ["cleaned"]
    assert capsys.readouterr().err == f"Error: Ended by {number.name}; nothing was written.\n"


def test_a_hangup_that_is_ignored_stays_ignored(handlers: dict[int, Any]) -> None:
    """Under nohup a terminal that closes ends nothing."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with tidied_when_ended():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, handlers[signal.SIGHUP])


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGINT])
def test_an_ended_run_leaves_nothing(
    tmp_path: Path, make_exchange: Any, monkeypatch: Any, number: signal.Signals, workers: str
) -> None:
    """Keys, the report and what was written of the capture are gone; the exit code says that it failed."""
    source = tmp_path / "in.reel"
    with CaptureWriter.create(source, new_header(source="x", started_wall_ns=1)) as writer:
        for seq in range(100):
            writer.write(make_exchange(seq, body=b'{"email": "alice.anderson@corp.com"}'))
    seen: list[set[str]] = []

    def ended(*_arguments: object) -> None:
        seen.append({path.name for path in tmp_path.iterdir()})
        os.kill(os.getpid(), number)
        threading.Event().wait(10)

    monkeypatch.setattr(cli, "_audited", ended)
    asked = ["-o", "o.reel", "--vault", "v", "--report", "r.html"]
    paths = [str(tmp_path / text) if text[0] != "-" else text for text in asked]
    result = CliRunner().invoke(cli.anonymize, [str(source), *paths, "--audit", "--workers", workers])
    assert result.exit_code == (1 if number == signal.SIGINT else 128 + number)
    assert {"o.reel.key", "v.key", "r.html"} < seen[0]
    assert [path.name for path in tmp_path.iterdir()] == ["in.reel"]
