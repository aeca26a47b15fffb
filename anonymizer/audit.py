"""
Prove that nothing which was replaced is still there.

The audit needs no key, no policy and no report, and shares no code with what it checks: it
aligns two captures, takes every span of the original that differs from its counterpart, and
looks for each in every byte of the anonymized capture, in every encoding of
`anonymizer.encodings`. By contract a replaced span that survives anywhere is a leak, also where
it stands as another person's stand-in. A value that was never replaced is not an original and
is not seen by this check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from anonymizer.audit_paths import json_path, masked_shape, string_offset
from anonymizer.audit_places import Place, capture_places, exchange_places, message_place, stored_bodies
from anonymizer.audit_search import PREFIX_BYTES, Hit, Searcher
from anonymizer.audit_spans import Part, Seen, place_spans
from anonymizer.encodings import HASHES, MIN_PATTERN_BYTES, Encoding, patterns_of
from captures.errors import UsageError
from captures.model import Message
from captures.reader import CaptureReader
from captures.units import MIB

LEAKS_LISTED_MAX = 1_000
_LONG_VALUE_BYTES = 512  # of a longer original the middle is searched
_CHUNK_BYTES = 4 * MIB  # of prefixes at once, which take about 40 times as much memory
_CLEAN_MAX = 200_000  # short texts remembered as searched


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """
    One original that survived.

    ``exchange`` is the seq, None in the capture's own header. ``shape`` is the masked original
    and ``replaced_at`` a place where it was replaced, so that its owner can find it; the value
    itself is never held.
    """

    exchange: int | None
    place: str
    path: str
    encoding: str
    shape: str
    replaced_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """
    What was searched and what was found.

    ``originals``, ``unsearched`` (too short) and ``common`` (words of the trade, not searched
    either) count distinct values; ``leaks`` lists at most
    ``LEAKS_LISTED_MAX`` of ``leak_count``. ``searched_bytes`` are decoded bytes.
    """

    exchanges: int
    messages: int
    originals: int
    unsearched: int
    common: int
    patterns: int
    searched_bytes: int
    undecodable: int
    leak_count: int
    leaks: tuple[Leak, ...]
    notes: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing survived."""
        return self.leak_count == 0


@dataclass(slots=True, kw_only=True)
class _Originals:
    """Every distinct original with the place where it was first replaced."""

    number_of: dict[bytes, int] = field(default_factory=dict)
    replaced_at: list[str] = field(default_factory=list)
    wholes: dict[bytes, str] = field(default_factory=dict)
    short: set[bytes] = field(default_factory=set)
    common: set[bytes] = field(default_factory=set)
    seen: Seen = field(default_factory=set)

    def add(self, original: Place, anonymized: Place | None, where: str) -> None:
        for span in place_spans(original, anonymized, self.seen):
            if span.part is Part.SHORT:
                self.short.add(span.value)
            elif span.part is Part.COMMON:
                self.common.add(span.value)
            elif span.part is Part.WHOLE:
                self.wholes.setdefault(span.value, where)
            else:
                value = _middle(span.value)
                if value not in self.number_of:
                    self.number_of[value] = len(self.replaced_at)
                    self.replaced_at.append(where)

    def patterns(self) -> Iterator[tuple[bytes, tuple[int, Encoding]]]:
        """Each pattern with the number of its original; whole fields are numbered after the originals."""
        for value, number in self.number_of.items():
            for pattern, encoding in patterns_of(value):
                yield pattern, (number, encoding)
        for number, value in enumerate(self.wholes, start=len(self.number_of)):
            if value not in self.number_of:
                for encoding in HASHES:
                    for pattern in encoding.patterns(value):
                        yield pattern, (number, encoding)


@dataclass(slots=True, kw_only=True)
class _Findings:
    leaks: list[Leak] = field(default_factory=list)
    leak_count: int = 0
    searched_bytes: int = 0
    undecodable: int = 0


def audit(original: CaptureReader, anonymized: CaptureReader) -> AuditReport:
    """
    Search ``anonymized`` for everything of ``original`` that it was meant to replace.

    Both are read twice at most (the second once more for every 15,000 or so originals); memory is bounded
    by the distinct originals.

    Raises:
        UsageError: the second was never anonymized (so a clean answer would say nothing), or the
            two do not hold the same exchanges, so that nothing can be aligned.

    """
    if anonymized.header.anonymized is None:
        raise UsageError(
            f"{anonymized.path.name} was not made by hookreel anonymize; "
            "give the original first and the anonymized capture second."
        )
    originals, messages = _collect(original, anonymized)
    values = [*originals.number_of, *originals.wholes]
    places = [*originals.replaced_at, *originals.wholes.values()]
    findings = _Findings()
    patterns = 0
    for first, chunk in _chunks(originals):
        patterns += len(chunk)
        _search(anonymized, Searcher(chunk, values), values, places, findings, first=first)
    return AuditReport(
        exchanges=len(anonymized),
        messages=messages,
        originals=len(originals.number_of),
        unsearched=len(originals.short),
        common=len(originals.common),
        patterns=patterns,
        searched_bytes=findings.searched_bytes,
        undecodable=findings.undecodable,
        leak_count=findings.leak_count,
        leaks=tuple(findings.leaks),
        notes=tuple(_notes(original, anonymized, originals)),
    )


