"""A capture while it is being recorded, part after part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from captures.model import Exchange, Message, MessageKind, RecorderFacts, Request, Response
from captures.writer import CaptureWriter, new_header
from hookreel.following import Following, follow
from hookreel.show import Show


def make(seq: int, *, stream: bool = False) -> Exchange:
    request = Request(
        method=b"GET",
        scheme=b"http",
        authority=b"h",
        target=b"/%d" % seq,
        http_version=b"HTTP/1.1",
        headers=(),
    )
    response = Response(
        status=200, reason=b"OK", http_version=b"HTTP/1.1", headers=(), offset_ns=seq, stream=stream,
        end_ns=None if stream else seq + 1,
    )  # fmt: skip
    return Exchange(
        seq=seq, offset_ns=seq, request_end_ns=seq, connection=0, request=request, outcome=response
    )


class Recording:
    """Writes the parts of one recording, as a recorder that rotates does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first = ""

    def begin(self, number: int, *, lineage: tuple[str, ...] | None = None) -> CaptureWriter:
        kept = ((self.first,) if self.first else ()) if lineage is None else lineage
        header = new_header(source="a test", started_wall_ns=7, lineage=kept)
        self.first = self.first or header.capture_id
        return CaptureWriter.create(self.folder / f"live-{number:04}.reel", header)

    def whole(self, number: int, *seqs: int, last: bool = False) -> Path:
        with self.begin(number) as writer:
            for seq in seqs:
                writer.write(make(seq))
            writer.facts = RecorderFacts() if last else None
        return writer.path


def followed(
    path: Path, steps: Iterator[None] | None = None, limit: int | None = None
) -> tuple[list[int], list[str]]:
    """The numbers of what was printed, and the notes; each wait does the next step."""
    notes: list[str] = []
    show = Following(as_json=True, show=Show(), limit=limit)
    waits = iter(range(100))

    def wait() -> None:
        next(waits)
        next(steps or iter(()), None)

    lines = [json.loads(line) for line in follow(path, show, wait, notes.append)]
    return [line.get("seq", line.get("message_of")) for line in lines], notes


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path)


def test_finished_parts_are_followed_in_order(recording: Recording) -> None:
    """From the part that was named to the last; a number that is left out is no end."""
    recording.whole(1, 0, 1)
    second = recording.whole(2, 2)
    recording.whole(10, 3, last=True)
    assert followed(second) == ([2, 3], [])


def test_parts_that_begin_while_they_are_followed(recording: Recording) -> None:
    """The next part is waited for, also when it begins late, and the last one ends it."""
    writer = recording.begin(1)
    writer.write(make(0, stream=True))
    writer.flush()

    def steps() -> Iterator[None]:
        writer.close()
        yield
        yield
        second = recording.begin(2)
        yield
        second.write_message(
            Message(exchange=0, offset_ns=1, from_client=True, kind=MessageKind.TEXT, payload=b"x")
        )
        second.write(make(1))
        second.facts = RecorderFacts()
        second.close()
        yield

    seen, notes = followed(writer.path, steps())
    assert sorted(seen) == [0, 0, 1]
    assert notes == ["live-0001.reel ended; waiting for the next part of the recording (Ctrl-C to stop)."]


def test_other_files_are_no_parts(recording: Recording) -> None:
    """Neither another recording's file of that name, nor what is no capture, nor an earlier part."""
    path = recording.whole(2, 0)
    recording.whole(1, 9)
    recording.begin(3, lineage=("f" * 32,)).close()
    path.with_name("live-0004.reel").write_bytes(b"something else")
    path.with_name("live-0005-copy.reel").write_bytes(path.read_bytes())
    assert followed(path) == ([0], [])


def test_a_recording_that_said_it_ended_is_not_waited_for(recording: Recording) -> None:
    """A part that a recorder closed as its last one ends it, though its name has a number."""
    writer = recording.begin(1)

    def steps() -> Iterator[None]:
        writer.write(make(0))
        writer.facts = RecorderFacts()
        writer.close()
        yield

    assert followed(writer.path, steps()) == ([0], [])


def test_a_file_that_is_no_part_ends_with_itself(tmp_path: Path) -> None:
    """A recording in one file is not waited for after it was closed."""
    writer = CaptureWriter.create(tmp_path / "live.reel", new_header(source="a test", started_wall_ns=0))

    def steps() -> Iterator[None]:
        writer.write(make(0))
        writer.close()
        yield

    assert followed(writer.path, steps()) == ([0], [])


def test_the_limit_holds_over_all_parts(recording: Recording) -> None:
    """So many exchanges, whichever part they stand in."""
    first = recording.whole(1, 0, 1)
    recording.whole(2, 2, 3, last=True)
    assert followed(first, limit=3)[0] == [0, 1, 2]
