"""Tells at once which of many short texts need a look, and where known values stand in the others."""

from __future__ import annotations

import binascii
import re
import string
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import hyperscan

from anonymizer.detectors import birth_dates, geo, ibans, ids, macs, national_ids, secrets, tokens
from anonymizer.document import BREAK
from anonymizer.literals import Literals
from anonymizer.runs import BASE85_GROUP, SEGMENT, holds_text, is_text_in_base85
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
    rb"/(?:0|[0-9]{1,12}[^0-9/?#\x01]|[0-9]{13})|[0-9]/[0-9]{2}",
    rb"[0-9]\.[0-9]{1,3}\.[0-9]",  # of an address
    rb":[0-9A-Fa-f]{0,4}:",
    rb"\.e[wy]",
    rb"earer|PRIVATE KEY|hooks",
    rf"(?i)(?:^|[^A-Za-z0-9])(?:{_WORDS})(?:[^A-Za-z]|$)".encode(),
    rb"(?i)passport|identity|national|licen[sc]e|tax|insurance|record|(?:^|[^a-z])(?:tin|nin|mrn|mbi|id)(?:[^a-z]|$)",
)
# What no text inside another one is written without; base64 and base85 have tests of their own below.
# A run is told by its beginning, once: a report for each further byte of a long one took most of the time.
_LAYERS = (
    rb"%[0-9A-Fa-f]{2}|&(?:#|[A-Za-z]{2,8};)|\\",
    rb"(?:^|[^0-9a-f])[0-9a-f]{12}",
    rb"(?:^|[^0-9A-F])[0-9A-F]{12}",
    rb"(?:^|[^a-z2-7])[a-z2-7]{16}|[a-z2-7]{8}=",
    rb"(?:^|[^A-Z2-7])[A-Z2-7]{16}|[A-Z2-7]{8}=",
    rb"[0-9A-Fa-f]{2}(?:(?: (?:0x)?[0-9A-Fa-f]{2}){7}|(?::[0-9A-Fa-f]{2}){7}|(?:-[0-9A-Fa-f]{2}){7})",
    rb"0x[0-9A-Fa-f]{2}(?:, ?0x[0-9A-Fa-f]{2}){7}",
    rb"[0-9]{1,3}(?:\s*,\s*[0-9]{1,3}){7}",
    rb"\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xef(?:\xbb\xbf|[\xbc\xbd])",
    rb"<~",
    # elements, and operations of GraphQL
    rb"(?:^|\x01)\s*(?:<[A-Za-z_!?]|#|(?:query|mutation|subscription|fragment)[^A-Za-z0-9_]|\{\s*[A-Za-z_])",
    rb"[A-Za-z0-9+/_-]{40}\r?\n",
    # a name and a value in a query; what one letter says is a small number names nobody
    rb"[?&#][A-Za-z0-9_.\-\[\]%]{2,}=[^&#\s\"'<>\\\x01]",
    rb"[?&#][A-Za-z0-9_.\-\[\]%]=(?:[^0-9&#\s\"'<>\\\x01]|[0-9]{1,3}[^0-9&#\s\"'<>\\\x01]|[0-9]{4})",
    rb"//[^\s/?#@\"'<>\x01]*@",
    rb"=(?:[0-9A-Fa-f]{2}=|\r?\n|3D|40|20|\?)",  # quoted-printable
)
_PATTERNS = (ids.HINT.pattern, *_VALUES, *_LAYERS)
_IDS = 0
_FIRST_LAYER = 1 + len(_VALUES)
_RUN_BYTES = 8
_HEAD_BYTES = 4
_PIECE_BYTES = 16  # a part of a path that may be base64 of its own
_LONG_PIECE_BYTES = 28  # of which the beginning does not always tell what it is
_BASE85_BYTES = 10
_WORD = (string.ascii_letters + string.digits).encode()
_BOTH_ALPHABETS = _WORD + b"+-_"
_BASE85 = _BOTH_ALPHABETS + b"!#$%&()*;<=>?@^`{|}~"
_WITHIN = frozenset(bytes((byte,)) for byte in _WORD + b"-_")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_MAGIC = frozenset({b"\x1f\x8b", b"\x28\xb5", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb"})  # gzip, zstd, marks
_MAX_HEADS = 65_536


def _all_but(kept: bytes) -> bytes:
    """A table for `bytes.translate` that leaves ``kept`` and makes spaces of the rest."""
    return bytes(byte if byte in kept else 32 for byte in range(256))


_NO_RUN = _all_but(_BOTH_ALPHABETS + b"/")
_NO_PIECE = _all_but(_BOTH_ALPHABETS)
_NO_BASE85 = _all_but(_BASE85)


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
    """
    Sorts texts into those to look at and those that hold known values at most.

    ``uuids`` says that those are values too.
    """

    def __init__(self, literals: Literals | None, *, uuids: bool = False) -> None:
        self._literals = literals
        self._uuids = uuids
        self._dull: set[bytes] = set()  # beginnings of base64 that stand for no text

    def sort(self, texts: Sequence[bytes]) -> Sorted:
        """What to look at in ``texts``, whatever their places tell besides."""
        joined = BREAK.join(texts)
        starts = [0, *accumulate(len(text) + 1 for text in texts)]
        value_places, layer_places = self._hints(joined)
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

    def _hints(self, joined: bytes) -> tuple[list[int], list[int]]:
        """The ends of all places that hint at a value, and of those that hint at a text inside a text."""
        values: list[int] = []
        layers: list[int] = []
        first = _IDS + (not self._uuids)

        def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            if number >= first:
                (values if number < _FIRST_LAYER else layers).append(end)

        _automaton().scan(joined, match_event_handler=note)
        return values, layers

    def _runs(self, joined: bytes) -> list[int]:
        """Places (after their first byte) of texts in base64 and base85, and of hashes of known values."""
        words = {*joined.translate(_NO_RUN).split()}
        dull = self._dull
        runs = {
            word
            for word in words
            if len(word) >= _RUN_BYTES and word[:_HEAD_BYTES] not in dull and self._is_telling(word)
        }
        for piece in {*joined.translate(_NO_PIECE).split()}:
            if len(piece) >= _PIECE_BYTES:
                if len(piece) >= _LONG_PIECE_BYTES:
                    runs |= {piece} if piece in words else {word for word in words if piece in word}
                runs.update(SEGMENT.findall(piece))
        runs = {run for run in runs if holds_text(run)}
        runs |= {
            word
            for word in {*joined.translate(_NO_BASE85).split()}
            if len(word) >= _BASE85_BYTES
            and word.translate(None, _BOTH_ALPHABETS)
            and is_text_in_base85(word[:BASE85_GROUP])
        }
        if self._literals is not None:
            heads = self._literals.hash_heads
            runs |= {word for word in words if word[:_HEAD_BYTES] in heads}
        places: list[int] = []
        for run in runs:
            place = joined.find(run)
            while place >= 0:
                stop = place + len(run)
                if joined[place - 1 : place] not in _WITHIN and joined[stop : stop + 1] not in _WITHIN:
                    places.append(place + 1)
                place = joined.find(run, place + 1)
        return places

    def _is_telling(self, run: bytes) -> bool:
        """Whether base64 that begins like ``run`` may be text or packed text."""
        head = run[:_HEAD_BYTES]
        if _may_be_text(binascii.a2b_base64(head.translate(_TO_STANDARD))):
            return True
        if len(self._dull) >= _MAX_HEADS:
            self._dull.clear()
        self._dull.add(head)
        return False


def tells_of_numbers(text: bytes) -> bool:
    """Whether a word of ``text`` says that a number in it is somebody's."""
    return _TOLD.search(text) is not None


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


@cache
def _automaton() -> hyperscan.Database:
    database = hyperscan.Database()
    database.compile(expressions=list(_PATTERNS), ids=list(range(len(_PATTERNS))), flags=[0] * len(_PATTERNS))
    return database
