"""``record --anonymize``: no original is ever on the disk in readable form."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from captures.codec import exchange_row
from captures.credentials import find_credentials
from captures.errors import HookreelError, UsageError, WriteError
from captures.keys import new_key, write_key_file
from captures.model import Counters
from captures.reader import CaptureReader
from captures.writer import new_header
from hookreel import recording
from hookreel.recording import AnonymizingWriter, record, with_anonymizing
from recorder.options import Choices, open_part_of, open_sink, recording_options
from tests.recorder.made import made_exchange
from tests.recorder.support import RawClient, RawServer

CHECKOUT = Path(__file__).parents[2]
EMAIL = b"ada.lovelace@analytical-engines.example.org"
TOKEN = b"a-token-that-must-never-reach-the-disk-0001"
HEADER = new_header(source="record reverse:http://127.0.0.1:9", started_wall_ns=1)


def exchange(seq: int):
    """Private in header, body and response."""
    return made_exchange(
        seq,
        target=b"/users?email=" + EMAIL,
        headers=((b"Authorization", b"Bearer " + TOKEN), (b"Content-Type", b"application/json")),
        body=b'{"email": "%s", "n": %d}' % (EMAIL, seq),
        response_headers=((b"Content-Type", b"application/json"),),
        response_body=b'{"to": "%s"}' % EMAIL,
    )


def command_that(act: Callable[[Path, Choices, click.Context], None]) -> click.Command:
    """A command with the options of record that does ``act`` instead of starting a proxy."""

    @click.command("record")
    @click.option("-o", "--output", type=click.Path(path_type=Path))
    @recording_options
    @click.pass_context
    def command(context: click.Context, output: Path, choices: Choices) -> None:
        """Record."""
        act(output, choices, context)

    return with_anonymizing(command)


def record_two(output: Path, choices: Choices, context: click.Context) -> None:
    """Two exchanges pass."""
    sink = open_sink(choices, output, HEADER, note=click.echo, open_part=open_part_of(context))
    sink.start()
    for _ in range(2):
        sink.offer(exchange_row(exchange(sink.saw())))
    account = sink.close(in_flight=0, connections=1)
    assert account.cut_by == "", account.cut_by
    assert account.parts == (output,)


def contents(folder: Path) -> bytes:
    """Every byte in the folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


def test_the_recording_ends_as_an_anonymized_capture(tmp_path: Path) -> None:
    """The output is anonymized, its account is kept, and spool and originals are gone."""
    output = tmp_path / "safe.reel"
    result = CliRunner().invoke(command_that(record_two), ["-o", str(output), "--anonymize"])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["safe.reel", "safe.reel.key"]
    with CaptureReader.open(output) as reader:
        assert reader.header.anonymized is not None
        assert reader.counters == Counters(seen=2, written=2)
        exchanges = list(reader.exchanges())
        shown = repr(exchanges).encode()
    assert EMAIL not in shown
    assert TOKEN not in shown
    values = {item.value for one in exchanges for item in find_credentials(one.request.headers)}
    assert len(values) == 1  # the two requests still carry the same token


