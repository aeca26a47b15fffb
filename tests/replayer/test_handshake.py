"""Handshakes: which requests are some, and what becomes of their headers."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from captures.model import Exchange, Headers
from replayer.handshake import agreed_extensions, handshake_headers, is_handshake

Make = Callable[..., Exchange]


@pytest.mark.parametrize(
    ("headers", "version", "asks"),
    [
        (((b"upgrade", b"WebSocket"),), b"HTTP/1.1", True),
        (((b"Upgrade", b"h2c"),), b"HTTP/1.1", False),
        (((b"Upgrade", b"websocket"),), b"HTTP/2.0", False),
        (((b"Host", b"h"),), b"HTTP/1.1", False),
        (((b"sec-websocket-version", b"13"),), b"HTTP/2.0", True),
        (((b"sec-websocket-version", b"13"),), b"HTTP/1.1", False),
    ],
)
def test_a_handshake_is_told_by_its_upgrade(
    exchange: Make, headers: Headers, version: bytes, *, asks: bool
) -> None:
    """HTTP/1.1 upgrades, and only to websocket; over HTTP/2 there is the version alone."""
    assert is_handshake(exchange(headers=headers, http_version=version).request) is asks


def test_headers_stay_but_for_the_hop_and_the_key() -> None:
    """Order, case and subprotocols are kept; a proxy's headers and unknown extensions go."""
    headers = (
        (b"Proxy-Authorization", b"Basic x"),
        (b"connection", b"upgrade, te"),
        (b"upgrade", b"websocket"),
        (b"SEC-WEBSOCKET-KEY", b"old"),
        (b"Sec-WebSocket-Extensions", b"x-other, permessage-deflate; server_max_window_bits=10"),
        (b"Sec-WebSocket-Protocol", b"phoenix"),
    )
    assert handshake_headers(headers, bytes(16)) == (
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"SEC-WEBSOCKET-KEY", base64.b64encode(bytes(16))),
        (b"Sec-WebSocket-Extensions", b"permessage-deflate; server_max_window_bits=10"),
        (b"Sec-WebSocket-Protocol", b"phoenix"),
    )


def test_a_handshake_of_http2_gets_what_an_upgrade_needs() -> None:
    """Its own headers stay behind those of the hop; nothing that HTTP/2 carries has them."""
    recorded = ((b"sec-websocket-version", b"13"), (b"origin", b"https://a"))
    made = handshake_headers(recorded, b"k" * 16)
    assert made == (
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        *recorded,
        (b"Sec-WebSocket-Key", base64.b64encode(b"k" * 16)),
    )


def test_what_a_target_agrees_to_must_be_known() -> None:
    """Deflate with its parameters, or nothing; anything else is an error."""
    head = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket%s"
    named = b"\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover"
    assert agreed_extensions(head % b"") == []
    (deflate,) = agreed_extensions(head % named)
    assert deflate.enabled()
    for bad in (b"x-other", b"permessage-deflate; server_max_window_bits", b"permessage-deflate, x"):
        with pytest.raises(ValueError, match=r".*"):
            agreed_extensions(head % (b"\r\nSec-WebSocket-Extensions: " + bad))
