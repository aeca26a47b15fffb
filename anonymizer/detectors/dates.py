"""Points in time: ISO 8601 and RFC 9110 dates by their shape, numbers of seconds by their key."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer import times
from anonymizer.detectors.base import Context, Finding, Kind

HINT = re.compile(rb"\d{4}-\d\d-\d\d| \d{4} \d\d:\d\d|-\d{4} \d\d:\d\d")
"""Found in every text that holds a date without a telling key."""

_KEY = re.compile(
    r"(?:^|_)(?:at|on|time|timestamp|ts|date|exp|iat|nbf|auth_time|created|updated|expires|expiry|modified|"
    r"started|ended|start|end|since|until|due|issued|published|deleted|canceled|cancelled|reset|seen)(?:_(?:at|ms|ns|us))?$"
)
_AFTER = re.compile(rb"[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?: ?(?:Z|GMT|UTC|[+-]\d\d:?\d\d))?")


def key_tells(key: str) -> bool:
    """Whether a number under ``key`` may be a point in time."""
    return _KEY.search(key) is not None


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every point in time in ``text``, with its time of day."""
    if len(text) < 10:
        return
    if _KEY.search(context.key) and times.EPOCH.fullmatch(text):
        yield Finding(Kind.DATE, 0, len(text))
    elif not context.number and HINT.search(text):
        for pattern in (times.ISO, times.MAIL):
            for match in pattern.finditer(text):
                after = _AFTER.match(text, match.end())
                yield Finding(Kind.DATE, match.start(), after.end() if after else match.end())
