"""
The table of stand-ins: the same value gives the same one, two values never share one.

Values are collected first. ``freeze`` then gives every value its stand-in in sorted order, so
the result depends on the key and the set of values alone, not on the order they were met in.
Only a clash makes one value's stand-in depend on another value.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from enum import IntEnum
from urllib.parse import unquote_to_bytes

import phonenumbers

from anonymizer import addresses, domains, generators, numbers, times
from anonymizer.detectors import ids, macs, national_ids
from anonymizer.detectors.base import Kind
from anonymizer.detectors.ips import REVERSE
from anonymizer.escapes import INVISIBLE
from anonymizer.policy import Action, Policy
from captures.errors import HookreelError
from captures.keys import Prf

_DIGITS = frozenset(b"0123456789")
_WORD_ATTEMPTS = 16  # so often no word may be an original: of "- 1 2 3" each candidate shares one
_MAX_ATTEMPTS = 1_000  # every family has room for more by then; none may go on without end
_UNIT = re.compile(rb"%[0-9A-Fa-f]{2}|.", re.DOTALL)


class Family(IntEnum):
    """Kinds that share stand-ins; where one value is in two families, the first one rules."""

    DOMAIN = 0
    EMAIL = 1  # whose stand-ins hold those of domains and identifiers
    WORD = 2
    PHONE = 3
    CARD = 4
    IP = 5
    MAC = 6
    IBAN = 7
    NATIONAL_ID = 8
    BIRTH_DATE = 9
    GEO = 10
    JWT = 11
    SECRET = 12
    ID = 13
    TIME = 14  # moved alike, never in the table


FAMILIES: Mapping[Kind, Family] = {
    Kind.DOMAIN: Family.DOMAIN,
    Kind.EMAIL: Family.EMAIL,
    Kind.USERNAME: Family.WORD,
    Kind.NAME: Family.WORD,
    Kind.ADDRESS: Family.WORD,
    Kind.PHONE: Family.PHONE,
    Kind.CARD: Family.CARD,
    Kind.IP: Family.IP,
    Kind.MAC: Family.MAC,
    Kind.IBAN: Family.IBAN,
    Kind.NATIONAL_ID: Family.NATIONAL_ID,
    Kind.BIRTH_DATE: Family.BIRTH_DATE,
    Kind.GEO: Family.GEO,
    Kind.JWT: Family.JWT,
    Kind.TOKEN: Family.SECRET,
    Kind.CREDENTIAL: Family.SECRET,
    Kind.UUID: Family.ID,
    Kind.ID: Family.ID,
    Kind.DATE: Family.TIME,
}
_WEEKS_BACK = (26, 130)  # dates move back, so that no stand-in is in the future


class PseudonymTable:
    """
    Values and their stand-ins.

    ``add`` may be called until ``freeze``; ``replacement`` after it. A value that was not
    added gets its first candidate. ``rebuild_jwt`` is set by whoever can read tokens.
    """

    def __init__(self, prf: Prf, policy: Policy) -> None:
        self._prf = prf
        self._policy = policy
        # whole weeks, so that days of the week stay; none where a policy leaves times as they are
        moved = policy.action(Kind.DATE) is not Action.KEEP
        first, last = _WEEKS_BACK
        self.days = -7 * (first + prf.number("date-shift", b"", last - first)) if moved else 0
        """So many days later is each point in time that is replaced."""
        self._kinds: dict[tuple[Family, bytes], Kind] = {}
        self._stand_ins: dict[tuple[Family, bytes], bytes] = {}
        self._owners: dict[bytes, Family] = {}
        self.spellings: dict[bytes, Kind] = {}
        self.phrases: set[tuple[bytes, ...]] = set()
        self.full_names: set[tuple[bytes, tuple[bytes, ...]]] = set()
        self.rebuild_jwt: Callable[[bytes], bytes] = lambda raw: generators.secret(prf, raw)
        for domain in policy.own_domains:
            own = fold(domain.encode())
            if not domains.is_reserved_domain(own):
                self.add(Kind.DOMAIN, own)

    def __repr__(self) -> str:
        return f"PseudonymTable({len(self._kinds)} values)"

    def __len__(self) -> int:
        return len(self._kinds)

    def add(self, kind: Kind, raw: bytes) -> None:
        """Take the value ``raw`` into the table; times are not kept, since all of them move alike."""
        if kind is Kind.DATE:
            return
        known = self.spellings.get(raw)
        if known is None or _rank(kind) < _rank(known):
            self.spellings[raw] = kind

    def add_phrase(self, words: tuple[bytes, ...], text: bytes = b"") -> None:
        """Take a name of several words, so that it is found with any separator between them or hashed."""
        self.phrases.add(words)
        self.full_names.add((text or b" ".join(words), words))

    def freeze(self) -> None:
        """
        Give every value its stand-in.

        Raises:
            HookreelError: there are more values of one shape than it has stand-ins.

        """
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
        # A surname that is somebody's here would look like a leak of it, so names share no word either.
        originals.update(word for _, value in self._kinds if b" " in value for word in value.split())
        for (family, value), kind in sorted(self._kinds.items(), key=_turn):
            if family is not Family.JWT:
                new = self._free(kind, value, used[family], originals)
                used[family].add(new)
                self._stand_ins[family, value] = new

    def _free(self, kind: Kind, value: bytes, used: set[bytes], originals: set[bytes]) -> bytes:
        """The first candidate for ``value`` that is neither in use nor somebody's."""
        for attempt in range(_MAX_ATTEMPTS):
            candidate = self._candidate(kind, value, attempt)
            words = candidate.split() if attempt < _WORD_ATTEMPTS else ()
            if candidate not in used and originals.isdisjoint((candidate, *words)):
                return candidate
        raise HookreelError(
            f"The capture holds so many values of the kind {kind} that stand-ins run out; "
            "anonymize parts of it (hookreel slice)."
        )

    def _candidate(self, kind: Kind, value: bytes, attempt: int) -> bytes:
        prf = self._prf
        match FAMILIES[kind]:
            case Family.DOMAIN:
                return self._domain(value, attempt)
            case Family.EMAIL:
                domain = value.rpartition(b"@")[2]
                new_domain = self._domain_of_address(domain) if domains.is_own(domain) else b""
                account = generators.account_of(value)[:-1]
                replaced = account and self._policy.action(Kind.ID) is not Action.KEEP
                new_account = self.stand_in(Kind.ID, account) if replaced else b""
                return generators.email(prf, value, attempt, new_domain, new_account)
            case Family.WORD if kind is Kind.NAME:
                return generators.name(prf, value, attempt)
            case Family.PHONE:
                return generators.phone(prf, value, _country_digits(value), attempt)
            case Family.TIME:
                return times.shifted(value, self.days)
            case Family.ID:
                return numbers.identifier(prf, value, self.days, attempt)
            case family:
                return _GENERATORS[family](prf, value, attempt)

    def _domain_of_address(self, domain: bytes) -> bytes:
        if self._policy.action(Kind.DOMAIN) is Action.KEEP:
            return domain
        return self.stand_in(Kind.DOMAIN, domain)

    def _domain(self, value: bytes, attempt: int) -> bytes:
        known = domains.registrable(value)
        if known == value or not domains.is_own(value):
            return generators.domain_of(self._prf, value, attempt)
        return generators.domain_of(self._prf, value, attempt, self.stand_in(Kind.DOMAIN, known))

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
        return self.treated(self._policy.action(kind), kind, raw, number=number)

    def treated(self, action: Action, kind: Kind, raw: bytes, *, number: bool = False) -> bytes:
        """What ``action`` makes of ``raw``; of a number another number."""
        match action:
            case Action.KEEP:
                return raw
            case Action.DROP:
                return b"0" if number else b""
            case Action.MASK if kind is Kind.GEO:
                return numbers.coarse(raw)  # the region stays
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
        match family:
            case Family.DOMAIN | Family.EMAIL | Family.WORD:
                return with_case_of(raw, new)
            case Family.PHONE | Family.CARD:
                return with_digits(raw, new)
            case Family.IBAN | Family.NATIONAL_ID | Family.MAC:
                return with_characters(raw, new)
            case Family.ID if ids.UUID.fullmatch(raw):
                return new if raw == raw.lower() else new.upper()
            case Family.IP if raw.isdigit():
                return b"%d" % int(ipaddress.ip_address(new.decode("ascii")))
            case Family.IP if b":" in raw and b":" not in new:
                return b"::ffff:" + new  # an IPv4 address in the other version's spelling
            case Family.IP if raw.endswith(REVERSE):
                return _reversed_octets(new) + REVERSE
            case Family.IP if b"-" in raw:
                return new.replace(b".", b"-")
            case Family.SECRET if b"%" in raw:
                return with_escapes_of(raw, new)
            case _:
                return new


