"""Dates of birth, by the key they stand under or the words before them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind

HINT = re.compile(rb"(?i)birth|\bborn\b|d\.?o\.?b")
"""Found in every text that holds a date of birth without a telling key."""

_KEY = re.compile(
    r"(?:^|_)(?:birth_?(?:date|day|dt)|date_?of_?birth|dob|born(?:_on|_at)?|geburts_?(?:datum|tag)|"
    r"date_?(?:de_)?naissance|fecha_?(?:de_)?nacimiento|data_?(?:di_)?nascita|data_?(?:de_)?nascimento|"
    r"geboorte_?datum|fodselsdato|foedselsdato|fodelsedatum)$"
)
_MONTH = (
    rb"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    rb"nov(?:ember)?|dec(?:ember)?)"
)
_DATE = (
    rb"(?:(?:18|19|20)\d\d([-/. ])(?:0?[1-9]|1[0-2])[-/. ](?:3[01]|[12]\d|0?[1-9])"
    rb"|(?:3[01]|[12]\d|0?[1-9])([-/. ])(?:3[01]|[12]\d|0?[1-9])[-/. ](?:(?:18|19|20)\d\d|\d\d)"
    rb"|(?:3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?[ -](?:of )?" + _MONTH + rb",?[ -](?:(?:18|19|20)\d\d|\d\d)"
    rb"|" + _MONTH + rb"\.?[ -](?:3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?,?[ -](?:18|19|20)\d\d)(?!\d)"
)
DATE = re.compile(_DATE, re.IGNORECASE)
_TOLD = re.compile(
    rb"\b(?:d\.?o\.?b\.?|date[ -]of[ -]birth|birth[ -]?(?:date|day)|born)"
    rb"(?:\s+(?:on|is|was|in|the)){0,2}[:=\s(]{1,4}(" + _DATE + rb")",
    re.IGNORECASE,
)
_PLAIN = re.compile(rb"(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")  # 19850412


def key_tells(key: str) -> bool:
    """Whether what stands under ``key`` may be a date of birth for that alone."""
    return _KEY.search(key) is not None


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """The dates of birth in ``text``; of a date with a time the date."""
    if _KEY.search(context.key):
        plain = text.strip()
        if _PLAIN.fullmatch(plain):
            start = text.index(plain)
            yield Finding(Kind.BIRTH_DATE, start, start + len(plain))
        elif not context.number and (match := DATE.search(text)):
            yield Finding(Kind.BIRTH_DATE, *match.span())
    elif not context.number and HINT.search(text):
        for match in _TOLD.finditer(text):
            yield Finding(Kind.BIRTH_DATE, *match.span(1))
