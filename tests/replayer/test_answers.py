"""Responses as they come: heard by two in turn, with headers that may be damaged."""

from __future__ import annotations

from replayer.answers import both, headers_of


def test_two_hear_of_a_response_in_turn() -> None:
    """The first is told first, and both of the same bytes."""
    heard: list[tuple[str, int, bytes, bytes]] = []
    told = both(lambda *of: heard.append(("first", *of)), lambda *of: heard.append(("second", *of)))
    told(3, b"head", b"body")
    assert heard == [("first", 3, b"head", b"body"), ("second", 3, b"head", b"body")]


def test_the_headers_of_a_head() -> None:
    """Those after the status line; none of a head that is no HTTP."""
    assert headers_of(b"HTTP/1.1 200 OK\r\nA: b") == ((b"A", b"b"),)
    assert headers_of(b"HTTP/1.1 200 OK\r\nno colon") is None
