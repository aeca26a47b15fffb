"""Credentials are found at their exact bytes."""

from __future__ import annotations

import pytest

from captures.credentials import CredentialKind, find_credentials
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
