"""Heads of HTTP/1.1 responses: what the parser does not tell, and those that were parsed before."""

from __future__ import annotations

import re

from replayer.results import ERROR_STATUS

_INTERIM = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n")
_FRAMED = re.compile(rb"\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)
_CLOSES = re.compile(rb"\nconnection[ \t]*:[^\n]*close", re.IGNORECASE)
_KNOWN_MAX = 256
_LONGEST_BYTES = 4096


def final_head(data: bytes) -> bytes:
    """The head of the final response in ``data``; interim ones before it are left out."""
    start = 0
    while match := _INTERIM.match(data, start):
        start = match.end()
    stop = data.find(b"\r\n\r\n", start)
    return data[start:stop] if stop >= 0 else data[start:]


def says_length(head: bytes) -> bool:
    """Whether a head says how its body is framed."""
    return _FRAMED.search(head) is not None


def says_close(head: bytes) -> bool:
    """Whether a head says that the connection ends behind the response."""
    return _CLOSES.search(head) is not None


class KnownHeads:
    """
    Heads that the parser has taken before, with status and body length.

    The same head before a body of the same length is the same to a parser, so a response need be parsed
    only when its head is new: a target repeats a head until the second in its Date is over. ``known`` is
    looked up by whoever reads. The heads of errors are not kept.
    """

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[int, int]] = {}

    def learn(self, data: bytes, status: int, body_bytes: int) -> None:
        """Keep the head of a response that came whole in ``data``, and let its connection stand."""
        end = data.find(b"\r\n\r\n") + 4
        if end > _LONGEST_BYTES or len(data) - end != body_bytes:  # an interim head is before it, or chunks
            return
        if status >= ERROR_STATUS:
            return
        if len(self.known) >= _KNOWN_MAX:
            self.known.clear()
        self.known[data[:end]] = (status, body_bytes)
