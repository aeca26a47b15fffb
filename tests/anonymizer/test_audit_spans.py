"""What counts as replaced: minimal spans, and no structure taken along."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.audit_places import Place
from anonymizer.audit_printable import text_in_base64
from anonymizer.audit_spans import Part, place_spans, worth_searching


def place(data: bytes, kind: str = "request body", name: bytes = b"", content_type: bytes = b"") -> Place:
    return Place(name=kind, key=(kind, name, 0), data=data, content_type=content_type)


def originals(before: bytes, after: bytes | None, **where) -> set[bytes]:
    counterpart = None if after is None else place(after, **where)
    return {
        span.value for span in place_spans(place(before, **where), counterpart) if span.part is Part.VALUE
    }


def shorts(before: bytes, after: bytes) -> set[bytes]:
    return {span.value for span in place_spans(place(before), place(after)) if span.part is Part.SHORT}


def test_compressed_text_is_compared_by_its_content() -> None:
    """Of gzip in base64 the words inside that changed are originals, and no piece of its base64 is."""
    packed = [
        base64.b64encode(gzip.compress(b'{"login": "%b", "n": 1}' % login, mtime=7))
        for login in (b"Codertocat", b"Synthetic")
    ]
    assert originals(b'{"gz": "%b"}' % packed[0], b'{"gz": "%b"}' % packed[1]) == {b"Codertocat"}


@pytest.mark.parametrize(
    "code",
    [
        lambda text: text.decode().encode("utf-16"),
        lambda text: text.decode().encode("utf-32-be"),
        lambda text: b'{"b85": "%b"}' % base64.b85encode(text),
        lambda text: json.dumps({"a85": base64.a85encode(text, adobe=True).decode()}).encode(),
        lambda text: b'{"packed": "%b"}' % base64.b64encode(zstandard.compress(text)),
    ],
)
def test_coded_text_is_compared_by_its_content(code) -> None:
    """Wide letters, base85 and zstd in base64 are read on both sides, so that only words are originals."""
    before, after = (code(b'{"login": "%b", "n": 1}' % login) for login in (b"Codertocat", b"Synthetic1"))
    assert originals(before, after) == {b"Codertocat"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            b"https://api.github.com/repos/Codertocat/Hello-World/issues",
            b"https://api.github.com/repos/user1234/Hello-World/issues",
            {b"Codertocat"},
        ),
        (b"Codertocat", b"Synthetic", {b"Codertocat"}),
        (
            b"jane.doe@corp-nine.test",
            b"x1@example.com",
            {b"jane.doe@corp-nine.test", b"jane.doe", b"corp-nine.test"},
        ),
        (b"bob@corp.com", b"ann@corp.com", {b"bob@corp.com"}),
        (b"Jane Anderson", b"Mary Fielding", {b"Jane Anderson", b"Anderson"}),
        (b"192.168.17.34", b"192.168.99.21", {b"192.168.17.34"}),
        (b"+1 (415) 555-2671", b"+1 (415) 555-0143", {b"+1 (415) 555-2671"}),
        (
            b"token ghp_abcdef0123456789XYZ end",
            b"token ghp_QRSTUV9876543210abc end",
            {b"abcdef0123456789XYZ"},
        ),
        (b'p&s;"w<d', b"", {b'p&s;"w<d'}),
        (
            b"user%40corp-nine.test",
            b"x%40example.com",
            {b"user@corp-nine.test", b"corp-nine.test"},
        ),
    ],
)
def test_the_smallest_span_that_means_something_is_an_original(before, after, expected):
    """Only what differs is taken, with the address or number it is part of."""
    assert expected <= originals(before, after)
    assert not originals(before, after) & {b"github", b"api.github.com", b"Hello-World", b"issues", b"https"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"https://example.com/a", b"https://host1.example.com/a"),
        (b"a b c", b"a  b  c"),
        (b'{"a": "xxxxxxx"}', b'{"a":"xxxxxxx"}'),
        (b'{"a":"\\u0078yzzzz"}', b'{"a":"xyzzzz"}'),
        (b"user%40corp-nine.test", b"user@corp-nine.test"),
    ],
)
def test_what_is_only_spelled_or_placed_otherwise_is_no_original(before, after):
    """Added words, white space and escapes replace nothing."""
    assert originals(before, after) == set()


def test_json_is_aligned_leaf_by_leaf():
    """Equal leaves are left alone, keys are compared in order, numbers by their spelling."""
    before = {
        "id": 12345678,
        "same": "unchanged",
        "list": ["keep-me", "drop-me-1"],
        "k@corp-nine.test": {"x": None},
    }
    after = {
        "id": 87654321,
        "same": "unchanged",
        "list": ["keep-me", "stand-in-2"],
        "z@example.com": {"x": None},
    }
    found = originals(json.dumps(before).encode(), json.dumps(after).encode())
    assert {b"12345678", b"drop-me-1", b"k@corp-nine.test"} <= found
    assert not found & {b"keep-me", b"unchanged"}


def test_a_removed_json_leaf_is_an_original():
    """A leaf that was dropped or emptied, and all that was below it, must not survive."""
    before = b'{"a":{"secret":"hunter2hunter2"},"b":["quentin-77"],"c":"leavemealone"}'
    found = originals(before, b'{"a":null,"c":"leavemealone"}')
    assert found >= {b"hunter2hunter2", b"quentin-77"}
    assert b"leavemealone" not in found


def test_json_inside_a_string_is_aligned_too():
    """A document that is a string of another one gives its own leaves."""
    before = json.dumps({"payload": json.dumps({"login": "Codertocat", "repo": "Hello-World"})}).encode()
    after = json.dumps({"payload": json.dumps({"login": "Synthetic", "repo": "Hello-World"})}).encode()
    assert originals(before, after) == {b"Codertocat"}


def test_forms_queries_and_cookies_are_aligned_pair_by_pair():
    """The changed value of one pair is an original, decoded; its neighbours are not."""
    form = {"content_type": b"application/x-www-form-urlencoded"}
    assert b"Jane Anderson" in originals(b"a=keepkeep&n=Jane+Anderson", b"a=keepkeep&n=Mary+Fielding", **form)
    target = {"kind": "request target"}
    found = originals(b"/u/quentin-77/x?q=r%C3%A9mi-martin", b"/u/someone-01/x?q=x", **target)
    assert found >= {b"quentin-77", "rémi-martin".encode()}
    cookie = {"kind": "request header", "name": b"cookie"}
    assert originals(b"a=keepkeep; sid=s3cr3t-value", b"a=keepkeep; sid=t4lk9-stands", **cookie) >= {
        b"s3cr3t-value"
    }


def test_base64_gives_its_content():
    """Basic credentials and the claims of a token are originals in the clear."""
    before = b"Basic " + base64.b64encode(b"quentin-77:hunter2-hunter2")
    after = b"Basic " + base64.b64encode(b"someone-01:abcdefg-abcdefg")
    found = originals(before, after, kind="request header", name=b"authorization")
    assert {b"quentin-77", b"hunter2-hunter2"} <= found


def test_server_sent_events_and_lines_are_aligned_line_by_line():
    """In text with as many lines as before only the changed line counts."""
    before = b'event: log\ndata: {"who":"quentin-77","at":"untouched-1"}\n\n'
    after = b'event: log\ndata: {"who":"someone-01","at":"untouched-1"}\n\n'
    assert b"quentin-77" in originals(before, after)
    assert b"untouched-1" not in originals(before, after)


def test_a_removed_passage_gives_its_addresses_not_its_words():
    """Prose that was dropped is searched as a whole, with the addresses and numbers in it."""
    passage = (
        b"Please call Quentin about the payment of yesterday at quentin@corp-nine.test or 415-555-2671 now"
    )
    found = originals(passage, b"")
    assert {passage, b"quentin@corp-nine.test", b"415-555-2671"} <= found
    assert not found & {b"Please", b"payment", b"yesterday"}


def test_a_part_that_is_a_common_word_is_not_searched_alone():
    """`payment-service-quentin` gives itself and `quentin`, not `payment` or `service`."""
    found = originals(b"payment-service-quentin", b"xxx")
    assert found == {b"payment-service-quentin", b"quentin"}


def test_the_words_of_a_signature_scheme_are_common():
    """What every signed request to a cloud says is searched neither whole nor in parts."""
    before = b"AKIAQWERTYUIOPASDFGH/20130524/us-east-1/s3/aws4_request"
    assert originals(before, b"X") == {before}
    assert originals(b"eu-central-1/aws4_request", b"X") == {b"eu-central-1/aws4_request"}


def test_a_value_that_is_a_common_word_is_counted_as_one():
    """A user called `github` cannot be told from the word."""
    spans = list(place_spans(place(b'{"login":"github"}'), place(b'{"login":"kxwzrt"}')))
    assert (Part.COMMON, b"github") in {(span.part, span.value) for span in spans}
    assert originals(b'{"login":"github"}', b'{"login":"kxwzrt"}') == set()


def test_short_values_are_reported_as_short():
    """What is below 6 bytes with nothing around it is counted."""
    assert shorts(b"bob", b"kim") == {b"bob"}
    assert worth_searching(b"x7-Kq")
    assert not worth_searching(b"12345")


def test_a_missing_counterpart_makes_everything_an_original():
    """A place that was left out altogether is replaced as a whole."""
    assert originals(b"hunter2hunter2", None) == {b"hunter2hunter2"}


def test_a_pair_of_leaves_gives_its_spans_once():
    """What was aligned in one exchange is not aligned again in the next."""
    first, second = place(b'{"login":"quentin-77"}'), place(b'{"login":"someone-01"}')
    seen: set[tuple[str, str]] = set()
    assert list(place_spans(first, second, seen))
    assert list(place_spans(first, second, seen)) == []


def test_derived_places_hold_no_originals():
    """Content-Length and the like follow from the body."""
    header = Place(name="x", key=("request header", b"content-length", 0), data=b"1234567", derived=True)
    assert list(place_spans(header, None)) == []


def test_base64_of_binary_is_no_text():
    """Only printable content counts as decoded."""
    assert text_in_base64(base64.b64encode(b"hello world")) == b"hello world"
    assert text_in_base64(base64.b64encode(bytes(range(12)))) is None


@given(before=st.binary(max_size=200), after=st.binary(max_size=200))
def test_any_two_values_can_be_aligned(before, after):
    """Arbitrary bytes never raise, and equal ones give nothing."""
    for kind in ("request body", "request target", "request header"):
        list(place_spans(place(before, kind, b"cookie"), place(after, kind, b"cookie")))
        assert list(place_spans(place(before, kind), place(before, kind))) == []


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(before=_VALUES, after=_VALUES)
def test_any_two_documents_can_be_aligned(before, after):
    """JSON documents of any two shapes never raise, and one does not differ from itself."""
    first = json.dumps([before], ensure_ascii=False).encode("utf-8", "surrogatepass")
    second = json.dumps([after], ensure_ascii=False).encode("utf-8", "surrogatepass")
    list(place_spans(place(first), place(second)))
    assert not list(place_spans(place(first), place(first)))


def test_an_address_is_one_value_even_if_its_last_number_stays():
    """192.0.2.7 that became 203.0.113.7 was replaced as a whole; 192.0.2 alone names nobody."""
    before, after = place(b"from 192.0.2.7 to here"), place(b"from 203.0.113.7 to here")
    values = {span.value for span in place_spans(before, after)}
    assert b"192.0.2.7" in values
    assert b"192.0.2" not in values
