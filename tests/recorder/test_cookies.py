from __future__ import annotations

import pytest

from recorder.cookies import set_cookies


@pytest.mark.parametrize(
    ("value", "name", "cookie"),
    [
        (b"sid=abc", "sid", b"abc"),
        (b"SID=abc; Path=/; HttpOnly", "sid", b"abc"),
        (b" sid = a b ;Path=/", "sid", b"a b"),
        (b'sid="q=1"; Secure', "sid", b'"q=1"'),
    ],
)
def test_a_cookie_that_is_set_is_found(value: bytes, name: str, cookie: bytes):
    """Name and value of a Set-Cookie header are those that the client will send."""
    (found,) = set_cookies(((b"Content-Type", b"x"), (b"set-cookie", value)))
    assert (found.name, found.value, found.header) == (name, cookie, 1)
    assert value[found.start : found.stop] == cookie


@pytest.mark.parametrize("value", [b"", b"sid", b"sid=", b"=x", b"sid=; Max-Age=0"])
def test_what_sets_no_value_is_no_cookie(value: bytes):
    """Deleting a cookie gives nothing to tell apart."""
    assert list(set_cookies(((b"Set-Cookie", value),))) == []
