"""Requests opened and closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from captures.bodies.coding import decode, encode
from captures.model import Exchange
from replayer.opened import opened

Make = Callable[..., Exchange]


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"zstd", b"gzip, br"])
def test_a_coding_is_undone_and_done_again(exchange: Make, coding: bytes) -> None:
    """An opened request closes to one of the same meaning in the same coding."""
    request = exchange(headers=((b"content-encoding", coding),), body=encode(b'{"a":1}', coding)).request
    plain = opened(request)
    assert plain.request.body == b'{"a":1}'
    closed = plain.closed(plain.request)
    assert decode(closed.body, coding) == b'{"a":1}'
    assert closed.headers == request.headers


@pytest.mark.parametrize("headers", [((b"Content-Encoding", b"gzip"),), ((b"Content-Encoding", b"x"),), ()])
def test_what_does_not_decode_stays(exchange: Make, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """Damaged, unknown and plain bodies are as they were, open and closed."""
    request = exchange(headers=headers, body=b"no gzip").request
    plain = opened(request)
    assert plain == (request, b"")
    assert plain.closed(request) == request
