"""Whole responses as they come: who hears of them, and their headers."""

from __future__ import annotations

from collections.abc import Callable

from captures.http1 import Http1Error, parse_headers
from captures.model import Headers

Answered = Callable[[int, bytes, bytes], None]
"""Gets the row, raw head and body of a whole response."""


def both(first: Answered, second: Answered) -> Answered:
    """What tells ``first`` and then ``second`` of a response."""

    def answered(row: int, head: bytes, body: bytes) -> None:
        first(row, head, body)
        second(row, head, body)

    return answered


def headers_of(head: bytes) -> Headers | None:
    """The headers of a response's raw head (without the empty line after it), None if they cannot be read."""
    try:
        return parse_headers(head.partition(b"\n")[2])
    except Http1Error:
        return None
