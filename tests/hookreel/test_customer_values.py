"""Values are found by the quick paths as by the thorough ones."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from anonymizer.detectors.base import Context, Kind
from anonymizer.detectors.registry import Detectors
from captures.model import Headers, Request
from hookreel.customer_values import CustomerValues

JSON: Headers = ((b"Host", b"h"), (b"Content-Type", b"application/json"))
DETECTORS = Detectors(frozenset(), frozenset({Kind.DOMAIN, Kind.DATE}), prose=None)
_LEAVES = (
    st.none()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["usr_19ab73cd22", "a@b.test", "Jane", "4111111111111111", "0a" * 16, "Main St 5"])
)
_KEYS = st.sampled_from(["id", "user_id", "email", "name", "first_name", "x", "", "user", "tax_id"])


def learnt(body: bytes) -> CustomerValues:
    made = CustomerValues()
    made.learn(
        Request(
            method=b"POST", scheme=b"http", authority=b"h", target=b"/", http_version=b"HTTP/1.1",
            headers=JSON, body=body,
        )
    )  # fmt: skip
    return made


@given(
    st.recursive(
        _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4)
    )
)
def test_a_document_is_read_as_its_spans_are(document: Any) -> None:
    """The parser of JSON finds what the tolerant scanner finds, which is asked where something follows."""
    body = json.dumps({"all": document}).encode()
    quick, thorough = learnt(body), learnt(body + b"\n[")
    assert quick.strong == thorough.strong
    assert quick.weak == thorough.weak


@given(st.integers(0, 10**12 - 1), st.booleans())
def test_a_short_number_is_nobodys_by_itself(number: int, in_json: bool) -> None:
    """No detector finds anything in so few digits, so none is asked where no key tells."""
    assert DETECTORS.find(b"%d" % number, Context(number=in_json)) == []


def test_what_was_seen_is_not_looked_at_again() -> None:
    """The same body, header or target again adds nothing, and another key of a weak value does."""
    made = learnt(b'{"user_id": 17}')
    assert {value: weak.keys for value, weak in made.weak.items()} == {b"17": {"user_id"}}
    for _ in range(2):
        made.learn(
            Request(
                method=b"GET", scheme=b"http", authority=b"h", target=b"/u?account_id=17",
                http_version=b"HTTP/1.1", headers=((b"X-Api-Key", b"key-0123456789abcdef"),), body=b"",
            )
        )  # fmt: skip
    assert {value: weak.keys for value, weak in made.weak.items()} == {b"17": {"user_id", "account_id"}}
    assert list(made.strong) == [b"key-0123456789abcdef"]
    assert len(made) == 2
