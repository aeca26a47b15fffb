"""Tuples that hold traffic: their ``repr`` tells sizes."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from replayer.carried import Carried
from replayer.keeping import Came
from replayer.minting import _Made, _Parsed
from replayer.places import BODY, Minted, Spelling, Spot
from replayer.spoken import Answer, Said

SECRET = b"sesame"


@pytest.mark.parametrize(
    "made",
    [
        Came(3, b"Set-Cookie: sesame", SECRET),
        Spot("body.id", SECRET, BODY, 0, 6, Spelling.JSON),
        Minted("body.id", 0, SECRET),
        Said(5, True, SECRET, 7),
        Answer(9, {("body.id", 0): SECRET}),
        Carried(SECRET, "message.id", 1, "body.id", 2),
        _Parsed(header=SECRET, claims=SECRET, algorithm="HS256", issuer="club", times={}),
        _Made(SECRET, None),
    ],
)
def test_no_traffic_is_shown(made: NamedTuple) -> None:
    """Not even inside a list, as an error or a failed assertion would print it."""
    assert "sesame" not in repr([made])


def test_sizes_and_plain_facts_are_shown() -> None:
    """Enough to tell one from another."""
    assert repr(Came(3, b"head", b"")) == "Came(row=3, head=<4 bytes>, body=<0 bytes>)"
    assert repr(Answer(9, {("body.id", 0): SECRET})) == "Answer(end_ns=9, values=<1>)"
    assert repr(Minted("body.id", 0, SECRET)) == "Minted(place='body.id', ordinal=0, value=<6 bytes>)"