def _middle(value: bytes) -> bytes:
    if len(value) <= _LONG_VALUE_BYTES:
        return value
    start = (len(value) - _LONG_VALUE_BYTES) // 2
    return value[start : start + _LONG_VALUE_BYTES]


def _collect(original: CaptureReader, anonymized: CaptureReader) -> tuple[_Originals, int]:
    if not np.array_equal(original.index.seq, anonymized.index.seq):
        raise UsageError(
            f"The captures hold different exchanges ({len(original)} and {len(anonymized)}); "
            "give the original and the capture that was made from it by anonymize."
        )
    originals = _Originals()
    _pair(capture_places(original.header), capture_places(anonymized.header), "capture header", originals)
    for before, after in zip(original.exchanges(), anonymized.exchanges(), strict=True):
        _pair(exchange_places(before), exchange_places(after), f"exchange {before.seq}", originals)
    messages = 0
    for first, second in zip_longest(original.messages(), anonymized.messages()):
        if first is None or second is None or _identity(first) != _identity(second):
            raise UsageError(
                "The captures hold different messages; "
                "give the original and the capture that was made from it by anonymize."
            )
        messages += 1
        if first.payload != second.payload:
            where = f"exchange {first.exchange}, message"
            originals.add(message_place(first, 0), message_place(second, 0), where)
    return originals, messages


def _identity(message: Message) -> tuple[int, str, bool]:
    return message.exchange, message.kind, message.from_client


def _pair(before: Iterator[Place], after: Iterator[Place], where: str, originals: _Originals) -> None:
    counterparts = {place.key: place for place in after}
    for place in before:
        other = counterparts.get(place.key)
        if other is None or other.data != place.data:
            originals.add(place, other, f"{where}, {place.name}")


def _chunks(originals: _Originals) -> Iterator[tuple[bool, dict[bytes, tuple[int, Encoding]]]]:
    """The patterns in pieces that fit in memory, with whether a piece is the first; at least one."""
    chunk: dict[bytes, tuple[int, Encoding]] = {}
    first, size_bytes = True, 0
    for pattern, owner in originals.patterns():
        if len(pattern) < MIN_PATTERN_BYTES or pattern in chunk:
            continue
        chunk[pattern] = owner
        size_bytes += min(len(pattern), PREFIX_BYTES)
        if size_bytes >= _CHUNK_BYTES:
            yield first, chunk
            chunk, first, size_bytes = {}, False, 0
    if chunk or first:
        yield first, chunk


def _all_places(reader: CaptureReader) -> Iterator[tuple[int | None, Place]]:
    for place in capture_places(reader.header):
        yield None, place
    for exchange in reader.exchanges():
        for place in exchange_places(exchange):
            yield exchange.seq, place
        for place in stored_bodies(exchange):
            yield exchange.seq, place
    numbers: dict[int, int] = {}
    for message in reader.messages():
        number = numbers[message.exchange] = numbers.get(message.exchange, -1) + 1
        yield message.exchange, message_place(message, number)
    labels = "\n".join(reader.endpoint_labels).encode()
    yield None, Place(name="endpoint labels", key=("endpoint labels", b"", 0), data=labels)


def _search(
    reader: CaptureReader,
    searcher: Searcher,
    values: list[bytes],
    replaced_at: list[str],
    findings: _Findings,
    *,
    first: bool,
) -> None:
    clean: set[bytes] = set()
    for seq, place in _all_places(reader):
        if first:
            findings.searched_bytes += len(place.data)
            findings.undecodable += place.undecodable
        if (place.derived and place.data.isdigit()) or place.data in clean:
            continue  # a length is a number of bytes, whatever number it is
        hits = searcher.find(place.data)
        if not hits:
            if len(place.data) <= 512 and len(clean) < _CLEAN_MAX:
                clean.add(place.data)
            continue
        findings.leak_count += len(hits)
        for hit in hits[: LEAKS_LISTED_MAX - len(findings.leaks)]:
            path = _path(place.data, hit, searcher)
            findings.leaks.append(
                Leak(
                    exchange=seq,
                    place=_safe_name(place.name, searcher.found_in),
                    path=path,
                    encoding=hit.encoding,
                    shape=masked_shape(values[hit.original]),
                    replaced_at=_safe_name(replaced_at[hit.original], searcher.found_in),
                )
            )


def _path(data: bytes, hit: Hit, searcher: Searcher) -> str:
    offset = hit.start
    if offset is None:  # found in what an escape stands for: look for the string that has it
        offset = string_offset(
            data, lambda text: any(hit.original == found.original for found in searcher.find(text))
        )
    return "" if offset is None else json_path(data, offset, searcher.found_in)


def _safe_name(name: str, holds_original: Callable[[bytes], bool]) -> str:
    """A place's name, masked where a header's own name holds an original."""
    return masked_shape(name.encode()) if holds_original(name.encode()) else name


def _notes(original: CaptureReader, anonymized: CaptureReader, originals: _Originals) -> Iterator[str]:
    for name, reader in (("original", original), ("anonymized", anonymized)):
        if not reader.complete:
            yield f"The {name} capture is incomplete; what is left of it was audited."
        yield from (f"The {name} capture: {problem}" for problem in reader.problems)
    if not (originals.number_of or originals.short or originals.common):
        yield "Nothing differs between the two captures: nothing was anonymized, so nothing was searched."
    elif original.header.capture_id not in anonymized.header.lineage:
        yield "The anonymized capture does not name the original in its lineage; was it made from it?"
