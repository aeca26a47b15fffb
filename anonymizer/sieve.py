"""Tells at once which of many short texts need a look, and where known values stand in the others."""

from __future__ import annotations

import binascii
import re
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import hyperscan

from anonymizer.detectors import birth_dates, geo, ibans, macs, national_ids, secrets, tokens
from anonymizer.document import BREAK
from anonymizer.literals import Literals
from captures.bodies.edits import Edit, without_overlaps

_WORDS = "|".join(family.words for family in national_ids.FAMILIES).replace("_?", "_").replace("_", "[ _-]?")
_TOLD = re.compile(rf"(?<![A-Za-z0-9])(?:{_WORDS})(?![A-Za-z])".encode(), re.IGNORECASE)
# No detector finds anything without one of these in a value whose key does not tell, but that of secrets.
_HINTS = (
    *(detector.HINT.pattern for detector in (birth_dates, geo, ibans, macs, tokens)),
    rb"(?:^|[^0-9])[0-9](?:[ ().-]{0,2}[0-9]){5}|[A-Z]{6}[0-9]{2}",  # the digits of a number
    rb"[0-9]\.[0-9]{1,3}\.[0-9]",  # of an address
    rb":[0-9A-Fa-f]{0,4}:",
    rb"\.e[wy]",
    rb"earer|PRIVATE KEY|hooks",
    rf"(?i)(?:^|[^A-Za-z0-9])(?:{_WORDS})(?:[^A-Za-z]|$)".encode(),
    rb"(?i)passport|identity|national|licen[sc]e|tax|insurance|record|(?:^|[^a-z])(?:tin|nin|mrn|mbi|id)(?:[^a-z]|$)",
)
_BOTH = (rb"[@=]",)
# What no text inside another one is written without; base64 has a test of its own below. A run is
# told by its beginning, once: a report for each further byte of a long one took most of the time.
_LAYERS = (
    rb"[%&\\]",
    rb"(?:^|[^0-9a-f])[0-9a-f]{12}",
    rb"(?:^|[^0-9A-F])[0-9A-F]{12}",
    rb"(?:^|[^a-z2-7])[a-z2-7]{16}",
    rb"(?:^|[^A-Z2-7])[A-Z2-7]{16}",
    rb"[0-9A-Fa-f]{2}(?:(?: (?:0x)?[0-9A-Fa-f]{2}){7}|(?::[0-9A-Fa-f]{2}){7}|(?:-[0-9A-Fa-f]{2}){7})",
    rb"0x[0-9A-Fa-f]{2}(?:, ?0x[0-9A-Fa-f]{2}){7}",
    rb"[0-9]{1,3}(?:\s*,\s*[0-9]{1,3}){7}",
    rb"\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xef(?:\xbb\xbf|[\xbc\xbd])",
    rb"<~",
    # long base64 may be packed or a document, which its beginning does not always tell
    rb"(?:^|[^A-Za-z0-9+_-])[A-Za-z0-9+_-]{28}",
    # one word of the alphabet of base85 with signs that base64 lacks
    rb"(?:^|\x01)[!#-&(-+\x2d0-9;-Z^-~]+[!#-&(*;<>?^`{-~][!#-&(-+\x2d0-9;-Z^-~]{6,}(?:\x01|$)",
)
_FIRST_BOTH = len(_HINTS)
_FIRST_LAYER = _FIRST_BOTH + len(_BOTH)
_RUN_BYTES = 8
_NO_RUN = bytes(
    byte if (chr(byte).isalnum() and byte < 128) or byte in b"+/_=-" else 32 for byte in range(256)
)
# of a path: text in base64 has capitals
_SEGMENT = re.compile(rb"(?=[a-z_-]*[A-Z0-9])([A-Za-z0-9_-]{4})[A-Za-z0-9_-]{12}")
_SEGMENT_BYTES = 16
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_MAGIC = frozenset({b"\x1f\x8b", b"\x28\xb5", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb"})  # gzip, zstd, marks
_MAX_HEADS = 65_536


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
    """Sorts texts into those to look at and those that hold known values at most."""

    def __init__(self, literals: Literals | None) -> None:
        self._literals = literals
        self._dull: set[bytes] = set()  # beginnings of base64 that stand for no text

    def sort(self, texts: Sequence[bytes]) -> Sorted:
        """What to look at in ``texts``, whatever their places tell besides."""
        joined = BREAK.join(texts)
        starts = [0, *accumulate(len(text) + 1 for text in texts)]
        value_places, layer_places = _hints(joined)
        layer_places += self._runs(joined)
        valued = {bisect_right(starts, place - 1) - 1 for place in value_places}
        layered = {bisect_right(starts, place - 1) - 1 for place in layer_places}
        if secrets.suspects(joined):
            valued.update(at for at, text in enumerate(texts) if secrets.suspects(text))
        edits: dict[int, list[Edit]] = {}
        if self._literals is not None:
            for edit in self._literals.known(joined):
                at = bisect_right(starts, edit.start) - 1
                if at not in valued and at not in layered:
                    edits.setdefault(at, []).append(edit.moved(-starts[at]))
            for at, found in edits.items():
                if len(found) > 1:
                    edits[at] = without_overlaps(found)
        return Sorted(valued, layered, edits)

    def _runs(self, joined: bytes) -> list[int]:
        """Places (after their first byte) of what may be text in base64 in ``joined``."""
        heads = {
            word: _heads(word) for word in {*joined.translate(_NO_RUN).split()} if len(word) >= _RUN_BYTES
        }
        telling = {head for own in heads.values() for head in own if head not in self._dull}
        telling = {head for head in telling if self._is_telling(head)}
        places: list[int] = []
        if telling:
            for word, own in heads.items():
                if not telling.isdisjoint(own):
                    place = joined.find(word)
                    while place >= 0:
                        places.append(place + 1)
                        place = joined.find(word, place + 1)
        return places

    def _is_telling(self, head: bytes) -> bool:
        """Whether base64 that begins with ``head`` may be text, packed text or the hash of a known value."""
        known = self._literals is not None and self._literals.begins_hash(head)
        if known or _may_be_text(binascii.a2b_base64(head.translate(_TO_STANDARD))):
            return True
        if len(self._dull) >= _MAX_HEADS:
            self._dull.clear()
        self._dull.add(head)
        return False


def tells_of_numbers(text: bytes) -> bool:
    """Whether a word of ``text`` says that a number in it is somebody's."""
    return _TOLD.search(text) is not None


def _heads(word: bytes) -> list[bytes]:
    """The first four characters of ``word``, where it may be base64, and of long segments in it."""
    heads = [] if b"=" in word[:_RUN_BYTES] else [word[:4]]
    if len(word) > _SEGMENT_BYTES and b"/" in word:
        heads += [match[1] for match in map(_SEGMENT.match, word.split(b"/")[1:]) if match]
    return heads


def _may_be_text(head: bytes) -> bool:
    """Whether text, packed text or a binary document may begin with these three bytes."""
    first, second, third = head
    if not first or not second or head[:2] in _MAGIC or (first == 0x78 and (first << 8 | second) % 31 == 0):
        return True
    if first >> 3 and first & 7 in {0, 1, 2, 5} and (second < 0x80 or third < 0x08):
        return True  # a tag of Protocol Buffers with a short value
    if 0x81 <= first <= 0x9F or 0xDC <= first <= 0xDF:
        return True  # a map or an array of MessagePack
    left = 0  # bytes that a character still wants
    for byte in head:
        if left:
            if byte & 0xC0 != 0x80:
                return False
            left -= 1
        elif 0xC2 <= byte <= 0xF4:
            left = 1 + (byte >= 0xE0) + (byte >= 0xF0)
        elif not (0x20 <= byte < 0x7F or byte in b"\t\n\r"):
            return False
    return True


def _hints(text: bytes) -> tuple[list[int], list[int]]:
    """The ends of all places in ``text`` that hint at a value, and of those that hint at a text inside it."""
    values: list[int] = []
    layers: list[int] = []

    def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
        if number < _FIRST_LAYER:
            values.append(end)
        if number >= _FIRST_BOTH:
            layers.append(end)

    _automaton().scan(text, match_event_handler=note)
    return values, layers


@cache
def _automaton() -> hyperscan.Database:
    patterns = [*_HINTS, *_BOTH, *_LAYERS]
    database = hyperscan.Database()
    database.compile(expressions=patterns, ids=list(range(len(patterns))), flags=[0] * len(patterns))
    return database
