"""
Prove that nothing which was replaced is still there.

The audit needs no key, no policy and no report, and shares no code with what it checks: it
aligns two captures, takes every span of the original that differs from its counterpart, and
looks for each in every byte of the anonymized capture, in every encoding of
`anonymizer.encodings`. By contract a replaced span that survives anywhere is a leak, also where
it stands as another person's stand-in. A value that was never replaced is no original: of those,
`anonymizer.audit_rescan` finds the ones that have a known shape.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from functools import cache

from anonymizer.audit_kept import KeptOnPurpose
from anonymizer.audit_originals import Originals, collect
from anonymizer.audit_paths import json_path, masked_shape, string_offset
from anonymizer.audit_places import (
    Place,
    capture_places,
    exchange_places,
    facts_place,
    message_place,
    stored_bodies,
    stored_message,
)
from anonymizer.audit_rescan import Group, Rescan, Unreplaced
from anonymizer.audit_search import Hit, Searcher
from anonymizer.audit_sieve import Sieve, Sought, new_texts
from captures.errors import UsageError
from captures.model import Exchange
from captures.reader import CaptureReader
from captures.units import MIB

LEAKS_LISTED_MAX = 1_000
_BATCH_BYTES = 1 * MIB


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

    ``originals`` count distinct values, as do those that were replaced and are not searched:
    ``unsearched`` (too short), ``common`` (words of the trade) and ``reserved`` (set aside by
    standards, so nobody's). ``leaks`` lists at most ``LEAKS_LISTED_MAX`` of ``leak_count``.
    ``unreplaced`` lists as many values of known shapes that stand in both captures, each once:
    ``unreplaced_count`` of them, and ``kept_count`` that the policy keeps on purpose.
    ``searched_bytes`` are decoded bytes.
    """

    exchanges: int
    messages: int
    originals: int
    unsearched: int
    common: int
    reserved: int
    patterns: int
    searched_bytes: int
    undecodable: int
    leak_count: int
    leaks: tuple[Leak, ...]
    unreplaced_count: int
    kept_count: int
    unreplaced: tuple[Unreplaced, ...]
    notes: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing survived, and nothing of a known shape stayed that no policy keeps."""
        return self.leak_count == self.unreplaced_count == 0


@dataclass(slots=True, kw_only=True)
class _Findings:
    leaks: list[Leak] = field(default_factory=list)
    leak_count: int = 0
    patterns: int = 0
    searched_bytes: int = 0
    undecodable: int = 0


def audit(
    original: CaptureReader, anonymized: CaptureReader, *, kept: KeptOnPurpose | None = None
) -> AuditReport:
    """
    Search ``anonymized`` for everything of ``original`` that it was meant to replace.

    ``kept`` is what the policy left as it is, which is told apart. Both captures are read twice
    at most (the second once more for every 50,000 or so originals); memory is bounded by the
    distinct originals.

    Raises:
        UsageError: the second was never anonymized (so a clean answer would say nothing), or the
            two do not hold the same exchanges, so that nothing can be aligned.

    """
    if anonymized.header.anonymized is None:
        raise UsageError(
            f"{anonymized.path.name} was not made by hookreel anonymize; "
            "give the original first and the anonymized capture second."
        )
    originals = collect(original, anonymized)
    findings = _Findings()
    rescan = Rescan()
    for number, sought in enumerate(originals.chunks()):
        _search(anonymized, sought, originals, findings, rescan if number == 0 else None)
    unreplaced = rescan.unreplaced(
        lambda seqs: _all_places(original, seqs), _endpoint_of(original), kept or KeptOnPurpose()
    )
    return AuditReport(
        exchanges=len(anonymized),
        messages=originals.messages,
        originals=len(originals.number_of),
        unsearched=len(originals.short),
        common=len(originals.common),
        reserved=len(originals.reserved),
        patterns=findings.patterns,
        searched_bytes=findings.searched_bytes,
        undecodable=findings.undecodable,
        leak_count=findings.leak_count,
        leaks=tuple(findings.leaks),
        unreplaced_count=sum(not value.kept for value in unreplaced),
        kept_count=sum(value.kept for value in unreplaced),
        unreplaced=tuple(sorted(unreplaced, key=_kept_last)[:LEAKS_LISTED_MAX]),
        notes=tuple(_notes(original, anonymized, originals)),
    )


def _kept_last(value: Unreplaced) -> bool:
    return value.kept


def _endpoint_of(reader: CaptureReader) -> Callable[[int], str]:
    """From a seq to the endpoint's label; made when it is first asked."""

    @cache
    def rows() -> dict[int, int]:
        return {seq: row for row, seq in enumerate(reader.index.seq.tolist())}

    return lambda seq: reader.endpoint_labels[int(reader.index.endpoint[rows()[seq]])]


