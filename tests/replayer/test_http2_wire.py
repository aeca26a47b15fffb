"""Packed HTTP/2 requests, and GOAWAY frames taken out of a stream of frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.http1 import Http1Error
from captures.model import Exchange
from replayer.http2_wire import GoAwayFilter, pack_request, unpack_request

Make = Callable[..., Exchange]
GOAWAY = 7


def frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0, 0, 0, 0, 1]) + payload


FRAMES = st.lists(
    st.one_of(
        st.builds(frame, st.sampled_from([0, 1, 3, 4, 8, 200]), st.binary(max_size=40)),
        st.builds(
            lambda last: frame(GOAWAY, last.to_bytes(4, "big") + b"\0\0\0\0why"), st.integers(0, 2**31 - 1)
        ),
    ),
    max_size=12,
)


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 600), max_size=12))
def test_goaway_is_taken_out_however_the_bytes_are_cut(frames: list[bytes], cuts: list[int]) -> None:
    """All other frames pass unchanged and in order, and each GOAWAY gives its last stream."""
    data = b"".join(frames)
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    taken, passed, found = GoAwayFilter(), b"", []
    for start, stop in pairwise(bounds):
        rest, last_streams = taken(data[start:stop])
        passed += rest
        found += last_streams
    assert passed == b"".join(one for one in frames if one[3] != GOAWAY)
    assert found == [int.from_bytes(one[9:13], "big") for one in frames if one[3] == GOAWAY]


def test_a_frame_larger_than_permitted_is_none() -> None:
    """What is no HTTP/2 shows by the length its first bytes stand for, long before so much came."""
    with pytest.raises(ValueError, match="larger than permitted"):
        GoAwayFilter()(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_packed_request_comes_out_whole(exchange: Make) -> None:
    """Pseudo-headers first, names in lower case, controls in the path escaped, values stripped."""
    request = exchange(
        method=b"PUT",
        target=b"/a b\x7f?q=%20",
        authority=b"api.test:80",
        headers=((b"X-One", b" 1 "), (b"x-one", b"1")),
        body=b"\0\xff",
        trailers=((b"X-Sum", b"9"),),
    ).request
    packed = unpack_request(memoryview(pack_request(request)))
    assert packed.headers == (
        (b":method", b"PUT"),
        (b":scheme", b"http"),
        (b":authority", b"api.test:80"),
        (b":path", b"/a%20b%7F?q=%20"),
        (b"x-one", b"1"),
        (b"x-one", b"1"),
    )
    assert (packed.body, packed.trailers) == (b"\0\xff", ((b"x-sum", b"9"),))


@pytest.mark.parametrize(
    "change",
    [
        {"method": b"GE T"},
        {"method": b"CONNECT"},
        {"target": b"/\r\nx"},
        {"authority": b"a\nb"},
        {"headers": ((b":path", b"/other"),)},
        {"headers": ((b"x", b"a\0b"),)},
        {"trailers": ((b"a b", b"c"),)},
    ],
)
def test_what_is_no_request_is_refused(exchange: Make, change: dict[str, object]) -> None:
    """Nothing that could be read as another header or request is packed."""
    with pytest.raises(Http1Error):
        pack_request(replace(exchange().request, **change))
