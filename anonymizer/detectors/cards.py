"""Payment card numbers: a known issuer range and a right check digit (ISO/IEC 7812-1, Luhn)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind

HINT = re.compile(rb"\d(?:[ -]?\d){12}")
"""Found in every text that holds a card number."""

# behind a plus 15 digits are a phone number, 16 are too many for one
_CANDIDATE = re.compile(
    rb"(?<![A-Za-z0-9.+-])\d(?:[ -]?\d){12,18}(?![A-Za-z0-9-]|\.\d)|(?<=\+)\d{16,19}(?![A-Za-z0-9-]|\.\d)"
)
_ISSUER = re.compile(
    rb"4\d{12}(?:\d{3}){0,2}"  # Visa: 13, 16, 19
    rb"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    rb"|3[47]\d{13}"  # American Express
    rb"|6(?:011|5\d{2}|4[4-9]\d)\d{12}(?:\d{3})?"  # Discover
    rb"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    rb"|3(?:0[0-5]|[68]\d)\d{11}"  # Diners
    rb"|(?:5018|5019|5020|5038|5893|6304|67\d\d)\d{8,15}"  # Maestro, Dankort
    rb"|62\d{14,17}"  # UnionPay
)
_KEY = re.compile(r"(?:^|_)(?:card|card_?number|pan|cc|cc_number|credit_card(?:_number)?)$")
_NAMED = re.compile(rb"(?i)\b(?:credit|debit|payment) ?card\b")
_NOT_KEY = re.compile(r"(?:^|_)(?:id|ts|timestamp|created|updated|time|offset|seq|size)$")


def key_tells(key: str) -> bool:
    """Whether what stands under ``key`` may be a card number for that alone."""
    return _KEY.search(key) is not None


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """
    Every card number in ``text``; a JSON number counts only under a key that names a card.

    Where a card is named the check digit alone decides, as of cards that no large issuer gave out.
    """
    if len(text) < 13 or (context.number and not _KEY.search(context.key)) or _NOT_KEY.search(context.key):
        return
    named = _KEY.search(context.key) is not None or _NAMED.search(text) is not None
    for match in _CANDIDATE.finditer(text):
        digits = match[0].replace(b" ", b"").replace(b"-", b"")
        if (_ISSUER.fullmatch(digits) or named) and luhn_sum(digits) % 10 == 0:
            yield Finding(Kind.CARD, *match.span())


def luhn_sum(digits: bytes) -> int:
    """The Luhn sum of ASCII ``digits``; a multiple of 10 means the check digit is right."""
    total = 0
    for place, byte in enumerate(reversed(digits)):
        digit = byte - 48
        if place % 2:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total
