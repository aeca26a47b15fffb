"""Two JSON values compared: equal ones never differ, and no value gets the better of the comparison."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayer.kept import KeptResponse
from replayer.review.answers import Change
from replayer.review.bodies import Leniency, Opaque, differences, read_body
from replayer.review.bodies_shown import shown

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_does_not_differ_from_itself(value):
    """No finding without a difference."""
    assert differences(value, value, Leniency()) == []


@given(VALUES, VALUES)
def test_two_values_differ_somewhere_or_are_equal(before, after):
    """What is not found does not differ, but for the names of ids and the spelling of numbers."""
    found = differences(before, after, Leniency())
    assert (differences(after, before, Leniency()) == []) == (found == [])
    assert all(one.path.startswith("$") for one in found)
    for one in found:
        assert len(shown(one.before, one.path)) < 200
        assert shown(one.after, one.path).isprintable() or "\n" not in shown(one.after, one.path)


@pytest.mark.parametrize("tolerance", [(0.0, 0.0), (0.01, 0.0), (0.0, 1.5)])
def test_numbers_that_no_float_holds_are_compared(tolerance):
    """Integers of hundreds of digits and what is read as infinity differ, and cost nobody the report."""
    leniency = Leniency(tolerance=lambda _path: tolerance)
    huge = [json.loads(text) for text in (f"{10**400}", f"-{10**400}", "1e999", "-1e999", "0.5")]
    for before, after in permutations(huge, 2):
        (one,) = differences({"n": before}, {"n": after}, leniency)
        assert (one.path, one.change) == ("$.n", Change.VALUE)
        assert len(shown(one.before, one.path)) <= len("...") + 80
    assert differences(huge, list(huge), leniency) == []


def test_a_tolerance_permits_what_is_within_it():
    """A share of the number before, or so much of it, whichever is more."""
    share, much = (Leniency(tolerance=lambda _path, of=of: of) for of in ((0.01, 0.0), (0.0, 1.5)))
    assert differences({"n": 200}, {"n": 202}, share) == []
    assert differences({"n": 200}, {"n": 201.5}, much) == []
    assert len(differences({"n": 200}, {"n": 202.1}, share)) == 1
    assert len(differences({"n": 200}, {"n": 201.6}, much)) == 1
    assert len(differences({"n": 200}, {"n": 201}, Leniency())) == 1


def test_an_insertion_is_one_addition():
    """An element put in front does not make all others differ."""
    found = differences([1, 2, 3], [0, 1, 2, 3], Leniency())
    assert [(one.path, one.change, one.after) for one in found] == [("$[*]", Change.ADDED, 0)]


def test_a_very_long_key_makes_no_long_path():
    """Its beginning names it, and fields whose keys begin alike are compared with their own."""
    before = {"k" * 5_000 + end: at for at, end in enumerate("abc")}
    after = {**before, "k" * 5_000 + "b": "other"}
    (one,) = differences(before, after, Leniency())
    assert (one.change, one.before, one.after) == (Change.TYPE, 1, "other")
    assert one.path == f'$["{"k" * 200}..."]'


def test_a_path_is_written_as_its_keys_are():
    """Letters of any script stand for themselves, and what is no plain name in quotes."""
    before = {"注文": {"a b": 1}, 'q"': 1, "x-y": 1}
    found = differences(before, {"注文": {"a b": 2}, 'q"': 2, "x-y": 2}, Leniency())
    assert [one.path for one in found] == ['$["注文"]["a b"]', '$["q\\""]', "$.x-y"]


def test_the_order_of_keys_is_none():
    """Objects are sets of fields; numbers have one type."""
    assert differences({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, Leniency()) == []


def test_true_is_no_number():
    """A boolean in place of a number is another type."""
    (one,) = differences({"a": 1}, {"a": True}, Leniency())
    assert one.change is Change.TYPE


def test_unordered_arrays_are_compared_as_bags():
    """Only what has no partner differs, however often it stands there."""
    leniency = Leniency(unordered=lambda path: path == "$[*]")
    assert differences([1, 2, 2], [2, 1, 2], leniency) == []
    assert [one.change for one in differences([1, 2, 2], [2, 1, 1], leniency)] == [Change.VALUE]


def test_a_reordered_array_is_seen_through_what_is_volatile():
    """Elements are matched by what is stable in them."""
    before = [{"n": 1, "at": 10}, {"n": 2, "at": 20}]
    after = [{"n": 2, "at": 30}, {"n": 1, "at": 40}]
    found = differences(before, after, Leniency(volatile={"$[*].at"}))
    assert [(one.path, one.change) for one in found] == [("$[*]", Change.ORDER)]


def test_strange_bodies_are_opaque_and_never_an_error():
    """Deep nesting, text that only claims to be JSON and damaged codings are compared as they came."""

    def body(data, *headers):
        return read_body(
            KeptResponse(row=0, headers=((b"content-type", b"application/json"), *headers), body=data)
        )

    assert isinstance(body(b"[" * 100_000), Opaque)
    assert isinstance(body(b"{nonsense"), Opaque)
    assert isinstance(body(b"xx", (b"content-encoding", b"gzip")), Opaque)
    assert body(b'{"a": NaN}') == {"a": "NaN"}
    assert isinstance(body(b"[" * 900 + b"]" * 900), Opaque)
    assert isinstance(body(b'{"a":' * 61 + b"1" + b"}" * 61), Opaque)
    assert body(b"[" * 50 + b"]" * 50) == json.loads("[" * 50 + "]" * 50)


def test_secrets_are_not_shown():
    """A name or a shape that says secret hides the value, in any case and language of names."""
    for path, value in (
        ("$.password", "a"), ("$.user.apiKey", "b"), ("$.AccessToken", "c"), ("set-cookie", "sid=1"),
        ("$.x", "eyJhbGciOi.eyJzdWIi.c2ln"), ("$.x", "0123456789abcdef0123456789abcdef"),
        ("$.x", "Bearer AKIA1234567890ABCDEFGH"),
    ):  # fmt: skip
        assert shown(value, path) == f"{len(value)} characters, not shown"
    assert shown("plain words", "$.x") == '"plain words"'
    assert shown(123456, "$.otp") == "number, not shown"


def test_a_number_that_is_cut_says_so():
    """Nobody takes the first digits for all of them."""
    assert shown(10**400, "$.n") == f"1{'0' * 79}..."
    assert shown(10**79, "$.n") == f"1{'0' * 79}"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("x " * 38 + "0123456789abcdef0123456789abcdef", True),
        ("x " * 38 + "eyJhbGciOiJub25lIn0.e30.", True),
        ("x " * 38 + "-----BEGIN PRIVATE KEY-----", True),
        ("x " * 38 + "a" * 300 + "1", True),
        ("x " * 2_000 + "0123456789abcdef0123456789abcdef", False),
        ("an order of 12 pieces, " * 10, False),
    ],
)
def test_a_secret_is_hidden_where_its_head_would_be_shown(text, hidden):
    """Its shape may need what stands beyond the characters that are shown; what is far beyond is not."""
    assert shown(text, "$.x").endswith("characters, not shown") is hidden


@pytest.mark.parametrize("word", ["注文の確認", "eyJ", "eyJ-", "a", "1", "a1:"])
def test_a_long_text_without_a_blank_is_looked_through_once(word):
    """Prose of languages without blanks, and what looks like a thousand secrets, take no minutes."""
    assert len(shown(word * 300_000, "$.x")) < 100
