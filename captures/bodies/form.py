"""The pairs of a query string or an application/x-www-form-urlencoded body as byte spans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class FormPair(NamedTuple):
    """One ``name=value`` pair; both spans are raw, with their escapes."""

    name_start: int
    name_stop: int
    value_start: int
    value_stop: int


def pairs(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[FormPair]:
    """Every pair between ``start`` and ``stop``; a name without ``=`` has an empty value."""
    end = len(data) if stop is None else stop
    position = start
    while position < end:
        ampersand = data.find(b"&", position, end)
        pair_stop = end if ampersand < 0 else ampersand
        equals = data.find(b"=", position, pair_stop)
        if equals < 0:
            yield FormPair(position, pair_stop, pair_stop, pair_stop)
        else:
            yield FormPair(position, equals, equals + 1, pair_stop)
        position = pair_stop + 1
