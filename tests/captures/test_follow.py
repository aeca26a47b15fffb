from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.encryption import ephemeral_identity
from captures.errors import CaptureError, UsageError
from captures.follow import Follower
from captures.model import Exchange, Message, MessageKind
from captures.writer import CaptureWriter, new_header

MESSAGE = Message(exchange=0, offset_ns=3, from_client=True, kind=MessageKind.TEXT, payload=b"x")


class Script:
    """Does the next step of a recording whenever the follower waits."""

    def __init__(self, steps: Iterator[Any]) -> None:
        self.steps = steps
        self.waits = 0

    def __call__(self) -> None:
        self.waits += 1
        assert self.waits < 100
        next(self.steps, None)


def create(tmp_path: Path, **options: Any) -> CaptureWriter:
    return CaptureWriter.create(tmp_path / "live.reel", new_header(source="x", started_wall_ns=0), **options)


def test_everything_comes_as_it_is_written(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """What is there comes at once, what is added when it is added, and the close ends it."""
    writer = create(tmp_path)
    exchanges = [make_exchange(seq, 10 - seq, body=b"b" * 40_000) for seq in range(4)]
    writer.write(exchanges[0])
    writer.flush()

    def steps() -> Iterator[None]:
        writer.write(exchanges[1])
        writer.write_message(MESSAGE)
        writer.flush()
        yield
        yield
        writer.write(exchanges[2])
        writer.flush()
        yield
        writer.write(exchanges[3])
        writer.close()
        yield

    with Follower.open(writer.path) as follower:
        script = Script(steps())
        assert list(follower.items(script)) == [*exchanges[:2], MESSAGE, *exchanges[2:]]
        assert script.waits == 4
        assert follower.closed
        assert follower.problems == ()


def test_killed_recording_ends_it(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """When the writer goes away without closing, what is whole comes, and that is said."""
    writer = create(tmp_path)
    writer.write(make_exchange(0))
    writer.flush()

    def steps() -> Iterator[None]:
        import os

        os.write(writer._descriptor, b"half a block")
        os.close(writer._descriptor)
        yield

    with Follower.open(writer.path) as follower:
        assert [item.seq for item in follower.items(Script(steps()))] == [0]
        assert not follower.closed
        assert len(follower.problems) == 2
    writer._closed = True


def test_finished_file(make_exchange: Callable[..., Exchange], write_capture: Any) -> None:
    """A file that is closed already comes whole, without a wait."""
    capture = write_capture([make_exchange(0), make_exchange(1)], [MESSAGE], flush_each=True)
    script = Script(iter(()))
    with Follower.open(capture) as follower:
        assert len(list(follower.items(script))) == 3
    assert script.waits == 0


def test_damage_inside_costs_only_itself(make_exchange: Callable[..., Exchange], write_capture: Any) -> None:
    """A damaged block of a finished file is left out and said."""
    capture = write_capture(
        [make_exchange(seq, body=bytes([65 + seq]) * 500) for seq in range(3)], flush_each=True
    )
    data = bytearray(capture.read_bytes())
    blocks = [at for at in range(len(data)) if data.startswith(b"\xf5\xe9reel\r\n\x02", at)]
    data[blocks[1] + 60] ^= 0xFF
    capture.write_bytes(data)
    with Follower.open(capture) as follower:
        assert [item.seq for item in follower.items(Script(iter(())))] == [0, 2]
        assert follower.closed
        [problem] = follower.problems
    assert "damaged" in problem


def test_sealed_recording(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """A sealed recording is followed with its identity, and not without."""
    identities, recipient = ephemeral_identity()
    writer = create(tmp_path, recipients=[recipient])
    writer.write(make_exchange(0))
    writer.close()
    with Follower.open(writer.path, identities=identities) as follower:
        assert [item.seq for item in follower.items(Script(iter(())))] == [0]
    with Follower.open(writer.path) as follower, pytest.raises(UsageError, match="encrypted"):
        list(follower.items(Script(iter(()))))


def test_what_is_no_capture(tmp_path: Path) -> None:
    """A file that is none, or is not there, is refused."""
    (tmp_path / "x").write_bytes(b"x" * 100)
    (tmp_path / "empty").write_bytes(b"")
    for name in ("x", "empty"):
        with Follower.open(tmp_path / name) as follower, pytest.raises(CaptureError):
            list(follower.items(Script(iter(()))))
    with pytest.raises(UsageError, match="cannot be read"):
        Follower.open(tmp_path / "none")


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_survived(
    make_exchange: Callable[..., Exchange], tmp_path: Path, data: st.DataObject
) -> None:
    """
    A file with bytes changed, cut or put in is followed to its end, or refused with CaptureError.

    Nothing comes that was not written, nothing twice, and what does not come is said.
    """
    path = tmp_path / "damaged.reel"
    path.unlink(missing_ok=True)
    writer = CaptureWriter.create(path, new_header(source="x", started_wall_ns=0))
    exchanges = [make_exchange(seq, body=bytes([65 + seq]) * 500) for seq in range(3)]
    for exchange in exchanges:
        writer.write(exchange)
        writer.flush()
    writer.close()
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 600))
        content[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=5))
    path.write_bytes(content)
    with Follower.open(path) as follower:
        try:
            came = list(follower.items(Script(iter(()))))
        except CaptureError:
            return
        assert came == [exchange for exchange in exchanges if exchange in came]
        assert follower.problems or came == exchanges
