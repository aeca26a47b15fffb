"""Points in time as they are written, moved by whole weeks; and identifiers with a time inside."""

from __future__ import annotations

import datetime as dt
import re

MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
ISO = re.compile(rb"(?<!\d)((?:19|20)\d\d)-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?!\d)")
"""A calendar date (RFC 3339); a time may follow it."""

MAIL = re.compile(
    rb"\b(0?[1-9]|[12]\d|3[01])([ -])(" + b"|".join(MONTHS) + rb")\2((?:19|20)\d\d)(?= \d\d:\d\d)"
)
"""The date of ``Tue, 15 Nov 1994 08:12:31 GMT`` (RFC 9110, section 5.6.7)."""

EPOCH = re.compile(rb"([12]\d{9})((?:\d{3}){0,3})(\.\d{1,9})?")
"""Seconds, milliseconds, microseconds or nanoseconds since 1970, from 2001 on."""

_DAY_SECONDS = 86_400
CROCKFORD = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ULID = re.compile(rb"[0-7][0-9A-HJKMNP-TV-Z]{25}|[0-7][0-9a-hjkmnp-tv-z]{25}")
SNOWFLAKE = re.compile(rb"[1-9]\d{16,18}")
_SNOWFLAKE_BITS = 22  # of worker and sequence, below the milliseconds


def shifted(text: bytes, days: int) -> bytes:
    """``text``, which is one point in time, ``days`` later; the spelling and the time of day stay."""
    if match := ISO.match(text):
        day = _day(int(match[1]), int(match[2]), int(match[3]), days)
        return text if day is None else day.isoformat().encode() + text[match.end() :]
    if match := MAIL.match(text):
        month = MONTHS.index(match[3]) + 1
        day = _day(int(match[4]), month, int(match[1]), days)
        if day is None:
            return text
        number = b"%0*d" % (len(match[1]), day.day)
        return match[2].join((number, MONTHS[day.month - 1], b"%d" % day.year)) + text[match.end() :]
    if match := EPOCH.fullmatch(text):
        seconds = int(match[1]) + days * _DAY_SECONDS
        return b"%d%b%b" % (seconds, match[2], match[3] or b"")
    return text


def shifted_ulid(value: bytes, days: int) -> bytes:
    """The first ten characters of a ULID, whose 48 bits are milliseconds, ``days`` later."""
    number = 0
    for byte in value[:10].upper():
        number = number << 5 | CROCKFORD.index(byte)
    number = (number + days * _DAY_SECONDS * 1_000) % (1 << 48)
    digits = bytes(CROCKFORD[number >> place & 31] for place in range(45, -1, -5))
    return digits if value == value.upper() else digits.lower()


def shifted_uuid7(value: bytes, days: int) -> bytes:
    """The first 13 characters of a version 7 UUID (RFC 9562), ``days`` later, in lower case."""
    milliseconds = int(value[:8] + value[9:13], 16) + days * _DAY_SECONDS * 1_000
    digits = b"%012x" % (milliseconds % (1 << 48))
    return digits[:8] + b"-" + digits[8:]


def shifted_snowflake(value: bytes, days: int) -> int:
    """The number ``value`` with its time ``days`` later and without the bits below the time."""
    return max(0, (int(value) >> _SNOWFLAKE_BITS) + days * _DAY_SECONDS * 1_000) << _SNOWFLAKE_BITS


def _day(year: int, month: int, day: int, days: int) -> dt.date | None:
    try:
        return dt.date(year, month, day) + dt.timedelta(days=days)
    except (ValueError, OverflowError):
        return None  # the 31st of February is no day
