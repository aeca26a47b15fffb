"""
The values at a few places of a JSON document, for who has no time to look at all of it.

A sender reads the target's answers between two sends; this takes a tenth of a scan for every leaf.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

ROOT = "body"
_DEEPEST = 32  # names; those of a deeper place are not all known
LONGEST_PLACE = 200
"""Characters; a place that would have more is known by its end."""


def values_at(data: bytes, places: Collection[str]) -> list[tuple[str, bytes]] | None:
    """
    The strings and numbers of ``data`` (one document, or several in a row) at ``places``, in order.

    A place is ``body`` and the keys that lead there, with dots; elements of an array stand where the array
    does. Numbers are as they are written. None when ``data`` is no JSON, or too deep, or a place is
    written in a way that only a scan knows.
    """
    if any("\\" in place or place.count(".") >= _DEEPEST or len(place) >= LONGEST_PLACE for place in places):
        return None
    parts = {place[:stop] for place in places for stop in _ends(place)}
    found: list[tuple[str, bytes]] = []

    def walk(value: Any, place: str) -> None:
        if isinstance(value, str):
            if place in places:
                found.append((place, value.encode("utf-8", "surrogatepass")))
        elif isinstance(value, list):
            for item in value:
                walk(item, place)
        elif isinstance(value, tuple):
            for key, item in value:
                inner = f"{place}.{key}" if key else place
                if inner in parts:
                    walk(item, inner)

    try:
        for document in _documents(data):
            walk(document, ROOT)
    except (ValueError, RecursionError):
        return None
    return found


def _ends(place: str) -> list[int]:
    """Where each part of ``place`` ends that may be a key by itself, or several: keys may have dots."""
    return [*(at for at, character in enumerate(place) if character == "."), len(place)]


@lru_cache(maxsize=1)  # requests and messages may both need values of one response
def _documents(data: bytes) -> list[Any]:
    """
    The documents in ``data``: objects as tuples of pairs, so that equal keys stay, numbers as text.

    Raises:
        ValueError: it holds anything else.
        RecursionError: it is too deep.

    """
    text = data.decode()
    documents = []
    at = _SPACE.match(text).end()  # type: ignore[union-attr]  # it may be empty
    while at < len(text):
        document, stop = _DECODER.raw_decode(text, at)
        documents.append(document)
        at = _SPACE.match(text, stop).end()  # type: ignore[union-attr]
    return documents


_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(
    object_pairs_hook=tuple, parse_float=str, parse_int=str, parse_constant=lambda _: None, strict=False
)
