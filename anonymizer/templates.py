"""
Whole JSON documents that differ from one before only in hashes, times and numbers that come once.

What such a document has besides is compared at once instead of string by string, and what comes
out is put together of what came out then. Strings that were seen to differ are slots: they are
looked up one by one. Where anything else differs, or where a value in one of the holes may be
somebody's after all, there is no answer, and each string is looked up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum
from operator import itemgetter
from typing import Any, NamedTuple

from anonymizer.document import BREAK, HOLE, Labels, Outcome, Told, hides
from anonymizer.literals import Literals
from captures.bodies import json
from captures.units import MIB

_MAX_DOCUMENT_BYTES = MIB
_MAX_BYTES = 32 * MIB
_HOLE_BYTES = 400
_MAX_SIGHTINGS = 65_536
_HEX = b"0123456789abcdef"
_ALIKE = bytes.maketrans(_HEX, b"0" * len(_HEX))
_ZEROS = bytes.maketrans(b"0123456789", b"0" * 10)
_MIN_LONG_BYTES = 10


class Hole(Enum):
    """What stands in a hole."""

    NUMBER = "number"  # or a time
    HASH = "hash"  # or a UUID
    SLOT = "slot"  # a whole string


class Span(NamedTuple):
    """A hole in a document, from ``start`` to ``stop``."""

    start: int
    stop: int
    hole: Hole


def alike(data: bytes) -> int:
    """A number that documents share which differ in hashes, times and numbers alone; seldom others do."""
    return hash(data.translate(_ALIKE))


class Template:
    """A document with holes, as it came in and as it came out."""

    __slots__ = (
        "_hash_skeleton",
        "_hashes",
        "_holes",
        "_long",
        "_near",
        "_new",
        "_numbers",
        "_old",
        "_outcomes",
        "_skeleton",
        "_slot_parts",
        "_slot_skeleton",
        "_slots",
        "_told",
        "_windows",
        "size_bytes",
        "slots",
    )

    def __init__(
        self,
        data: bytes,
        spans: Sequence[Span],
        windows: Sequence[tuple[int, int]],
        new: bytes,
        literals: Literals | None,
        told: Callable[[tuple[Labels, ...]], Told | None],
        outcomes: Callable[[Sequence[bytes]], Sequence[Outcome]],
        slots: frozenset[int] = frozenset(),
    ) -> None:
        """
        Learn from ``data``, which came out as ``new`` with a `HOLE` for each of ``spans``.

        ``windows`` are the strings with holes that are no slots, from their quotes on. ``outcomes``
        are those of the strings at ``slots``, and ``told`` gives what is to be told where they are
        labelled so.
        """

        def only(hole: Hole) -> Callable[[Sequence[bytes]], tuple[bytes, ...]]:
            return _getter([at for at, span in enumerate(spans) if span.hole is hole])

        self._old = _with_room(_between(data, spans))
        self._new = _with_room(new.split(HOLE))
        self._holes = _slices([(span.start, span.stop) for span in spans])
        self._numbers, self._hashes, self._slots = map(only, (Hole.NUMBER, Hole.HASH, Hole.SLOT))
        self._slot_parts = [2 * at + 1 for at, span in enumerate(spans) if span.hole is Hole.SLOT]
        holes = self._holes(data)
        self._long = _getter(
            [at for at, span in enumerate(spans) if span.hole is Hole.NUMBER and _is_long_number(holes[at])]
        )
        self._skeleton = BREAK.join(self._numbers(holes)).translate(_ZEROS)
        self._hash_skeleton = BREAK.join(self._hashes(holes)).translate(_ALIKE)
        self._slot_skeleton = BREAK.join(self._slots(holes)).translate(_ALIKE)
        self._windows = _slices(windows)
        self._near = [] if literals is None else literals.near_numbers(BREAK.join(self._windows(data)))
        self._told = told if self._slot_parts else _always(told(()))
        self._outcomes = outcomes
        self.slots = slots
        self.size_bytes = 2 * len(data) + len(new) + _HOLE_BYTES * (1 + len(spans))

    def filled(self, data: bytes, literals: Literals | None) -> tuple[bytes, Told | None] | None:
        """
        ``data`` as it comes out and what is to be told of it, None when it is not of this template.

        Without ``literals`` it comes out as it is.
        """
        holes = self._holes(data)
        self._old[1::2] = holes
        if b"".join(self._old) != data or not self._pass(data, holes, literals):
            return None
        slots = self._slots(holes)
        if slots and BREAK.join(slots).translate(_ALIKE) != self._slot_skeleton:
            return None
        outcomes = self._outcomes(slots) if slots else ()
        if literals is None:
            return data, None
        self._new[1::2] = holes
        for at, (new, _) in zip(self._slot_parts, outcomes, strict=True):
            self._new[at] = new
        return b"".join(self._new), self._told(tuple([labels for _, labels in outcomes]))

    def differing(self, strings: Sequence[bytes]) -> frozenset[int]:
        """Which of the ``strings`` of the last document are others than this template has at their places."""
        nearest = json.cut(b"".join(self._old))
        if nearest is None or len(nearest.parts) != 2 * len(strings) + 1:
            return frozenset()
        pairs = zip(strings, nearest.parts[1::2], strict=True)
        return frozenset(at for at, (one, other) in enumerate(pairs) if one != other)

    def _pass(self, data: bytes, holes: tuple[bytes, ...], literals: Literals | None) -> bool:
        numbers = BREAK.join(self._numbers(holes))
        if numbers.translate(_ZEROS) != self._skeleton or b"/0" in numbers or b'"0' in numbers:
            return False
        hashes = self._hashes(holes)
        if hashes and (
            BREAK.join(hashes).translate(_ALIKE) != self._hash_skeleton
            or any(hides(value[1:], literals) for value in {*hashes})
        ):
            return False
        long = self._long(holes)
        if any(number.startswith(b"0") for number in long):
            return False
        if literals is None:
            return True
        if any(map(literals.is_number, long)):
            return False
        return literals.near_numbers(BREAK.join(self._windows(data))) == self._near


class Templates:
    """The templates that were used last, by `alike`; ``repeated`` are documents that came more than once."""

    __slots__ = ("_known", "_repeated", "_seen", "_size_bytes")

    def __init__(self, repeated: set[int]) -> None:
        self._known: OrderedDict[int, Template] = OrderedDict()
        self._repeated = repeated
        self._seen: set[int] = set()
        self._size_bytes = 0

    def get(self, number: int) -> Template | None:
        """What is known of documents with this ``number``."""
        known = self._known.get(number)
        if known is not None:
            self._known.move_to_end(number)
        return known

    def wants(self, number: int, size_bytes: int) -> bool:
        """Whether a document with this ``number`` is worth learning, since it came before."""
        if size_bytes > _MAX_DOCUMENT_BYTES:
            return False
        if number in self._repeated:
            return True
        known = self._repeated if number in self._seen else self._seen
        if len(known) >= _MAX_SIGHTINGS:
            known.clear()
        known.add(number)
        return known is self._repeated

    def put(self, number: int, template: Template) -> None:
        """Keep ``template`` as long as it is used more than others."""
        former = self._known.pop(number, None)
        if former is not None:
            self._size_bytes -= former.size_bytes
        self._known[number] = template
        self._size_bytes += template.size_bytes
        while self._size_bytes > _MAX_BYTES:
            _, oldest = self._known.popitem(last=False)
            self._size_bytes -= oldest.size_bytes


def _always(told: Told | None) -> Callable[[tuple[Labels, ...]], Told | None]:
    return lambda _labels: told


def _is_long_number(hole: bytes) -> bool:
    return len(hole) >= _MIN_LONG_BYTES and hole.isdigit()


def _between(data: bytes, spans: Sequence[Span]) -> list[bytes]:
    starts = [0, *(span.stop for span in spans)]
    stops = [*(span.start for span in spans), len(data)]
    return [data[start:stop] for start, stop in zip(starts, stops, strict=True)]


def _with_room(constants: list[bytes]) -> list[bytes]:
    """``constants`` at every other place."""
    parts = [b""] * (2 * len(constants) - 1)
    parts[::2] = constants
    return parts


def _slices(spans: Sequence[tuple[int, int]]) -> Callable[[bytes], tuple[bytes, ...]]:
    return _getter([slice(start, stop) for start, stop in spans])


def _getter(places: Sequence[Any]) -> Callable[[Any], tuple[bytes, ...]]:
    """What gives a tuple of what stands at ``places``, also where there are none or one."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda whole: tuple([whole[place] for place in places])