def test_while_it_records_nothing_on_the_disk_can_be_read(tmp_path: Path) -> None:
    """The spool is sealed: neither values nor labels stand in it, and no identity of the user opens it."""
    output = tmp_path / "safe.reel"
    writer = AnonymizingWriter.begin(output, HEADER, anonymize=lambda _spool, _output: None)
    for seq in range(200):
        writer.write(exchange(seq))
    writer.flush()
    (spool,) = tmp_path.iterdir()
    assert spool.stat().st_size > 1000
    assert spool.stat().st_mode & 0o077 == 0
    for needle in (EMAIL, TOKEN, b"users", b"reverse"):
        assert needle not in contents(tmp_path)
    with pytest.raises(UsageError, match="encrypted"):
        CaptureReader.open(spool)
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_recording_leaves_only_what_nobody_can_read(tmp_path: Path) -> None:
    """After kill -9 the spool stays behind, and the key to it died with the process."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tests.hookreel.test_recording import AnonymizingWriter, HEADER, exchange\n"
        "writer = AnonymizingWriter.begin(Path(sys.argv[1]), HEADER, anonymize=print)\n"
        "[writer.write(exchange(seq)) for seq in range(100)]\n"
        "writer.flush(); print('written', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "safe.reel")],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    (spool,) = tmp_path.iterdir()
    assert spool.name.endswith(".spool")
    assert EMAIL not in spool.read_bytes()
    with pytest.raises(UsageError, match="encrypted"):
        CaptureReader.open(spool)


def test_an_output_that_cannot_be_made_is_refused_at_the_start(tmp_path: Path) -> None:
    """Not after an hour of recording."""
    output = tmp_path / "safe.reel"
    output.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists already"):
        AnonymizingWriter.begin(output, HEADER, anonymize=lambda _spool, _output: None)
    assert [path.name for path in tmp_path.iterdir()] == ["safe.reel"]
    with pytest.raises(UsageError, match=r"no/safe.reel does not exist; create it first"):
        AnonymizingWriter.begin(tmp_path / "no" / "safe.reel", HEADER, anonymize=lambda _spool, _output: None)


def test_when_the_output_cannot_be_made_nothing_readable_is_left(tmp_path: Path) -> None:
    """The error says so, and the spool goes."""

    def fail(_spool: Path, _output: Path) -> None:
        raise WriteError("The disk is full.")

    writer = AnonymizingWriter.begin(tmp_path / "safe.reel", HEADER, anonymize=fail)
    writer.write(exchange(0))
    writer.flush()
    assert writer.exchanges_flushed == 1
    with pytest.raises(HookreelError, match="originals were sealed and are gone"):
        writer.close()
    assert writer.exchanges_flushed == 0  # no file has it, so no account may say that it was written
    assert list(tmp_path.iterdir()) == []


def test_a_second_recording_to_the_same_output_is_refused(tmp_path: Path) -> None:
    """The one that ends last could not be made, so it must not begin."""
    output = tmp_path / "safe.reel"
    first = AnonymizingWriter.begin(output, HEADER, anonymize=lambda _spool, _output: None)
    with pytest.raises(UsageError, match="is being recorded, or its recorder was killed"):
        AnonymizingWriter.begin(output, HEADER, anonymize=lambda _spool, _output: None)
    assert first.path.exists()
    first.discard()


def test_a_full_disk_still_gives_what_was_spooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is whole in the spool is anonymized, and the loss is told."""
    seen: list[int] = []

    def anonymize(spool: Path, _output: Path) -> None:
        with CaptureReader.open(spool) as reader:
            seen.append(len(reader))

    writer = AnonymizingWriter.begin(tmp_path / "safe.reel", HEADER, anonymize=anonymize)
    writer.write(exchange(0))
    writer.flush()

    def full(_self: object) -> None:
        raise WriteError("The disk is full.")

    monkeypatch.setattr(recording.CaptureWriter, "_write_footer", full)
    with pytest.raises(WriteError, match="full"):
        writer.close()
    assert seen == [1]


