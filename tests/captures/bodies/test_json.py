"""The JSON scanner: spans of every leaf, and nothing passes by it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from captures.bodies.edits import Edit, splice
from captures.bodies.json import LeafRole, cut, escape, looks_like_json, scan, unescape, unmarked, with_marks

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def leaves_of(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in (key, *leaves_of(inner))]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in leaves_of(inner)]
    return [] if value is None or isinstance(value, bool) else [value]


@given(VALUES, st.booleans(), st.sampled_from([None, 0, 2]))
def test_every_leaf_is_found(value: Any, ascii_only: bool, indent: int | None) -> None:
    """Keys, strings and numbers of any document come in order with their exact spans."""
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    found = [
        json.loads(data[leaf.start : leaf.stop])
        if leaf.role is LeafRole.NUMBER
        else unescape(data[leaf.start : leaf.stop]).text.decode("utf-8", "surrogatepass")
        for leaf in scan(data)
    ]
    assert found == leaves_of(value)


@given(VALUES)
def test_splicing_nothing_changes_nothing(value: Any) -> None:
    """Replacing every leaf by itself gives the same bytes."""
    data = json.dumps(value).encode()
    edits = [Edit(leaf.start, leaf.stop, data[leaf.start : leaf.stop]) for leaf in scan(data)]
    assert splice(data, edits) == data


def test_keys_paths_and_holders() -> None:
    """A leaf knows its key, the keys above it and which object it is in."""
    data = b'{"a": [1, {"b": "x"}], "c": {"d": "y"}, "e": "z"}'
    found = {data[leaf.start : leaf.stop]: leaf for leaf in scan(data) if leaf.role is not LeafRole.KEY}
    assert (found[b"1"].key, found[b"1"].path) == (b"a", ())
    assert (found[b"x"].key, found[b"x"].path) == (b"b", (b"a",))
    assert (found[b"y"].key, found[b"y"].path) == (b"d", (b"c",))
    assert found[b"z"].holder == found[b"1"].holder != found[b"y"].holder


def test_text_that_is_no_whole_json_is_seen_all_the_same() -> None:
    """Several values, trailing commas and a string cut short still give their leaves."""
    data = b'{"a": "x",}\n{"b": "y"} stray text {"c": "cut sho'
    assert [data[leaf.start : leaf.stop] for leaf in scan(data)] == [
        b"a",
        b"x",
        b"b",
        b"y",
        b"stray text",
        b"c",
        b"cut sho",
    ]


def test_a_deep_document_takes_no_more_than_its_bytes() -> None:
    """A leaf knows the nearest 32 keys above it, however deep it is; below, outer names come back."""
    data = b"".join(b'{"k%d":' % level for level in range(3000)) + b'"x"' + b"}" * 2998 + b',"last":"y"}'
    leaves = scan(data)
    assert max(len(leaf.path) for leaf in leaves) == 32
    by_text = {data[leaf.start : leaf.stop]: leaf for leaf in leaves}
    assert by_text[b"x"].key == b"k2999"
    assert by_text[b"x"].path == tuple(b"k%d" % level for level in range(2967, 2999))
    assert (by_text[b"y"].key, by_text[b"y"].path) == (b"last", (b"k0",))


def test_a_string_without_an_end_is_one_leaf() -> None:
    """Whatever it has in it, so that many quotes in it do not make the scanner begin anew."""
    rest = rb"a, \"b\" {" * 1000
    data = b'{"k": "v", "cut": "' + rest
    last = scan(data)[-1]
    assert (last.role, last.key, data[last.start : last.stop]) == (LeafRole.OTHER, b"cut", rest)
    assert [data[leaf.start : leaf.stop] for leaf in scan(data)] == [b"k", b"v", b"cut", rest]
    assert scan(b'{"k": "')[-1].role is LeafRole.KEY


@given(st.binary())
def test_arbitrary_bytes_are_scanned(data: bytes) -> None:
    """No input makes the scanner fail, and spans never overlap."""
    position = 0
    for leaf in scan(data):
        assert position <= leaf.start <= leaf.stop <= len(data)
        position = leaf.stop


@given(st.text(), st.booleans())
def test_escapes_round_trip(text: str, ascii_only: bool) -> None:
    """Any text comes back from its escaped form."""
    data = text.encode("utf-8", "surrogatepass")
    assert unescape(escape(data, ascii_only=ascii_only)).text == data


@given(st.binary(max_size=30), st.booleans())
@example(b'"\xc3\xa9\xff\\', True)
def test_bytes_that_are_no_text_come_back(data: bytes, ascii_only: bool) -> None:
    """Bytes that are no UTF-8 stay themselves beside escaped characters."""
    assert unescape(escape(data, ascii_only=ascii_only)).text == data


def test_what_is_no_escape_stays() -> None:
    """Broken escapes are passed through, and lone surrogates do not fail."""
    assert unescape(rb"a\q\u12 \ud800 b").text.startswith(rb"a\q\u12 ")


def test_json_is_recognised_by_its_start() -> None:
    """White space may stand before the bracket."""
    assert looks_like_json(b" \n{")
    assert looks_like_json(b"[1]")
    assert not looks_like_json(b"text {")
    assert not looks_like_json(b"")


def test_a_string_alone_is_marked_as_in_its_document() -> None:
    """Cutting a document and marking one of its strings by itself give the same."""
    inside = rb"a \\ \" \\\" \n b"
    found = cut(b'{"k":"%b"}' % inside)
    assert found is not None
    assert found.marked
    assert found.parts[3] == with_marks(inside)
    assert unmarked(found.parts[3]) == inside
