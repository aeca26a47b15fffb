"""The parts of a JSON document on its way, and where each stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import accumulate, chain, zip_longest
from typing import Any

from captures.bodies import json
from captures.bodies.edits import Edit
from captures.bodies.json import JsonLeaf, LeafRole, Token

BREAK, HOLE = b"\x01", b"\x02"  # no JSON text holds them
SHA1_DIGITS = 40
# A number, time or SHA-1 that is a whole value or a whole segment of a URL's path. No detector finds one
# by its shape: phone and card numbers begin with 0 or +, hold separators or have more digits.
# It begins with the character that all have, so that a search skips the others.
PASSING = re.compile(
    rb"([0-9a-f](?:"
    rb'(?:(?<=":[1-9])|(?<=": [1-9]))[0-9]{0,11}(?=[\x01,}\]]|\Z)'
    rb'|(?:(?<="[1-9])|(?<=[^0-9]/[1-9]))[0-9]{0,11}(?=/|"(?!\s*:))'
    rb'|(?<=["/][0-9])[0-9]{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)(?="(?!\s*:))'
    rb'|(?<=["/].)[0-9a-f]{39}(?=/|"(?!\s*:))'
    rb"))"
)
# Hex that may stand for text, or for something compressed or in UTF-16: most has a control character.
UNPACKS = re.compile(
    rb"1f8b|78|00|..00|(?:[2-7][0-9a-e]|[2-6]f|[89a-f][0-9a-f]|0[9ad]){%d}" % (SHA1_DIGITS // 2)
)
_PLAIN_VALUE = re.compile(
    rb":[ \t\r\n]*(?:(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|true|false|null)([\]} \t\r\n]*)"
)

LeafContext = tuple[bytes, bytes, bool]
"""A leaf's key, the key of the object it is in, and whether that is about a person."""

Labels = tuple[tuple[int, str], ...]
"""Which leaves of a piece were replaced (by number), and as what."""

Outcome = tuple[bytes, Labels]
"""A piece as it came out; with holes where it is known by its form."""


class Place:
    """What is around a piece, and what became of pieces there; places that are alike are one."""

    __slots__ = ("contexts", "done", "telling", "tells")

    def __init__(self, contexts: tuple[LeafContext, ...], telling: tuple[bool, ...]) -> None:
        self.contexts = contexts
        self.done: dict[bytes, Outcome] = {}
        self.telling = telling
        self.tells = any(telling)


class Fresh:
    """A piece that was not there before; ``form`` is what it is remembered as."""

    __slots__ = ("at", "cut", "edits", "finds", "form", "labels", "place", "whole")

    def __init__(self, at: int, place: Place, form: bytes, whole: bytes, cut: int) -> None:
        self.at = at
        self.place = place
        self.form = form
        self.whole = whole
        self.cut = cut
        self.edits: list[Edit] = []
        self.labels: list[tuple[int, str]] = []
        self.finds = False

    def add(self, slot: int, start: int, found: list[Edit]) -> None:
        """Take the edits of a leaf that begins at ``start``."""
        for edit in found:
            self.edits.append(edit.moved(start))
            self.labels.append((slot, edit.label))


class Told:
    """How often each kind was replaced in the fields of a document; many documents share one."""

    __slots__ = ("_counts", "_named")

    def __init__(self, counts: Counter[tuple[tuple[bytes, ...], bytes, str]]) -> None:
        self._counts = counts
        self._named: dict[str, Counter[tuple[str, str]]] = {}

    def named(self, root: str, name: Callable[[bytes], str]) -> Counter[tuple[str, str]]:
        """The counts by field path below ``root`` and kind; ``name`` gives a key as part of a path."""
        known = self._named.get(root)
        if known is None:
            known = self._named[root] = Counter()
            for (above, key, kind), count in self._counts.items():
                known[".".join((root, *filter(None, map(name, (*above, key))))), kind] += count
        return known


class Plan:
    """The places of a document's pieces, in order."""

    __slots__ = ("done", "leaves", "outlines", "places", "told")

    def __init__(
        self, outlines: tuple[bytes, ...], places: list[Place], leaves: list[list[JsonLeaf]]
    ) -> None:
        self.outlines = outlines
        self.places = places
        self.leaves = leaves
        self.done = [place.done for place in places]
        self.told: dict[tuple[Labels, ...], Told] = {}


