"""Values by place: each is found unescaped, and a fresh one goes back in the spelling of its place."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.bodies.coding import decode, encode
from captures.model import Exchange
from replayer.places import Spelling, fits, minted, spelled, spots, substituted

Make = Callable[..., Exchange]
JSON = (b"Content-Type", b"application/json")


def places_of(exchange: Make, **request: object) -> dict[str, bytes]:
    return {spot.place: spot.value for spot in spots(exchange(0, **request).request)}


def test_the_places_of_a_request(exchange: Make) -> None:
    """Path segments, query, cookies, bearer token, other headers, JSON strings and numbers."""
    found = places_of(
        exchange,
        target=b"/a%20b/7?next=x%2Fy&empty=",
        headers=(
            (b"Host", b"h"), (b"Cookie", b"s=1; t=two"), (b"Authorization", b"Bearer abc"), JSON,
            (b"If-None-Match", b'"tag"'), (b"X-CSRF", b"c"),
        ),
        body=b'{"run": {"id": "r\\u00e9", "n": 12, "ok": true}, "list": ["v"]}',
    )  # fmt: skip
    assert found == {
        "path.1": b"a b", "path.2": b"7", "query.next": b"x/y", "cookie.s": b"1", "cookie.t": b"two",
        "header.authorization": b"abc", "header.etag": b'"tag"', "header.x-csrf": b"c",
        "body.run.id": "ré".encode(), "body.run.n": b"12", "body.list": b"v",
    }  # fmt: skip


def test_a_header_whose_value_is_a_secret_is_one_spot(exchange: Make) -> None:
    """A CSRF token is found once, under its own name, and a proxy's login or a user's password never."""
    headers = (
        (b"X-CSRF-Token", b"0123456789abcdef0123456789abcdef"), (b"X-Api-Key", b"k"),
        (b"Proxy-Authorization", b"Basic dTpw"), (b"Authorization", b"Basic dTpw"),
    )  # fmt: skip
    request = exchange(0, headers=headers).request
    found = list(spots(request))
    assert [spot.place for spot in found] == ["header.x-csrf-token", "header.x-api-key"]
    assert substituted(request, [(spot, b"fresh") for spot in found]).headers == (
        (b"X-CSRF-Token", b"fresh"), (b"X-Api-Key", b"fresh"), *headers[2:],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "spelling", "expected"),
    [
        (b"\xff\xfe", Spelling.JSON, False), ("é\r\n".encode(), Spelling.JSON, True),
        (b"abc", Spelling.NUMBER, False), (b"-1.5e3", Spelling.NUMBER, True),
        (b"a\nb", Spelling.PLAIN, False), (b"a b", Spelling.PLAIN, True),
        (b"\xff\r\n", Spelling.PERCENT, True), (b"\xff\r\n", Spelling.FORM, True),
    ],
)  # fmt: skip
def test_what_fits_where(value: bytes, spelling: Spelling, expected: bool) -> None:
    """No bytes but UTF-8 in JSON, no words for its numbers, no line breaks in a header."""
    assert fits(value, spelling) is expected
    if expected:
        assert spelled(value, spelling)


def test_a_form_has_places_and_a_damaged_body_none(exchange: Make) -> None:
    """What does not decode is left as it is."""
    form = (b"Content-Type", b"application/x-www-form-urlencoded")
    assert places_of(exchange, headers=(form,), body=b"a=1+2&b=%26") == {"body.a": b"1 2", "body.b": b"&"}
    packed = ((b"Content-Encoding", b"gzip"), JSON)
    assert places_of(exchange, target=b"/x", headers=packed, body=b"\x1f\x8b no gzip") == {"path.1": b"x"}


def test_the_places_of_a_response() -> None:
    """Cookies, the location from its end, ETag, JSON through its content coding, fields of a page."""
    headers = (
        (b"Set-Cookie", b"session=abc; Path=/"), (b"Location", b"https://other.test/runs/r%201?k=v"),
        (b"ETag", b'W/"1"'), (b"Date", b"now"), (b"Content-Encoding", b"gzip"), JSON,
    )  # fmt: skip
    body = gzip.compress(b'{"i":[{"a":1},{"a":2}]}')
    found = [(one.place, one.ordinal, one.value) for one in minted(headers, body)]
    assert found == [
        ("cookie.session", 0, b"abc"), ("location.-1", 0, b"r 1"), ("location.-2", 0, b"runs"),
        ("location.k", 0, b"v"), ("header.etag", 0, b'W/"1"'), ("body.i.a", 0, b"1"), ("body.i.a", 1, b"2"),
    ]  # fmt: skip
    page = b'<form><input type="hidden" name="csrf_token" value="t0k"><META name=\'x\' content=\'y\'></form>'
    html = ((b"Content-Type", b"text/html; charset=utf-8"),)
    fields = [(one.place, one.value) for one in minted(html, page)]
    assert fields == [("field.csrf_token", b"t0k"), ("field.x", b"y")]


def test_a_response_that_cannot_be_read_has_no_places() -> None:
    """A damaged coding is no error."""
    assert list(minted(((b"Content-Encoding", b"gzip"), JSON), b"no gzip")) == []


@pytest.fixture
def request_with_all(exchange: Make) -> Exchange:
    """One value everywhere."""
    return exchange(
        0,
        target=b"/runs/OLD/x?id=OLD&z=1",
        headers=((b"Host", b"h"), (b"Cookie", b"a=1; s=OLD"), JSON),
        body=b'{"n": 1.10, "id": "OLD", "more": ["OLD", "OLDER"]}',
    )


@given(value=st.text(min_size=1).filter(lambda text: text not in {".", ".."}).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_fresh_value_comes_back_from_where_it_was_put(request_with_all: Exchange, value: bytes) -> None:
    """Whatever the target mints, path, query and JSON hold it afterwards, and the rest stays to the byte."""
    request = request_with_all.request
    old = [spot for spot in spots(request) if spot.value == b"OLD" and not spot.place.startswith("cookie.")]
    fresh = substituted(request, [(spot, value) for spot in old])
    now = [(spot.place, spot.value) for spot in spots(fresh)]
    assert {(spot.place, value) for spot in old} <= set(now)
    assert fresh.body.startswith(b'{"n": 1.10, "id": "')
    assert fresh.body.endswith(b', "OLDER"]}')
    assert fresh.headers == request.headers
    assert fresh.target.startswith(b"/runs/")
    assert fresh.target.endswith(b"&z=1")


def test_a_cookie_among_others_is_replaced_alone(request_with_all: Exchange) -> None:
    """Only the bytes of that cookie change."""
    request = request_with_all.request
    cookie = [spot for spot in spots(request) if spot.place == "cookie.s"]
    fresh = substituted(request, [(cookie[0], b"new")])
    assert fresh == replace(request, headers=((b"Host", b"h"), (b"Cookie", b"a=1; s=new"), JSON))


@pytest.mark.parametrize("coding", [b"gzip", b"zstd"])
def test_a_packed_body_has_the_places_of_what_it_means(exchange: Make, coding: bytes) -> None:
    """Values are found and replaced in it, and it is packed again as its header says."""
    headers = (JSON, (b"Content-Encoding", coding))
    request = exchange(0, headers=headers, body=encode(b'{"id": "OLD", "n": 1}', coding)).request
    (old,) = [spot for spot in spots(request) if spot.value == b"OLD"]
    assert old.place == "body.id"
    fresh = substituted(request, [(old, b'n"w')])
    assert decode(fresh.body, coding) == b'{"id": "n\\"w", "n": 1}'
    assert fresh.headers == headers
