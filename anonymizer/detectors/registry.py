"""All detectors of text, in the order in which they win where two find the same bytes."""

from __future__ import annotations

import re
from functools import lru_cache

from anonymizer.detectors import cards, emails, ips, jwts, names, phones, secrets, street_addresses, tokens
from anonymizer.detectors.base import Context, Finding
from anonymizer.detectors.names import NameDetector

# What no detector finds anything without, unless a key says what the text is.
_ANYTHING = re.compile(rb"[0-9@=]|\.e[wy]|earer|PRIVATE KEY|hooks|" + tokens.HINT.pattern)


@lru_cache(maxsize=16_384)
def _key_tells(key: str, parent: str, person: bool) -> bool:
    return (
        tokens.key_tells(key)
        or secrets.key_tells(key, parent)
        or street_addresses.key_tells(key)
        or names.key_tells(key, parent, person)
    )


class Detectors:
    """Every detector over one text; overlaps are settled by order, then by place."""

    __slots__ = ("_extra_keys", "_find")

    def __init__(self, extra_name_keys: frozenset[str] = frozenset()) -> None:
        self._extra_keys = extra_name_keys
        self._find = (
            jwts.find,
            tokens.find,
            emails.find,
            cards.find,
            phones.find,
            ips.find,
            NameDetector(extra_name_keys).find,
            street_addresses.find,
        )

    def tells(self, context: Context) -> bool:
        """Whether something may be found for its place alone, whatever the text is."""
        key, parent = context.key, context.parent
        return (
            context.credential
            or _key_tells(key, parent, context.person)
            or bool(self._extra_keys and not self._extra_keys.isdisjoint((key, parent)))
        )

    def find(self, text: bytes, context: Context) -> list[Finding]:
        """The findings in ``text`` that do not overlap, by their start."""
        if not (_ANYTHING.search(text) or secrets.suspects(text) or self.tells(context)):
            return []
        found: list[Finding] = []
        for find in self._find:
            for finding in find(text, context):
                if all(finding.stop <= other.start or finding.start >= other.stop for other in found):
                    found.append(finding)
        return sorted(found, key=lambda finding: finding.start)
