"""Quantities as people write them, and back: durations, sizes, exact ratios."""

from __future__ import annotations

import re
from fractions import Fraction

from captures.errors import UsageError

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
KIB = 1024
MIB = 1024 * 1024

_DURATION_NS = {
    "ns": 1,
    "us": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
}
_SIZE_BYTES = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": KIB,
    "mib": MIB,
    "gib": 1024**3,
}
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([a-zA-Z]*)")
_SHARE = re.compile(r"(\d{1,4}(?:\.\d{1,9})?)\s*(%?)", re.ASCII)
_RATIO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(?:/(\d{1,9}))?x?")


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of ``"250ms"``, ``"1.5s"``, ``"10m"``; a number without unit is an error."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2].lower() not in _DURATION_NS:
        raise UsageError(f"{text!r} is not a duration; write it like 250ms, 1.5s or 10m.")
    return int(Fraction(match[1]) * _DURATION_NS[match[2].lower()])


def parse_size_bytes(text: str) -> int:
    """Bytes of ``"64KiB"``, ``"10MB"`` or ``"512"``."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2].lower() not in _SIZE_BYTES:
        raise UsageError(f"{text!r} is not a size; write it like 512, 64KiB or 10MB.")
    return int(Fraction(match[1]) * _SIZE_BYTES[match[2].lower()])


def parse_multiplier(text: str) -> Fraction:
    """The exact ratio of ``"10x"``, ``"1.5x"`` or ``"1/3x"``; it must be above 0."""
    match = _RATIO.fullmatch(text.strip())
    if match is None or (match[2] is not None and int(match[2]) == 0):
        raise UsageError(f"{text!r} is not a multiplier; write it like 10x, 1.5x or 1/3x.")
    ratio = Fraction(match[1]) / int(match[2] or 1)
    if ratio <= 0:
        raise UsageError("The multiplier must be above 0; write it like 10x, 1.5x or 1/3x.")
    return ratio


def parse_share(text: str) -> float:
    """The share from 0 to 1 of ``"5%"`` or ``"0.05"``."""
    match = _SHARE.fullmatch(text.strip())
    share = float(Fraction(match[1]) / (100 if match[2] else 1)) if match else -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{text!r} is not a share; write it like 5% or 0.05.")
    return share


def format_multiplier(ratio: Fraction) -> str:
    """The shortest exact spelling: ``10x``, ``3/2x``."""
    return f"{ratio}x"


def format_duration(duration_ns: float) -> str:
    """About three significant digits with a unit: ``"26.3 us"``, ``"1.20 s"``."""
    sign, size = ("-", -duration_ns) if duration_ns < 0 else ("", duration_ns)
    for unit, factor in (("s", NS_PER_S), ("ms", NS_PER_MS), ("us", NS_PER_US)):
        if size >= factor:
            return f"{sign}{_three_digits(size / factor)} {unit}"
    return f"{sign}{size:.0f} ns"


def format_size(size_bytes: float) -> str:
    """About three significant digits with a binary unit: ``"1.50 MiB"``."""
    for unit, factor in (("GiB", 1024**3), ("MiB", MIB), ("KiB", KIB)):
        if size_bytes >= factor:
            return f"{_three_digits(size_bytes / factor)} {unit}"
    return f"{size_bytes:.0f} B"


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
