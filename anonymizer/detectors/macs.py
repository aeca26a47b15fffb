"""Addresses of network cards (EUI-48) by their shape."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind

HINT = re.compile(rb"[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.")
"""Found in every text that holds such an address without a telling key."""

_PAIRS = re.compile(
    rb"(?<![0-9A-Za-z])(?<![0-9A-Fa-f]{2}[:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}"
    rb"(?![0-9A-Za-z]|[:-][0-9A-Fa-f]{2}(?![0-9A-Za-z]))"
)
_FOURS = re.compile(rb"(?<![0-9A-Za-z.])(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}(?![0-9A-Za-z]|\.[0-9A-Fa-f])")
_BARE = re.compile(rb"[0-9A-Fa-f]{12}")
_KEY = re.compile(r"(?:^|_)(?:mac|mac_?addr(?:ess)?|hw_?addr(?:ess)?|ether|bssid)$")
_NOBODYS = frozenset({b"0" * 12, b"f" * 12})
_NO_PART = re.compile(rb"[^0-9A-Fa-f]")


def key_tells(key: str) -> bool:
    """Whether what stands under ``key`` may be such an address for that alone."""
    return _KEY.search(key) is not None


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every address of a card in ``text``; zeros and the broadcast address are nobody's."""
    if context.number or len(text) < 12:
        return
    if _KEY.search(context.key) and _BARE.fullmatch(text):
        found = [(0, len(text))]
    else:
        found = [match.span() for pattern in (_PAIRS, _FOURS) for match in pattern.finditer(text)]
    for start, stop in found:
        if compact(text[start:stop]) not in _NOBODYS:
            yield Finding(Kind.MAC, start, stop)


def compact(value: bytes) -> bytes:
    """The twelve hex digits of ``value`` in lower case."""
    return _NO_PART.sub(b"", value).lower()
