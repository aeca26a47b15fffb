"""The data of server-sent events as byte spans (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE = re.compile(rb"(?:^|(?<=[\r\n]))([a-z]*+):[ ]?([^\r\n]*+)")


class SseLine(NamedTuple):
    """One ``field: value`` line; a comment has an empty field name."""

    field: bytes
    start: int
    stop: int


def lines(data: bytes) -> Iterator[SseLine]:
    """Every line of ``data`` that has a field or is a comment."""
    for match in _LINE.finditer(data):
        yield SseLine(match[1], *match.span(2))
