"""
Fields in text, as byte spans: ``key=value`` of logs, ``Key: value``, members of objects, JSON.

Objects are taken as programs and their logs write them: ``{last_name: 'Ng'}``,
``{'last_name': 'Ng'}``, ``{"last_name"=>"Ng"}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import itemgetter
from typing import NamedTuple

# No part gives back what it took, so that a line of any length is gone through once.
_PAIR = re.compile(
    rb"""(?<![^\s,;({\[|])([A-Za-z_][\w.-]{0,63})=(?:"((?:[^"\\\n]|\\.)*+)"?|'([^'\n]*+)'?|([^\s"',;|]++))"""
)
_MEMBER = re.compile(
    rb"""(?<![^\s,({\[])(?:"([A-Za-z_][\w .-]{0,63})"|'([A-Za-z_][\w .-]{0,63})'|:?([A-Za-z_][\w-]{0,63}))"""
    rb"""[ \t]*+(?:=>|:)[ \t]*+"""
    rb"""(?:"((?:[^"\\\n]|\\.)*+)"|'((?:[^'\\\n]|\\.)*+)'|([0-9][0-9.]{3,40})(?![0-9A-Za-z.:-]))"""
)
# A value may begin like a character reference, but not like a container or an anchor of YAML.
_FIELD = re.compile(
    rb"^[ \t]*+(?:- )?([A-Za-z_][\w .-]{0,40})(?::[ \t]++|[ \t]=[ \t]++)(?![{\[>|*]|&(?!#))([^\r\n]++)",
    re.MULTILINE,
)
_QUOTED = re.compile(rb"""(["'])(?:(?!\1).)+\1""")
_JSON = re.compile(rb"[{\[]\s*+[\"{\[]")
_BRACKET = re.compile(rb"[{}\[\]]")
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\\n]++|\\.)*+("?)|[{}\[\]]')  # a string ends on its line


class LineField(NamedTuple):
    """One value ``start:stop`` and what it is called; ``line`` is the number of the line it is on."""

    key: bytes
    start: int
    stop: int
    line: int


def fields(data: bytes) -> list[LineField]:
    """The fields of every line, in order; those of one line may overlap."""
    found: list[LineField] = []
    line = position = 0
    spans = {
        *((match[1], *match.span(match.lastindex or 2)) for match in _PAIR.finditer(data)),
        *(
            (match[1] or match[2] or match[3], *match.span(match.lastindex or 4))
            for match in _MEMBER.finditer(data)
        ),
        *((match[1].rstrip(), *_unquoted(data, *match.span(2))) for match in _FIELD.finditer(data)),
    }
    for key, start, end in sorted(spans, key=itemgetter(1, 2, 0)):
        line += data.count(b"\n", position, start)
        position = start
        stop = start + len(data[start:end].rstrip())
        if stop > start:
            found.append(LineField(key, start, stop, line))
    return found


def _unquoted(data: bytes, start: int, stop: int) -> tuple[int, int]:
    stop = start + len(data[start:stop].rstrip())
    return (start + 1, stop - 1) if _QUOTED.fullmatch(data, start, stop) else (start, stop)


def json_spans(data: bytes) -> Iterator[tuple[int, int]]:
    """Where an object or array stands: all of it, or up to the line's end where nothing closes it."""
    whole = dict(json_documents(data))
    position = 0
    while match := _JSON.search(data, position):
        line_end = data.find(b"\n", match.end())
        position = whole.get(match.start()) or (len(data) if line_end < 0 else line_end)
        yield match.start(), position


def _brackets(data: bytes) -> Iterator[re.Match[bytes]]:
    """The brackets outside of strings; a quotation mark that is alone on its line begins none."""
    for match in _STRING_OR_BRACKET.finditer(data):
        if match[1] is None:
            yield match
        elif not match[1]:
            yield from _BRACKET.finditer(data, match.start(), match.end())


def json_documents(data: bytes) -> list[tuple[int, int]]:
    """Where an object or array stands from its bracket to the one that closes it, in a script too."""
    found: list[tuple[int, int]] = []
    opened: list[int] = []
    for match in _brackets(data):
        if match[0] in b"{[":
            opened.append(match.start())
        elif opened:
            start = opened.pop()
            if _JSON.match(data, start):
                while found and found[-1][0] > start:
                    found.pop()
                found.append((start, match.end()))
    return found
