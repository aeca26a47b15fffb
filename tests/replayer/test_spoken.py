"""What messages carry of what responses minted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from captures.model import Exchange, Message, MessageKind, Response
from captures.reader import CaptureReader
from replayer.carried import Carried
from replayer.spoken import NEVER_SAID_NS, Answer, Said, Spoken, find_minted, listen, offsets_of

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
    assert spoken.said[9] == (Said(5, False, b"first", 15), Said(20, True, b"second-word", 30))
    assert words == {b"second-word": 30, b"server-says": NEVER_SAID_NS}
    assert spoken.cut == 1


def test_only_what_a_response_showed_first_is_minted(exchange: Make) -> None:
    """What a client had said before is its own; the first response to show a value minted it."""
    run, mine, early = b"run-0123456789", b"mine-0123456789", b"early-0123456789"
    words = {run: NEVER_SAID_NS, mine: NEVER_SAID_NS, early: 1_999, b"plainword": 0}
    exchanges = [
        answered(
            exchange(0, target=b"/x?id=" + mine),
            b'{"echo":"%b","id":"%b","said":"%b","kind":"plainword"}' % (mine, run, early),
        ),
        answered(exchange(1), b'{"id":"%b"}' % run),
        exchange(2, target=b"/runs/" + run),
    ]
    assert find_minted(exchanges, words) == {0: Answer(2_000, {("body.id", 0): run})}


def test_a_message_carries_what_was_minted_before_it() -> None:
    """Tokens with dots are found with their places; not what came too late, nor weak words."""
    token, run, number = b"SFMyNTY.g2gDbQ/x.rXyl-token", b"run-0123456789", b"123456"
    body = b'{"token":"SFMyNTY.g2gDbQ\\/x.rXyl-token","topic":"room:%b","n":%b,"list":["%b"]}' % (
        run,
        number,
        number,
    )
    said = (
        Said(0, True, body, 50),
        Said(1, True, b"nothing of it", 60),
        Said(2, True, b"room:" + number, 70),
    )
    minted = {
        1: Answer(20, {("body.token", 0): token, ("body.id", 0): number}),
        2: Answer(55, {("body.id", 0): run}),
    }
    (messages,) = Spoken(said={9: said}, minted=minted).carried().values()
    assert messages == ((Carried(token, "message.token", 1, "body.token", 30),), (), ())


def test_an_offset_is_found_by_the_exchange_it_is_of(capture: Callable[..., Path], exchange: Make) -> None:
    """Numbers need not be in order of time, and one that is not there has none."""
    path = capture([exchange(7, offset_ns=10), exchange(3, offset_ns=20), exchange(12, offset_ns=30)])
    with CaptureReader.open(path) as reader:
        offset_of = offsets_of(reader.index)
    assert [offset_of(seq) for seq in (3, 7, 12, 5, 13, 0)] == [20, 10, 30, None, None, None]
