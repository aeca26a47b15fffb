"""Phone numbers: international ones by their shape, national ones by the key they stand under."""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers

from anonymizer.detectors.base import Context, Finding, Kind

HINT = re.compile(rb"\+[1-9]|00[1-9]|\d\d[-.]\d{4}")
"""Found in every text that holds a number without a telling key."""

_KEY = re.compile(
    r"(?:^|_)(?:phone|phone_?number|telephone|tel|mobile|mobile_?number|cell|fax|msisdn|sms|whatsapp|"
    r"contact_number|caller|called|wa_id)(?:_\d)?$|^(?:from|to|caller_id|called_id)$"
)
_ANY = re.compile(rb"\+?\(?\d(?:[ ().-]{0,2}\d){6,14}")
_NATIONAL = re.compile(rb"(?<![\w+.-])(?:\+|\(?0)\d(?:[ ().-]{0,2}\d){5,13}(?![\w-])")
_INTERNATIONAL = re.compile(
    rb"(?<![A-Za-z0-9.])(?<![A-Za-z0-9]\+)(?:\+|00(?=[1-9]))[1-9](?:[ ().-]{0,2}\d){6,14}(?![A-Za-z0-9-])"
)
_NORTH_AMERICAN = re.compile(
    rb"(?<![\w.+-])(?:\([2-9]\d\d\) ?|[2-9]\d\d[-.])[2-9]\d\d[-.]\d{4}(?![\w-]|\.\d)"
)
_FROM_OR_TO = frozenset({"from", "to"})


def key_tells(key: str) -> bool:
    """Whether what stands under ``key`` may be a phone number for that alone."""
    return _KEY.search(key) is not None


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every phone number in ``text``."""
    if len(text) < 7:
        return
    if _KEY.search(context.key):
        match = _ANY.fullmatch(text.strip())
        digits = sum(byte in b"0123456789" for byte in text)
        # from/to hold phone numbers in SMS webhooks and all sorts of things elsewhere
        sure = context.key not in _FROM_OR_TO or text.lstrip()[:1] == b"+"
        if match and 7 <= digits <= 15 and sure:
            start = len(text) - len(text.lstrip())
            yield Finding(Kind.PHONE, start, start + len(text.strip()))
            return
        if sure and not context.number:
            for match in _NATIONAL.finditer(text):
                if 7 <= sum(byte in b"0123456789" for byte in match[0]) <= 15:
                    yield Finding(Kind.PHONE, *match.span())
    if context.number:
        return
    if b"+" in text or b"00" in text:
        for match in _INTERNATIONAL.finditer(text):
            if _is_possible(match[0]):
                yield Finding(Kind.PHONE, *match.span())
    if b"-" in text or b"." in text:
        for match in _NORTH_AMERICAN.finditer(text):
            yield Finding(Kind.PHONE, *match.span())


def _is_possible(value: bytes) -> bool:
    """
    Whether somebody may have the number: after a plus its length decides, after 00 its plan too.

    Plans change, and stand-ins are numbers that nobody was given, so that a plus is believed more.
    """
    text = value.decode("ascii")
    plus = text.startswith("+")
    try:
        number = phonenumbers.parse(text if plus else "+" + text[2:], None)
    except phonenumbers.NumberParseException:
        return False
    if not plus:
        return phonenumbers.is_valid_number(number)
    return phonenumbers.is_possible_number(number)
