"""What JSON documents look like without their values; both passes over a capture share it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from anonymizer.detectors import cards, ips
from anonymizer.detectors.base import Context, normal_key
from anonymizer.detectors.names import marks_a_person
from captures.bodies import json
from captures.bodies.json import JsonLeaf, LeafRole
from captures.units import MIB

LeafContext = tuple[bytes, bytes, bool]
"""A leaf's key, the key of the object it is in, and whether that is about a person."""

LeafPlace = tuple[tuple[bytes, ...], bytes]
"""The keys above a leaf's own key from the root on, and that key."""

# A card and an address, and one behind a word: some keys (ids, versions, browsers) say that it is none.
_DOUBTED = ((cards.find, b"4111111111111111"), (ips.find, b"8.8.8.8"), (ips.find, b"by the 8.8.8.8"))
MAX_BYTES = 64 * MIB  # of shapes and layouts, and what rests on them
_SHAPE_BYTES = 500
_ODD_NUMBER = re.compile(rb"[-.]|0[eE]")


def doubts(context: LeafContext) -> tuple[bool, ...]:
    """Which values do not count in ``context`` though they have their shape: places that agree are alike."""
    around = Context(key=normal_key(context[0]), parent=normal_key(context[1]), person=context[2])
    return tuple(not any(find(text, around)) for find, text in _DOUBTED)


class Layout:
    """
    The places of the strings and numbers of documents that are alike but for their values.

    ``is_key`` and ``contexts`` and ``places`` have an entry for each string in order, the other
    two one for each number. Entries that are equal are one object.
    """

    __slots__ = ("contexts", "is_key", "number_contexts", "number_places", "places")

    def __init__(self, leaves: Sequence[JsonLeaf], people: set[int]) -> None:
        contexts: dict[LeafContext, LeafContext] = {}
        places: dict[LeafPlace, LeafPlace] = {}
        self.is_key: list[bool] = []
        self.contexts: list[LeafContext] = []
        self.places: list[LeafPlace] = []
        self.number_contexts: list[LeafContext] = []
        self.number_places: list[LeafPlace] = []
        for role, _start, _stop, key, path, holder in leaves:
            own = (key, path[-1] if path else b"", holder in people)
            context = contexts.setdefault(own, own)
            place = places.setdefault((path, key), (path, key))
            if role is LeafRole.NUMBER:
                self.number_contexts.append(context)
                self.number_places.append(place)
            else:
                self.is_key.append(role is LeafRole.KEY)
                self.contexts.append(context)
                self.places.append(place)


class Shape:
    """
    The layouts of documents with one `json.shape`, by their keys.

    ``odd_numbers`` says that numbers have signs, decimals or exponents.
    """

    __slots__ = ("_key_places", "_keys_of", "_layouts", "_rests", "odd_numbers")

    def __init__(self, shape: bytes, leaves: Sequence[JsonLeaf]) -> None:
        strings = [leaf for leaf in leaves if leaf.role is not LeafRole.NUMBER]
        self._key_places = [at for at, leaf in enumerate(strings) if leaf.role is LeafRole.KEY]
        self._keys_of = _getter(self._key_places)
        self._rests = shape.split(b'"')
        self._layouts: dict[Any, Layout] = {}
        self.odd_numbers = _ODD_NUMBER.search(shape) is not None

    def layout(self, strings: list[bytes], *, marked: bool) -> Layout:
        """The layout of a document of this shape with these ``strings``."""
        keys = self._keys_of(strings)
        known = self._layouts.get(keys)
        if known is None:
            known = self._layouts[keys] = self._made(strings, marked=marked)
        return known

    def _made(self, strings: list[bytes], *, marked: bool) -> Layout:
        parts = [b""] * (2 * len(strings) + 1)
        parts[::2] = self._rests
        for at in self._key_places:
            parts[2 * at + 1] = strings[at]
        whole = b'"'.join(parts)
        leaves = json.scan(json.unmarked(whole) if marked else whole)
        people = {leaf.holder for leaf in leaves if leaf.role is LeafRole.KEY and marks_a_person(leaf.key)}
        return Layout(leaves, people)


class Layouts:
    """
    The shapes that were met; those of texts that are not quite JSON are None.

    When they and what is remembered for them are too much, all is forgotten.
    """

    __slots__ = ("_known", "_size_bytes", "forgotten", "repeated")

    def __init__(self) -> None:
        self._known: dict[bytes, Shape | None] = {}
        self._size_bytes = 0
        self.forgotten = 0
        """How often all was forgotten; what rests on a layout of before is to be forgotten too."""
        self.repeated: set[int] = set()
        """Documents (as `templates.alike` numbers them) that came more than once."""

    def of(self, shape: bytes) -> Shape | None:
        """What is known of documents of this ``shape``, None when it is none of JSON."""
        if shape in self._known:
            return self._known[shape]
        leaves = json.scan(shape.replace(b'"', b'""'))
        stray = any(leaf.role is LeafRole.OTHER for leaf in leaves)
        known = None if stray else Shape(shape, leaves)
        self.take(_SHAPE_BYTES + 2 * len(shape))
        self._known[shape] = known
        return known

    def take(self, size_bytes: int) -> None:
        """Hear of so much more that is remembered for a layout."""
        self._size_bytes += size_bytes
        if self._size_bytes > MAX_BYTES:
            self._known.clear()
            self.forgotten += 1
            self._size_bytes = size_bytes


def _getter(places: list[int]) -> Callable[[list[bytes]], Any]:
    return itemgetter(*places) if places else lambda _strings: ()
