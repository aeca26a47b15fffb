"""Find many patterns at once in bytes, and in what escapes and base64 inside those bytes stand for."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from ahocorasick_rs import BytesAhoCorasick

from anonymizer.audit_undo import layers
from anonymizer.encodings import MIXED_CASE, Encoding, needs_boundary, spelling_name, undone_name

_PREFIX_BYTES = 12  # so much of a pattern is in the automaton; the rest is compared
_SURE_BASE64_BYTES = 12  # 72 bits; a shorter core turns up by chance in a large capture
_SURE_ANY_CASE_BYTES = 8
_WORD_BYTES = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") | frozenset(
    range(0x80, 0x100)
)
_BASE64_SPAN = re.compile(rb"[A-Za-z0-9+/_-]*")
_BACK_TO_BASE64 = bytes.maketrans(b"-_", b"+/")


class Hit(NamedTuple):
    """
    Original number ``original`` was found in some encoding at byte ``start``.

    ``start`` is None when it was found in what escapes or base64 stand for.
    """

    original: int
    encoding: str
    start: int | None


class _Match(NamedTuple):
    start: int
    stop: int
    original: int
    encoding: str


@dataclass(slots=True)
class Patterns:
    """What is searched at once: text to (number of the original, encoding), by how it is searched."""

    plain: dict[bytes, tuple[int, Encoding]] = field(default_factory=dict, repr=False)
    exact: dict[bytes, tuple[int, Encoding]] = field(default_factory=dict, repr=False)
    alike: dict[bytes, list[int]] = field(default_factory=dict, repr=False)

    def add(self, original: int, patterns: Iterable[tuple[bytes, Encoding]]) -> None:
        """Take the ``patterns`` of an original; of equal ones the first counts, ``alike`` has the others."""
        for text, encoding in patterns:
            table = self.plain if encoding.plain else self.exact
            if text not in table:
                table[text] = original, encoding
            elif encoding.plain and len(text) < _SURE_ANY_CASE_BYTES:  # for these the letter case decides
                self.alike.setdefault(text, []).append(original)

    def __len__(self) -> int:
        return len(self.plain) + len(self.exact)


class _Automaton:
    def __init__(self, table: dict[bytes, tuple[int, Encoding]]) -> None:
        self._table = table
        by_prefix: dict[bytes, list[bytes]] = {}
        for text in table:
            by_prefix.setdefault(text[:_PREFIX_BYTES], []).append(text)
        self._texts = list(by_prefix.values())
        self._engine = BytesAhoCorasick(list(by_prefix)) if by_prefix else None

    def matches(self, data: bytes) -> Iterator[tuple[int, int, int, Encoding]]:
        """Start, stop, number of the original and encoding of every pattern in ``data``."""
        if self._engine is None:
            return
        for number, start, _ in self._engine.find_matches_as_indexes(data, overlapping=True):
            for text in self._texts[number]:
                if data.startswith(text, start):
                    yield start, start + len(text), *self._table[text]


class Searcher:
    """
    All ``patterns`` at once.

    ``value_of`` gives the original with a number; hits are checked against it.
    """

    def __init__(self, patterns: Patterns, value_of: Callable[[int], bytes]) -> None:
        self._value_of = value_of
        self._plain = _Automaton(patterns.plain)
        self._exact = _Automaton(patterns.exact)
        self._alike = patterns.alike
        self._empty = not patterns

    def find(self, data: bytes) -> list[Hit]:
        """
        What survives in ``data``: one hit for each original and encoding, the longest of nested ones.

        Backslash, percent and HTML escapes, hex, UTF-16 and base64 are undone and searched too,
        up to three of them inside one another, so that partly escaped text hides nothing.
        """
        if self._empty or not data:
            return []
        found: dict[int, Hit] = {}
        for layer, text in (("", data), *layers(data)):
            outside = [self._value_of(number) for number in found]
            for hit in self._direct(text):
                value = self._value_of(hit.original)
                if hit.original in found or any(value in other for other in outside):
                    continue
                for part in [number for number in found if layer and self._value_of(number) in value]:
                    del found[part]
                found[hit.original] = self._inside(hit, layer, data) if layer else hit
        return list(found.values())

    def _inside(self, hit: Hit, layer: str, data: bytes) -> Hit:
        """``hit``, which was found in what ``layer`` of ``data`` stands for."""
        undone = undone_name(self._value_of(hit.original), data)
        return hit._replace(encoding=undone or f"{hit.encoding} inside {layer}", start=None)

    def found_in(self, data: bytes) -> bool:
        """Whether anything survives in ``data``."""
        return bool(self.find(data))

    def matches(self, data: bytes) -> bool:
        """Whether anything survives in ``data`` as it is spelled there."""
        hits = chain(self._plain_matches(data), self._exact_matches(data))
        return next(hits, None) is not None

    def _direct(self, data: bytes) -> list[Hit]:
        accepted = [*self._plain_matches(data), *self._exact_matches(data)]
        accepted.sort(key=lambda match: (match.start, -match.stop))
        hits: list[Hit] = []
        reach = -1
        for match in accepted:
            if match.stop > reach:  # else it is part of a longer original that survived here
                reach = match.stop
                hits.append(Hit(original=match.original, encoding=match.encoding, start=match.start))
        return hits

    def _plain_matches(self, data: bytes) -> Iterator[_Match]:
        for start, stop, first, _ in self._plain.matches(data.lower()):
            text = data[start:stop]
            originals = (first, *self._alike.get(text.lower(), ()))
            names = ((number, spelling_name(self._value_of(number), text)) for number in originals)
            original, name = next((pair for pair in names if pair[1] is not None), (first, None))
            sure = name is not None or stop - start >= _SURE_ANY_CASE_BYTES
            if (sure and not needs_boundary(text)) or _stands_alone(data, start, stop):
                yield _Match(start, stop, original, name or MIXED_CASE)

    def _exact_matches(self, data: bytes) -> Iterator[_Match]:
        for start, stop, original, encoding in self._exact.matches(data):
            short = encoding.base64 and stop - start < _SURE_BASE64_BYTES
            if not short or _decodes_to(data, start, stop, self._value_of(original)):
                yield _Match(start, stop, original, encoding.name)


def _stands_alone(data: bytes, start: int, stop: int) -> bool:
    before = start > 0 and data[start - 1] in _WORD_BYTES
    after = stop < len(data) and data[stop] in _WORD_BYTES
    return not before and not after


def _decodes_to(data: bytes, start: int, stop: int, value: bytes) -> bool:
    """Whether the base64 around ``start:stop`` really holds ``value``; short cores match by chance."""
    first = start
    while first > 0 and start - first < 8 and _BASE64_SPAN.fullmatch(data, first - 1, first):
        first -= 1
    around = _BASE64_SPAN.match(data, first, min(len(data), stop + 8))
    text = (around[0] if around is not None else b"").translate(_BACK_TO_BASE64)
    for skip in range(4):
        part = text[skip:]
        part = part[:-1] if len(part) % 4 == 1 else part
        try:
            content = b64decode(part + b"=" * (-len(part) % 4))
        except binascii.Error:
            continue
        if value in content or value.lower() in content:
            return True
    return False
