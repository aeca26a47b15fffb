"""
Stand-ins for numbers that follow rules: accounts, national ids, cards of networks, places, dates, ids.

As in ``generators``, each function is pure in key, value and attempt, and values come as
``pseudonyms.identify`` gives them: in capitals (or hex in lower case) without separators.
"""

from __future__ import annotations

import re

from stdnum.iso7064 import mod_97_10

from anonymizer import generators, times
from anonymizer.detectors import ids, national_ids
from captures.keys import Prf

_NEW_MAC = b"02005e"  # locally administered (IEEE 802), so no vendor has it
_BANK_BYTES = 4
_MOST_YEARS = 1_000  # before 1800 there are few people, so that some years are always free
_MAX_TRIES = 4_000  # numbers with a date in them are seldom hit by chance
_LITERAL_DIGITS = re.compile(rb"\d+")  # with which all numbers of a country begin
_DIGIT = re.compile(rb"\d")
_NUMBER_PART = re.compile(rb"([-+]?)(\d+)(?:\.(\d+))?")
_ID_PREFIX = re.compile(rb"[A-Za-z]{2,12}[_-](?=[A-Za-z0-9_-]{6})")
_MONTH_NAMES = (
    b"january", b"february", b"march", b"april", b"may", b"june", b"july", b"august", b"september",
    b"october", b"november", b"december",
)  # fmt: skip
_FULL_YEAR = re.compile(rb"\d{4}")
_DATE_PART = re.compile(rb"[A-Za-z]{3,}|\d+")


