"""
All detectors of text, in the order in which they win where two find the same bytes.

Each is looked into only where its hint stands in the text or the text's key tells it something.
One automaton looks for all hints at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from operator import attrgetter
from typing import NamedTuple

import hyperscan

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
from anonymizer.detectors.prose import ProseDetector, Recognise

_Find = Callable[[bytes, Context], Iterator[Finding]]
_Tells = Callable[[str, str, bool], bool]


class _Detector(NamedTuple):
    """``hint`` is in whatever ``find`` finds without a telling key; None where only keys tell."""

    find: _Find
    hint: re.Pattern[bytes] | None
    tells: _Tells | None
    kinds: frozenset[Kind] = frozenset()  # stated where all of them may be kept


def _by_key(tells: Callable[[str], bool]) -> _Tells:
    return lambda key, _parent, _person: tells(key)


def _tokens_tell(key: str, parent: str, _person: bool) -> bool:
    return tokens.key_tells(key) or secrets.key_tells(key, parent)


_NAMES = NameDetector()
_ALL = (
    _Detector(ibans.find, ibans.HINT, None),
    _Detector(jwts.find, jwts.HINT, None),
    _Detector(tokens.find, tokens.HINT, _tokens_tell),
    _Detector(emails.find, emails.HINT, None),
    _Detector(cards.find, cards.HINT, _by_key(cards.key_tells)),
    _Detector(phones.find, phones.HINT, _by_key(phones.key_tells)),
    _Detector(ips.find, ips.HINT, _by_key(ips.key_tells)),
    _Detector(macs.find, macs.HINT, _by_key(macs.key_tells)),
    _Detector(birth_dates.find, birth_dates.HINT, _by_key(birth_dates.key_tells)),
    _Detector(national_ids.find, national_ids.HINT, _by_key(national_ids.key_tells)),
    _Detector(geo.find, geo.HINT, _by_key(geo.key_tells)),
    _Detector(_NAMES.find, None, names.key_tells),
    _Detector(street_addresses.find, None, _by_key(street_addresses.key_tells)),
    _Detector(dates.find, dates.HINT, _by_key(dates.key_tells), frozenset({Kind.DATE})),
    _Detector(ids.find, ids.HINT, _by_key(ids.key_tells), frozenset({Kind.UUID, Kind.ID})),
)
_TOKENS = next(at for at, detector in enumerate(_ALL) if detector.find is tokens.find)
_NAMED = next(at for at, detector in enumerate(_ALL) if detector.tells is names.key_tells)


class Detectors:
    """
    Every detector over one text; overlaps are settled by order, then by place.

    Identifiers and times are so frequent that those among ``kept`` kinds are not looked for.
    ``prose`` knows names of people in sentences.
    """

    __slots__ = ("_extra_keys", "_find", "_finds", "_left_out", "_prose")

    def __init__(
        self,
        extra_name_keys: frozenset[str] = frozenset(),
        kept: frozenset[Kind] = KEPT_BY_DEFAULT,
        *,
        prose: Recognise | None = None,
    ) -> None:
        self._extra_keys = extra_name_keys
        self._left_out = frozenset(
            at for at, detector in enumerate(_ALL) if detector.kinds and detector.kinds <= kept
        )
        self._find = [detector.find for detector in _ALL]
        self._find[_NAMED] = NameDetector(extra_name_keys).find
        self._prose = ProseDetector(prose).find if prose else None
        self._finds: dict[frozenset[int], tuple[_Find, ...]] = {}

    def tells(self, context: Context) -> bool:
        """Whether something may be found for its place alone, whatever the text is."""
        return not self._told(context) <= self._left_out

    def find(self, text: bytes, context: Context, *, hinted: bool = True) -> list[Finding]:
        """
        The findings in ``text`` that do not overlap, by their start.

        Where no detector has a hint in the text (not ``hinted``), its place alone tells.
        """
        here = self._told(context)
        if hinted:
            here |= _hinted(text)
        finds = self._finds.get(here)
        if finds is None:
            finds = self._finds[here] = self._made(here)
        found: list[Finding] = []
        for find in finds:
            for finding in find(text, context):
                if not found or all(
                    finding.stop <= other.start or finding.start >= other.stop for other in found
                ):
                    found.append(finding)
        return sorted(found, key=_start) if len(found) > 1 else found

    def _made(self, here: frozenset[int]) -> tuple[_Find, ...]:
        """What to call for the detectors ``here``, which are few sets for all texts."""
        finds = [self._find[at] for at in sorted(here - self._left_out)]
        return (*finds, self._prose) if self._prose is not None else tuple(finds)

    def _told(self, context: Context) -> frozenset[int]:
        key, parent = context.key, context.parent
        told = _told_by_key(key, parent, context.person)
        if context.credential:
            told |= {_TOKENS}
        if self._extra_keys and not self._extra_keys.isdisjoint((key, parent)):
            told |= {_NAMED}
        return told


_start = attrgetter("start")


@lru_cache(maxsize=16_384)
def _told_by_key(key: str, parent: str, person: bool) -> frozenset[int]:
    return frozenset(
        at for at, detector in enumerate(_ALL) if detector.tells and detector.tells(key, parent, person)
    )


def _hinted(text: bytes) -> set[int]:
    hinted: set[int] = set()
    _automaton().scan(text, match_event_handler=lambda at, *_: hinted.add(at))
    if _TOKENS not in hinted and secrets.suspects(text):
        hinted.add(_TOKENS)
    return hinted


@cache
def _automaton() -> hyperscan.Database:
    hints = [(at, detector.hint.pattern) for at, detector in enumerate(_ALL) if detector.hint]
    flags = hyperscan.HS_FLAG_PREFILTER | hyperscan.HS_FLAG_SINGLEMATCH
    database = hyperscan.Database()
    database.compile(
        expressions=[pattern for _, pattern in hints], ids=[at for at, _ in hints], flags=[flags] * len(hints)
    )
    return database
