"""The strings of a JSON document without the hashes, times and numbers in them that come once."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate, chain, zip_longest

from anonymizer import charsets
from anonymizer.layouts import LeafPlace
from anonymizer.literals import Literals
from anonymizer.packings import is_text, unpack
from captures.bodies import json

BREAK, HOLE = json.MARKS[:2]
START = b'"'
"""Stands before each string, where no other quote can be."""
_SHA1_DIGITS = 40
_UUID_BYTES = 36
HEX_BYTES = frozenset({1 + _SHA1_DIGITS, 1 + _UUID_BYTES})
"""So long are hashes and UUIDs that pass, with the sign before them; no number or time is."""
_TIME = rb"[0-9]{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)"
# Other UUIDs may have enough digits in a row for a phone, a card or the number of a citizen.
_UUID = rb"[0-9a-f]{8}(?!(?:-[0-9]{4}){3})-(?:[0-9a-f]{4}-){3}(?![0-9]{12})[0-9a-f]{12}"
_UUID_SHAPE = re.compile(_UUID)
# A number, time, UUID or SHA-1 that is a whole string or (no UUID or time) a whole segment of a URL's path,
# with the sign before it. No detector finds one by its shape: phone and card numbers begin with 0 or +, hold
# separators or have more digits.
_PASSING = re.compile(
    rb'(["/](?:'
    rb'(?:(?<=")|(?<=[^0-9]/))[1-9][0-9]{0,11}(?=[/?#\x01])'
    rb"|" + _TIME + rb"(?=\x01)"
    rb'|(?<=")' + _UUID + rb"(?=\x01)"
    rb"|[0-9a-f]{40}(?=[/\x01])"
    rb"))"
)
_WHOLE = re.compile(rb"0|[1-9][0-9]{0,11}|" + _TIME + rb"|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}([0-9a-f]{12})")
# Hex that may stand for text, or for something compressed or in UTF-16: most has a control character.
_UNPACKS = re.compile(
    rb"1f8b|78|00|..00|(?:[2-7][0-9a-e]|[2-6]f|[89a-f][0-9a-f]|0[9ad]){%d}" % (_SHA1_DIGITS // 2)
)

Labels = tuple[str, ...]
"""What was replaced in a string, by kind."""

Outcome = tuple[bytes, Labels]
"""A string as it came out; of a form with a quote before it and with its holes."""


def is_plain(data: bytes) -> bool:
    """Whether ``data`` is UTF-8 and neither lists bytes as numbers nor ends with a number."""
    listed = json.BUFFER in data or data[-64:].rstrip()[-1:].isdigit()
    return not listed and charsets.of(data, b"") == "utf-8"


def passes(text: bytes) -> bool:
    """Whether ``text`` is a number, a time or a UUID, in which no other text stands."""
    match = _WHOLE.fullmatch(text)
    return match is not None and (match[1] is None or not is_text(bytes.fromhex(match[1].decode())))


def hides(value: bytes, literals: Literals | None) -> bool:
    """Whether the UUID or SHA-1 ``value`` is the hash of a known value, or may be something else in hex."""
    if len(value) == _UUID_BYTES:
        if not _UUID_SHAPE.fullmatch(value) or not passes(value):
            return True
        return literals is not None and value[:4] in literals.hash_heads
    if literals is not None and literals.is_known_hash(value):
        return True
    return _UNPACKS.match(value) is not None and unpack(bytes.fromhex(value.decode())) is not None


def forms(texts: Sequence[bytes]) -> list[bytes]:
    """Each of ``texts`` (which hold no quotes) after a quote, with holes for what passes in it."""
    if not texts:
        return []
    joined = _joined(texts)
    parts = _PASSING.split(joined)
    return HOLE.join(parts[::2]).split(BREAK)[:-1]


def _joined(texts: Sequence[bytes]) -> bytes:
    return START + (BREAK + START).join(texts) + BREAK


class Passing:
    """What passes in ``texts``; each of them has some."""

    __slots__ = ("_joined", "_owners", "_texts", "values")

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._texts = texts
        self._joined = _joined(texts)
        self.values: list[bytes] = _PASSING.findall(self._joined)
        """In order, each with the sign before it."""

    def special(self, literals: Literals | None) -> set[int]:
        """Which texts have values that hold something known, or a text, after all."""
        found: set[int] = set()
        for number, value in enumerate(self.values):
            if len(value) in HEX_BYTES and hides(value[1:], literals):
                found.add(number)
        near = literals.near_numbers(self._joined) if literals is not None else []
        places = [match.span() for match in _PASSING.finditer(self._joined)] if near or found else []
        special = {self._owner(places[number][0]) for number in found}
        for start, stop in near:
            number = bisect_right(places, start, key=lambda span: span[1])
            if number < len(places) and places[number][0] < stop:
                special.add(self._owner(start))
        return special

    def _owner(self, place: int) -> int:
        starts = [0, *accumulate(len(text) + 2 for text in self._texts)]
        return bisect_right(starts, place) - 1

    def filled(self, news: Sequence[bytes]) -> list[bytes]:
        """``news`` of the texts, as forms, with the values in their holes."""
        chunks = (BREAK.join(news) + BREAK).split(HOLE)
        joined = b"".join(chain.from_iterable(zip_longest(chunks, self.values, fillvalue=b"")))
        return joined[1:-1].split(BREAK + START)


def holes(text: bytes) -> list[tuple[int, int]]:
    """Where in ``text`` after a quote something passes, with the sign before it."""
    return [match.span() for match in _PASSING.finditer(_joined((text,)))]


class Told:
    """How often each kind was replaced in the fields of a document; many documents share one."""

    __slots__ = ("_counts", "_named")

    def __init__(self, counts: Counter[tuple[LeafPlace, str]]) -> None:
        self._counts = counts
        self._named: dict[str, Counter[tuple[str, str]]] = {}

    def named(self, root: str, name: Callable[[bytes], str]) -> Counter[tuple[str, str]]:
        """The counts by field path below ``root`` and kind; ``name`` gives a key as part of a path."""
        known = self._named.get(root)
        if known is None:
            known = self._named[root] = Counter()
            for ((above, key), kind), count in self._counts.items():
                known[".".join((root, *filter(None, map(name, (*above, key))))), kind] += count
        return known
