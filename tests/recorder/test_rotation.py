from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from captures.errors import UsageError, WriteError
from captures.model import Counters, Message, MessageKind, RecorderFacts
from captures.reader import CaptureReader
from captures.units import KIB, MIB, NS_PER_S
from captures.writer import CaptureWriter, new_header
from recorder.rotation import Limits, PartedWriter, part_path, part_paths
from recorder.scribe import SizeReached
from tests.recorder.made import made_exchange


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def make(output: Path, limits: Limits, clock: Clock | None = None) -> PartedWriter:
    paths = part_paths(output) if limits.rotates else iter((output,))

    def open_part() -> CaptureWriter:
        return CaptureWriter.create(next(paths), new_header(source="test", started_wall_ns=5))

    return PartedWriter(open_part, limits, clock_ns=clock or Clock())


def write_until_full(
    writer: PartedWriter, body: bytes, path: Callable[[int], bytes] = lambda seq: b"%d" % (seq % 5)
) -> int:
    for seq in range(1_000_000):
        try:
            writer.write(made_exchange(seq, body=body, target=b"/" + path(seq)))
        except SizeReached:
            return seq
    pytest.fail("the size was never reached")


def seqs(path: Path) -> list[int]:
    with CaptureReader.open(path) as reader:
        assert reader.complete
        return [item.seq for item in reader.exchanges()]


def counters_of(path: Path) -> Counters:
    with CaptureReader.open(path) as reader:
        return reader.counters


def test_without_limits_there_is_one_file_with_the_name_that_was_given(tmp_path: Path):
    """A recording that is not rotated is a plain capture."""
    output = tmp_path / "a.reel"
    writer = make(output, Limits())
    writer.write(made_exchange(0))
    writer.close(Counters(seen=2, written=1, in_flight=1))
    assert writer.parts == (output,)
    assert seqs(output) == [0]
    assert counters_of(output) == Counters(seen=2, written=1, in_flight=1)


def test_parts_are_named_in_order():
    """The counter stands before the suffix and sorts."""
    assert part_path(Path("/x/staging.reel"), 1) == Path("/x/staging-0001.reel")
    assert part_path(Path("staging"), 12) == Path("staging-0012")


def test_a_part_that_exists_is_refused_or_passed_over(tmp_path: Path):
    """The first part never overwrites anything; a later number in use is left alone."""
    output = tmp_path / "a.reel"
    part_path(output, 2).write_bytes(b"precious")
    paths = part_paths(output)
    assert next(paths) == part_path(output, 1)
    assert next(paths) == part_path(output, 3)
    part_path(output, 1).write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists already"):
        next(part_paths(output))


def test_time_ends_a_part_when_there_is_something_in_it(tmp_path: Path):
    """Each period with traffic is a file; quiet periods make none."""
    output, clock = tmp_path / "a.reel", Clock()
    writer = make(output, Limits(rotate_every_ns=10 * NS_PER_S), clock)
    for seq, at_s in enumerate((1, 5, 12, 13, 60)):
        clock.now_ns = at_s * NS_PER_S
        writer.write(made_exchange(seq))
    clock.now_ns = 100 * NS_PER_S
    writer.flush_if_due()
    clock.now_ns = 200 * NS_PER_S
    writer.flush_if_due()
    assert writer.exchanges_flushed == 5
    writer.close()
    assert [seqs(path) for path in writer.parts] == [[0, 1], [2, 3], [4]]
    assert sorted(tmp_path.iterdir()) == list(writer.parts)


def test_facts_have_a_part_when_the_last_one_ended_before_them(tmp_path: Path):
    """What is known at the end of an idle recording is kept, and who follows it sees its end."""
    clock = Clock()
    output = tmp_path / "a.reel"
    writer = make(output, Limits(rotate_every_ns=NS_PER_S), clock)
    writer.write(made_exchange(0))
    writer.count(Counters(seen=1, written=1))
    clock.now_ns = 2 * NS_PER_S
    writer.flush_if_due()
    writer.facts = RecorderFacts(added_ns={"p50": 7}, client_tls={}, server_tls={})
    writer.close(Counters(seen=1, written=1))
    assert writer.parts == (part_path(output, 1), part_path(output, 2))
    with CaptureReader.open(part_path(output, 2)) as reader:
        assert reader.complete
        assert reader.facts == writer.facts
        assert reader.counters == Counters()


def test_size_ends_a_part_before_it_is_larger(tmp_path: Path):
    """No part is above the size, whatever its content compresses to, and nothing is lost."""
    output, limit = tmp_path / "a.reel", 256 * KIB
    writer = make(output, Limits(rotate_bytes=limit))
    for seq in range(60):
        writer.write(made_exchange(seq, body=os.urandom(20_000)))
    for seq in range(60, 400):
        writer.write(made_exchange(seq, body=b"x" * 20_000))
    writer.close()
    sizes = [path.stat().st_size for path in writer.parts]
    assert max(sizes) <= limit
    assert min(sizes[:-1]) > limit * 0.8
    assert [seq for path in writer.parts for seq in seqs(path)] == list(range(400))


