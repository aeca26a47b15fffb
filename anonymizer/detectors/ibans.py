"""Bank account numbers by shape and check digits (ISO 13616, ISO 7064 MOD 97-10)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stdnum.iso7064 import mod_97_10

from anonymizer.detectors.base import Context, Finding, Kind

HINT = re.compile(rb"[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{3}")
"""Found in every text that holds an IBAN."""

_CANDIDATE = re.compile(
    rb"(?<![A-Za-z0-9])[A-Z]{2}(?:0[2-9]|[1-9]\d)(?:[ -]?[A-Z0-9]){11,30}(?![A-Za-z0-9])"
    rb"|(?<![A-Za-z0-9])[a-z]{2}(?:0[2-9]|[1-9]\d)[a-z0-9]{11,30}(?![A-Za-z0-9])"
)
_MIN_DIGITS = 8  # of words in capitals some have the right remainder by chance
_NO_PART = re.compile(rb"[^A-Za-z0-9]")


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every IBAN in ``text``, with or without separators between its groups."""
    if context.number or len(text) < 15:
        return
    for match in _CANDIDATE.finditer(text):
        stop = _end(match[0])
        if stop:
            yield Finding(Kind.IBAN, match.start(), match.start() + stop)


def compact(value: bytes) -> bytes:
    """``value`` in capitals without separators."""
    return _NO_PART.sub(b"", value).upper()


def _end(text: bytes) -> int:
    """Where the longest IBAN that begins ``text`` stops; capitals may follow it. 0 for none."""
    for stop in range(len(text), 14, -1):
        if text[stop - 1 : stop].isalnum() and not text[stop : stop + 1].isalnum() and _is_iban(text[:stop]):
            return stop
    return 0


def _is_iban(text: bytes) -> bool:
    plain = compact(text).decode("ascii")
    digits = sum(char.isdigit() for char in plain)
    return 15 <= len(plain) <= 34 and digits >= _MIN_DIGITS and mod_97_10.is_valid(plain[4:] + plain[:4])
