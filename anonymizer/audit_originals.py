"""Everything of a capture that its anonymized copy no longer holds at the same place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, zip_longest

import numpy as np

from anonymizer.audit_pieces import Seen
from anonymizer.audit_places import (
    Place,
    capture_places,
    message_place,
    outcome_places,
    request_places,
    without_common,
)
from anonymizer.audit_reserved import cannot_be_real
from anonymizer.audit_sieve import Sought
from anonymizer.audit_spans import Part, place_spans
from anonymizer.encodings import is_token
from captures.errors import UsageError
from captures.model import Message
from captures.reader import CaptureReader

_LONG_VALUE_BYTES = 512  # of a longer original the middle is searched
_CHUNK_ORIGINALS = 50_000  # searched at once, with some 2 KB for each


@dataclass(slots=True, kw_only=True)
class Originals:
    """
    Every distinct original with the place where it was first replaced.

    ``short``, ``common`` and ``reserved`` are not searched: too short, words of the trade, and
    values that belong to nobody. ``wholes`` are the fields around originals.
    """

    number_of: dict[bytes, int] = field(default_factory=dict, repr=False)
    wholes: dict[bytes, str] = field(default_factory=dict, repr=False)
    short: set[bytes] = field(default_factory=set, repr=False)
    common: set[bytes] = field(default_factory=set, repr=False)
    reserved: set[bytes] = field(default_factory=set, repr=False)
    messages: int = 0
    _replaced_at: list[str] = field(default_factory=list)
    _seen: Seen = field(default_factory=set, repr=False)

    @property
    def found_any(self) -> bool:
        """Whether anything was replaced."""
        return bool(self.number_of or self.short or self.common or self.reserved)

    def replaced_at(self) -> list[str]:
        """Where each was replaced, by its number: the originals and then the fields around them."""
        return [*self._replaced_at, *self.wholes.values()]

    def add(self, original: Place, anonymized: Place | None, where: str) -> None:
        """Take what differs between a place and its counterpart."""
        for span in place_spans(original, anonymized, self._seen):
            if span.part is Part.SHORT:
                self.short.add(span.value)
            elif span.part is Part.COMMON:
                self.common.add(span.value)
            elif span.part is Part.WHOLE:
                self.wholes.setdefault(span.value, where)
            elif span.value not in self.number_of:
                self._add_value(span.value, where)

    def _add_value(self, value: bytes, where: str) -> None:
        value = _middle(value)
        if not is_token(value) and cannot_be_real(value):
            self.reserved.add(value)
        elif value not in self.number_of:
            self.number_of[value] = len(self._replaced_at)
            self._replaced_at.append(where)

    def chunks(self) -> Iterator[Sought]:
        """All originals in pieces of which each fits in memory; at least one."""
        values = enumerate(self.number_of)
        fields = (
            (number, value)
            for number, value in enumerate(self.wholes, start=len(self.number_of))
            if value not in self.number_of and not is_token(value) and not cannot_be_real(value)
        )
        while True:
            originals = dict(islice(values, _CHUNK_ORIGINALS))
            chunk = Sought(originals, dict(islice(fields, _CHUNK_ORIGINALS - len(originals))))
            yield chunk
            if len(chunk.originals) + len(chunk.fields) < _CHUNK_ORIGINALS:
                return


def _middle(value: bytes) -> bytes:
    if len(value) <= _LONG_VALUE_BYTES:
        return value
    start = (len(value) - _LONG_VALUE_BYTES) // 2
    return value[start : start + _LONG_VALUE_BYTES]


def collect(original: CaptureReader, anonymized: CaptureReader) -> Originals:
    """
    Align two captures and take what differs.

    Raises:
        UsageError: they do not hold the same exchanges and messages.

    """
    if not np.array_equal(original.index.seq, anonymized.index.seq):
        raise UsageError(
            f"The captures hold different exchanges ({len(original)} and {len(anonymized)}); "
            "give the original and the capture that was made from it by anonymize."
        )
    originals = Originals()
    _pair(capture_places(original.header), capture_places(anonymized.header), "capture header", originals)
    for before, after in zip(original.exchanges(), anonymized.exchanges(), strict=True):
        where = f"exchange {before.seq}"
        if before.request != after.request:
            headers = without_common(before.request.headers, after.request.headers)
            lefts, rights = map(request_places, (before.request, after.request), headers)
            _pair(lefts, rights, where, originals)
        if before.outcome != after.outcome:
            _pair(outcome_places(before.outcome), outcome_places(after.outcome), where, originals)
    for first, second in zip_longest(original.messages(), anonymized.messages()):
        if first is None or second is None or _identity(first) != _identity(second):
            raise UsageError(
                "The captures hold different messages; "
                "give the original and the capture that was made from it by anonymize."
            )
        originals.messages += 1
        if first.payload != second.payload:
            where = f"exchange {first.exchange}, message"
            originals.add(message_place(first, 0), message_place(second, 0), where)
    return originals


def _identity(message: Message) -> tuple[int, str, bool]:
    return message.exchange, message.kind, message.from_client


def _pair(before: Iterator[Place], after: Iterator[Place], where: str, originals: Originals) -> None:
    befores, afters = list(before), list(after)
    counterparts: dict[tuple[str, bytes, int], Place] | None = None
    for number, place in enumerate(befores):
        other = afters[number] if number < len(afters) else None
        if other is None or other.key != place.key:  # the places are not the same ones from here on
            counterparts = counterparts or {after.key: after for after in afters}
            other = counterparts.get(place.key)
        if other is None or other.data != place.data:
            originals.add(place, other, f"{where}, {place.name}")