def test_one_exchange_above_the_size_has_a_part_of_its_own(tmp_path: Path):
    """What cannot be made smaller is kept whole."""
    writer = make(tmp_path / "a.reel", Limits(rotate_bytes=64 * KIB))
    for seq in range(3):
        writer.write(made_exchange(seq, body=os.urandom(MIB)))
    writer.close()
    assert [seqs(path) for path in writer.parts] == [[0], [1], [2]]


@pytest.mark.parametrize("body", [os.urandom(10_000), b"compresses well " * 600], ids=["random", "text"])
def test_the_capture_stays_within_the_size_that_is_allowed(tmp_path: Path, body: bytes):
    """Max-size bounds the closed file, and most of it is used."""
    output, limit = tmp_path / "a.reel", 300 * KIB
    writer = make(output, Limits(max_bytes=limit))
    seq = write_until_full(writer, body)
    with pytest.raises(SizeReached):
        writer.write_message(
            Message(exchange=0, offset_ns=1, from_client=True, kind=MessageKind.BINARY, payload=bytes(MIB))
        )
    writer.close(Counters(seen=seq + 1, written=seq, sampled_out=1))
    assert seqs(output) == list(range(seq))
    # Room is kept for an index that does not compress at all, which counts where exchanges are tiny.
    assert limit * 0.4 < output.stat().st_size <= limit


def test_long_distinct_paths_stay_within_the_size_that_is_allowed(tmp_path: Path):
    """The index at the end holds a label for each path, and counts."""
    output, limit = tmp_path / "a.reel", 300 * KIB
    writer = make(output, Limits(max_bytes=limit))
    write_until_full(writer, b"", path=lambda seq: b"-".join(b"z%d" % (seq // step) for step in range(1, 80)))
    writer.close()
    assert limit * 0.6 < output.stat().st_size <= limit


def test_the_size_that_is_allowed_is_that_of_all_parts(tmp_path: Path):
    """Rotation does not get around max-size."""
    writer = make(tmp_path / "a.reel", Limits(rotate_bytes=100 * KIB, max_bytes=250 * KIB))
    write_until_full(writer, os.urandom(5000))
    writer.close()
    assert sum(path.stat().st_size for path in writer.parts) <= 250 * KIB
    assert len(writer.parts) > 1


def test_the_accounts_of_all_parts_add_up(tmp_path: Path):
    """An exchange is counted where it ended; what was in flight at a rotation is not counted twice."""
    output, clock = tmp_path / "a.reel", Clock()
    writer = make(output, Limits(rotate_every_ns=NS_PER_S), clock)
    writer.count(Counters(seen=5, sampled_out=1, in_flight=4))
    writer.write(made_exchange(0))
    clock.now_ns = 2 * NS_PER_S
    writer.count(Counters(seen=9, written=1, sampled_out=2, dropped=1, truncated=1, in_flight=5))
    writer.write(made_exchange(1))
    clock.now_ns = 4 * NS_PER_S
    writer.count(Counters(seen=9, written=2, sampled_out=2, dropped=1, truncated=1, in_flight=4))
    writer.flush_if_due()
    writer.close(Counters(seen=10, written=2, sampled_out=3, dropped=1, truncated=1, in_flight=4))
    accounts = [counters_of(path) for path in writer.parts]
    assert accounts == [
        Counters(seen=4, written=1, sampled_out=2, dropped=1, truncated=1),
        Counters(seen=1, written=1),
        Counters(seen=5, sampled_out=1, in_flight=4),
    ]


def test_a_part_that_cannot_be_made_ends_the_writing(tmp_path: Path):
    """When the next file cannot be opened, that is told, and what was written stays whole."""
    output, clock = tmp_path / "a.reel", Clock()

    def open_part() -> CaptureWriter:
        if output.exists():
            raise WriteError("The disk is full.")
        return CaptureWriter.create(output, new_header(source="test", started_wall_ns=5))

    writer = PartedWriter(open_part, Limits(rotate_every_ns=NS_PER_S), clock_ns=clock)
    writer.write(made_exchange(0))
    clock.now_ns = 2 * NS_PER_S
    with pytest.raises(WriteError):
        writer.write(made_exchange(1))
    assert writer.exchanges_flushed == 1
    assert seqs(output) == [0]


def test_a_folder_that_is_gone_ends_the_writing(tmp_path: Path):
    """Without a place for the next part nothing more can be written, whoever says so."""
    output, clock = tmp_path / "parts" / "a.reel", Clock()
    output.parent.mkdir()
    writer = make(output, Limits(rotate_every_ns=NS_PER_S), clock)
    writer.write(made_exchange(0))
    shutil.rmtree(output.parent)
    clock.now_ns = 2 * NS_PER_S
    with pytest.raises(WriteError, match="folder"):
        writer.write(made_exchange(1))


def test_a_recording_that_did_not_begin_leaves_nothing(tmp_path: Path):
    """Discarding removes the file that was opened."""
    writer = make(tmp_path / "a.reel", Limits(rotate_bytes=MIB))
    writer.discard()
    assert list(tmp_path.iterdir()) == []