_GENERATORS: Mapping[Family, Callable[[Prf, bytes, int], bytes]] = {
    Family.WORD: generators.username,
    Family.CARD: generators.card,
    Family.IP: addresses.stand_in,
    Family.MAC: numbers.mac,
    Family.IBAN: numbers.iban,
    Family.NATIONAL_ID: numbers.national_id,
    Family.BIRTH_DATE: numbers.birth_date,
    Family.GEO: numbers.coordinate,
    Family.SECRET: generators.secret,
}


def _turn(item: tuple[tuple[Family, bytes], Kind]) -> tuple[bool, Family, int, bytes]:
    """The order of stand-ins: addresses come last, registered domains before what is below them."""
    (family, value), _ = item
    return family is Family.EMAIL, family, value.count(b".") if family is Family.DOMAIN else 0, value


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
        case Family.DOMAIN | Family.EMAIL | Family.WORD:
            return fold(raw if raw.isascii() else INVISIBLE.sub(b"", raw))
        case Family.PHONE:
            return _phone_identity(raw)
        case Family.CARD:
            return bytes(byte for byte in raw if byte in _DIGITS)
        case Family.IBAN | Family.NATIONAL_ID:
            return national_ids.compact(raw)
        case Family.MAC:
            return macs.compact(raw)
        case Family.ID if ids.UUID.fullmatch(raw):
            return raw.lower()
        case Family.IP if raw.isdigit():
            return str(ipaddress.IPv4Address(int(raw))).encode()
        case Family.IP:
            plain = _reversed_octets(raw.removesuffix(REVERSE)) if raw.endswith(REVERSE) else raw
            try:
                address = ipaddress.ip_address(plain.replace(b"-", b".").decode("ascii"))
                return str(getattr(address, "ipv4_mapped", None) or address).encode()
            except ValueError:
                return raw
        case Family.SECRET if b"%" in raw:
            return unquote_to_bytes(raw)  # a cookie holds s%3A... where a body has s:...
        case _:
            return raw


def _reversed_octets(address: bytes) -> bytes:
    return b".".join(reversed(address.split(b".")))


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


def with_characters(raw: bytes, new: bytes) -> bytes:
    """``new`` with the separators of ``raw`` between its characters, and in its letter case."""
    plain = bytes(byte for byte in new if chr(byte).isalnum())
    characters = iter(plain.lower() if raw == raw.lower() else plain.upper())
    placed = bytes(next(characters, byte) if chr(byte).isalnum() else byte for byte in raw)
    return placed + bytes(characters)


def with_escapes_of(raw: bytes, new: bytes) -> bytes:
    """``new`` with percent escapes where ``raw`` has them."""
    parts: list[bytes] = []
    units = _UNIT.findall(raw)
    for unit, byte in zip(units, new, strict=False):
        plain = bytes((byte,))
        if len(unit) == 3 and unquote_to_bytes(unit) != plain:
            unit = b"%%%02X" % byte  # noqa: PLW2901
        parts.append(unit if len(unit) == 3 else plain)
    return b"".join(parts) + new[len(units) :]


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
