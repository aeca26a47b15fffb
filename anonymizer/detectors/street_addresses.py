"""Street addresses and postal codes, by the key they stand under."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind

_STREET = re.compile(
    r"(?:^|_)(?:street|street_?address|street_?name|street_line_?\d?|address_?\d|address_line_?\d?|line_?[12])$"
)
_POSTAL_CODE = re.compile(r"(?:^|_)(?:postal_?code|zip|zip_?code|postcode)$")
_CODE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9 -]{1,9}")
_LETTER_AND_MORE = re.compile(rb"(?=.*[A-Za-z\x80-\xff]).{4,120}", re.DOTALL)
_LINE_KEY = re.compile(r"(?:^|_)line_?[12]$")


def key_tells(key: str) -> bool:
    """Whether what stands under ``key`` may be part of an address."""
    return _STREET.search(key) is not None or _POSTAL_CODE.search(key) is not None


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """All of ``text`` where its key says that it is a street or a postal code."""
    if _STREET.search(context.key):
        # line1 of anything but an address is no street
        if _LINE_KEY.search(context.key) and "address" not in context.key + context.parent:
            return
        if (
            not context.number
            and _LETTER_AND_MORE.fullmatch(text)
            and b"://" not in text
            and b"@" not in text
        ):
            yield Finding(Kind.ADDRESS, 0, len(text))
    elif _POSTAL_CODE.search(context.key) and _CODE.fullmatch(text):
        yield Finding(Kind.ADDRESS, 0, len(text))
