"""Every known value wherever it stands, also as part of a longer text: one automaton for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

import ahocorasick_rs

from anonymizer import generators
from anonymizer.detectors.base import Kind
from anonymizer.policy import Action, Policy
from anonymizer.pseudonyms import FAMILIES, Family, PseudonymTable, fold, identify
from anonymizer.reserved import is_common, is_no_name, is_reserved
from captures.bodies.edits import Edit

_SEPARATORS = (b" ", b"-", b".", b"_", b"", b"+", b"%20")


class _Where(Enum):
    """What may stand beside a value for it to count."""

    ANYWHERE = "anywhere"  # long enough to be itself inside a longer word
    WORD = "word"  # no letter or digit on either side
    SEGMENT = "segment"  # an English word counts only after a slash or an at sign


class _Literal(NamedTuple):
    kind: Kind
    where: _Where
    values: tuple[bytes, ...]  # spellings that differ in case alone; for a phrase its words
    phrase: bytes | None = None  # the separator of a name of several words
    digest: int | None = None  # which of the plain hashes of an e-mail address


class Literals:
    """Finds all values of a frozen table in a text and gives the edits that replace them."""

    __slots__ = ("_automaton", "_literals", "_table")

    def __init__(self, table: PseudonymTable, policy: Policy) -> None:
        self._table = table
        literals: dict[bytes, _Literal] = {}
        for raw, kind in sorted(table.spellings.items()):
            if policy.action(kind) is Action.KEEP:
                continue
            for pattern, literal in _patterns(kind, raw):
                known = literals.get(pattern)
                if known is None or FAMILIES[literal.kind] < FAMILIES[known.kind]:
                    literals[pattern] = literal
                elif known.kind is literal.kind and known.phrase is None and raw not in known.values:
                    literals[pattern] = known._replace(values=(*known.values, raw))
        if policy.action(Kind.NAME) is not Action.KEEP:
            for words in sorted(table.phrases):
                turned = [(words[::-1], separator) for separator in (b", ", b" ") if len(words) == 2]
                for order, separator in [(words, each) for each in _SEPARATORS] + turned:
                    pattern = separator.join(order).lower()
                    if len(pattern) >= 6:
                        phrase = _Literal(Kind.NAME, _Where.WORD, order, phrase=separator)
                        literals.setdefault(pattern, phrase)
        patterns = sorted(literals)
        self._literals: Sequence[_Literal] = [literals[pattern] for pattern in patterns]
        self._automaton = ahocorasick_rs.BytesAhoCorasick(patterns) if patterns else None

    def edits(self, text: bytes, *, number: bool = False) -> list[Edit]:
        """The replacement of every known value in ``text``; they may overlap."""
        if self._automaton is None:
            return []
        found: list[Edit] = []
        for at, start, stop in self._automaton.find_matches_as_indexes(text.lower(), overlapping=True):
            literal = self._literals[at]
            if number:
                fits = stop - start == len(text) >= 10 and literal.kind in {Kind.PHONE, Kind.CARD}
            else:
                fits = _fits(literal.where, text, start, stop)
            if fits:
                new = self._new(literal, text[start:stop], number=number)
                found.append(Edit(start, stop, new, literal.kind))
        return found

    def _new(self, literal: _Literal, matched: bytes, *, number: bool) -> bytes:
        if literal.phrase is not None:
            return self._phrase(literal, matched)
        if literal.digest is not None:
            stand_in = self._table.stand_in(Kind.EMAIL, literal.values[0])
            return generators.plain_hashes(stand_in)[literal.digest]
        if matched in literal.values or FAMILIES[literal.kind] not in {Family.SECRET, Family.JWT}:
            return self._table.replacement(literal.kind, matched, number=number)
        return self._table.replacement(literal.kind, literal.values[0])

    def _phrase(self, literal: _Literal, matched: bytes) -> bytes:
        parts: list[bytes] = []
        position = 0
        for word in literal.values:
            parts.append(self._table.replacement(Kind.NAME, matched[position : position + len(word)]))
            position += len(word) + len(literal.phrase or b"")
        return (literal.phrase or b"").join(parts)


def _fits(where: _Where, text: bytes, start: int, stop: int) -> bool:
    if where is _Where.ANYWHERE:
        return True
    before, after = text[start - 1 : start] if start else b"", text[stop : stop + 1]
    if before.isalnum() or after.isalnum():
        return False
    return where is _Where.WORD or before in {b"/", b"@"}


def _patterns(kind: Kind, raw: bytes) -> Iterator[tuple[bytes, _Literal]]:
    where = _where(kind, raw)
    if where is None:
        return
    yield raw.lower(), _Literal(kind, where, (raw,))
    if kind in {Kind.PHONE, Kind.CARD}:
        digits = bytes(byte for byte in raw if byte in b"0123456789")
        if len(digits) >= 8:
            yield digits, _Literal(kind, where, (digits,))
    elif kind is Kind.IP and b"." in raw and b":" not in raw:
        dashed = raw.replace(b".", b"-")  # as in ip-10-0-0-5.internal
        yield dashed, _Literal(kind, where, (dashed,))
    elif kind is Kind.EMAIL:
        for which, digest in enumerate(generators.plain_hashes(fold(raw))):
            yield digest, _Literal(kind, _Where.ANYWHERE, (identify(kind, raw),), digest=which)


def _where(kind: Kind, raw: bytes) -> _Where | None:
    """Where a value counts apart from its own field; None for nowhere."""
    size = len(raw)
    if size < 4:
        return None
    match FAMILIES[kind]:
        case Family.WORD if kind is Kind.NAME:
            # part of a name by itself: only long ones, and none that means something else
            return _Where.WORD if size >= 6 and not is_common(raw) else None
        case Family.WORD if kind is Kind.ADDRESS:
            # a postal code is also an order number; a street has letters, a digit and some length
            return _Where.WORD if size >= 10 and not raw.isdigit() else None
        case Family.WORD:
            if is_reserved(raw):
                return None
            if is_no_name(raw):
                return _Where.SEGMENT
            return _Where.ANYWHERE if size >= 6 else _Where.WORD
        case Family.SECRET:
            if size < 6 or is_common(raw) or (raw.isdigit() and size < 8) or (raw.isalpha() and size < 12):
                return None  # a cookie may hold "disabled", a password "monkey"
            return _Where.ANYWHERE if size >= 8 else _Where.WORD
        case Family.EMAIL | Family.JWT:
            return _Where.ANYWHERE
        case _:
            return _Where.WORD
