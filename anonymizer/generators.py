"""
Stand-ins that keep a value's shape and cannot be real.

Every function is pure: the same key, value and attempt give the same bytes. ``attempt`` counts
from 0 and asks for another candidate after a clash; high attempts leave the usual space for a
larger one, so that a table of any size can be filled.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import cache

import phonenumbers

from anonymizer import domains
from anonymizer.detectors.cards import luhn_sum
from anonymizer.detectors.tokens import PREFIXES
from anonymizer.reserved import is_common, is_platform_domain, stand_in_names
from captures.keys import Prf

_LOWER = b"abcdefghijklmnopqrstuvwxyz"
_UPPER = _LOWER.upper()
_DIGITS = b"0123456789"
_NON_ZERO = b"123456789"
_BASE32_DIGITS = b"234567"
_HEX = b"0123456789abcdef"
_MAX_PHONES = 64  # of which the first are none, save in the fullest plans
_UUID = re.compile(rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_LONG_HEX = re.compile(rb"(?=(?:-?[0-9a-fA-F]){16})(?:[0-9a-f-]+|[0-9A-F-]+)")
_WORD = re.compile(rb"[^-_]+")
_MIN_LABEL_BYTES = 6
_WORD_BYTES, _LONG_BYTES = 6, 8  # from here on names count in texts by themselves, and inside of words
_ALPHANUMERIC = frozenset((string.ascii_letters + string.digits).encode())
_UNIT = re.compile(rb"%([0-9A-Fa-f]{2})|.", re.DOTALL)
# 123+name@users.noreply.github.com, 123-name@users.noreply.gitlab.com
_ACCOUNT = re.compile(rb"\d{1,9}\+(?=[^@]*[A-Za-z])|\d{1,12}[+-](?=[^@]*[A-Za-z][^@]*@[^@]*noreply)")
_ONSETS = (
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "st",
    "t",
    "v",
    "w",
)
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("l", "n", "r", "s", "x", "th", "nd", "m")
# Letters of other alphabets map to letters of the same one; what is in none becomes a Latin letter.
_ALPHABETS = (
    "àáâãäåæçèéêëìíîïñòóôõöøùúûüýßāăąćčďđēėęěğģīįıķłľńňőœŕřśşšťţūůűųźżž",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "αβγδεζηθικλμνξοπρστυφχψω",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "あいうえおかきくけこさしすせそたちつてとなにぬねの",
    "アイウエオカキクケコサシスセソタチツテトナニヌネノ",
)


def random_bytes(prf: Prf, domain: str, value: bytes, attempt: int) -> Iterator[int]:
    """An endless stream of 16-bit numbers for ``value``."""
    block = 0
    while True:
        digest = prf.digest(domain, b"%d:%d:%b" % (attempt, block, value), 64)
        for at in range(0, 64, 2):
            yield digest[at] << 8 | digest[at + 1]
        block += 1


def username(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """Letters become letters and digits digits; length and punctuation stay. ``value`` is lower case."""
    numbers = random_bytes(prf, "word", value, attempt)
    new = "".join(_other_char(char, next(numbers)) for char in value.decode("utf-8", "replace"))
    if value.isdigit() and value[:1] != b"0":
        new = chr(_NON_ZERO[next(numbers) % 9]) + new[1:]  # a JSON number may not start with 0
    for _ in range(attempt // 8):  # a short name's space is small: grow it
        new += chr((_DIGITS if value.isdigit() else _LOWER)[next(numbers) % (10 if value.isdigit() else 26)])
    return new.encode()


def _other_char(char: str, number: int) -> str:
    if char.isdigit():
        return chr(_DIGITS[number % 10])
    if not char.isalpha():
        return char
    if char.isascii():
        return chr(_LOWER[number % 26])
    if 0x4E00 <= ord(char) <= 0x9FFF:
        return chr(0x4E00 + number % 2000)
    if 0xAC00 <= ord(char) <= 0xD7A3:
        return chr(0xAC00 + number % 2000)
    for alphabet in _ALPHABETS:
        if char in alphabet:
            return alphabet[number % len(alphabet)]
    return chr(_LOWER[number % 26])


def name(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """
    Another name in lower case: one from a table, after clashes one made of syllables.

    It is long where ``value`` is, so that it is found wherever that is when it is replaced itself.
    """
    if len(value) < 3 or not value.isascii():
        return username(prf, value, attempt)
    numbers = random_bytes(prf, "name", value, attempt)
    if attempt < 2:
        known = _names_as_long_as(len(value) >= _WORD_BYTES, len(value) >= _LONG_BYTES)
        return known[(next(numbers) << 16 | next(numbers)) % len(known)]
    parts = [
        _ONSETS[next(numbers) % len(_ONSETS)] + _VOWELS[next(numbers) % len(_VOWELS)]
        for _ in range(2 + attempt // 4)
    ]
    parts.append(_CODAS[next(numbers) % len(_CODAS)])
    return "".join(parts).encode()


@cache
def _names_as_long_as(word: bool, long: bool) -> tuple[bytes, ...]:
    return tuple(
        name
        for name in stand_in_names()
        if (len(name) >= _WORD_BYTES, len(name) >= _LONG_BYTES) == (word, long)
    )


def email(
    prf: Prf, value: bytes, attempt: int = 0, new_domain: bytes = b"", new_account: bytes = b""
) -> bytes:
    """
    An address under example.com; equal domains stay equal and the local part keeps its shape.

    A local part (or what follows its plus sign) that is a user name gets that name's stand-in.
    ``new_domain`` stands for the domain; without it the domain's first candidate does. ``new_account``
    stands for the digits of `account_of`, which stay without it.
    """
    local, _, domain = value.rpartition(b"@")
    account = account_of(value)
    pieces = [_local_piece(prf, piece, value) for piece in local[len(account) :].split(b"+")]
    for _ in range(attempt):
        pieces[-1] += prf.digest("email", b"%d:%b" % (attempt, value), 3).hex().encode()
    new_account = new_account + account[-1:] if new_account else account
    return new_account + b"+".join(pieces) + b"@" + (new_domain or domain_of(prf, domain))


def account_of(address: bytes) -> bytes:
    """
    The number of an account and its sign, with which platforms begin the addresses that they make.

    It stands by itself in the same bodies, as an identifier, which are left to the policy.
    """
    match = _ACCOUNT.match(address)
    return match[0] if match else b""


def domain_of(prf: Prf, value: bytes, attempt: int = 0, new_registrable: bytes = b"") -> bytes:
    """
    A domain under example.com; what nobody can own stays as it is.

    The registered label's words keep their lengths, those that tell nothing stay, and so do
    subdomains that are English words. ``new_registrable`` stands for the registrable part;
    without it that part's first candidate does.
    """
    if domains.is_reserved_domain(value):
        return value
    known = domains.registrable(value)
    if not attempt and is_platform_domain(value.rpartition(b".")[0]):
        return value.rpartition(b".")[0] + b".example.com"  # users.noreply.github names a platform
    if known != value and not value.startswith(b"["):
        labels = value[: -len(known) - 1].split(b".")
        above = [label if _tells_nothing(label) else username(prf, label) for label in labels]
        numbers = random_bytes(prf, "subdomain", value, attempt)
        above[0] += bytes(_LOWER[next(numbers) % 26] for _ in range(attempt))
        return b".".join((*above, new_registrable or domain_of(prf, known, attempt)))
    return _label(prf, value, attempt) + b".example.com"


def _label(prf: Prf, domain: bytes, attempt: int) -> bytes:
    old = b"" if domain.startswith(b"[") else domains.label(domain)  # user@[192.0.2.1] has no name in it
    telling = iter(domains.telling_words(old))
    new = _WORD.sub(lambda match: _label_word(prf, match[0]) if next(telling) else match[0], old)
    missing = max(0, _MIN_LABEL_BYTES - len(new)) + attempt
    numbers = random_bytes(prf, "domain", domain, attempt)
    return new + bytes(_LOWER[next(numbers) % 26] for _ in range(missing))


def _label_word(prf: Prf, word: bytes) -> bytes:
    if word.isascii():
        return username(prf, word)
    numbers = random_bytes(prf, "domain", word, 0)  # a stand-in in other letters would want an IDN prefix
    return bytes(_LOWER[next(numbers) % 26] for _ in word.decode("utf-8", "replace"))


def _tells_nothing(label: bytes) -> bool:
    return len(label) <= 3 or is_common(label)


def _local_piece(prf: Prf, piece: bytes, whole: bytes) -> bytes:
    if len(piece) >= 4 and not piece.isdigit():
        return username(prf, piece)
    numbers = random_bytes(prf, "email", whole + b"/" + piece, 0)
    return "".join(_other_char(char, next(numbers)) for char in piece.decode("utf-8", "replace")).encode()


def secret(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """The published prefix stays, every other letter and digit becomes one of its class."""
    known = PREFIXES.match(value)
    prefix = known[0] if known and len(value) - known.end() >= 8 else b""
    rest = value[len(prefix) :]
    numbers = random_bytes(prf, "secret", value, attempt)
    kept = {14, 19} if _UUID.fullmatch(rest) else set()  # version and variant
    digits = _BASE32_DIGITS if prefix in {b"AKIA", b"ASIA"} else _DIGITS
    is_hex = _LONG_HEX.fullmatch(rest) is not None
    new = bytearray(prefix)
    for unit in _UNIT.finditer(rest):
        byte = int(unit[1], 16) if unit[1] else rest[unit.start()]
        if unit.start() in kept or (unit[1] and byte not in _ALPHANUMERIC):
            new += unit[0]  # an escaped sign stays; an escaped letter is one
            continue
        other = _other_byte(byte, next(numbers), digits, is_hex=is_hex)
        if unit[1]:
            new += (b"%%%02x" if unit[1].islower() else b"%%%02X") % other
        else:
            new.append(other)
    if value.isdigit() and value[:1] != b"0":
        new[0] = _NON_ZERO[next(numbers) % 9]
    for _ in range(attempt // 8):
        new.append(_LOWER[next(numbers) % 26] if not value.isdigit() else _DIGITS[next(numbers) % 10])
    return bytes(new)


def _other_byte(byte: int, number: int, digits: bytes, *, is_hex: bool) -> int:
    if is_hex and byte != ord("-"):
        return (_HEX if byte in _DIGITS + _LOWER else _HEX.upper())[number % 16]
    if byte in _LOWER:
        return _LOWER[number % 26]
    if byte in _UPPER:
        return _UPPER[number % 26]
    if byte in _DIGITS:
        return digits[number % len(digits)]
    return byte


_TEST_ISSUERS = (
    (re.compile(rb"3[47]"), b"378282"),
    (re.compile(rb"3[068]"), b"305693"),
    (re.compile(rb"35"), b"353011"),
    (re.compile(rb"4"), b"424242"),
    (re.compile(rb"6"), b"601111"),
    (re.compile(rb""), b"555555"),
)


def card(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """Digits of the same network and length under an issuer number of test cards, check digit right."""
    issuer = next(number for shape, number in _TEST_ISSUERS if shape.match(value))
    if attempt >= 8:
        issuer = issuer[:2]  # far more cards than any capture holds: leave the test range
    numbers = random_bytes(prf, "card", value, attempt)
    count = len(value) - len(issuer) - 1
    body = issuer + bytes(_DIGITS[next(numbers) % 10] for _ in range(count))
    return body + b"%d" % (-luhn_sum(body + b"0") % 10)


def phone(prf: Prf, value: bytes, country_digits: int, attempt: int = 0) -> bytes:
    """
    Digits of the same count; the first ``country_digits`` stay, the rest ends in 555-01xx.

    North America keeps those numbers for fiction; elsewhere they may be somebody's, so that the digits
    before them make a number that is none in its country's plan (as `phonenumbers` knows it). After
    clashes the last four digits are free, then all of them.
    """
    numbers = random_bytes(prf, "phone", value, attempt)
    country, national = value[:country_digits], value[country_digits:]
    abroad = country not in {b"", b"1"}
    for _ in range(_MAX_PHONES):
        digits = bytearray(_DIGITS[next(numbers) % 10] for _ in national)
        if attempt < 4:
            digits[-7:] = b"55501%d%d" % (next(numbers) % 10, next(numbers) % 10)
        elif attempt < 8:
            digits[-7:-4] = b"555"
        if attempt >= 8 and country and not abroad:
            digits[0] = ord("0")
        elif len(national) > 7 and not abroad:
            digits[0] = national[0] if national[:1] == b"0" else _NON_ZERO[1 + next(numbers) % 8]
        new = country + bytes(digits[-len(national) :])
        if not _is_in_a_plan(new):
            break
    return new


def _is_in_a_plan(digits: bytes) -> bool:
    """Whether ``digits`` after a plus may be somebody's number."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse("+" + digits.decode("ascii"), None))
    except phonenumbers.NumberParseException:
        return False


def short_hash(prf: Prf, value: bytes) -> bytes:
    """Twelve hex digits for the ``hash`` action; keyed, so no dictionary reverses them."""
    return prf.digest("hash", value, 6).hex().encode()
