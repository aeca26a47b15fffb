"""Several processes make what one makes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anonymizer import report as report_module
from anonymizer import shares
from anonymizer import workers as workers_module
from anonymizer.policy import Policy
from anonymizer.stage import anonymize_capture
from anonymizer.workers import Workers
from captures.encryption import ephemeral_identity, use_identities
from captures.errors import HookreelError
from captures.model import Counters, Exchange, Message, MessageKind
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

KEY = b"a key for tests, 32 bytes long.."


@pytest.fixture
def source(tmp_path: Path, make_exchange: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A capture of several windows, with a stream; who is named at the end stands in URLs at the start."""
    monkeypatch.setattr(shares, "WINDOW_EXCHANGES", 40)
    path = tmp_path / "in.reel"
    count = 165
    with CaptureWriter.create(path, new_header(source="test", started_wall_ns=1)) as writer:
        for seq in range(count):
            name = b"jane.number%d" % (count - seq)
            body = b'{"url":"https://x.io/jane.number%d/7","login":"%b"}' % (seq + 1, name)
            writer.write(
                make_exchange(
                    seq,
                    target=b"/u/%b?n=%d" % (name, seq),
                    headers=((b"Content-Type", b"application/json"),),
                    body=body,
                    stream=seq == 3,
                )
            )
        for number in range(3):
            writer.write_message(
                Message(
                    exchange=3,
                    offset_ns=number,
                    from_client=True,
                    kind=MessageKind.TEXT,
                    payload=b"jane.number1",
                )
            )
        writer.close(Counters(seen=count, written=count))
    return path


def test_files_are_the_same_whatever_the_count_of_processes(source: Path) -> None:
    """One, two and three processes, and a second run, write the same bytes; another key writes others."""
    made = []
    for name, workers, key in (
        ("1", 1, KEY),
        ("2", 2, KEY),
        ("3", 3, KEY),
        ("again", 1, KEY),
        ("k", 1, KEY[::-1]),
    ):
        path = source.with_name(f"{name}.reel")
        anonymize_capture(source, path, policy=Policy(name_keys=frozenset("abc")), key=key, workers=workers)
        made.append(path.read_bytes())
    assert made[0] == made[1] == made[2] == made[3]
    assert made[4] != made[0]


def run(source: Path, name: str, workers: int) -> tuple[list[Exchange], list[Message], dict[str, Any]]:
    path = source.with_name(name)
    report = anonymize_capture(source, path, policy=Policy(), key=KEY, workers=workers).report
    with CaptureReader.open(path) as reader:
        return list(reader.exchanges()), list(reader.messages()), report.as_dict()


def test_the_count_of_processes_changes_nothing(source: Path) -> None:
    """Exchanges, messages and report of one process and of two are equal, and nobody is left."""
    alone = run(source, "1.reel", 1)
    assert b"jane.number" not in repr([alone[0][0].request.body, alone[1][0].payload]).encode()
    assert run(source, "2.reel", 2) == alone


def test_processes_end_when_their_parent_is_killed(source: Path) -> None:
    """Nobody holds the output of a killed program open, so none of its processes is left."""
    script = (
        "import sys, pathlib\n"
        "from anonymizer.policy import Policy\n"
        "from anonymizer.workers import Workers\n"
        "from captures.keys import Prf\n"
        "from captures.reader import CaptureReader\n"
        "with CaptureReader.open(pathlib.Path(sys.argv[1])) as reader:\n"
        "    with Workers(reader, policy=Policy(), prf=Prf(b'k' * 32), count=3):\n"
        "        print('started', flush=True)\n"
        "        sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(source)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"started\n"
        program.kill()
        assert program.communicate(timeout=20)[0] == b""


@pytest.mark.parametrize("step", ["collect", "take", "replace"])
def test_a_process_that_dies_is_one_error_and_leaves_nothing(
    source: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a process is killed before any step, a sentence says so and no file of the outcome stands."""
    usual = getattr(Workers, step)

    def killed(self: Workers, *args: Any) -> Any:
        os.kill(self._processes[0].pid or 0, signal.SIGKILL)
        self._processes[0].join()
        return usual(self, *args)

    monkeypatch.setattr(Workers, step, killed)
    before = set(source.parent.iterdir())
    with pytest.raises(HookreelError, match="ended before its time"):
        run(source, "out.reel", 2)
    assert set(source.parent.iterdir()) == before
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("kept", [10, 1_000_000])
def test_endpoints_beyond_the_limit_are_those_of_one_process(
    source: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which endpoints a report tells apart does not depend on who counted them, nor when they told."""
    monkeypatch.setattr(report_module, "MAX_ENDPOINTS", 20)
    monkeypatch.setattr(workers_module, "_MAX_COUNTS", kept)
    assert run(source, "2.reel", 2)[2] == run(source, "1.reel", 1)[2]


def test_a_sealed_capture_is_read_by_all_processes(source: Path) -> None:
    """The processes read through the reader that was opened for them, so that they need no identity."""
    identities, recipient = ephemeral_identity()
    sealed = source.with_name("sealed.reel")
    with (
        CaptureReader.open(source) as reader,
        CaptureWriter.create(sealed, reader.header, recipients=[recipient]) as writer,
    ):
        for exchange in reader.exchanges():
            writer.write(exchange)
        for message in reader.messages():
            writer.write_message(message)
        writer.close(reader.counters)
    alone = run(source, "1.reel", 1)
    with use_identities(identities):
        assert run(sealed, "2.reel", 2) == alone


def test_damage_is_told_as_it_is_by_one_process(source: Path) -> None:
    """An error in a process is raised here, with the same words."""
    data = bytearray(source.read_bytes())
    with CaptureReader.open(source) as reader:
        place = reader.index.blocks[0].position + 60
    data[place : place + 4] = b"\xff\xff\xff\xff"
    source.write_bytes(data)
    errors = []
    for workers in (1, 2):
        with pytest.raises(HookreelError) as told:
            run(source, f"{workers}.reel", workers)
        errors.append((type(told.value), str(told.value)))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("step", ["take", "values", "counts", "scrub"])
def test_a_process_that_fails_quotes_nothing(
    source: Path, step: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever is raised in a process, the sentence has the name of its type alone and nothing is printed."""

    def failing(*_: Any, **__: Any) -> None:
        raise LookupError("jane.number7")

    monkeypatch.setattr(workers_module._Worker, step, failing)
    with pytest.raises(HookreelError, match=r"failed \(LookupError\)") as told:
        run(source, "out.reel", 2)
    assert "jane" not in str(told.value)
    assert capfd.readouterr() == ("", "")
    assert not source.with_name("out.reel").exists()
