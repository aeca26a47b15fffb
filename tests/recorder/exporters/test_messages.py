from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from captures.model import Message, MessageKind
from recorder.exporters.messages import MessagesByStream

MESSAGES = st.builds(
    Message,
    exchange=st.integers(0, 3),
    offset_ns=st.integers(0, 2**62),
    from_client=st.booleans(),
    kind=st.sampled_from(MessageKind),
    payload=st.binary(max_size=50),
    truncated_bytes=st.integers(0, 2**40),
)


def text(exchange: int, payload: bytes) -> Message:
    return Message(exchange=exchange, offset_ns=1, from_client=True, kind=MessageKind.TEXT, payload=payload)


@given(st.lists(MESSAGES), st.integers(1, 2000))
def test_every_stream_gets_its_messages_in_order(messages: list[Message], memory_bytes: int) -> None:
    """However often memory is full, each stream has what was added for it, without the END."""
    with MessagesByStream(None, memory_bytes=memory_bytes) as kept:
        kept.add(messages)
        for exchange in range(4):
            expected = [
                item for item in messages if item.exchange == exchange and item.kind is not MessageKind.END
            ]
            assert kept.take(exchange) == expected
            assert kept.take(exchange) == []


def test_messages_are_read_once(tmp_path: Path) -> None:
    """The messages of many streams are gone through one time, and little of them stays in memory."""
    passed = 0

    def count():
        nonlocal passed
        for number in range(3000):
            passed += 1
            yield text(number % 100, b"x" * 100)

    with MessagesByStream(tmp_path, memory_bytes=10_000) as kept:
        kept.add(count())
        assert kept._held_bytes <= 10_000
        assert [len(kept.take(exchange)) for exchange in range(100)] == [30] * 100
    assert passed == 3000


def test_the_file_has_no_name_and_cannot_be_read(tmp_path: Path) -> None:
    """What waits on the disk stands in no folder, and holds no byte of a message as it is."""
    with MessagesByStream(tmp_path, memory_bytes=10) as kept:
        kept.add([text(1, b"s3cr3t token")])
        assert list(tmp_path.iterdir()) == []
        assert kept._file is not None
        kept._file.seek(0)
        written = kept._file.read()
        assert len(written) > len(b"s3cr3t token")
        assert b"s3cr3t" not in written
        assert kept.take(1)[0].payload == b"s3cr3t token"
    assert kept._file.closed


def test_a_capture_with_few_messages_needs_no_file(tmp_path: Path) -> None:
    """Nothing is written, not even to a folder that is absent, when all fits into memory."""
    with MessagesByStream(tmp_path / "absent") as kept:
        kept.add([text(1, b"hello")])
        assert len(kept.take(1)) == 1