class Document:
    """One document on its way; ``texts`` become forms where they are new and hold passing values."""

    __slots__ = ("done", "lead", "missing", "originals", "texts", "tokens", "values")

    def __init__(self, texts: list[bytes], lead: bytes) -> None:
        self.texts = texts
        self.lead = lead
        self.done: list[Any] = []  # an outcome of each piece, None for one that is not known
        self.missing: list[int] = []
        self.originals: dict[int, bytes] = {}
        self.tokens: dict[int, list[Token]] = {}  # of pieces that were outlined now
        self.values: list[bytes] = []  # the passing values of all originals in order

    def look_up(self, plan: Plan) -> None:
        """Find what is known of the pieces at the places of ``plan``."""
        self.done = [*map(dict.get, plan.done, self.texts)]
        self.missing = [at for at, outcome in enumerate(self.done) if outcome is None]

    def form(self, places: list[int]) -> None:
        """Make forms of the pieces at ``places``."""
        texts = self.texts
        joined = BREAK.join([texts[at] for at in places])
        if b"\\" in joined:  # an escape may hide what a number stands for, as in JSON inside a string
            places = [at for at in places if b"\\" not in texts[at]]
            joined = BREAK.join([texts[at] for at in places])
        parts = PASSING.split(joined)
        if len(parts) > 1:
            self.values = parts[1::2]
            for at, form in zip(places, HOLE.join(parts[::2]).split(BREAK), strict=True):
                if HOLE in form:
                    self.originals[at] = texts[at]
                    texts[at] = form

    def owner(self, number: int) -> int:
        """Which piece has the passing value of that number."""
        counts = accumulate(self.texts[at].count(HOLE) for at in self.originals)
        return next(at for at, count in zip(self.originals, counts, strict=True) if number < count)

    def filled(self, news: list[bytes]) -> list[bytes]:
        """``news`` with the passing values in the holes of those that were known by their form."""
        missing = frozenset(self.missing)
        places, values = [*self.originals], self.values
        if not missing.isdisjoint(places):
            values, number = [], 0
            for at in places:
                count = self.texts[at].count(HOLE)
                if at not in missing:
                    values += self.values[number : number + count]
                number += count
            places = [at for at in places if at not in missing]
            if not places:
                return news
        chunks = BREAK.join([news[at] for at in places]).split(HOLE)
        filled = b"".join(chain.from_iterable(zip_longest(chunks, values, fillvalue=b"")))
        for at, new in zip(places, filled.split(BREAK), strict=True):
            news[at] = new
        return news


def outlined(whole: bytes) -> tuple[bytes, list[Token]] | None:
    """`json.outline` of a piece; one key with one value, which most are, takes a fraction of the time."""
    parts = whole.split(b'"')
    if len(parts) not in {3, 5} or b"\\" in whole or parts[0].strip():
        return json.outline(whole)
    before, key, rest = parts[:3]
    start = len(before) + 1
    stop = start + len(key)
    if len(parts) == 3:
        match = _PLAIN_VALUE.fullmatch(rest)
        if match is None:
            return json.outline(whole)
        role = None if match[1] is None else LeafRole.NUMBER
        value_start, value_stop = match.span(1)
        value = Token(role, value_start + stop + 1, value_stop + stop + 1)
        tail = match[2]
    else:
        tail = parts[4]
        if rest.strip() != b":" or tail.translate(None, b"]} \t\r\n"):
            return json.outline(whole)
        value_start = stop + 2 + len(rest)
        value = Token(LeafRole.STRING, value_start, value_start + len(parts[3]))
    outline = b'"%b":0,%b' % (key, tail.translate(None, b" \t\r\n"))
    return outline, [Token(LeafRole.KEY, start, stop), value]


def passes_in_key(tokens: list[Token], piece: bytes, lead_bytes: int) -> bool:
    """Whether a passing value stands in a key, which then differs where the form does not."""
    keys = [token for token in tokens if token.role is LeafRole.KEY]
    starts = [match.start() + lead_bytes for match in PASSING.finditer(piece)]
    return any(key.start <= start < key.stop for key in keys for start in starts)
