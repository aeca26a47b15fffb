"""Texts are sorted by what may be found in them."""

from __future__ import annotations

import base64

import pytest

from anonymizer.sieve import Sieve

DULL = b"https://api.github.com/repos/octocat/Hello-World"


@pytest.mark.parametrize(
    "value", [b"jane.doe@corp.io", b"+1 415 555 2671", b"4111111111111111", b"192.168.17.4"]
)
def test_values_are_told_by_their_shape(value: bytes) -> None:
    """What a detector may find has to be looked at, whatever stands beside it."""
    found = Sieve(None).sort([DULL, b"see " + value, DULL])
    assert found.valued == {1}
    assert not {0, 2} & found.layered


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(b"jane doe"),
        b"https://x.io/v1/" + base64.urlsafe_b64encode(b"jane.doe and others"),
        b"jane%20doe",
        b"jane &amp; doe",
        rb"jane \u00e9",
        b"jane doe, of no interest".hex().encode(),
        base64.b32encode(b"jane doe"),
    ],
)
def test_texts_inside_are_told_by_their_encodings(text: bytes) -> None:
    """A text in an encoding has to be looked at, alone and as a part of a path; others need not be."""
    found = Sieve(None).sort([DULL, text, b"", DULL])
    assert found.layered == {1}


def test_the_same_word_is_told_at_each_of_its_places() -> None:
    """What was sorted once is sorted alike the next time, and in every text that holds it."""
    sieve = Sieve(None)
    text = base64.b64encode(b"jane doe is here")
    for _ in range(2):
        assert sieve.sort([text, DULL, b"a " + text]).layered == {0, 2}
        assert sieve.sort([b"\x00\x10\x83AAAA", DULL]).layered == set()
