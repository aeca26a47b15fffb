"""Secrets by the formats that their issuers publish, about 220 families: one automaton, then exact spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

import hyperscan

from anonymizer.detectors.base import Context, Finding, Kind
from anonymizer.detectors.secret_rules import Rule, rules

MIN_BYTES = 12
"""No family has shorter secrets."""

_MAX_KEY_CHARS = 60


@cache
def hint() -> re.Pattern[bytes]:
    """Found in every text that holds a secret, or names the service of one beside it."""
    words = sorted({keyword for rule in rules() for keyword in rule.keywords})
    return re.compile(b"|".join(map(re.escape, words)), re.IGNORECASE)


@lru_cache(maxsize=16_384)
def key_tells(key: str, parent: str = "") -> bool:
    """Whether ``key`` or that of the object around it names a service or says that a secret follows."""
    return hint().search(f"{parent} {key}".encode()) is not None


def suspects(text: bytes) -> bool:
    """Whether ``text`` may hold a secret that stands in it without a telling key."""
    return len(text) >= MIN_BYTES and bool(_candidates(text))


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every secret in ``text``, alone or as the value of its key; the longest where some overlap."""
    if len(text) < MIN_BYTES or context.number:
        return
    start = 0
    if context.key and key_tells(context.key, context.parent):
        # the families tell a value by the name of its service, which is often that of an object
        name = f"{context.parent}_{context.key}" if context.parent else context.key
        head = name[-_MAX_KEY_CHARS:].encode() + b'="'
        start, text = len(head), head + text + b'"'
    stop = len(text) - 1 if start else len(text)
    spans = {(first, min(last, stop)) for rule in _candidates(text) for first, last in rule.spans(text)}
    taken: list[tuple[int, int]] = []
    for first, last in sorted(spans, key=lambda span: (span[0] - span[1], span)):
        if start <= first < last and all(last <= other[0] or first >= other[1] for other in taken):
            taken.append((first, last))
            yield Finding(Kind.TOKEN, first - start, last - start)


def _candidates(text: bytes) -> list[Rule]:
    found: set[int] = set()
    _automaton().scan(text, match_event_handler=lambda at, *_: found.add(at))
    known = rules()
    return [known[at] for at in sorted(found)]


@cache
def _automaton() -> hyperscan.Database:
    """All families at once; it finds each text that a family may match, and some that none does."""
    known = rules()
    flags = hyperscan.HS_FLAG_PREFILTER | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
    database = hyperscan.Database()
    database.compile(
        expressions=[rule.prefilter for rule in known],
        ids=list(range(len(known))),
        flags=[flags] * len(known),
    )
    return database
