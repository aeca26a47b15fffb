from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.model import (
    Exchange,
    Failure,
    FailureReason,
    HmacTemplate,
    Message,
    Request,
    Response,
    SignatureScheme,
    SigningRecipe,
)

KINDS = pytest.mark.parametrize("kind", ["har", "mitmproxy"])


def by_stream(messages: list[Message]) -> list[Message]:
    """Messages of one stream after those of another, each stream in its order."""
    return sorted(messages, key=lambda message: message.exchange)


@KINDS
def test_nothing_is_lost(
    kind: str, round_trip: Callable[..., Any], variety: tuple[list[Exchange], list[Message]]
) -> None:
    """Every field of every exchange and message comes back as it was, and so does the start."""
    exchanges, messages = variety
    back, back_messages, started_wall_ns = round_trip(kind, exchanges, messages)
    assert started_wall_ns == 1_772_359_200_123_456_789
    for before, after in zip(exchanges, back, strict=True):
        assert after == before
    assert by_stream(back_messages) == by_stream(messages)


TOKENS = st.sampled_from([b"GET", b"POST", b"PATCH", b"X-\xff", b"QUERY"])
ANY = st.binary(max_size=12) | st.text(max_size=8).map(lambda text: text.encode())
NAMES = st.sampled_from([b"Host", b"content-encoding", b"Content-Type", b"X-A", b"x-a"]) | st.binary(
    min_size=1, max_size=6
)
VALUES = st.sampled_from([b"gzip", b"br", b"identity", b"text/plain; charset=utf-16", b"h.example:1"]) | ANY
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(tuple)
TIMES = st.integers(0, 10**13)
REQUESTS = st.builds(
    Request,
    method=TOKENS,
    scheme=st.sampled_from([b"http", b"https"]),
    authority=st.sampled_from([b"a.example", b"a.example:81", b"[::1]:5", b"\xff"]),
    target=st.sampled_from([b"/", b"/a?b=%20", b"/\xc3\xa9 x", b"*", b"/#frag"]),
    http_version=st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/3"]),
    headers=HEADERS,
    body=ANY,
    trailers=HEADERS,
    truncated_bytes=st.integers(0, 9),
)
RESPONSES = st.builds(
    Response,
    status=st.integers(100, 599),
    reason=ANY,
    http_version=st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"]),
    headers=HEADERS,
    offset_ns=TIMES,
    end_ns=TIMES,
    body=ANY,
    trailers=HEADERS,
    truncated_bytes=st.integers(0, 9),
)
FAILURES = st.builds(
    Failure, reason=st.sampled_from(FailureReason), offset_ns=TIMES, detail=st.text(max_size=9)
)
TEMPLATE = HmacTemplate(
    algorithm="sha256",
    encoding="hex",
    prefix=b"t={timestamp},v1=",
    signed=b"{timestamp}.{body}",
    timestamp_header=b"x-t\xe9",
)
RECIPES = (
    st.none()
    | st.builds(SigningRecipe, scheme=st.just(SignatureScheme.STRIPE), header=NAMES)
    | st.builds(SigningRecipe, scheme=st.just(SignatureScheme.HMAC), header=NAMES, template=st.just(TEMPLATE))
)


@KINDS
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    parts=st.lists(st.tuples(TIMES, TIMES, REQUESTS, RESPONSES | FAILURES, RECIPES), min_size=1, max_size=3)
)
def test_any_exchange_comes_back(kind: str, round_trip: Callable[..., Any], parts: list[Any]) -> None:
    """Whatever stands in an exchange, it comes back exactly, in the order of the requests."""
    parts.sort(key=lambda part: part[0])
    exchanges = [
        Exchange(
            seq=seq, offset_ns=start, request_end_ns=end, connection=0, request=request, outcome=outcome,
            signing=signing,
        )
        for seq, (start, end, request, outcome, signing) in enumerate(parts)
    ]  # fmt: skip
    assert round_trip(kind, exchanges)[0] == exchanges


@KINDS
def test_connections_are_numbered_anew_in_order(
    kind: str, round_trip: Callable[..., Any], variety: tuple[list[Exchange], list[Message]]
) -> None:
    """Exchanges of one connection stay together, whatever its number was."""
    exchanges = [
        replace(one, connection=number) for one, number in zip(variety[0], (40, 7, 40), strict=False)
    ]
    assert [one.connection for one in round_trip(kind, exchanges)[0]] == [0, 1, 0]
