"""Rewriting: only the named things change, and what was done is counted."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.credentials import find_credentials
from captures.model import Exchange, Headers, Request
from replayer.credentials import Keyring
from replayer.rewrite import Rewriter, Tally

Make = Callable[..., Exchange]
SALT = b"0123456789abcdef"


def rewriter(
    host: bytes | None = None, tally: Tally | None = None, **keyring: object
) -> Callable[[Request], Request]:
    """Rewrite a request, and count what was done."""
    rewrite = Rewriter(host=host, keyring=Keyring(**keyring), salt=SALT, scheme=b"http")

    def counted(request: Request) -> Request:
        rewritten, deeds = rewrite(request)
        if tally is not None:
            tally.add(deeds)
        return rewritten

    return counted


NAMES = st.sampled_from([b"Accept", b"X-A", b"x-a", b"User-Agent", b"Authorization", b"Cookie"])


@given(st.lists(st.tuples(NAMES, st.text("abc =;", max_size=12).map(lambda text: text.strip().encode()))))
def test_ordinary_headers_are_kept_exactly(headers: list[tuple[bytes, bytes]]) -> None:
    """Order, case and duplicates of what is not named stay as they were."""
    request = Request(
        method=b"GET",
        scheme=b"http",
        authority=b"h",
        target=b"/",
        http_version=b"HTTP/1.1",
        headers=((b"Host", b"h"), *headers),
    )
    assert rewriter()(request) == request


def test_the_host_header_is_the_targets_or_the_recorded_one(exchange: Make) -> None:
    """It changes at its place, spelled as it was; a missing one is made from the authority."""
    request = exchange(headers=((b"A", b"1"), (b"hOST", b"recorded.test"))).request
    assert rewriter(b"new:3000")(request).headers == ((b"A", b"1"), (b"hOST", b"new:3000"))
    assert rewriter()(request).headers == request.headers
    bare = exchange(headers=((b"a", b"1"),), http_version=b"HTTP/2.0", authority=b"api.test").request
    assert rewriter()(bare).headers == ((b"Host", b"api.test"), (b"a", b"1"))
    assert rewriter(b"new")(bare).headers == ((b"Host", b"new"), (b"a", b"1"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (((b"Connection", b"keep-alive"),), ((b"Connection", b"keep-alive"),)),
        (((b"Connection", b"Close"),), ((b"Connection", b"Close"),)),
        (
            ((b"Connection", b"close, X-Hop"), (b"X-Hop", b"1"), (b"B", b"2")),
            ((b"Connection", b"close"), (b"B", b"2")),
        ),
        (((b"Connection", b"Upgrade"), (b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"x")), ()),
        (((b"TE", b"trailers"), (b"Keep-Alive", b"timeout=5"), (b"Proxy-Connection", b"x")), ()),
        (((b"Proxy-Authorization", b"Basic eDp5"), (b"Expect", b"100-continue")), ()),
        (((b"Connection", b"Content-Length, Host"), (b"Content-Length", b"0")), ((b"Content-Length", b"0"),)),
    ],
)
def test_what_belongs_to_the_recorded_hop_goes(exchange: Make, before: Headers, after: Headers) -> None:
    """Hop-by-hop headers, those that Connection names, and Expect are not sent again."""
    request = exchange(headers=((b"Host", b"h"), *before)).request
    assert rewriter()(request).headers == ((b"Host", b"h"), *after)


@pytest.mark.parametrize(
    ("headers", "body", "framed"),
    [
        (
            ((b"Transfer-Encoding", b"chunked"), (b"Z", b"1")),
            b"abc",
            ((b"Content-Length", b"3"), (b"Z", b"1")),
        ),
        (((b"transfer-encoding", b"chunked"),), b"", ((b"Content-Length", b"0"),)),
        (((b"content-length", b"10"),), b"abc", ((b"content-length", b"3"),)),
        (((b"Content-Length", b"3"), (b"Content-Length", b"3")), b"abc", ((b"Content-Length", b"3"),) * 2),
        (((b"Content-Length", b"9"), (b"Content-Length", b"9")), b"abc", ((b"Content-Length", b"3"),)),
        (
            ((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"3")),
            b"abc",
            ((b"Content-Length", b"3"),),
        ),
        ((), b"abc", ((b"Content-Length", b"3"),)),
        ((), b"", ()),
    ],
)
def test_framing_fits_the_stored_body(exchange: Make, headers: Headers, body: bytes, framed: Headers) -> None:
    """Chunks become a length at their place, and a length is what will be sent."""
    request = exchange(method=b"POST", headers=((b"Host", b"h"), *headers), body=body).request
    assert rewriter()(request).headers == ((b"Host", b"h"), *framed)


def test_trailers_keep_the_chunked_coding(exchange: Make) -> None:
    """Only chunks can carry trailers."""
    headers = ((b"Host", b"h"), (b"Transfer-Encoding", b"chunked"), (b"Trailer", b"X-Sum"))
    request = exchange(method=b"POST", headers=headers, body=b"a", trailers=((b"X-Sum", b"1"),)).request
    assert rewriter()(request).headers == headers


def test_http2_requests_become_http1(exchange: Make) -> None:
    """Cookie crumbs are joined, an empty POST says its length, and it is counted."""
    headers = ((b"cookie", b"a=1"), (b"accept", b"*/*"), (b"cookie", b"b=2"))
    request = exchange(
        method=b"POST", headers=headers, http_version=b"HTTP/2.0", authority=b"api.test", truncated_bytes=1
    ).request
    tally = Tally()
    rewrite = rewriter(tally=tally)
    assert rewrite(request).http_version == b"HTTP/1.1"
    assert rewrite(request).headers == (
        (b"Host", b"api.test"),
        (b"cookie", b"a=1; b=2"),
        (b"accept", b"*/*"),
        (b"Content-Length", b"0"),
    )
    assert (tally.requests, tally.http2, tally.truncated) == (2, 2, 2)


def test_credentials_are_replaced_at_their_place(exchange: Make) -> None:
    """Mapped ones change in place, others stay, and both are counted."""
    headers = (
        (b"Host", b"h"),
        (b"Authorization", b"Bearer old"),
        (b"Cookie", b"session=one; theme=dark; session=one"),
        (b"X-Api-Key", b"key"),
        (b"Authorization", b"Basic " + base64.b64encode(b"a:b")),
    )
    found = {one.value: one.fingerprint(SALT) for one in find_credentials(headers)}
    tally = Tally()
    rewrite = rewriter(
        tally=tally,
        credentials={
            found[b"old"]: b"new",
            found[b"one"]: b"a longer one",
            found[base64.b64encode(b"a:b")]: b"user:password",
        },
    )
    assert rewrite(exchange(headers=headers).request).headers == (
        (b"Host", b"h"),
        (b"Authorization", b"Bearer new"),
        (b"Cookie", b"session=a longer one; theme=dark; session=a longer one"),
        (b"X-Api-Key", b"key"),
        (b"Authorization", b"Basic " + base64.b64encode(b"user:password")),
    )
    assert tally.mapped.total() == 4
    assert tally.unmapped == {found[b"dark"]: 1, found[b"key"]: 1}


def test_an_empty_target_becomes_the_root(exchange: Make) -> None:
    """A request line needs a path."""
    assert rewriter()(exchange(target=b"").request).target == b"/"


@pytest.mark.parametrize(
    "version", [b"HTTP/1.1\r\n\r\nGET /admin HTTP/1.1", b"HTTP/1.9", b"HTTP/1", b"HTTP/3"]
)
def test_only_the_two_http1_versions_are_sent(exchange: Make, version: bytes) -> None:
    """Anything else in a capture becomes HTTP/1.1, whatever it starts with."""
    tally = Tally()
    assert rewriter(tally=tally)(exchange(http_version=version).request).http_version == b"HTTP/1.1"
    assert tally.http2 == version.startswith(b"HTTP/3")
    assert rewriter()(exchange(http_version=b"HTTP/1.0").request).http_version == b"HTTP/1.0"
