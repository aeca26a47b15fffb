"""All detectors of text, in the order in which they win where two find the same bytes."""

from __future__ import annotations

from anonymizer.detectors import cards, emails, ips, jwts, phones, street_addresses, tokens
from anonymizer.detectors.base import Context, Finding
from anonymizer.detectors.names import NameDetector


class Detectors:
    """Every detector over one text; overlaps are settled by order, then by place."""

    __slots__ = ("_find",)

    def __init__(self, extra_name_keys: frozenset[str] = frozenset()) -> None:
        names = NameDetector(extra_name_keys)
        self._find = (
            jwts.find,
            tokens.find,
            emails.find,
            cards.find,
            phones.find,
            ips.find,
            names.find,
            street_addresses.find,
        )

    def find(self, text: bytes, context: Context) -> list[Finding]:
        """The findings in ``text`` that do not overlap, by their start."""
        found: list[Finding] = []
        for find in self._find:
            for finding in find(text, context):
                if all(finding.stop <= other.start or finding.start >= other.stop for other in found):
                    found.append(finding)
        return sorted(found, key=lambda finding: finding.start)
