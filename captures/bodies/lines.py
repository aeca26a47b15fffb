"""Fields in lines of text, as byte spans: ``key=value`` of logs, ``Key: value``, JSON behind a prefix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

# No part gives back what it took, so that a line of any length is gone through once.
_PAIR = re.compile(
    rb"""(?<![^\s,;({\[|])([A-Za-z_][\w.-]{0,63})=(?:"((?:[^"\\\n]|\\.)*+)"?|'([^'\n]*+)'?|([^\s"',;|]++))"""
)
_FIELD = re.compile(rb"^[ \t]*+(?:- )?([A-Za-z_][\w .-]{0,40}):[ \t]++(?![{\[>|&*])([^\r\n]++)", re.MULTILINE)
_JSON = re.compile(rb"[{\[][ \t]*+[\"{\[][^\n]*+")


class LineField(NamedTuple):
    """One value ``start:stop`` and what it is called; ``line`` is the number of the line it is on."""

    key: bytes
    start: int
    stop: int
    line: int


def fields(data: bytes) -> list[LineField]:
    """The fields of every line, in order."""
    found: list[LineField] = []
    line = position = 0
    spans = [
        *((match[1], *match.span(match.lastindex or 2)) for match in _PAIR.finditer(data)),
        *((match[1], *match.span(2)) for match in _FIELD.finditer(data)),
    ]
    for key, start, end in sorted(spans, key=lambda span: span[1:]):
        line += data.count(b"\n", position, start)
        position = start
        stop = start + len(data[start:end].rstrip())
        if stop > start:
            found.append(LineField(key, start, stop, line))
    return found


def json_spans(data: bytes) -> Iterator[tuple[int, int]]:
    """Where an object or array stands on a line, from its first bracket to the line's end."""
    for match in _JSON.finditer(data):
        yield match.span()
