"""What makes a scrubber fail is left out and counted, and everything else goes on."""

from __future__ import annotations

from typing import Any

import pytest

from anonymizer.detectors.base import Context
from anonymizer.policy import Policy, Undecodable
from anonymizer.scrubber import Scrubber
from captures.bodies.edits import Edit
from captures.errors import CaptureError
from captures.model import Failure, FailureReason, Message, MessageKind, Response

ODD = b"an odd thing of jane.doe@corp.io"


@pytest.fixture(autouse=True)
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrubber that fails at ``ODD``, with words of it in the error."""
    usual = Scrubber.text

    def text(self: Scrubber, text: bytes, context: Context, depth: int = 0, **how: bool) -> list[Edit]:
        if ODD in text:
            raise LookupError(text)
        return usual(self, text, context, depth, **how)

    monkeypatch.setattr(Scrubber, "text", text)


def unread(result: Any) -> dict[tuple[str, str], int]:
    return {
        (row["endpoint"], row["field"]): row["count"] for row in result.report.as_dict()["undecodable_fields"]
    }


@pytest.mark.parametrize("how", list(Undecodable))
def test_a_body_that_fails_is_taken_for_one_that_cannot_be_read(
    make_exchange: Any, anonymized: Any, how: Undecodable
) -> None:
    """Bodies are blanked or dropped as the policy says; the rest of it and other exchanges are as usual."""
    length = (b"Content-Length", b"%d" % len(ODD))
    result = anonymized(
        make_exchange(0, target=b"/a/bob@corp.io", headers=(length,), body=ODD),
        make_exchange(1, target=b"/b", body=b"bob@corp.io"),
        policy=Policy(undecodable=how),
    )
    assert b"jane" not in result.everything()
    first, second = result.exchanges
    assert first.request.body == (bytes(len(ODD)) if how is Undecodable.BLANK else b"")
    assert first.request.headers == ((b"Content-Length", b"%d" % len(first.request.body)),)
    assert first.request.target == b"/a/" + second.request.body
    count = unread(result)
    assert sum(count.values()) == 2  # the body, and that it failed
    assert [field for _, field in count] == ["exchange (LookupError)", "request.body"]
    assert result.report.exchanges == 2


@pytest.mark.parametrize("failed", [False, True])
def test_of_what_fails_without_bodies_times_are_left(
    make_exchange: Any, anonymized: Any, *, failed: bool
) -> None:
    """A header that fails takes all words of its exchange with it; it stays at its place with its status."""
    one = make_exchange(1, headers=((b"X-Note", ODD),), body=b"bob", reason=b"Fine", response_body=b"bob")
    if failed:
        outcome = Failure(reason=FailureReason.TIMEOUT, offset_ns=1_000_020, detail=ODD.decode())
        one = type(one)(**{name: getattr(one, name) for name in one.__slots__} | {"outcome": outcome})
    result = anonymized(make_exchange(0), one, make_exchange(2))
    assert [made.seq for made in result.exchanges] == [0, 1, 2]
    made = result.exchanges[1]
    assert (made.offset_ns, made.request_end_ns) == (one.offset_ns, one.request_end_ns)
    assert (made.request.target, made.request.headers, made.request.body) == (b"/", (), b"")
    if isinstance(made.outcome, Response):
        assert (made.outcome.status, made.outcome.headers, made.outcome.body) == (200, (), b"")
    assert b"odd" not in result.everything()
    assert unread(result)["GET /", "exchange (LookupError)"] == 1


def test_a_message_that_fails_becomes_zeros(make_exchange: Any, anonymized: Any) -> None:
    """The messages beside it are as usual, and all are counted once."""
    messages = [
        Message(exchange=0, offset_ns=at, from_client=True, kind=MessageKind.TEXT, payload=payload)
        for at, payload in enumerate([b"hello", ODD])
    ]
    result = anonymized(make_exchange(0, stream=True), messages=messages)
    assert [message.payload for message in result.messages] == [b"hello", bytes(len(ODD))]
    assert result.report.messages == 2
    assert ("POST /hooks", "message (LookupError)") in unread(result)


def test_damage_is_no_oddity(make_exchange: Any, anonymized: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error with a sentence for the user ends the run as ever."""

    def text(*_: Any, **__: Any) -> list[Edit]:
        raise CaptureError("It is damaged.")

    monkeypatch.setattr(Scrubber, "text", text)
    with pytest.raises(CaptureError):
        anonymized(make_exchange(0))
