"""Writing: private files, one writer, bounded blocks, a full disk."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from captures import writer as writer_module
from captures.errors import HookreelError, UsageError, WriteError
from captures.frames import MAX_BLOCK_BYTES
from captures.keys import create_private_file
from captures.model import Counters, Message, MessageKind
from captures.reader import CaptureReader
from captures.units import KIB, MIB, NS_PER_S
from captures.writer import BLOCK_BYTES, CaptureWriter, new_header

HEADER = new_header(source="test", started_wall_ns=1)


def test_the_file_is_private(tmp_path: Path) -> None:
    """A capture can be read by its owner only, whatever the umask says."""
    old = os.umask(0)
    try:
        CaptureWriter.create(tmp_path / "a.reel", HEADER).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.reel").stat().st_mode) == 0o600


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    """Creating over a file is a usage error that leaves it alone."""
    path = tmp_path / "a.reel"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists already"):
        CaptureWriter.create(path, HEADER)
    assert path.read_bytes() == b"precious"


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    """The message says what to do."""
    with pytest.raises(UsageError, match="create it first"):
        CaptureWriter.create(tmp_path / "no" / "a.reel", HEADER)


def test_an_old_block_is_written_when_it_is_looked_at(tmp_path: Path, make_exchange) -> None:
    """With a look each quarter second nothing waits a whole second to be safe."""
    now_ns = 0
    path = tmp_path / "a.reel"
    writer = CaptureWriter.create(path, HEADER, clock_ns=lambda: now_ns)
    writer.write(make_exchange())
    for now_ns in range(0, NS_PER_S, NS_PER_S // 4):  # noqa: B007  # the clock reads it
        writer.flush_if_due()
    with CaptureReader.open(path) as reader:
        assert len(reader) == 1
        assert not reader.complete
        assert "still being written" in reader.problems[0]
    writer.close()


def test_a_block_holds_at_most_a_mebibyte(tmp_path: Path, make_exchange) -> None:
    """What a kill may cost is bounded in bytes as well as in time."""
    writer = CaptureWriter.create(tmp_path / "a.reel", HEADER, clock_ns=lambda: 0)
    for seq in range(100):
        writer.write(make_exchange(seq, seq, body=os.urandom(100_000)))
        with CaptureReader.open(tmp_path / "a.reel") as reader:
            assert (seq + 1 - len(reader)) * 100_000 <= BLOCK_BYTES
    writer.close()


def test_a_body_larger_than_a_block_stands_alone(tmp_path: Path, make_exchange) -> None:
    """Big bodies are kept whole."""
    body = os.urandom(3 * MIB)
    with CaptureWriter.create(tmp_path / "a.reel", HEADER) as writer:
        writer.write(make_exchange(0, 0))
        writer.write(make_exchange(1, 1, body=body))
    with CaptureReader.open(tmp_path / "a.reel") as reader:
        assert [len(exchange.request.body) for exchange in reader.exchanges()] == [11, 3 * MIB]


def test_an_exchange_beyond_the_format_is_refused_and_the_rest_goes_on(tmp_path: Path, make_exchange) -> None:
    """One monstrous body does not end the capture."""
    with CaptureWriter.create(tmp_path / "a.reel", HEADER) as writer:
        with pytest.raises(HookreelError, match="--max-body"):
            writer.write(make_exchange(0, 0, body=bytes(MAX_BLOCK_BYTES)))
        writer.write(make_exchange(1, 1))
    with CaptureReader.open(tmp_path / "a.reel") as reader:
        assert [exchange.seq for exchange in reader.exchanges()] == [1]


def test_without_a_count_the_account_is_what_was_written(tmp_path: Path, make_exchange) -> None:
    """Truncated bodies are counted by the writer itself."""
    cut = make_exchange(1, 1)
    with CaptureWriter.create(tmp_path / "a.reel", HEADER) as writer:
        writer.write(make_exchange(0, 0))
        writer.write(replace(cut, request=replace(cut.request, truncated_bytes=5)))
    with CaptureReader.open(tmp_path / "a.reel") as reader:
        assert reader.counters == Counters(seen=2, written=2, truncated=1)


def test_a_full_disk_leaves_a_file_that_opens(tmp_path: Path, make_exchange) -> None:
    """When a write fails the file ends with its last whole block, and the writer says so."""
    path = tmp_path / "a.reel"
    limit = 200_000
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = CaptureWriter.create(path, HEADER)
    taken, message = 0, ""
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
        while writer.exchanges_flushed == taken:
            try:
                writer.write(make_exchange(taken, taken, body=os.urandom(10_000)))
                writer.flush()
            except WriteError as error:
                message = str(error)
                break
            taken += 1
        assert "cannot be written" in message
        assert "free space" in message
        with pytest.raises(WriteError):
            writer.write(make_exchange(999, 999))
        writer.count(Counters(seen=taken + 1, written=writer.exchanges_flushed, dropped=1))
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    with CaptureReader.open(path) as reader:
        assert len(reader) == writer.exchanges_flushed == taken
        assert reader.counters.dropped == 1
        assert "was not closed" in reader.problems[0]


def test_a_second_writer_cannot_have_the_file(tmp_path: Path) -> None:
    """The lock shows readers in other processes that the file is being written."""
    path = tmp_path / "a.reel"
    writer = CaptureWriter.create(path, HEADER)
    code = (
        "import sys; from pathlib import Path; from captures.reader import CaptureReader\n"
        "print(CaptureReader.open(Path(sys.argv[1])).problems[0])"
    )
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert "still being written" in result.stdout
    writer.close()


def test_a_reader_that_looks_at_a_new_file_does_not_stop_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks whether a file is live has its lock for a moment, maybe before its writer has."""
    path = tmp_path / "a.reel"

    def create_and_be_looked_at(name: Path) -> int:
        descriptor = create_private_file(name)
        reader = os.open(name, os.O_RDONLY)
        fcntl.flock(reader, fcntl.LOCK_SH)
        threading.Timer(0.05, os.close, (reader,)).start()
        return descriptor

    monkeypatch.setattr(writer_module, "create_private_file", create_and_be_looked_at)
    CaptureWriter.create(path, HEADER).close()
    with CaptureReader.open(path) as reader:
        assert reader.complete


