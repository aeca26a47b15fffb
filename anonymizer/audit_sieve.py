"""Tell what of a capture need not be searched for which originals: most of it for none."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import filterfalse
from typing import NamedTuple

from anonymizer.audit_filter import Filter
from anonymizer.audit_pieces import separator_of
from anonymizer.audit_search import Patterns, Searcher
from anonymizer.audit_undo import layers, may_hold_escapes
from anonymizer.encodings import HASHES, Encoding, patterns_of

_CLEAN_MAX = 200_000
_CLEAN_MAX_BYTES = 512
_AROUND_BYTES = 64  # beside a spelling, of which none has more than 4 bytes for each of its original


class Sought(NamedTuple):
    """Originals by their number, and the fields around originals, which are searched hashed only."""

    originals: dict[int, bytes]
    fields: dict[int, bytes]

    def patterns(self, number: int) -> list[tuple[bytes, Encoding]]:
        """The spellings under which the original or field is searched."""
        if number in self.originals:
            return list(patterns_of(self.originals[number]))
        value = self.fields[number]
        return [(pattern, encoding) for encoding in HASHES for pattern in encoding.patterns(value)]

    def value(self, number: int) -> bytes:
        """The original or the field."""
        return self.originals.get(number) or self.fields[number]


class New(NamedTuple):
    """New pieces of some bytes and what to search for them; ``whole`` is set when they were cut."""

    text: bytes
    pieces: list[bytes]
    whole: bytes = b""
    separator: bytes = b""


def new_texts(news: list[New]) -> list[bytes]:
    """All that is new as one text, and what stands under its escapes and codings."""
    text = b"\n".join([new.text for new in news if new.text])
    escaped = [
        new.separator.join((b"", *filter(may_hold_escapes, new.pieces), b""))
        for new in news
        if may_hold_escapes(new.text)
    ]
    return [text, *(undone for _, undone in layers(text, b"\n".join(escaped)))]


class Sieve:
    """
    Tells what need not be searched, and what the rest has to be searched for.

    Captures repeat themselves: of the fields of a webhook most stood in an earlier one. A body
    is cut where JSON is usually cut, and only pieces never seen are searched; originals that
    could lie across a cut are searched in the whole. What a filter sees in the new pieces is
    then searched there exactly.
    """

    def __init__(self, sought: Sought) -> None:
        self._sought = sought
        self._filter = Filter(list(sought.originals.items()), list(sought.fields.items()))
        self._across: dict[bytes, Searcher] = {}
        self._clean: set[bytes] = set()
        self._last: tuple[set[int], Searcher] = set(), self._searcher_of(())
        self._held: dict[bytes, bool] = {}

    @property
    def spellings(self) -> int:
        """How many spellings are looked for."""
        return self._filter.spellings

    def value(self, number: int) -> bytes:
        """The original with this number."""
        return self._sought.value(number)

    def new(self, texts: list[bytes]) -> list[New]:
        """What of ``texts`` was never seen; from now on it counts as clean, until it is forgotten."""
        return [self._new(text) for text in texts if len(text) > _CLEAN_MAX_BYTES or text not in self._clean]

    def _new(self, data: bytes) -> New:
        if len(data) <= _CLEAN_MAX_BYTES:
            self._clean.add(data)
            return New(data, [data])
        separator = separator_of(data)
        pieces = list(filterfalse(self._clean.__contains__, data.split(separator)))
        if not pieces:
            return New(b"", pieces, data, separator)
        self._clean.update([piece for piece in pieces if len(piece) <= _CLEAN_MAX_BYTES])
        # with a separator around each: a pattern may hold a part of one
        return New(separator.join((b"", *pieces, b"")), pieces, data, separator)

    def suspects(self, news: list[New], texts: list[bytes]) -> Searcher | None:
        """
        What searches for the originals that survive in ``texts`` (see `new_texts`) or across cuts.

        None when nothing survives there.
        """
        if len(self._clean) > _CLEAN_MAX:
            self._clean = set()
        everything = b"\n".join(texts)
        seen = list(self._filter.find(everything))
        numbers = {number for _, number in seen}
        searcher = self._searcher(numbers)
        survives = any(searcher.matches(text) for text in self._around(everything, seen))
        for new in news:
            if new.separator:
                hits = self._searcher_across(new.separator).find(new.whole)
                survives = survives or bool(hits)
                numbers.update([hit.original for hit in hits])
        return self._searcher(numbers) if survives else None

    def _around(self, text: bytes, seen: list[tuple[int, int]]) -> list[bytes]:
        """The stretches of ``text`` in which the originals lie that were seen, or all of it."""
        reaches = [4 * len(self._sought.value(number)) + _AROUND_BYTES for _, number in seen]
        if 2 * sum(reaches) >= len(text):
            return [text] if seen else []
        return [
            text[max(0, place - reach) : place + reach]
            for (place, _), reach in zip(seen, reaches, strict=True)
        ]

    def _searcher(self, numbers: set[int]) -> Searcher:
        if numbers != self._last[0]:
            self._last = set(numbers), self._searcher_of(sorted(numbers))
        return self._last[1]

    def _searcher_of(self, numbers: Iterable[int], separator: bytes = b"") -> Searcher:
        """What searches for these originals, for those spellings that hold ``separator``."""
        patterns = Patterns()
        for number in numbers:
            patterns.add(number, [one for one in self._sought.patterns(number) if separator in one[0]])
        return Searcher(patterns, self._sought.value)

    def _searcher_across(self, separator: bytes) -> Searcher:
        if separator not in self._across:
            mark = separator[:1]
            numbers = [number for number, value in self._sought.originals.items() if mark in _folded(value)]
            self._across[separator] = self._searcher_of(numbers, separator)
        return self._across[separator]

    def forget(self, news: list[New]) -> None:
        """Search ``news`` again when they come again."""
        for new in news:
            self._clean.difference_update(new.pieces)

    def found_in(self, data: bytes) -> bool:
        """Whether any original survives in ``data``, which is short and asked for again and again."""
        if data not in self._held:
            texts = (data, *(text for _, text in layers(data)))
            numbers = {number for text in texts for _, number in self._filter.find(text)}
            self._held[data] = self._searcher_of(sorted(numbers)).found_in(data)
        return self._held[data]


def _folded(value: bytes) -> bytes:
    """``value`` with signs like a wide comma as what they are spelled with elsewhere."""
    if value.isascii():
        return value
    return unicodedata.normalize("NFKD", value.decode("utf-8", "replace")).encode("utf-8", "replace")
