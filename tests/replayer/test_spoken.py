"""What messages carry of what responses minted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from captures.model import Exchange, Message, MessageKind, Response
from captures.reader import CaptureReader
from replayer.spoken import find_minted, listen, offsets_of

Make = Callable[..., Exchange]
MS = 1_000_000


def answered(one: Exchange, body: bytes) -> Exchange:
    assert isinstance(one.outcome, Response)
    return replace(one, outcome=replace(one.outcome, body=body))


def message(payload: bytes, at_ns: int, **parts: Any) -> Message:
    filled = {"exchange": 9, "from_client": True, "kind": MessageKind.TEXT, **parts}
    return Message(offset_ns=at_ns, payload=payload, **filled)


def test_client_messages_are_kept_in_their_order() -> None:
    """Times count from the session's request; servers' messages and ends are not said by anybody."""
    spoken, words = listen(
        [
            message(b"second-word", 30, truncated_bytes=4),
            message(b"server-says", 20, from_client=False),
            message(b"first", 15, kind=MessageKind.BINARY),
            message(b"", 40, kind=MessageKind.END, from_client=False),
            message(b"of no session", 5, exchange=7),
        ],
        {9: 10}.get,
        {9},
    )
    assert [(said.elapsed_ns, said.text, said.payload) for said in spoken.said[9]] == [
        (5, False, b"first"),
        (20, True, b"second-word"),
    ]
    assert words == {b"second-word", b"server-says"}
    assert spoken.cut == 1


def test_only_what_a_response_showed_first_is_minted(exchange: Make) -> None:
    """A value that a client had said before is its own, and the first response to show one minted it."""
    words = {b"run-0123456789", b"mine-0123456789", b"plainword"}
    exchanges = [
        answered(
            exchange(0, target=b"/x?id=mine-0123456789"),
            b'{"echo":"mine-0123456789","id":"run-0123456789","kind":"plainword"}',
        ),
        answered(exchange(1), b'{"id":"run-0123456789"}'),
        exchange(2, target=b"/runs/run-0123456789"),
    ]
    assert find_minted(exchanges, words) == {0: {("body.id", 0): b"run-0123456789"}}


def test_an_offset_is_found_by_the_exchange_it_is_of(capture: Callable[..., Path], exchange: Make) -> None:
    """Numbers need not be in order of time, and one that is not there has none."""
    path = capture([exchange(7, offset_ns=10), exchange(3, offset_ns=20), exchange(12, offset_ns=30)])
    with CaptureReader.open(path) as reader:
        offset_of = offsets_of(reader.index)
    assert [offset_of(seq) for seq in (3, 7, 12, 5, 13, 0)] == [20, 10, 30, None, None, None]