def iban(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """An account in the same country with right check digits, at a bank whose number is all zeros."""
    bank = bytes(ord("0") if chr(byte).isdigit() else ord("X") for byte in value[4 : 4 + _BANK_BYTES])
    rest = _alike(prf, "iban", value[4 + _BANK_BYTES :], value, attempt)
    account = (bank + rest).decode("ascii")
    country = value[:2].decode("ascii")
    return f"{country}{mod_97_10.calc_check_digits(account + country)}{account}".encode()


def national_id(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """
    Letters become letters and digits digits; check digits are right where the country is known.

    United States numbers start with 9 and a group never given out, British insurance numbers with
    QQ; of the other countries a stand-in may by chance be somebody's. What has no known form becomes
    longer after clashes.
    """
    family = national_ids.family_of(value)
    if family is not None and family.module in {"us.ssn", "us.itin"}:
        digits = _alike(prf, "national-id", value, value, attempt)
        return b"9" + digits[1:3] + b"%d" % (digits[3] % 5) + digits[4:]  # groups 00 to 49
    if re.fullmatch(rb"[A-Z]{2}\d{6}[A-D]", value):
        return b"QQ" + _alike(prf, "national-id", value[2:8], value, attempt) + value[8:]
    if family is None:
        return _alike(prf, "national-id", value + b"0" * (attempt // 8), value, attempt)
    fixed = _LITERAL_DIGITS.match(family.shape)
    head = value[: len(fixed[0])] if fixed else b""
    for turn in range(_MAX_TRIES):
        number = attempt * _MAX_TRIES + turn
        new = head + _alike(prf, "national-id", value[len(head) :], value, number)
        if value[:-1].isdigit() and value[-1:] == b"X":  # a check digit of ten
            new = new[:-1] + b"0123456789X"[number % 11 : number % 11 + 1]
        if national_ids.is_valid(family, new):
            break
    return new


def mac(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """Twelve hex digits of a locally administered address, which no network card is sold with."""
    size = 3 if attempt < 8 else 5
    return _NEW_MAC[: 12 - 2 * size] + prf.digest("mac", b"%d:%b" % (attempt, value), size).hex().encode()


def coordinate(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """Another coordinate with the same sign and as many digits; after many clashes with more decimals."""
    numbers = generators.random_bytes(prf, "geo", value, attempt)
    match = _NUMBER_PART.fullmatch(value)
    if match is None:  # degrees, minutes and seconds: each digit below six is in range in every place
        return _DIGIT.sub(lambda _: b"%d" % (next(numbers) % 6), value) + b" " * (attempt // 8)
    lowest, count = {1: (1, 9), 2: (10, 80)}.get(len(match[2]), (100, 80))
    decimals = len(match[3] or b"") + attempt // 8
    whole = b"%b%d" % (match[1], lowest + next(numbers) % count)
    return whole + (b"." + bytes(48 + next(numbers) % 10 for _ in range(decimals)) if decimals else b"")


def coarse(value: bytes) -> bytes:
    """A coordinate with zeros after its first decimal, which is about 11 km."""
    head, point, decimals = value.partition(b".")
    return head + point + decimals[:1] + b"0" * (len(decimals) - 1)


def birth_date(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """
    Another date in the same spelling, at most two years away.

    After clashes it is further away, and a year of two digits becomes one of four: a capture may
    hold all dates of a century, and a stand-in is none of them.
    """
    numbers = generators.random_bytes(prf, "birth", value, attempt)
    clashes = max(0, attempt - 7)
    years = min(2 << clashes, _MOST_YEARS)

    def other(match: re.Match[bytes]) -> bytes:
        part = match[0]
        if part.isalpha():
            return _other_month(part, next(numbers))
        if len(part) == 8:
            return b"%04d%02d%02d" % (
                int(part[:4]) + next(numbers) % (2 * years + 1) - years,
                1 + next(numbers) % 12,
                1 + next(numbers) % 28,
            )
        if len(part) == 4:
            return b"%04d" % (int(part) + next(numbers) % (2 * years + 1) - years)
        if match.end() == len(value) and not _FULL_YEAR.search(value):
            return b"%d" % (1900 + next(numbers) % years) if clashes else b"%02d" % (next(numbers) % 100)
        # day or month: nobody knows which, and up to twelve is both
        return b"%0*d" % (len(part), 1 + next(numbers) % (12 if len(part) == 2 else 9))

    return _DATE_PART.sub(other, value)


def _other_month(word: bytes, number: int) -> bytes:
    lower = word.lower()
    if not any(month.startswith(lower[:3]) for month in _MONTH_NAMES):
        return word  # of, st, th
    new = _MONTH_NAMES[number % 12]
    return new if len(word) > 4 else new[:3]


def identifier(prf: Prf, value: bytes, days: int, attempt: int = 0) -> bytes:
    """
    Another identifier of the same kind.

    A UUID keeps version and variant; a version 7 UUID, a ULID and a snowflake keep their time,
    ``days`` later. A prefix such as ``usr_`` stays.
    """
    numbers = generators.random_bytes(prf, "id", value, attempt)
    if ids.UUID.fullmatch(value):
        head = times.shifted_uuid7(value, days) if value[14:15] == b"7" else b""
        new = bytearray(value)
        for at, byte in enumerate(value):
            if byte != ord("-") and at not in {14, 19}:
                new[at] = b"0123456789abcdef"[next(numbers) % 16]
        new[: len(head)] = head
        return bytes(new)
    if times.ULID.fullmatch(value):
        alphabet = times.CROCKFORD if value == value.upper() else times.CROCKFORD.lower()
        return times.shifted_ulid(value, days) + bytes(alphabet[next(numbers) % 32] for _ in range(16))
    if times.SNOWFLAKE.fullmatch(value):
        return b"%d" % (
            times.shifted_snowflake(value, days) + ((next(numbers) << 16 | next(numbers)) & 0x3FFFFF)
        )
    prefix = match[0] if (match := _ID_PREFIX.match(value)) else b""
    return prefix + generators.secret(prf, value[len(prefix) :], attempt)


def _alike(prf: Prf, domain: str, part: bytes, value: bytes, attempt: int) -> bytes:
    """Letters for letters and digits for digits; ``value`` is what the stand-in is of."""
    numbers = generators.random_bytes(prf, domain, value, attempt)
    return bytes(
        48 + next(numbers) % 10 if 48 <= byte <= 57 else 65 + next(numbers) % 26 if 65 <= byte <= 90 else byte
        for byte in part
    )