def test_recording_stops_while_there_is_room_for_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that the spool fills whole could not take what is made of it."""
    free = [2**40]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(recording.shutil, "disk_usage", lambda _path: usage._replace(free=free[0]))
    seen: list[int] = []

    def anonymize(spool: Path, _output: Path) -> None:
        with CaptureReader.open(spool) as reader:
            seen.append(len(reader))

    writer = AnonymizingWriter.begin(tmp_path / "safe.reel", HEADER, anonymize=anonymize)
    writer.write(exchange(0))
    writer.flush()
    free[0] = writer.size_bytes
    writer.write(exchange(1))
    with pytest.raises(WriteError, match="no room left but for the anonymized capture"):
        writer.flush()
    with pytest.raises(WriteError, match="takes no more"):
        writer.write(exchange(2))
    writer.close()
    assert seen == [1]
    assert writer.exchanges_flushed == 1


def test_a_recording_that_did_not_begin_leaves_neither_spool_nor_key(tmp_path: Path) -> None:
    """As when the port is in use."""

    def begin_and_fail(output: Path, choices: Choices, context: click.Context) -> None:
        sink = open_sink(choices, output, HEADER, note=click.echo, open_part=open_part_of(context))
        sink.start()
        sink.discard()

    output = tmp_path / "safe.reel"
    result = CliRunner().invoke(command_that(begin_and_fail), ["-o", str(output), "--anonymize"])
    assert result.exit_code == 0, result.output
    assert list(tmp_path.iterdir()) == []


def test_a_kept_key_gives_the_same_stand_ins(tmp_path: Path) -> None:
    """With --key-file no key is written, and two recordings have equal exchanges."""
    write_key_file(tmp_path / "key", new_key())
    found = []
    for name in ("a.reel", "b.reel"):
        arguments = ["-o", str(tmp_path / name), "--anonymize", "--key-file", str(tmp_path / "key")]
        result = CliRunner().invoke(command_that(record_two), arguments)
        assert result.exit_code == 0, result.output
        with CaptureReader.open(tmp_path / name) as reader:
            found.append(list(reader.exchanges()))
    assert found[0] == found[1]
    assert not (tmp_path / "a.reel.key").exists()


@pytest.mark.parametrize(
    "option", [("--rotate-every", "10m"), ("--rotate-size", "1GB"), ("--encrypt-to", "age1x")]
)
def test_what_does_not_go_with_anonymizing_is_refused(tmp_path: Path, option: tuple[str, str]) -> None:
    """The error names the option, and nothing is made."""
    arguments = ["-o", str(tmp_path / "a.reel"), "--anonymize", *option]
    result = CliRunner().invoke(command_that(record_two), arguments)
    assert result.exit_code == 2
    assert option[0] in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--policy", "--key-file"])
def test_a_file_for_anonymizing_alone_is_refused(tmp_path: Path, option: str) -> None:
    """Who names a policy or a key wants something done with it, so its absence is told."""
    result = CliRunner().invoke(
        command_that(record_two), ["-o", str(tmp_path / "a.reel"), option, str(tmp_path / "p.toml")]
    )
    assert result.exit_code == 2
    assert "--anonymize" in result.output


def test_record_has_all_its_options_and_its_help() -> None:
    """The front door's record is the recorder's with two options more."""
    text = CliRunner().invoke(record, ["--help"]).output
    for option in ("--mode", "--output", "--anonymize", "--policy"):
        assert option in text
    assert "Record the traffic that crosses a proxy." in text


FRONT = "from hookreel.recording import record; record.main()"


def start_recording(
    output: Path, confdir: Path, port: int, *options: str
) -> tuple[subprocess.Popen[str], int]:
    """``hookreel record --anonymize`` in its own process, and the port it listens on."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", FRONT, "--json", "--mode", f"reverse:http://127.0.0.1:{port}"),
            *(
                "--listen",
                "127.0.0.1:0",
                "--confdir",
                str(confdir),
                "-o",
                str(output),
                "--anonymize",
                *options,
            ),
        ],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    assert ready, process.communicate()[1]
    return process, int(json.loads(ready)["listening"].rsplit(":", 1)[1])


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_the_recorder_no_original_is_on_the_disk(tmp_path: Path, end: signal.Signals) -> None:
    """With real traffic: ended in order it leaves an anonymized capture, killed nothing."""
    server = RawServer()
    server.start()
    folder = tmp_path / "captures"
    folder.mkdir()
    process, port = start_recording(folder / "safe.reel", tmp_path / "confdir", server.port)
    request = (
        b"POST /users?email=%s HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\n"
    )
    with process, RawClient(port) as client:
        for _ in range(20):
            assert client.call(request % (EMAIL, TOKEN)).status == 200
        while sum(path.stat().st_size for path in folder.glob(".*.spool")) < 1500:
            assert process.poll() is None
            threading.Event().wait(0.05)  # the block is written within a second
        for needle in (EMAIL, TOKEN, b"/users"):
            assert needle not in contents(folder)
        process.send_signal(end)
        output, _ = process.communicate(timeout=60)
    server.stop()
    assert EMAIL in server.seen[0].head
    names = {path.name for path in folder.iterdir()}
    if end is signal.SIGKILL:
        assert names == set()  # the process that writes outlived it, and removed the spool and its key
        return
    assert process.returncode == 0
    assert json.loads(output)["written"] == 20
    assert names == {"safe.reel", "safe.reel.key"}
    with CaptureReader.open(folder / "safe.reel") as reader:
        assert len(reader) == 20
        shown = repr(list(reader.exchanges())).encode()
    assert EMAIL not in shown
    assert TOKEN not in shown
