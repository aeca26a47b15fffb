"""Length-prefixed messages: split where they end, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies.envelopes import Envelope, enveloped, envelopes


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=5))
def test_messages_go_and_come_back(messages: list[tuple[int, bytes]]) -> None:
    """What is enveloped and joined is split into the same flags and messages."""
    data = b"".join(enveloped(*message) for message in messages)
    found = envelopes(data)
    assert found is not None
    assert [(one.flags, data[one.start : one.stop]) for one in found] == messages


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x00\x00\x00\x00\x02a", b"\x00\x00\x00\x00", b"\x00\x00\x00\x00\x01ab"]
)
def test_what_does_not_fit_is_none(data: bytes) -> None:
    """A prefix or message cut short gives nothing."""
    assert envelopes(data) is None


def test_an_empty_message_is_one() -> None:
    """A prefix of length 0 counts."""
    assert envelopes(b"\x01\x00\x00\x00\x00") == [Envelope(1, 5, 5)]
