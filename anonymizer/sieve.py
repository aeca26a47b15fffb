"""Tells at once which of many short texts need a look, and where known values stand in the others."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import hyperscan

from anonymizer import documents
from anonymizer.detectors import birth_dates, geo, ibans, macs, national_ids, secrets, tokens
from anonymizer.document import BREAK
from anonymizer.literals import Literals
from anonymizer.run_sieve import heads_of_runs, texts_in_runs
from captures.bodies.edits import Edit, without_overlaps

_WORDS = "|".join(family.words for family in national_ids.FAMILIES).replace("_?", "_").replace("_", "[ _-]?")
_TOLD = re.compile(rf"(?<![A-Za-z0-9])(?:{_WORDS})(?![A-Za-z])".encode(), re.IGNORECASE)
# No detector finds anything without one of these in a value whose key does not tell, but that of secrets.
# No JSON string holds the byte that stands between two texts here.
_VALUES = (
    *(detector.HINT.pattern for detector in (birth_dates, geo, ibans, macs)),
    tokens.HINT_BY_SHAPE,
    rb"[A-Za-z0-9_.-]{3}=[^\s;,&\"'<>%\x01]{4}",  # assigned
    # an address has a dot in its domain, and no colon with a path behind it
    rb"@(?:\[|[A-Za-z0-9\x80-\xff.-]+\.[A-Za-z0-9\x80-\xff-]{2,}(?:[^:A-Za-z0-9\x80-\xff-]|:[^A-Za-z0-9]|:?$))",
    # the digits of a number, save for a short one that is a segment of a path, or a whole one
    rb"(?:^|[^0-9/])[0-9](?:[ ().-]{0,2}[0-9]){5}|[A-Z]{6}[0-9]{2}",
    rb"/(?:00|[0-9]{1,12}[^0-9/?#\x01]|[0-9]{13})|[0-9]/[0-9]{2}",
    rb"[0-9]\.[0-9]{1,3}\.[0-9]",  # of an address
    rb":[0-9A-Fa-f]{0,4}:",
    rb"\.e[wy]",
    rb"earer|PRIVATE KEY|hooks",
    rf"(?i)(?:^|[^A-Za-z0-9])(?:{_WORDS})(?:[^A-Za-z]|$)".encode(),
    rb"(?i)passport|identity|national|licen[sc]e|tax|insurance|record|(?:^|[^a-z])(?:tin|nin|mrn|mbi|id)(?:[^a-z]|$)",
)
# What no text inside another one is written without; base64 and the like have a test of their own.
# A run is told by its beginning, once: a report for each further byte of a long one took most of the time.
_LAYERS = (
    rb"%[0-9A-Fa-f]{2}|&(?:#|[A-Za-z]{2,8};)|\\",
    rb"(?:^|[^0-9a-f])[0-9a-f]{12}",
    rb"(?:^|[^0-9A-F])[0-9A-F]{12}",
    rb"[a-z2-7]{8}=|[A-Z2-7]{8}=",
    rb"[0-9A-Fa-f]{2}(?:(?: (?:0x)?[0-9A-Fa-f]{2}){7}|(?::[0-9A-Fa-f]{2}){7}|(?:-[0-9A-Fa-f]{2}){7})",
    rb"0x[0-9A-Fa-f]{2}(?:, ?0x[0-9A-Fa-f]{2}){7}",
    rb"[0-9]{1,3}(?:\s*,\s*[0-9]{1,3}){7}",
    rb"\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xef(?:\xbb\xbf|[\xbc\xbd])",
    rb"<~",
    # elements, and operations of GraphQL
    rb"(?:^|\x01)\s*(?:<[A-Za-z_!?]|#|(?:query|mutation|subscription|fragment)[^A-Za-z0-9_]|\{\s*[A-Za-z_])",
    rb"[A-Za-z0-9+/_-]{40}\r?\n",
    rb"(?i)" + documents.INLINE_TAG.pattern,
    # a name and a value in a query; what one letter says is a small number names nobody
    rb"[?&#;][A-Za-z0-9_.\-\[\]%]{2,}=[^&#\s\"'<>\\\x01]",
    rb"[?&#][A-Za-z0-9_.\-\[\]%]=(?:[^0-9&#\s\"'<>\\\x01]|[0-9]{1,3}[^0-9&#\s\"'<>\\\x01]|[0-9]{4})",
    rb"//[^\s/?#@\"'<>\x01]*@",
    rb"=(?:[0-9A-Fa-f]{2}=|\r?\n|3D|40|20|\?)",  # quoted-printable
)
# what each pattern of the automaton tells
_VALUE, _LAYER = range(2)
_KINDS = (*[_VALUE] * len(_VALUES), *[_LAYER] * len(_LAYERS))


class Sorted(NamedTuple):
    """
    What to look at in texts, by their numbers.

    ``valued`` may hold a value that a detector finds by its shape, ``layered`` a text inside the text;
    ``edits`` replace known values in those that are neither.
    """

    valued: set[int]
    layered: set[int]
    edits: dict[int, list[Edit]]


class Sieve:
    """Sorts texts into those to look at and those that hold known values at most; UUIDs and times pass."""

    def __init__(self, literals: Literals | None) -> None:
        self._literals = literals

    def sort(self, texts: Sequence[bytes]) -> Sorted:
        """What to look at in ``texts``, whatever their places tell besides."""
        joined = BREAK.join(texts)
        starts = [0, *accumulate(len(text) + 1 for text in texts)]
        values, layers = _hints(joined)
        layers += texts_in_runs(joined)
        if self._literals is not None:
            layers += heads_of_runs(joined, self._literals.hash_heads)
        valued = {bisect_right(starts, place - 1) - 1 for place in values}
        layered = {bisect_right(starts, place - 1) - 1 for place in layers}
        valued.update(_suspected(texts, 0))
        if self._literals is None:
            return Sorted(valued, layered, {})
        return Sorted(valued, layered, self._known(joined, starts, valued | layered))

    def _known(self, joined: bytes, starts: list[int], looked_at: set[int]) -> dict[int, list[Edit]]:
        """The replacements of known values in the texts that are not looked at, by their numbers."""
        edits: dict[int, list[Edit]] = {}
        clashes: set[int] = set()
        at = last = 0
        for start, stop, new, label in self._literals.known(joined) if self._literals else ():
            while starts[at + 1] <= start:  # they come by their ends, and none is in two texts
                at += 1
            if at in looked_at:
                continue
            first = starts[at]
            if start < last and at in edits:
                clashes.add(at)
            last = stop
            edits.setdefault(at, []).append(Edit(start - first, stop - first, new, label))
        for at in clashes:
            edits[at] = without_overlaps(edits[at])
        return edits


def _suspected(texts: Sequence[bytes], first: int) -> Iterator[int]:
    """The numbers of ``texts``, counted from ``first``, that may hold a secret of a known family."""
    # a secret ends at the end of its text, or where a line does
    if secrets.suspects(b"\n".join(texts)):
        if len(texts) == 1:
            yield first
        else:
            half = len(texts) // 2
            yield from _suspected(texts[:half], first)
            yield from _suspected(texts[half:], first + half)


def tells_of_numbers(text: bytes) -> bool:
    """Whether a word of ``text`` says that a number in it is somebody's."""
    return _TOLD.search(text) is not None


def _hints(text: bytes) -> tuple[list[int], list[int]]:
    """The ends of all places in ``text`` that hint at a value, and at a text inside the text."""
    found: tuple[list[int], list[int]] = ([], [])
    kinds = _KINDS

    def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
        found[kinds[number]].append(end)

    _automaton().scan(text, match_event_handler=note)
    return found


@cache
def _automaton() -> hyperscan.Database:
    patterns = [*_VALUES, *_LAYERS]
    database = hyperscan.Database()
    database.compile(expressions=patterns, ids=list(range(len(patterns))), flags=[0] * len(patterns))
    return database
