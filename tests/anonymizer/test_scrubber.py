"""Arbitrary documents: structure and types stay, and nothing fails."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.detectors.base import Context
from anonymizer.literals import Literals
from anonymizer.policy import Policy
from anonymizer.pseudonyms import PseudonymTable
from anonymizer.scrubber import Scrubber
from captures.bodies.edits import splice
from captures.keys import Prf

PRF = Prf(b"a key for tests, 32 bytes long..")
KEYS = st.sampled_from(
    ["login", "name", "email", "phone", "token", "user", "id", "data", "card", "zip", "text"]
)
TEXTS = st.text(max_size=20) | st.sampled_from(
    [
        "aliceanders",
        "Mona Lisa",
        "a.person@corp.com",
        "+4930901820",
        "81.2.69.160",
        '{"login": "aliceanders"}',
        "eyJsb2dpbiI6ICJhbGljZWFuZGVycyJ9",
        "a%2Eperson%40corp.com \\u0040 &#64;",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)


def scrubbers(*texts: bytes) -> Scrubber:
    policy = Policy()
    table = PseudonymTable(PRF, policy)
    collector = Scrubber(PRF, policy, table)
    for text in texts:
        collector.json(text)
        collector.text(text, Context())
    table.freeze()
    return Scrubber(PRF, policy, table, Literals(table, policy))


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return value if isinstance(value, bool) else type(value)


@settings(deadline=None)
@given(DOCUMENTS, st.booleans())
def test_documents_keep_their_structure(document: Any, ascii_only: bool) -> None:
    """Keys, types and lengths of lists stay, and what is no known value is spelled as before."""
    data = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    scrubber = scrubbers(data)
    new = splice(data, scrubber.json(data))
    assert shape(json.loads(new)) == shape(document)
    assert b"aliceanders" not in new or not mentions_login(document)


@given(st.sampled_from(["zip", "pin", "phone", "card", "token"]), st.integers(0, 10**17))
def test_numbers_stay_numbers(key: str, number: int) -> None:
    """A number under a telling key becomes another number of as many digits."""
    data = json.dumps({key: number}).encode()
    new = json.loads(splice(data, scrubbers(data).json(data)))[key]
    assert len(str(new)) == len(str(number))


def mentions_login(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("login") == "aliceanders" or any(map(mentions_login, value.values()))
    return isinstance(value, list) and any(map(mentions_login, value))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_texts_do_not_fail(text: bytes) -> None:
    """Edits of any bytes lie in them and do not overlap."""
    scrubber = scrubbers(text)
    for edits in (scrubber.text(text, Context()), scrubber.json(text)):
        bounds = [bound for edit in edits for bound in (edit.start, edit.stop)]
        assert bounds == sorted(bounds)
        assert all(0 <= bound <= len(text) for bound in bounds)
        kept = len(text) - sum(edit.stop - edit.start for edit in edits)
        assert len(splice(text, edits)) == kept + sum(len(edit.new) for edit in edits)


def test_collecting_changes_nothing() -> None:
    """A scrubber without literals says that it only collects."""
    table = PseudonymTable(PRF, Policy())
    assert Scrubber(PRF, Policy(), table).collecting
    assert not scrubbers(b"").collecting
