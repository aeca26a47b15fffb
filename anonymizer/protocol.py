"""What belongs to HTTP itself: fields that say how a message is read, and the words that stand in them."""

from __future__ import annotations

import re

PROTOCOL_HEADERS = frozenset(
    {
        b"content-length", b"content-encoding", b"transfer-encoding", b"connection",
        b"accept", b"accept-encoding", b"accept-language", b"date", b"upgrade", b"te",
        b"sec-websocket-key", b"sec-websocket-accept", b"sec-websocket-version", b"grpc-encoding",
    }
)  # fmt: skip
"""Lower-case names of headers whose values are words of the protocol, whoever is called like one."""

_NEGOTIATED = frozenset({b"accept", b"accept-encoding", b"accept-language", b"date"})
# header names too: without one there is no header
_FRAMING = frozenset({"{name}", *(name.decode("ascii") for name in PROTOCOL_HEADERS - _NEGOTIATED)})
_FIRST_LINES = frozenset(
    {"request.method", "request.scheme", "request.path", "request.http_version", "response.http_version"}
)

_DATE = re.compile(rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
_WORD = re.compile(
    rb"(?:application|audio|font|image|message|multipart|text|video|\*)/[a-z0-9.+*-]{1,60}"
    rb"|[a-z]{2,3}(?:-[a-z]{4})?(?:-(?:[a-z]{2}|\d{3}))?"  # languages (RFC 5646)
    rb"|(?:q|v|version)=[a-z]?\d(?:\.\d{1,3})?|charset=[a-z0-9-]{3,12}|\*|\d{1,20}|HTTP/\d(?:\.\d)?"
    rb"|gzip|x-gzip|deflate|brotli|zstd|compress|identity|snappy|chunked|trailers"
    rb"|keep-alive|close|upgrade|websocket|h2c|http2-settings|https?|wss?"
    rb"|GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE|QUERY|[a-z0-9+/]{22}==|[a-z0-9+/]{27}=",
    re.IGNORECASE,
)
_BETWEEN = re.compile(rb"\s*[,;]\s*")


def is_framing(path: str) -> bool:
    """Whether the field ``path`` says how a message is read, so that no rule may replace it as a whole."""
    return path in _FIRST_LINES or path.partition(".header.")[2] in _FRAMING


def is_protocol(value: bytes) -> bool:
    """Whether ``value`` of such a field is words of the protocol alone, which tell of nobody."""
    words = _BETWEEN.split(value.strip())
    return _DATE.fullmatch(value) is not None or all(_WORD.fullmatch(word) for word in words)