def _all_places(reader: CaptureReader, seqs: Container[int | None] | None = None) -> Iterator[Group]:
    """The places of the capture itself, of each exchange (or those in ``seqs``) and of each message."""
    yield None, [*capture_places(reader.header), *([facts_place(reader.facts)] if reader.facts else [])]
    for exchange in reader.exchanges() if seqs is None else _exchanges(reader, seqs):
        yield exchange.seq, [*exchange_places(exchange), *stored_bodies(exchange)]
    numbers: dict[int, int] = {}
    for message in reader.messages():
        number = numbers[message.exchange] = numbers.get(message.exchange, -1) + 1
        yield message.exchange, [message_place(message, number), *stored_message(message, number)]
    labels = "\n".join(reader.endpoint_labels).encode()
    yield None, [Place("endpoint labels", ("endpoint labels", b"", 0), labels)]


def _search(
    reader: CaptureReader,
    sought: Sought,
    originals: Originals,
    findings: _Findings,
    rescan: Rescan | None,
) -> None:
    replaced_at = originals.replaced_at()
    sieve = Sieve(sought)
    findings.patterns += sieve.spellings
    for batch, size_bytes in _batches(reader):
        news = []
        for _, places in batch:
            if rescan is not None:  # the first time
                findings.undecodable += sum([place.undecodable for place in places])
            news += sieve.new(
                [data for _, _, data, _, _, derived in places if not (derived and data.isdigit())]
            )
        findings.searched_bytes += 0 if rescan is None else size_bytes
        texts = new_texts(news)
        if rescan is not None:
            rescan.look(batch, texts)
        searcher = sieve.suspects(news, texts)
        if searcher is None:
            continue
        sieve.forget(news)
        for seq, places in batch:
            leaks = list(_leaks(seq, places, searcher, sieve, replaced_at))
            findings.leak_count += len(leaks)
            findings.leaks += leaks[: LEAKS_LISTED_MAX - len(findings.leaks)]


def _exchanges(reader: CaptureReader, seqs: Container[int | None]) -> Iterator[Exchange]:
    """The exchanges with ``seqs``; what was sent before the first and after the last of them is not read."""
    offsets_ns = [
        offset_ns
        for seq, offset_ns in zip(reader.index.seq.tolist(), reader.index.offset_ns.tolist(), strict=True)
        if seq in seqs
    ]
    if offsets_ns:
        wanted = reader.exchanges(start_ns=min(offsets_ns), stop_ns=max(offsets_ns) + 1)
        yield from (exchange for exchange in wanted if exchange.seq in seqs)


def _batches(reader: CaptureReader) -> Iterator[tuple[list[Group], int]]:
    """Many places at once, with their bytes: on few of them a search takes longer to start than to run."""
    batch: list[Group] = []
    size_bytes = 0
    for group in _all_places(reader):
        batch.append(group)
        size_bytes += sum([len(place.data) for place in group[1]])
        if size_bytes >= _BATCH_BYTES:
            yield batch, size_bytes
            batch, size_bytes = [], 0
    if batch:
        yield batch, size_bytes


def _is_size(place: Place) -> bool:
    """Whether this is a length, which is a number of bytes whatever number it is."""
    return place.derived and place.data.isdigit()


def _leaks(
    seq: int | None, places: list[Place], searcher: Searcher, sieve: Sieve, replaced_at: list[str]
) -> Iterator[Leak]:
    for place in places:
        for hit in () if _is_size(place) else searcher.find(place.data):
            yield Leak(
                exchange=seq,
                place=_safe_name(place.name, sieve.found_in),
                path=_path(place.data, hit, searcher),
                encoding=hit.encoding,
                shape=masked_shape(sieve.value(hit.original)),
                replaced_at=_safe_name(replaced_at[hit.original], sieve.found_in),
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


def _notes(original: CaptureReader, anonymized: CaptureReader, originals: Originals) -> Iterator[str]:
    for name, reader in (("original", original), ("anonymized", anonymized)):
        if not reader.complete:
            yield f"The {name} capture is incomplete; what is left of it was audited."
        yield from (f"The {name} capture: {problem}" for problem in reader.problems)
    if not originals.found_any:
        yield "Nothing differs between the two captures: nothing was anonymized, so nothing was searched."
    elif original.header.capture_id not in anonymized.header.lineage:
        yield "The anonymized capture does not name the original in its lineage; was it made from it?"
