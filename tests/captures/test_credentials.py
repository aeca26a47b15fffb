"""Credentials are found at their exact bytes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.credentials import CredentialKind, find_credentials, replace_values
from captures.model import Headers


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (((b"Authorization", b"Bearer abc.def"),), [("bearer", "", b"abc.def")]),
        (((b"authorization", b"token ghp_1"),), [("bearer", "", b"ghp_1")]),
        (((b"AUTHORIZATION", b"Basic dTpw"),), [("basic", "", b"dTpw")]),
        (((b"Authorization", b"rawvalue"),), [("bearer", "", b"rawvalue")]),
        (((b"Proxy-Authorization", b"Basic dTpw"),), [("basic", "", b"dTpw")]),
        (
            ((b"X-Api-Key", b"k1"), (b"apikey", b"k2")),
            [("api-key", "x-api-key", b"k1"), ("api-key", "apikey", b"k2")],
        ),
        (((b"Cookie", b"a=1; Sess+Id=x=y; c"),), [("cookie", "a", b"1"), ("cookie", "sess+id", b"x=y")]),
        (((b"Cookie", b"a="), (b"Authorization", b"  ")), []),
        (((b"Host", b"x"), (b"X-Request-Id", b"1")), []),
    ],
)
def test_each_kind_is_found(headers: Headers, expected: list[tuple[str, str, bytes]]) -> None:
    """Kind, name and value, in wire order; the span is where the value stands."""
    found = list(find_credentials(headers))
    assert [(item.kind.value, item.name, item.value) for item in found] == expected
    for item in found:
        assert headers[item.header][1][item.start : item.stop] == item.value


def test_a_fingerprint_names_kind_and_cookie() -> None:
    """The name in a credentials file tells what it is and nothing of the value."""
    bearer, cookie = find_credentials(((b"Authorization", b"Bearer sesame"), (b"Cookie", b"sid=sesame")))
    assert bearer.kind is CredentialKind.BEARER
    assert bearer.fingerprint(b"s" * 16).startswith("bearer:")
    assert cookie.fingerprint(b"s" * 16).startswith("cookie:sid:")
    assert bearer.fingerprint(b"s" * 16)[-12:] != cookie.fingerprint(b"s" * 16)[-12:]
    assert "sesame" not in repr(bearer) + bearer.fingerprint(b"s" * 16)


MANY = 1_000_000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ((b"Cookie", b"a" * MANY), []),
        ((b"Cookie", b"a" + b" " * MANY), []),
        ((b"Cookie", b"a" + b" " * MANY + b"=1"), [(b"1", "a")]),
        ((b"Cookie", b"a=" + b" " * MANY + b"x"), [(b"x", "a")]),
        ((b"Cookie", b"=" * MANY + b"a=1"), [(b"1", "a")]),
        ((b"Cookie", b"a=x" + b" " * MANY + b"y"), [(b"x" + b" " * MANY + b"y", "a")]),
        ((b"Authorization", b"a b" + b" " * MANY + b"c"), [(b"b" + b" " * MANY + b"c", "")]),
        ((b"Authorization", b"a" * MANY), [(b"a" * MANY, "")]),
        ((b"Authorization", b"a" + b" " * MANY + b"b"), [(b"b", "")]),
    ],
    ids=range(9),
)
def test_headers_of_a_megabyte_are_read(
    header: tuple[bytes, bytes], expected: list[tuple[bytes, str]]
) -> None:
    """Nothing in them makes the search start over and over."""
    found = list(find_credentials((header,)))
    assert [(item.value, item.name) for item in found] == expected
    assert all(header[1][item.start : item.stop] == item.value for item in found)


def test_a_megabyte_of_cookies_is_replaced() -> None:
    """Each is found once, and new values stand where the old ones stood."""
    headers = ((b"A", b"b"), (b"Cookie", b"; ".join(b"c%06d=s" % number for number in range(90_000))))
    found = list(find_credentials(headers))
    assert len(found) == 90_000
    replaced = replace_values(headers, ((item, b"other") for item in found))
    assert replaced == (headers[0], (b"Cookie", headers[1][1].replace(b"=s", b"=other")))
    assert replace_values(headers, ()) == headers


OLD_COOKIE = re.compile(rb"([^=;\s][^=;]*?)\s*=\s*([^;]*?)\s*(?:;|\Z)")
OLD_AUTHORIZATION = re.compile(rb"\s*([A-Za-z][A-Za-z0-9_-]*)\s+(\S.*?)\s*", re.DOTALL)


@given(st.text("aB1-=; \t\n\x0b\x1c\xa0,", max_size=24).map(lambda text: text.encode("latin-1")))
def test_short_values_are_read_as_by_their_grammar(value: bytes) -> None:
    """The grammar written as a pattern, which backtracks, finds the same in short values."""
    cookies = [
        (match[1].decode("latin-1").lower(), match.span(2))
        for match in OLD_COOKIE.finditer(value)
        if match[2]
    ]
    found = list(find_credentials(((b"Cookie", value),)))
    assert [(item.name, (item.start, item.stop)) for item in found] == cookies
    match = OLD_AUTHORIZATION.fullmatch(value)
    expected = match[2] if match else value.strip()
    assert [item.value for item in find_credentials(((b"Authorization", value),))] == [expected][
        : len(expected)
    ]
