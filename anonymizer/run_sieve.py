"""Tells at once which runs of letters in many texts stand for a text: base64, base32 and base85."""

from __future__ import annotations

import re
import string
from functools import cache

import hyperscan

from anonymizer.runs import BASE85_GROUP, SEGMENT, holds_text, is_text_in_base32, is_text_in_base85

_LETTERS = rb"A-Za-z0-9+_"  # of base64 and base64url, with a hyphen, which stands last in a set
_RUN = re.compile(rb"[%b/-]+" % _LETTERS)
_RUN_BYTES = 8
_HEAD_BYTES = 4
_HASH_BYTES = 16
_PIECE = re.compile(rb"[%b-]+" % _LETTERS)
_PIECE_BYTES = 16  # a part of a path that may be base64 of its own
_LONG_PIECE_BYTES = 28  # of which the beginning does not always tell what it is
_RUN_32 = re.compile(rb"[a-z2-7]+|[A-Z2-7]+")
_RUN_32_BYTES = 16
_NO_RUN = bytes(byte if _RUN.match(b"%c" % byte) else 32 for byte in range(256))
_SLASH = ord("/")
_SIGNS = rb"!#$%&()*;<=>?@\^`{|}~"  # of base85, which base64 lacks
_ALL_85 = rb"0-9A-Za-z_+\-" + _SIGNS
_OF_85 = frozenset((string.ascii_letters + string.digits + "!#$%&()*+-;<=>?@^_`{|}~").encode())

_ANY_QUARTER = frozenset(range(4))
_OF_LETTERS = frozenset({0, 1, 3})  # or of the beginning of another character in UTF-8
_OF_REST = frozenset({2})
_MAGIC = frozenset({(0x1F, 8), (0x28, 11), (0xFF, 15), (0xFE, 15), (0xEF, 11)})  # gzip, zstd, marks
_TAGS = frozenset(byte for byte in range(8, 256) if byte & 7 in {0, 1, 2, 5})  # of Protocol Buffers
_MSGPACK = frozenset((*range(0x81, 0xA0), *range(0xDC, 0xE0)))  # maps and arrays
_LETTER = frozenset((*range(0x20, 0x7F), *b"\t\n\r"))


def texts_in_runs(joined: bytes) -> list[int]:
    """Places (after their first byte) of runs that stand for a text in base64, base32 or base85."""
    heads: list[int] = []
    pieces: list[int] = []
    words: list[int] = []
    runs_of_32: list[int] = []
    found = (heads, pieces, words, runs_of_32)

    def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
        found[number].append(end)

    _automaton().scan(joined, match_event_handler=note)
    matched = _RUN.match
    places = [end for end in heads if (run := matched(joined, end - _RUN_BYTES)) and holds_text(run[0])]
    places += [end for end in pieces if _piece_holds(joined, end - _PIECE_BYTES)]
    places += [end for end in words if _is_base85(joined, end - 1)]
    for end in runs_of_32:
        run_of_32 = _RUN_32.match(joined, end - _RUN_32_BYTES)
        if run_of_32 and is_text_in_base32(run_of_32[0]):
            places.append(end)
    return places


def heads_of_runs(joined: bytes, heads: frozenset[bytes]) -> list[int]:
    """Places (after their first byte) of the long runs of base64 that begin like one of ``heads``."""
    words = joined.translate(_NO_RUN).split()
    known = heads.intersection([word[:_HEAD_BYTES] for word in words if len(word) >= _HASH_BYTES])
    places: list[int] = []
    for head in known:
        place = joined.find(head)
        while place >= 0:
            places.append(place + 1)
            place = joined.find(head, place + 1)
    return places


def _piece_holds(joined: bytes, start: int) -> bool:
    """Whether the part of a path that begins at ``start`` stands for a text, or a long run that it is in."""
    piece = _PIECE.match(joined, start)
    if piece is None:
        return False
    if any(map(holds_text, SEGMENT.findall(piece[0]))):
        return True
    if piece.end() - start < _LONG_PIECE_BYTES:
        return False
    if start and joined[start - 1] == _SLASH:
        start = next(at for at in range(start, -1, -1) if not at or not _RUN.match(joined, at - 1))
    run = _RUN.match(joined, start)
    return run is not None and holds_text(run[0])


def _is_base85(joined: bytes, at: int) -> bool:
    """Whether the word of base85 that the byte ``at`` is in begins with a text."""
    while at > 0 and joined[at - 1] in _OF_85:
        at -= 1
    return is_text_in_base85(joined[at : at + BASE85_GROUP])


@cache
def _automaton() -> hyperscan.Database:
    patterns = (
        rb"(?:^|[^%b/-])(?:%b)[%b/-]{%d}" % (_LETTERS, _heads(), _LETTERS, _RUN_BYTES - 3),
        rb"(?:^|[^%b-])[%b-]{%d}" % (_LETTERS, _LETTERS, _PIECE_BYTES),
        _base85(),
        b"(?:^|[^a-z2-7])[a-z2-7]{%d}|(?:^|[^A-Z2-7])[A-Z2-7]{%d}" % (_RUN_32_BYTES, _RUN_32_BYTES),
    )
    database = hyperscan.Database()
    database.compile(expressions=patterns, ids=list(range(len(patterns))), flags=[0] * len(patterns))
    return database


def _heads() -> bytes:
    """
    A pattern for the first three characters of base64 and base64url that may stand for a text.

    The third character tells the first two bits of the third byte.
    """
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    firsts: dict[str, str] = {}
    for high, first in enumerate(alphabet):
        seconds: dict[frozenset[int], str] = {}
        for low, second in enumerate(alphabet):
            quarters = _third_quarters(high << 2 | low >> 4, low & 15)
            seconds[quarters] = seconds.get(quarters, "") + second
        told = "|".join(
            _one_of(letters)
            + _one_of("".join(char for at, char in enumerate(alphabet) if at & 3 in quarters))
            for quarters, letters in seconds.items()
            if quarters
        )
        firsts[told] = firsts.get(told, "") + first
    return "|".join(f"{_one_of(letters)}(?:{told})" for told, letters in firsts.items() if told).encode()


def _one_of(letters: str) -> str:
    return "[" + letters.replace("+", "+\\-").replace("/", "/_") + "]"


def _third_quarters(first: int, half: int) -> frozenset[int]:
    """The first two bits of what may follow the byte ``first`` and one with the upper ``half``."""
    if not first or not half or first in _MSGPACK or (first, half) in _MAGIC or first == 0x78:
        return _ANY_QUARTER
    quarters: frozenset[int] = frozenset()
    if first in _TAGS:
        quarters = _ANY_QUARTER if half < 8 else frozenset({0})
    if first in _LETTER:
        quarters |= _OF_LETTERS if half < 8 else _OF_REST if half >= 12 else frozenset()
    elif 0xC2 <= first <= 0xF4 and 8 <= half < 12:
        quarters |= _OF_LETTERS if first < 0xE0 else _OF_REST
    return quarters


def _base85() -> bytes:
    """A pattern for words of ten characters with a sign of base85, whose first one text may begin with."""
    letter, sign = rb"[2-4A-Za-e+\-]", rb"[!#$%&()*;<=>?@\^]"
    both, signs, every = rb"[0-9A-Za-z_+\-]", rb"[%b]" % _SIGNS, rb"[%b]" % _ALL_85
    ways = [sign + every * 9]
    ways += [letter + both * at + signs + every * (8 - at) for at in range(9)]
    ways += [letter + both * 9 + both + b"*" + signs]
    return rb"(?:^|[^%b])(?:%b)" % (_ALL_85, b"|".join(ways))
