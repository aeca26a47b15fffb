"""All detectors of text, in the order in which they win where two find the same bytes."""

from __future__ import annotations

import re
from functools import lru_cache

from anonymizer.detectors import (
    birth_dates,
    cards,
    dates,
    emails,
    geo,
    ibans,
    ids,
    ips,
    jwts,
    macs,
    names,
    national_ids,
    phones,
    secrets,
    street_addresses,
    tokens,
)
from anonymizer.detectors.base import KEPT_BY_DEFAULT, Context, Finding, Kind
from anonymizer.detectors.names import NameDetector

# What no detector finds anything without, unless a key says what the text is.
_ANYTHING = re.compile(rb"[0-9@=]|\.e[wy]|earer|PRIVATE KEY|hooks|" + tokens.HINT.pattern)


_BY_KEY = (birth_dates, cards, geo, ips, macs, national_ids, phones, street_addresses, tokens)


@lru_cache(maxsize=16_384)
def _key_tells(key: str, parent: str, person: bool) -> bool:
    return (
        any(detector.key_tells(key) for detector in _BY_KEY)
        or secrets.key_tells(key, parent)
        or names.key_tells(key, parent, person)
    )


class Detectors:
    """
    Every detector over one text; overlaps are settled by order, then by place.

    Identifiers and times are so frequent that those among ``kept`` kinds are not looked for.
    """

    __slots__ = ("_extra_keys", "_find", "_times_and_ids")

    def __init__(
        self, extra_name_keys: frozenset[str] = frozenset(), kept: frozenset[Kind] = KEPT_BY_DEFAULT
    ) -> None:
        self._extra_keys = extra_name_keys
        frequent = ((dates, {Kind.DATE}), (ids, {Kind.UUID, Kind.ID}))
        self._times_and_ids = tuple(detector for detector, kinds in frequent if not kinds <= kept)
        self._find = (
            ibans.find,
            jwts.find,
            tokens.find,
            emails.find,
            cards.find,
            phones.find,
            ips.find,
            macs.find,
            birth_dates.find,
            national_ids.find,
            geo.find,
            NameDetector(extra_name_keys).find,
            street_addresses.find,
            *(detector.find for detector in self._times_and_ids),
        )

    def tells(self, context: Context) -> bool:
        """Whether something may be found for its place alone, whatever the text is."""
        key, parent = context.key, context.parent
        return (
            context.credential
            or _key_tells(key, parent, context.person)
            or any(detector.key_tells(key) for detector in self._times_and_ids)
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
