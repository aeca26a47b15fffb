"""The data of server-sent events as byte spans (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from captures.bodies.edits import Edit

_LINE = re.compile(rb"(?:^|(?<=[\r\n]))(?:([a-z]*+):[ ]?([^\r\n]*+)|([^\r\n]++))")


class SseLine(NamedTuple):
    """
    One ``field: value`` line.

    A comment has an empty field name; a line that is neither, which clients ignore, is all value
    and its field name ``line``.
    """

    field: bytes
    start: int
    stop: int


def lines(data: bytes) -> Iterator[SseLine]:
    """Every line of ``data`` that is not empty."""
    for match in _LINE.finditer(data):
        if match[3] is None:
            yield SseLine(match[1], *match.span(2))
        else:
            yield SseLine(b"line", *match.span(3))


def events(data: bytes) -> Iterator[list[SseLine]]:
    """The lines of ``data`` by the event they belong to."""
    block: list[SseLine] = []
    position = 0
    for line in lines(data):
        between = data[position : line.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if block and b"\n\n" in between:
            yield block
            block = []
        block.append(line)
        position = line.stop
    if block:
        yield block


def placed(of: Sequence[SseLine], edits: Sequence[Edit]) -> list[Edit]:
    """Edits of the joined contents of the lines ``of`` as edits of the data that they stand in."""
    found: list[Edit] = []
    begin = 0
    for line in of:
        end = begin + line.stop - line.start
        for edit in edits:
            start, stop = max(edit.start, begin), min(edit.stop, end)
            if start < stop or edit.start == edit.stop == start:
                # what goes over a line break stands in the first line, and nothing in the others
                new = edit.new if edit.start >= begin else b""
                found.append(Edit(start - begin + line.start, stop - begin + line.start, new, edit.label))
        begin = end + 1
    return found
