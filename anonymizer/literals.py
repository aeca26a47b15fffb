"""Every known value wherever it stands, also as part of a longer text: one automaton for all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from ahocorasick_rs import BytesAhoCorasick, Implementation

from anonymizer.detectors.base import Kind
from anonymizer.hashes import Hashes
from anonymizer.policy import Action, Policy
from anonymizer.pseudonyms import FAMILIES, Family, PseudonymTable, fold, with_case_of
from anonymizer.reserved import is_common, is_no_name, is_reserved
from anonymizer.spellings import Phrase, folded, phrase_spellings, spellings
from captures.bodies.edits import Edit

_CASED = frozenset({Family.DOMAIN, Family.EMAIL, Family.WORD})
_NEAR_NUMBERS = re.compile(rb'[0-9]|[/":][a-f]|[a-fz]["/]|^[a-f]+$')  # digits or hex, or their borders
_DIGIT = re.compile(rb"[0-9]")
_MAX_DFA_BYTES = 1_024
_MAX_SPELLED = 65_536
_EXACT = frozenset({Family.SECRET, Family.JWT})
_NUMBERS = frozenset({Kind.PHONE, Kind.CARD})


class _Where(Enum):
    """What may stand beside a value for it to count."""

    ANYWHERE = "anywhere"  # long enough to be itself inside a longer word
    NUMBER = "number"  # no digit on either side; so many digits are in no word by chance
    WORD = "word"  # no letter or digit on either side
    SEGMENT = "segment"  # a short one or an English word counts only after a slash or an at sign


class _Literal(NamedTuple):
    kind: Kind
    where: _Where
    values: tuple[bytes, ...] = ()  # spellings that differ in case alone
    new: bytes | None = None  # what stands for another spelling of a value
    phrase: Phrase | None = None


def automaton_of(patterns: Sequence[bytes]) -> BytesAhoCorasick | None:
    """Finds ``patterns``; a DFA is fastest, but that of a long repetition takes the square of its length."""
    if not patterns:
        return None
    short = max(map(len, patterns)) <= _MAX_DFA_BYTES
    return BytesAhoCorasick(patterns, implementation=None if short else Implementation.ContiguousNFA)


class Literals:
    """Finds all values of a frozen table in a text and gives the edits that replace them."""

    __slots__ = ("_automaton", "_hashes", "_literals", "_near_numbers", "_numbers", "_spelled", "_table")

    def __init__(self, table: PseudonymTable, policy: Policy) -> None:
        self._table = table
        values = [
            (raw, kind)
            for raw, kind in sorted(table.spellings.items())
            if policy.action(kind) is not Action.KEEP
        ]
        literals: dict[bytes, _Literal] = {}
        for raw, kind in values:
            for pattern, literal in _patterns(kind, raw):
                known = literals.get(pattern)
                if known is None or FAMILIES[literal.kind] < FAMILIES[known.kind]:
                    literals[pattern] = literal
                elif known.kind is literal.kind and raw not in known.values:
                    literals[pattern] = known._replace(values=(*known.values, raw))
        # names before other spellings: of jane.doe@... "Jane Doe" is that name and no user name
        if policy.action(Kind.NAME) is not Action.KEEP:
            for words in sorted(table.phrases):
                for pattern, phrase in self._phrases(words):
                    literals.setdefault(pattern, _Literal(Kind.NAME, _Where.WORD, phrase=phrase))
        for pattern, literal in self._derived(values):
            literals.setdefault(pattern, literal)
        patterns = sorted(literals)
        self._literals: Sequence[_Literal] = [literals[pattern] for pattern in patterns]
        self._automaton = automaton_of(patterns)
        near = [pattern for pattern in patterns if _NEAR_NUMBERS.search(pattern)]
        self._near_numbers = automaton_of(near)
        self._numbers = {
            pattern for pattern, literal in literals.items() if literal.kind in _NUMBERS and pattern.isdigit()
        }
        self._hashes = Hashes(table, values, policy)
        self._spelled: dict[tuple[int, bytes], bytes] = {}

    def near_numbers(self, text: bytes) -> list[tuple[int, int]]:
        """Where known values stand in ``text`` that may hold, or begin or end in, a number or a hash."""
        if self._near_numbers is None:
            return []
        found = self._near_numbers.find_matches_as_indexes(folded(text), overlapping=True)
        return [(start, stop) for _, start, stop in found]

    def is_number(self, digits: bytes) -> bool:
        """Whether a number of nothing but ``digits`` is a known one of a phone or a card."""
        return digits in self._numbers

    def is_known_hash(self, digits: bytes) -> bool:
        """Whether the hex ``digits`` are a hash of a known value."""
        return self._hashes.is_known(digits)

    @property
    def hash_heads(self) -> frozenset[bytes]:
        """The first four characters of every hash of a known value in base64 and base64url."""
        return self._hashes.heads

    def edits(self, text: bytes, *, number: bool = False) -> list[Edit]:
        """The replacement of every known value in ``text``; they may overlap."""
        if self._automaton is None:
            return []
        if not number:
            return self.known(text) + self._hashes.edits(text)
        found: list[Edit] = []
        for at, start, stop in self._automaton.find_matches_as_indexes(text, overlapping=True):
            literal = self._literals[at]
            if stop - start == len(text) >= 10 and literal.kind in _NUMBERS:
                found.append(Edit(start, stop, self._new(literal, text, number=True), literal.kind))
        return found

    def known(self, text: bytes) -> list[Edit]:
        """The replacement of every known value that stands in ``text`` as itself; they may overlap."""
        if self._automaton is None:
            return []
        found: list[Edit] = []
        literals, spelled, anywhere, make = self._literals, self._spelled, _Where.ANYWHERE, tuple.__new__
        for at, start, stop in self._automaton.find_matches_as_indexes(folded(text), overlapping=True):
            literal = literals[at]
            where = literal.where
            if where is anywhere or _fits(where, text, start, stop):
                matched = text[start:stop]
                new = spelled.get((at, matched))
                if new is None:
                    new = self._new(literal, matched, number=False)
                    if len(spelled) >= _MAX_SPELLED:
                        spelled.clear()
                    spelled[at, matched] = new
                found.append(make(Edit, (start, stop, new, literal.kind)))
        return found

    def _new(self, literal: _Literal, matched: bytes, *, number: bool) -> bytes:
        if literal.phrase is not None:
            return literal.phrase.spelled_as(matched)
        family = FAMILIES[literal.kind]
        if literal.new is not None:
            return with_case_of(matched, literal.new) if family in _CASED else literal.new
        if matched in literal.values or family not in _EXACT:
            return self._table.replacement(literal.kind, matched, number=number)
        return self._table.replacement(literal.kind, literal.values[0])

    def _derived(self, values: list[tuple[bytes, Kind]]) -> Iterator[tuple[bytes, _Literal]]:
        for raw, kind in values:
            family = FAMILIES[kind]
            if family is Family.JWT:
                continue  # a signed token has one spelling
            new = self._table.replacement(kind, raw if family in _EXACT else fold(raw))
            for spelling in spellings(kind, raw, new):
                where = _where(Kind.NAME if spelling.part else kind, spelling.text)
                if where is not None:
                    yield spelling.text, _Literal(kind, where, new=spelling.new)

    def _phrases(self, words: tuple[bytes, ...]) -> Iterator[tuple[bytes, Phrase]]:
        new = tuple(self._table.replacement(Kind.NAME, fold(word)) for word in words)
        for pattern, phrase in phrase_spellings(words, new):
            if len(pattern) >= 6:
                yield pattern, phrase


def _fits(where: _Where, text: bytes, start: int, stop: int) -> bool:
    if where is _Where.ANYWHERE:
        return True
    before, after = text[start - 1 : start] if start else b"", text[stop : stop + 1]
    if where is _Where.NUMBER:
        return not (before.isdigit() or after.isdigit())
    if before.isalnum() or after.isalnum():
        return False
    if where is _Where.WORD:
        return True
    # @bob-smith is somebody else than bob
    return before in {b"/", b"@"} and (stop - start > 3 or after not in {b"-", b"_"})


def _patterns(kind: Kind, raw: bytes) -> Iterator[tuple[bytes, _Literal]]:
    where = _where(kind, raw)
    if where is None:
        return
    yield folded(raw), _Literal(kind, where, (raw,))
    if kind in {Kind.PHONE, Kind.CARD}:
        digits = bytes(byte for byte in raw if byte in b"0123456789")
        if len(digits) >= 8:
            yield digits, _Literal(kind, where, (digits,))


def _where(kind: Kind, raw: bytes) -> _Where | None:
    """Where a value counts apart from its own field; None for nowhere."""
    size = len(raw)
    if size < 4:
        return _Where.SEGMENT if size == 3 and kind is Kind.USERNAME and not is_no_name(raw) else None
    match FAMILIES[kind]:
        case Family.WORD if kind is Kind.NAME:
            # part of a name by itself: only long ones, and none that means something else
            if size < 6 or is_common(raw):
                return None
            return _Where.ANYWHERE if size >= 8 else _Where.WORD
        case Family.WORD if kind is Kind.ADDRESS:
            # a postal code is also an order number; a street has letters, a digit and some length
            return _Where.WORD if size >= 10 and not raw.isdigit() else None
        case Family.WORD:
            if is_reserved(raw):
                return None
            if is_no_name(raw):
                return _Where.SEGMENT
            return _Where.ANYWHERE if size >= 6 else _Where.WORD
        case Family.DOMAIN:
            return _where_domain(raw)
        case Family.SECRET:
            if size < 6 or is_common(raw) or (raw.isdigit() and size < 8) or (raw.isalpha() and size < 12):
                return None  # a cookie may hold "disabled", a password "monkey"
            return _Where.ANYWHERE if size >= 8 else _Where.WORD
        case Family.EMAIL | Family.JWT:
            return _Where.ANYWHERE
        case Family.GEO:
            return _Where.WORD if size >= 7 else None  # 52.52 is also a price
        case Family.IBAN:
            return _Where.ANYWHERE
        case Family.PHONE | Family.CARD | Family.IP if len(_DIGIT.findall(raw)) >= (
            10 if b"." not in raw else 6
        ):
            return _Where.NUMBER
        case _:
            return _Where.WORD


def _where_domain(raw: bytes) -> _Where | None:
    if b"." in raw:
        return _Where.WORD
    if len(raw) < 6:
        return None  # a label alone is a word like any other
    return _Where.SEGMENT if is_common(raw) else _Where.WORD
