"""
The table of stand-ins: the same value gives the same one, two values never share one.

Values are collected first. ``freeze`` then gives every value its stand-in in sorted order, so
the result depends on the key and the set of values alone, not on the order they were met in.
Only a clash makes one value's stand-in depend on another value.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from enum import IntEnum

import phonenumbers

from anonymizer import addresses, generators
from anonymizer.detectors.base import Kind
from anonymizer.policy import Action, Policy
from captures.keys import Prf

_DIGITS = frozenset(b"0123456789")


class Family(IntEnum):
    """Kinds that share stand-ins; where one value is in two families, the first one rules."""

    EMAIL = 0
    WORD = 1
    PHONE = 2
    CARD = 3
    IP = 4
    JWT = 5
    SECRET = 6


FAMILIES: Mapping[Kind, Family] = {
    Kind.EMAIL: Family.EMAIL,
    Kind.USERNAME: Family.WORD,
    Kind.NAME: Family.WORD,
    Kind.ADDRESS: Family.WORD,
    Kind.PHONE: Family.PHONE,
    Kind.CARD: Family.CARD,
    Kind.IP: Family.IP,
    Kind.JWT: Family.JWT,
    Kind.TOKEN: Family.SECRET,
    Kind.CREDENTIAL: Family.SECRET,
}


class PseudonymTable:
    """
    Values and their stand-ins.

    ``add`` may be called until ``freeze``; ``replacement`` after it. A value that was not
    added gets its first candidate. ``rebuild_jwt`` is set by whoever can read tokens.
    """

    def __init__(self, prf: Prf, policy: Policy) -> None:
        self._prf = prf
        self._policy = policy
        self._kinds: dict[tuple[Family, bytes], Kind] = {}
        self._stand_ins: dict[tuple[Family, bytes], bytes] = {}
        self._owners: dict[bytes, Family] = {}
        self.spellings: dict[bytes, Kind] = {}
        self.phrases: set[tuple[bytes, ...]] = set()
        self.rebuild_jwt: Callable[[bytes], bytes] = lambda raw: generators.secret(prf, raw)

    def __repr__(self) -> str:
        return f"PseudonymTable({len(self._kinds)} values)"

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, kind: Kind, raw: bytes) -> None:
        """Take the value ``raw`` into the table."""
        known = self.spellings.get(raw)
        if known is None or _rank(kind) < _rank(known):
            self.spellings[raw] = kind

    def add_phrase(self, words: tuple[bytes, ...]) -> None:
        """Take a name of several words, so that it is found with any separator between them."""
        self.phrases.add(words)

    def freeze(self) -> None:
        """Give every value its stand-in."""
        for raw, kind in sorted(self.spellings.items()):
            folded = fold(raw)
            family = FAMILIES[kind]
            self._owners[folded] = min(family, self._owners.get(folded, family))
        for raw, kind in sorted(self.spellings.items()):
            family = self._owners[fold(raw)]
            if family is not FAMILIES[kind]:
                continue
            identity = (family, identify(kind, raw))
            known = self._kinds.get(identity)
            if known is None or _rank(kind) < _rank(known):
                self._kinds[identity] = kind
        used: dict[Family, set[bytes]] = {family: set() for family in Family}
        originals = {value for _, value in self._kinds}
        for (family, value), kind in sorted(self._kinds.items()):
            attempt = 0
            while family is not Family.JWT:
                candidate = self._candidate(kind, value, attempt)
                if candidate not in used[family] and candidate not in originals:
                    used[family].add(candidate)
                    self._stand_ins[family, value] = candidate
                    break
                attempt += 1

    def _candidate(self, kind: Kind, value: bytes, attempt: int) -> bytes:
        match FAMILIES[kind]:
            case Family.EMAIL:
                return generators.email(self._prf, value, attempt)
            case Family.WORD:
                if kind is Kind.NAME:
                    return generators.name(self._prf, value, attempt)
                return generators.username(self._prf, value, attempt)
            case Family.PHONE:
                return generators.phone(self._prf, value, _country_digits(value), attempt)
            case Family.CARD:
                return generators.card(self._prf, value, attempt)
            case Family.IP:
                return addresses.stand_in(self._prf, value, attempt)
            case _:
                return generators.secret(self._prf, value, attempt)

    def stand_in(self, kind: Kind, raw: bytes) -> bytes:
        """The canonical stand-in of ``raw``: lower case for words, digits alone for numbers."""
        family = self._owners.get(fold(raw), FAMILIES[kind])
        if family is not FAMILIES[kind]:
            kind = _FIRST_KIND[family]
        value = identify(kind, raw)
        known = self._stand_ins.get((family, value))
        if known is None:
            known = self._stand_ins[family, value] = self._candidate(kind, value, 0)
        return known

    def replacement(self, kind: Kind, raw: bytes, *, number: bool = False) -> bytes:
        """What stands for ``raw`` in the output, spelled as ``raw`` is spelled."""
        match self._policy.action(kind):
            case Action.KEEP:
                return raw
            case Action.DROP:
                return b"0" if number else b""
            case Action.MASK:
                return (b"0" if len(raw) == 1 else b"1" * len(raw)) if number else b"*" * len(raw)
            case Action.HASH if not number:
                return generators.short_hash(self._prf, identify(kind, raw))
            case _:
                new = self._spelled(kind, raw)
                return b"1" + new[1:] if number and new[:1] == b"0" and len(new) > 1 else new

    def _spelled(self, kind: Kind, raw: bytes) -> bytes:
        family = self._owners.get(fold(raw), FAMILIES[kind])
        if family is Family.JWT:
            return self.rebuild_jwt(raw)
        new = self.stand_in(kind, raw)
        if family in {Family.EMAIL, Family.WORD}:
            return with_case_of(raw, new)
        if family in {Family.PHONE, Family.CARD}:
            return with_digits(raw, new)
        if family is Family.IP and b"-" in raw:
            return new.replace(b".", b"-")
        return new


_FIRST_KIND = {family: next(kind for kind in FAMILIES if FAMILIES[kind] is family) for family in Family}
_RANKS = {kind: place for place, kind in enumerate(FAMILIES)}


def _rank(kind: Kind) -> int:
    return _RANKS[kind]


def fold(raw: bytes) -> bytes:
    """``raw`` without differences of case."""
    return raw.lower() if raw.isascii() else raw.decode("utf-8", "replace").lower().encode()


def identify(kind: Kind, raw: bytes) -> bytes:
    """What is equal for all spellings of one value."""
    match FAMILIES[kind]:
        case Family.EMAIL | Family.WORD:
            return fold(raw)
        case Family.PHONE:
            return _phone_identity(raw)
        case Family.CARD:
            return bytes(byte for byte in raw if byte in _DIGITS)
        case Family.IP:
            try:
                return str(ipaddress.ip_address(raw.replace(b"-", b".").decode("ascii"))).encode()
            except ValueError:
                return raw
        case _:
            return raw


def _phone_identity(raw: bytes) -> bytes:
    digits = bytes(byte for byte in raw if byte in _DIGITS)
    if digits.startswith(b"00"):
        digits = digits[2:]  # 0049 ..., +49 ... and 49 ... are one number
    if len(digits) == 11 and digits.startswith(b"1"):
        return digits[1:]  # +1 415 ..., 1 415 ... and 415 ... are one North American number
    return digits


def _country_digits(identity: bytes) -> int:
    if len(identity) <= 10 or identity.startswith(b"0"):
        return 0
    try:
        number = phonenumbers.parse("+" + identity.decode("ascii"), None)
    except phonenumbers.NumberParseException:
        return 0
    count = len(str(number.country_code))
    return count if len(identity) - count >= 7 else 0


def with_digits(raw: bytes, digits: bytes) -> bytes:
    """``raw`` with its last digits replaced by ``digits``; separators and what comes before stay."""
    new = bytearray(raw)
    places = [at for at, byte in enumerate(raw) if byte in _DIGITS]
    for place, digit in zip(reversed(places), reversed(digits), strict=False):
        new[place] = digit
    return bytes(new)


def with_case_of(raw: bytes, new: bytes) -> bytes:
    """``new`` (lower case) in the letter case of ``raw``."""
    old_text, text = raw.decode("utf-8", "replace"), new.decode("utf-8", "replace")
    if old_text.islower() or not any(char.isupper() for char in old_text):
        return new
    if old_text.isupper() and len(old_text) > 1:
        upper = text.upper()
        return (upper if len(upper) == len(text) else text).encode()
    if len(old_text) == len(text):
        pairs = zip(old_text, text, strict=True)
        return "".join(char.upper() if old.isupper() else char for old, char in pairs).encode()
    return (text[:1].upper() + text[1:]).encode() if old_text[:1].isupper() else new