def test_a_header_that_cannot_be_packed_leaves_no_file(tmp_path: Path) -> None:
    """Nothing is made before it is known what stands in it."""
    with pytest.raises(OverflowError):
        CaptureWriter.create(tmp_path / "a.reel", replace(HEADER, started_wall_ns=2**64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("slug", ["%05d-" * 80, "\xe9%05d" * 60, "same"], ids=["long", "wide", "one"])
def test_the_end_is_no_larger_than_was_said(tmp_path: Path, make_exchange, slug: str) -> None:
    """Labels, rows and lists of a capture's end are within ``end_bytes`` and some KiB."""
    writer = CaptureWriter.create(tmp_path / "a.reel", HEADER)
    for seq in range(300):
        target = (slug % ((seq,) * slug.count("%")) + "x").encode("latin-1")
        writer.write(make_exchange(seq, seq, connection=seq * 2**20, target=b"/" + target))
        writer.write_message(
            Message(exchange=seq, offset_ns=seq, from_client=False, kind=MessageKind.END, payload=b"")
        )
        writer.flush()
    before, most = writer.size_bytes, writer.end_bytes
    writer.close()
    end = (tmp_path / "a.reel").stat().st_size - before
    assert end <= most + 4 * KIB
    assert most < 200_000


def test_what_an_exception_leaves_is_not_called_complete(tmp_path: Path, make_exchange) -> None:
    """What was taken is kept, and the file says that it was not closed."""
    path = tmp_path / "a.reel"

    def write_half() -> None:
        with CaptureWriter.create(path, HEADER) as writer:
            writer.write(make_exchange(0, 0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    with CaptureReader.open(path) as reader:
        assert [exchange.seq for exchange in reader.exchanges()] == [0]
        assert not reader.complete
        assert "was not closed" in reader.problems[0]


def test_an_account_that_could_not_be_written_is_written_at_the_end(
    tmp_path: Path, make_exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter block that a full disk took away does not count as written, nor does a failing cut."""
    path = tmp_path / "a.reel"
    writer = CaptureWriter.create(path, HEADER)
    writer.write(make_exchange(0, 0))
    account = Counters(seen=1, dropped=1)
    writer.count(account)

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(writer_module.os, "write", fail)
        full.setattr(writer_module.os, "ftruncate", fail)
        with pytest.raises(WriteError, match="No space left"):
            writer.flush()
    writer.close(account)
    with CaptureReader.open(path) as reader:
        assert reader.counters == account


def test_very_long_paths_do_not_fill_the_index(tmp_path: Path, make_exchange, monkeypatch) -> None:
    """Thousands of distinct paths of kilobytes make an index of bounded size that opens."""
    monkeypatch.setattr("captures.endpoints.MAX_TOTAL_CHARS", 50_000)
    path = tmp_path / "a.reel"
    with CaptureWriter.create(path, HEADER) as writer:
        for seq in range(300):
            writer.write(make_exchange(seq, seq, target=b"/" + b"%08dz" % seq * 230))
    with CaptureReader.open(path) as reader:
        assert len(list(reader.exchanges())) == 300
        assert sum(map(len, reader._labels)) <= 51_000
        assert "OTHER /{other}" in reader.endpoint_labels


def test_a_connection_that_the_index_cannot_hold_is_refused(tmp_path: Path, make_exchange) -> None:
    """It is not taken, and the writer goes on."""
    with CaptureWriter.create(tmp_path / "a.reel", HEADER) as writer:
        with pytest.raises(HookreelError, match="number them anew"):
            writer.write(make_exchange(0, 0, connection=2**32))
        writer.write(make_exchange(1, 1, connection=2**32 - 1))
    with CaptureReader.open(tmp_path / "a.reel") as reader:
        assert reader.index.connection.tolist() == [2**32 - 1]


def test_a_footer_beyond_the_format_leaves_a_file_that_opens(
    tmp_path: Path, make_exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When more streams ended than a footer can list, one sentence says so and all exchanges are there."""
    path = tmp_path / "a.reel"
    writer = CaptureWriter.create(path, HEADER)
    for seq in range(10):
        writer.write(make_exchange(seq, seq))
    writer.flush()
    monkeypatch.setattr("captures.frames.MAX_BLOCK_BYTES", 50)
    with pytest.raises(WriteError, match="smaller parts"):
        writer.close()
    monkeypatch.undo()
    with CaptureReader.open(path) as reader:
        assert len(list(reader.exchanges())) == 10
        assert not reader.complete
