"""What of a capture has to be searched, and for which originals."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.audit_search import Patterns, Searcher
from anonymizer.audit_sieve import Sieve, Sought, new_texts
from anonymizer.encodings import patterns_of

MAIL = b"quentin@corp-nine.test"


@given(pieces=st.lists(st.sampled_from([MAIL, b"please", b"x" * 40, b"4155552671"]), max_size=60))
def test_a_sieve_lets_nothing_through(pieces):
    """What was seen clean is not searched again, and what holds a value is always suspicious."""
    sieve = Sieve(Sought({0: MAIL}, {}))
    for body in (b"[" + b',"'.join(pieces) + b"]", b"[" + b',"'.join(reversed(pieces)) + b"]"):
        news = sieve.new([body])
        searcher = sieve.suspects(news, new_texts(news))
        assert (searcher is not None) == (MAIL in pieces)
        if searcher is not None:
            assert searcher.found_in(body)
            sieve.forget(news)


@settings(max_examples=50)
@given(
    values=st.lists(st.text("abcd4. -é", min_size=6, max_size=20).map(str.encode), min_size=1, max_size=6),
    gaps=st.lists(st.text("abcd4. -é", max_size=30).map(str.encode), min_size=1, max_size=9),
    data=st.data(),
)
def test_a_sieve_finds_what_searching_for_everything_finds(values, gaps, data):
    """The originals that are told survive are those that an automaton of all spellings finds."""
    originals = dict(enumerate(dict.fromkeys(values)))
    everything = Patterns()
    for number, value in originals.items():
        everything.add(number, patterns_of(value))
    spellings = [text for value in originals.values() for text, _ in patterns_of(value)]
    body = b"".join(gap + data.draw(st.sampled_from([b"", *spellings])) for gap in gaps)
    expected = Searcher(everything, originals.__getitem__).find(body)
    sieve = Sieve(Sought(originals, {}))
    news = sieve.new([body])
    searcher = sieve.suspects(news, new_texts(news))
    assert (searcher.find(body) if searcher else []) == expected


@pytest.mark.parametrize("text", [b"A%20b", b"quentins", b"corp-nine.tes", b""])
def test_what_the_filter_sees_by_chance_is_no_suspicion(text):
    """A longer word and a part of a value are searched exactly before anything is said."""
    sieve = Sieve(Sought({0: b"quentin", 1: MAIL}, {}))
    news = sieve.new([text])
    assert sieve.suspects(news, new_texts(news)) is None


def test_a_hashed_field_is_suspicious():
    """The digest of a field around an original betrays it; the field itself stands there on purpose."""
    sieve = Sieve(Sought({}, {4: b"Quentin of Corp-Nine"}))
    digest = hashlib.sha256(b"Quentin of Corp-Nine").hexdigest().encode()
    news = sieve.new([digest])
    searcher = sieve.suspects(news, new_texts(news))
    assert searcher is not None
    assert [hit.original for hit in searcher.find(digest)] == [4]


@pytest.mark.parametrize(
    ("name", "held"), [(b"x-" + MAIL, True), (b"x-" + base64.b64encode(MAIL), True), (b"x-note", False)]
)
def test_a_name_that_holds_an_original_is_known(name, held):
    """The names of places are looked through for every original, whatever was searched before."""
    assert Sieve(Sought({0: MAIL}, {})).found_in(name) is held
