"""Fields and words of HTTP itself."""

from __future__ import annotations

import pytest

from anonymizer.protocol import is_framing, is_protocol


@pytest.mark.parametrize("path", ["request.header.te", "response.header.{name}", "*.header.upgrade"])
def test_fields_that_say_how_a_message_is_read(path: str) -> None:
    """Those, on both sides; what is negotiated, and names that only end like one, are none."""
    assert is_framing(path)
    assert not is_framing("request.header.accept")
    assert not is_framing("request.body.te")
    assert not is_framing("request.header.x-te")


@pytest.mark.parametrize(
    "value",
    [
        b"*/*", b"h2c, websocket", b"GET", b"QUERY", b"HTTP/1.1", b"HTTP/2", b"zh-Hans-CN,es-419;q=0.5",
        b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"Wed, 01 Jan 2025 00:00:00 GMT", b"gzip;q=1.0, *;q=0",
    ],
)  # fmt: skip
def test_words_of_the_protocol(value: bytes) -> None:
    """Alone they tell of nobody; beside any other word they do not hide it."""
    assert is_protocol(value)
    assert not is_protocol(b"thackeray, " + value)
