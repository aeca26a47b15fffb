"""Latitudes and longitudes: by their key, written in degrees, and in geo: URIs (RFC 5870)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind

HINT = re.compile(rb"geo:-?[0-9]|\xc2\xb0")
"""Found in every text that holds a position without a telling key."""

_KEY = re.compile(
    r"(?:^|_)(?:lat|latitude|lng|lon|longitude|coordinates?|coords?|lat_?lng|lat_?lon|lat_?long|gps|geo|"
    r"geo_?(?:point|location|position|code)|gps_?(?:coordinates?|location|position)|location|ll)$"
)
_COORDINATE = rb"[-+]?(?:1[0-7]\d|180|\d{1,2})\.\d{2,15}"  # one decimal is 11 km and tells nobody's door
_ONE = re.compile(_COORDINATE)
_PAIR = re.compile(rb"(?<![\w.])(" + _COORDINATE + rb")([ ]*[,;/ ][ ]*)(" + _COORDINATE + rb")(?![\w.])")
_DEGREES = re.compile(
    rb"(?<![\w.])(?:\d{1,3}\.\d{2,10} ?\xc2\xb0|\d{1,3} ?\xc2\xb0 ?\d{1,2}(?:\.\d+)? ?(?:'|\xe2\x80\xb2)"
    rb"(?: ?\d{1,2}(?:\.\d+)? ?(?:\"|''|\xe2\x80\xb3))?) ?[NSEWO]\b"
)
_URI = re.compile(rb"\bgeo:(" + _COORDINATE + rb"),(" + _COORDINATE + rb")(?![\w.])")


def key_tells(key: str) -> bool:
    """Whether what stands under ``key`` may be a coordinate for that alone."""
    return _KEY.search(key) is not None


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Each coordinate in ``text``: numbers under a telling key, degrees with a direction, geo: URIs."""
    if len(text) < 4:
        return
    if _KEY.search(context.key):
        if _ONE.fullmatch(text):
            yield Finding(Kind.GEO, 0, len(text))
            return
        for match in _PAIR.finditer(text):
            yield Finding(Kind.GEO, *match.span(1))
            yield Finding(Kind.GEO, *match.span(3))
    if b"\xc2\xb0" in text:
        for match in _DEGREES.finditer(text):
            yield Finding(Kind.GEO, *match.span())
    if b"geo:" in text:
        for match in _URI.finditer(text):
            yield Finding(Kind.GEO, *match.span(1))
            yield Finding(Kind.GEO, *match.span(2))
