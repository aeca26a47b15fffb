"""Several captures into one, by the wall clock: numbers are given anew, nothing is left out."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from captures.errors import CaptureError, UsageError
from captures.lineage import joint_problems, recording_of, unique
from captures.model import CaptureHeader, Counters, Exchange, Failure, Message, Response
from captures.provenance import common_provenance
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

_MAX_NS = 2**63 - 1


@dataclass(slots=True)
class _Part:
    """One input: how far its clock is ahead of the output's, and the new number of each exchange."""

    reader: CaptureReader
    shift_ns: int
    new_seqs: NDArray[np.int64]  # by place in send order


@dataclass(slots=True)
class _Recording:
    """Inputs with one numbering of exchanges and connections: the parts of a rotated recording."""

    parts: list[_Part]
    connections: dict[int, int] = field(default_factory=dict)

    def numbers(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every old number in order, and its new one; a stream's messages may stand in a later part."""
        seqs = np.concatenate([part.reader.index.seq for part in self.parts])
        order = np.argsort(seqs, kind="stable")
        return seqs[order], np.concatenate([part.new_seqs for part in self.parts])[order]


def merged_header(
    readers: Sequence[CaptureReader], *, source: str | None = None, mix: bool = False
) -> CaptureHeader:
    """
    The header of a capture merged from ``readers``; it starts when the first of them does.

    The salt is the first capture's, so that its credential fingerprints stay; those of captures
    with another salt become new ones.

    Raises:
        UsageError: some of the captures are anonymized and some are not, or with different keys, and
            ``mix`` does not allow it.
        CaptureError: one of the captures is damaged.

    """
    if not readers:
        raise UsageError("There is nothing to merge; name two captures or more.")
    headers = [reader.header for reader in readers]
    anonymized = common_provenance([header.anonymized for header in headers], mix=mix)
    made = new_header(
        source=source or " + ".join(unique(header.source for header in headers)),
        started_wall_ns=min(header.started_wall_ns for header in headers),
        lineage=unique(
            [header.capture_id for header in headers]
            + [name for header in headers for name in header.lineage]
        ),
        anonymized=anonymized,
        fingerprint_salt=headers[0].fingerprint_salt,
    )
    return replace(made, source_problems=joint_problems(readers))


def merge_captures(readers: Sequence[CaptureReader], writer: CaptureWriter) -> Counters:
    """
    Write everything of ``readers`` to ``writer`` and return the account, which is the sum of theirs.

    Offsets are moved from each capture's start (``started_wall_ns``) to the writer's. Exchanges are
    numbered anew in the order of their requests, connections in the order in which they first
    appear; those of two recordings are never one. The writer stays open. Memory: 24 bytes an exchange
    beside the readers' own indexes.

    Raises:
        CaptureError: an input is damaged, or their starts are too far apart for one clock of 64 bits.
        WriteError: the output cannot be written.

    """
    start_ns = writer.header.started_wall_ns
    parts = [
        _Part(
            reader=reader,
            shift_ns=reader.header.started_wall_ns - start_ns,
            new_seqs=np.zeros(len(reader), np.int64),
        )
        for reader in readers
    ]
    recordings = list(_recordings(parts))
    recording_of = {id(part): recording for recording in recordings for part in recording.parts}
    streams = [_moved_exchanges(number, part) for number, part in enumerate(parts)]
    connections = 0
    for seq, (_, number, place, exchange) in enumerate(heapq.merge(*streams)):
        part = parts[number]
        part.new_seqs[place] = seq
        known = recording_of[id(part)].connections
        if exchange.connection not in known:
            known[exchange.connection] = connections
            connections += 1
        writer.write(replace(exchange, seq=seq, connection=known[exchange.connection]))
    numbers = {id(recording): recording.numbers() for recording in recordings}
    for _, _, _, message in heapq.merge(
        *(
            _moved_messages(number, part, *numbers[id(recording_of[id(part)])])
            for number, part in enumerate(parts)
        )
    ):
        writer.write_message(message)
    counters = sum_counters(map(_account_of, readers))
    writer.count(counters)
    return counters


def _account_of(reader: CaptureReader) -> Counters:
    """The reader's account; of a file that has none, what can be seen of it."""
    return reader.counters if reader.has_account else Counters(seen=len(reader), written=len(reader))


def sum_counters(accounts: Iterable[Counters]) -> Counters:
    """The account of several recordings together."""
    total = dict.fromkeys((column.name for column in fields(Counters)), 0)
    for account in accounts:
        for name in total:
            total[name] += getattr(account, name)
    return Counters(**total)


def shifted(exchange: Exchange, shift_ns: int) -> Exchange:
    """The same exchange on a clock that started ``shift_ns`` earlier."""
    if not shift_ns:
        return exchange
    outcome = exchange.outcome
    if isinstance(outcome, Response):
        end_ns = None if outcome.end_ns is None else _later(outcome.end_ns, shift_ns)
        moved: Response = replace(outcome, offset_ns=_later(outcome.offset_ns, shift_ns), end_ns=end_ns)
        return _moved(exchange, shift_ns, moved)
    return _moved(exchange, shift_ns, replace(outcome, offset_ns=_later(outcome.offset_ns, shift_ns)))


def _later(offset_ns: int, shift_ns: int) -> int:
    moved_ns = offset_ns + shift_ns
    if moved_ns > _MAX_NS:
        raise CaptureError("The clocks of the captures are centuries apart; leave out the one that is wrong.")
    return moved_ns


def _moved(exchange: Exchange, shift_ns: int, outcome: Response | Failure) -> Exchange:
    return replace(
        exchange,
        offset_ns=_later(exchange.offset_ns, shift_ns),
        request_end_ns=_later(exchange.request_end_ns, shift_ns),
        outcome=outcome,
    )


def _moved_exchanges(number: int, part: _Part) -> Iterator[tuple[int, int, int, Exchange]]:
    for place, exchange in enumerate(part.reader.exchanges()):
        moved = shifted(exchange, part.shift_ns)
        yield moved.offset_ns, number, place, moved


def _recordings(parts: Sequence[_Part]) -> Iterator[_Recording]:
    """
    Parts by the recording they belong to.

    The parts of a rotated recording have one start and the first part at the root of their lineage,
    and no number stands in two of them. Captures that share a number were numbered apart.
    """
    groups: dict[tuple[str, int], list[_Part]] = {}
    for part in parts:
        groups.setdefault(recording_of(part.reader.header), []).append(part)
    for group in groups.values():
        seqs = np.concatenate([part.reader.index.seq for part in group])
        if len(np.unique(seqs)) == len(seqs):
            yield _Recording(group)
        else:
            yield from (_Recording([part]) for part in group)


def _moved_messages(
    number: int, part: _Part, in_order: NDArray[np.int64], new_seqs: NDArray[np.int64]
) -> Iterator[tuple[int, int, int, Message]]:
    """Messages with their exchange's new number; those of no known exchange are left out."""
    latest_ns = -(2**63)
    for place, message in enumerate(part.reader.messages()):
        found = int(np.searchsorted(in_order, message.exchange))
        if found == len(in_order) or int(in_order[found]) != message.exchange:
            continue
        offset_ns = _later(message.offset_ns, part.shift_ns)
        latest_ns = max(latest_ns, offset_ns)  # file order stays within an input, whatever its clock did
        seq = int(new_seqs[found])
        yield latest_ns, number, place, replace(message, exchange=seq, offset_ns=offset_ns)
