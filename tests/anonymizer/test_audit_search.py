"""Searching many patterns at once, through escapes, base64 and compression."""

from __future__ import annotations

import base64
import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.audit_search import Patterns, Searcher
from anonymizer.encodings import patterns_of


def searcher_for(*values: bytes) -> Searcher:
    return Searcher(patterns_for(*values), values.__getitem__)


def patterns_for(*values: bytes) -> Patterns:
    patterns = Patterns()
    for number, value in enumerate(values):
        patterns.add(number, patterns_of(value))
    return patterns


@pytest.fixture(scope="module")
def searcher() -> Searcher:
    return searcher_for(b"quentin@corp-nine.test", b"please", b"4155552671", b"corp-nine")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (b"by quentin@corp-nine.test.", "as is"),
        (b"xquentin@corp-nine.testx", "as is"),
        (b'{"a":"q\\u0075entin\\u0040corp-nine.test"}', "as is inside JSON escapes"),
        (b"q%75entin%40corp-nine.test", "as is inside percent escapes"),
        (b"quentin&#64;corp&#45;nine.test", "as is inside HTML entities"),
        (json.dumps(json.dumps("quentin\u0040corp-nine.test".replace("q", "\\u0071"))).encode(), None),
        (
            b"H4sI" + base64.b64encode(gzip.compress(b"hi quentin@corp-nine.test", mtime=0))[4:],
            "as is inside base64 of compressed text",
        ),
        (
            base64.b64encode(b'{"mail":"q\\u0075entin@corp-nine.test"}'),
            "as is inside JSON escapes inside base64",
        ),
        (base64.b64encode(base64.b64encode(b"-quentin@corp-nine.test-")), "base64 inside base64"),
        (
            base64.b64encode(zlib.compress(b"hi quentin@corp-nine.test")),
            "as is inside base64 of compressed text",
        ),
        (b"+14155552671", "as is"),
        (b"yes, please!", "as is"),
    ],
)
def test_a_value_is_found_under_what_hides_it(searcher, text, encoding):
    """Mixed and nested spellings are undone and named."""
    hits = searcher.find(text)
    assert hits
    if encoding is not None:
        assert hits[0].encoding == encoding


@pytest.mark.parametrize(
    "text", [b"pleased", b"displease", b"nothing here", b"", b"%", b"\\", b"&#;", b"415555267"]
)
def test_what_is_not_there_is_not_found(searcher, text):
    """Longer words, parts and broken escapes are no hits."""
    assert searcher.find(text) == []


def test_only_the_longest_of_nested_originals_is_told(searcher):
    """An address that survives is one leak, not one for each of its parts."""
    hits = searcher.find(b"mail quentin@corp-nine.test")
    assert [hit.original for hit in hits] == [0]
    assert {hit.original for hit in searcher.find(b"quentin@corp-nine.test and corp-nine")} == {0, 3}


def test_a_short_base64_core_counts_only_when_it_decodes_to_the_value():
    """Seven base64 characters of a 6-byte value turn up by chance; what they are part of decides."""
    searcher = searcher_for(b"quenti")
    assert searcher.find(base64.b64encode(b"x quenti y"))
    core = base64.b64encode(b"\0quenti")[2:9]
    assert not searcher.find(b"AAA" + core + b"AAAA")


@given(data=st.binary(max_size=300))
def test_any_bytes_can_be_searched(data):
    """Arbitrary bytes never raise, and hide nothing that stands between them."""
    assert searcher_for(b"quentin@corp-nine.test").find(data + b" quentin@corp-nine.test " + data)
    searcher_for(b"quentin@corp-nine.test").find(b'\\u%41&#65;"' + data)


def test_an_empty_searcher_finds_nothing():
    """Without originals there is nothing to find."""
    assert Searcher(Patterns(), {}.__getitem__).find(b"anything") == []


def test_letter_case_is_no_hiding_place():
    """Any mixture of cases counts for a value of 8 bytes, and for a shorter one that stands alone."""
    searcher = searcher_for(b"Codertocat", b"Quentin")
    assert searcher.find(b"xcODERtocatx")[0].encoding == "mixed case"
    assert searcher.find(b"a qUENtin b")[0].encoding == "mixed case"
    assert searcher.find(b"xqUENtinx") == []


def test_of_originals_that_differ_in_case_the_one_that_is_there_is_told():
    """Two short originals with the same letters are both known."""
    hits = searcher_for(b"aBcDeF", b"abCDef").find(b"xabCDefx")
    assert [(hit.original, hit.encoding) for hit in hits] == [(1, "as is")]


def test_a_random_token_has_few_patterns_and_is_found_where_it_matters():
    """Nobody guesses a token from its hash; as it is, in base64 and in hex it is a leak."""
    token = b"q7Zt2LmX9vK4bN8rW3yPdF6h"
    assert len(patterns_for(token)) < 12
    for text in (token, token.upper(), token[::-1], base64.b64encode(b":" + token), token.hex().encode()):
        assert searcher_for(token).find(b"<" + text + b">")
