"""
WebSocket handshakes: which requests are some, and how one is made anew (RFC 6455, section 4.1).

The recorded headers stay as they were but for the key, which every connection draws for itself, and
extensions other than permessage-deflate, which the sender does not speak. One that a browser recorded over
HTTP/2 (RFC 8441) has no headers of the upgrade; it gets them, as the sender opens WebSockets over HTTP/1.1.
"""

from __future__ import annotations

import base64
import re

from wsproto.extensions import Extension, PerMessageDeflate

from captures.http1 import Http1Error, header_tokens, parse_headers
from captures.model import Headers, Request

KEY_BYTES = 16
_KEY, _VERSION = b"sec-websocket-key", b"sec-websocket-version"
_DEFLATE = b"permessage-deflate"
_ANOTHER_HOP = frozenset({b"proxy-connection", b"proxy-authorization", b"keep-alive", b"te", b"expect"})
_OFFER = re.compile(rb"[^,\"]+")


def is_handshake(request: Request) -> bool:
    """Whether ``request`` asks for a WebSocket; over HTTP/2 only its WebSocket version tells."""
    if request.http_version == b"HTTP/1.1":
        return b"websocket" in header_tokens(request.headers, b"upgrade")
    over_http2 = request.http_version.startswith(b"HTTP/2") and request.method == b"GET"
    return over_http2 and any(name.lower() == _VERSION for name, _ in request.headers)


def handshake_headers(headers: Headers, key: bytes) -> Headers:
    """The headers of a handshake with a new key, drawn from ``key`` (``KEY_BYTES`` random bytes)."""
    made: list[tuple[bytes, bytes]] = []
    if not any(name.lower() == b"upgrade" for name, _ in headers):
        made += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    fresh = base64.b64encode(key)
    keyed = False
    for name, value in headers:
        lower_name = name.lower()
        if lower_name in _ANOTHER_HOP:
            continue
        if lower_name == b"connection":
            tokens = set(header_tokens(((name, value),), b"connection"))
            made.append((name, value if tokens == {b"keep-alive", b"upgrade"} else b"Upgrade"))
        elif lower_name == _KEY:
            made.append((name, fresh))
            keyed = True
        elif lower_name == b"sec-websocket-extensions":
            offers = [offer.strip() for offer in _OFFER.findall(value)]
            known = [offer for offer in offers if offer.partition(b";")[0].strip() == _DEFLATE]
            if known:
                made.append((name, b", ".join(known)))
        else:
            made.append((name, value))
    return tuple(made) if keyed else (*made, (b"Sec-WebSocket-Key", fresh))


def agreed_extensions(head: bytes) -> list[Extension]:
    """
    The extensions that the raw head of a 101 response names.

    Raises:
        ValueError: they are none that were offered.

    """
    try:
        headers = parse_headers(head.partition(b"\n")[2])
    except Http1Error:
        raise ValueError from None
    named = [value for name, value in headers if name.lower() == b"sec-websocket-extensions"]
    if not named:
        return []
    deflate = PerMessageDeflate()
    if len(named) > 1 or named[0].partition(b";")[0].strip() != _DEFLATE or b"," in named[0]:
        raise ValueError
    try:
        deflate.finalize(named[0].decode("ascii"))
    except IndexError:
        raise ValueError from None
    return [deflate]
