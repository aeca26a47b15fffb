"""
What clients' messages carry of what responses minted: which words, from where, how long after.

A word stands for itself or is the whole of a JSON string: tokens have dots, slashes and equal signs in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from captures.bodies import json
from replayer.chain import holds_id, is_weak
from replayer.places import MAX_VALUE_BYTES, Spot, json_spots
from replayer.shown import by_sizes

WORD_BYTES = 6
WORDS = re.compile(rb"eyJ[\w-]+\.[\w-]+\.[\w-]*|[\w-]{%d,}" % WORD_BYTES, re.ASCII)
"""What may be a minted value or a token: a JWT, or a run of letters, digits, ``_`` and ``-``."""
_SPEECH = re.compile(  # a string, all from the quote of one without an end, or a word
    rb'"((?:[^"\\]++|\\.)*+)"|(".*+)|' + WORDS.pattern, re.ASCII | re.DOTALL
)
_MESSAGE = "message"
_PARTS = re.compile(rb"[:/,. ]")  # between the parts of a topic


class Origin(NamedTuple):
    """Where a word comes from: a place of the response to ``seq``, which was whole at ``end_ns``."""

    seq: int
    place: str
    end_ns: int


class Carried(NamedTuple):
    """
    A word of a client's message, at ``spot`` of it, that the response to ``parent`` minted at ``place``.

    ``think_ns`` is the recorded time from that response's end to the message.
    """

    word: bytes
    spot: str
    parent: int
    place: str
    think_ns: int

    def __repr__(self) -> str:
        """Sizes alone."""
        return by_sizes(self)


def words_of(payload: bytes, *, text: bool) -> set[bytes]:
    """Every word of a message, and in a text every string that may be a minted value."""
    words = set(WORDS.findall(payload))
    for match in _SPEECH.finditer(payload) if text else ():
        if match[1] is not None and len(match[1]) >= WORD_BYTES:
            words.add(_plain(match[1]))
    return {word for word in words if len(word) <= MAX_VALUE_BYTES}


def carried_by(
    payload: bytes, offset_ns: int, origins: Mapping[bytes, Origin], *, text: bool
) -> Iterator[Carried]:
    """What a message that was said at ``offset_ns`` carries, in the order of the words."""
    for word in sorted(word for word in words_of(payload, text=text) if word in origins):
        origin = origins[word]
        spot, named = _spot_of(payload, word)
        if origin.end_ns <= offset_ns and (not is_weak(word) or (holds_id(origin.place) and named)):
            yield Carried(word, spot, origin.seq, origin.place, offset_ns - origin.end_ns)


def respoken(payload: bytes, fresh: Callable[[bytes], bytes | None], *, text: bool) -> bytes:
    """A message in which ``fresh`` has taken the place of the words that it gives something for."""

    def word(match: re.Match[bytes]) -> bytes:
        value = fresh(match[0])
        if value is None:
            return match[0]
        return _in_json(value) if text else value

    def speech(match: re.Match[bytes]) -> bytes:
        inside, rest = match.groups()
        if inside is None:
            return word(match) if rest is None else WORDS.sub(word, rest)
        value = fresh(_plain(inside)) if len(inside) >= WORD_BYTES else None
        return b'"%b"' % (WORDS.sub(word, inside) if value is None else _in_json(value))

    return _SPEECH.sub(speech, payload) if text else WORDS.sub(word, payload)


def _in_json(value: bytes) -> bytes:
    """A value as it stands in a JSON text; text messages are JSON but for rare ones, where it is the same."""
    return json.escape(value.decode("utf-8", "replace").encode())


def _plain(inside: bytes) -> bytes:
    return json.unescape(inside).text if b"\\" in inside else inside


def places_of(payload: bytes) -> set[str]:
    """The places of a message, by which the spot of a word in it is called."""
    if not json.looks_like_json(payload):
        return {_MESSAGE}
    return {_place(spot) for spot in json_spots(payload)}


def _place(spot: Spot) -> str:
    return _MESSAGE + spot.place.removeprefix("body")


def _spot_of(payload: bytes, word: bytes) -> tuple[str, bool]:
    """Where ``word`` stands in a message, and whether it is named there as ids are."""
    for spot in json_spots(payload) if json.looks_like_json(payload) else ():
        if word in spot.value:
            in_topic = spot.value != word and word in _PARTS.split(spot.value)
            return _place(spot), in_topic or holds_id(spot.place)
    return _MESSAGE, False
