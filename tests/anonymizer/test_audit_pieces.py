"""Bodies cut into pieces: the same strings differ as when all of it is parsed."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anonymizer.audit_pieces import changed_strings, separator_of
from anonymizer.audit_places import Place
from anonymizer.audit_spans import Part, place_spans

BEFORE = b'{"id":7,"login":"quentin","tags":["a,b","c"],"mail":"q@corp-nine.test"}'
AFTER = b'{"id":7,"login":"someone","tags":["a,b","c"],"mail":"s@example.com"}'
WORDS = st.sampled_from(
    ["octocat", "quentin-77", "Jane Anderson", "a,", ",", "", "12345678", "true", 'q"x', "ü"]
)
DOCUMENTS = st.recursive(
    WORDS | st.integers(0, 10**9) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


def test_only_the_strings_that_differ_are_given() -> None:
    """Each changed string comes with its counterpart, in order."""
    assert changed_strings(BEFORE, AFTER, set()) == [
        (b"quentin", b"someone"),
        (b"q@corp-nine.test", b"s@example.com"),
    ]


def test_what_was_given_before_is_left_out() -> None:
    """A pair of pieces counts once."""
    seen: set[Any] = set()
    assert changed_strings(BEFORE, AFTER, seen)
    assert changed_strings(BEFORE, AFTER, seen) == []


def test_where_only_parsing_can_tell_there_is_no_answer() -> None:
    """Escapes, changed numbers and another structure are left to the parser."""
    assert changed_strings(b'{"a":"x\\u0041"}', b'{"a":"y"}', set()) is None
    assert changed_strings(b'{"a":1,"b":2}', b'{"a":1,"b":3}', set()) is None
    assert changed_strings(b'{"a":"x","b":"y"}', b'{"a":"x"}', set()) is None


def test_a_body_is_cut_where_it_falls_into_most_pieces() -> None:
    """Compact, spaced and indented JSON each have their own cut."""
    value = {"a": ["x", "y"], "b": "z", "c": "u"}
    assert separator_of(json.dumps(value, separators=(",", ":")).encode()) == b',"'
    assert separator_of(json.dumps(value).encode()) == b', "'
    assert separator_of(json.dumps(value, indent=1).encode()) == b"\n"


def replaced(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: replaced(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner) for inner in value]
    return {"octocat": "stand-in", "Jane Anderson": "Mary Fielding", 'q"x': 'y"z'}.get(value, value)


def originals(before: bytes, after: bytes, key: str) -> set[bytes]:
    places = [Place("body", (key, b"", 0), data) for data in (before, after)]
    return {span.value for span in place_spans(*places) if span.part is Part.VALUE}


@given(document=st.lists(DOCUMENTS, min_size=1), indent=st.sampled_from([None, 1]), compact=st.booleans())
def test_pieces_and_parsing_give_the_same_originals(document: Any, indent: int | None, compact: bool) -> None:
    """Whatever the document, cutting it finds what parsing it finds (a leading space makes it be parsed)."""
    separators = (",", ":") if compact else None
    before = json.dumps(document, indent=indent, separators=separators).encode()
    after = json.dumps(replaced(document), indent=indent, separators=separators).encode()
    cut, parsed = originals(before, after, "x"), originals(b" " + before, b" " + after, "x")
    assert cut == parsed
