"""Values at a few places of a document: the same as those that a scan of all of it finds there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayer.json_values import values_at
from replayer.places import minted

JSON = ((b"Content-Type", b"application/json"),)
KEYS = st.text('ab.\u00e9\\"', max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text('a\u20ac\n\ud800"', max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(VALUES, min_size=1, max_size=2), st.booleans(), st.data())
def test_a_few_places_are_those_of_all(documents: list[Any], ascii_only: bool, data: st.DataObject) -> None:
    """Whatever the document, with equal keys and several in a row: value and number of each place agree."""
    body = "\n".join(json.dumps(one, ensure_ascii=ascii_only) for one in documents)
    raw = body.replace('"b"', '"a"').encode("utf-8", "surrogatepass")
    everything = list(minted(JSON, raw))
    places = data.draw(st.sets(st.sampled_from(sorted({one.place for one in everything} | {"body.no"}))))
    assert list(minted(JSON, raw, places)) == [one for one in everything if one.place in places]


def test_numbers_stay_as_they_are_written() -> None:
    """Spelling is what the next request repeats."""
    assert values_at(b'{"n": [1.10, -0, 1e3, NaN, true, "x"]}', {"body.n"}) == [
        ("body.n", b"1.10"), ("body.n", b"-0"), ("body.n", b"1e3"), ("body.n", b"x"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"a":' * 100_000, "body.a"), (b"[" * 100_000 + b"]" * 100_000, "body"),
        (b'{"a": "cut', "body.a"), (b'{"a": "\xff"}', "body.a"), (b'{"a\\u0062": 1}', "body.a\\u0062"),
        (b"{}", "body" + ".a" * 32), (b"{}", "body." + "a" * 300),
    ],
)  # fmt: skip
def test_what_only_a_scan_can_tell_is_left_to_it(data: bytes, place: str) -> None:
    """Damage, depth, other bytes than UTF-8, and places whose names are escaped or shortened."""
    assert values_at(data, {place}) is None


def test_a_response_is_not_read_for_other_places() -> None:
    """A cookie is found without a look at the body, a shortened place with a scan of it."""
    cookie = (b"Set-Cookie", b"s=fresh; Path=/")
    key = b"k" * 3000
    body = b'{"%b": {"id": "fresh", "n": 1}}' % key
    assert [one.value for one in minted((*JSON, cookie), body, {"cookie.s"})] == [b"fresh"]
    places = [one.place for one in minted(JSON, body)]
    assert max(map(len, places)) < 300
    assert [one.value for one in minted(JSON, body, {places[0]})] == [b"fresh"]
