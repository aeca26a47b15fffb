"""What a file without its footer (killed recorder, full disk, damage) still holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from captures.errors import CaptureError
from captures.frames import FILE_HEADER, SEALED, Block, BlockHeader, BlockOpener, BlockType, Codec, ReadAt
from captures.index import DataBlock, IndexSegment, unpack_segment
from captures.model import Counters
from captures.scanning import Damage, scan_blocks
from captures.text import counted

NOT_CLOSED = "The file was not closed (its writer was killed, the disk was full, or the file was cut later)"
LOST_BEHIND = "A killed writer loses at most its last second, a full disk or a cut more."
MAX_SENTENCES = 20  # about places of damage; more are told as one


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBlock:
    """Where one MESSAGES block starts, which offsets it spans, how many rows it holds."""

    position: int
    first_ns: int
    last_ns: int
    rows: int


@dataclass(slots=True)
class Scan:
    """
    Everything found by walking a file from its first block on.

    ``segments`` are the INDEX blocks that can be used; ``loose`` the EXCHANGES blocks that none
    of them covers. ``labels`` are those that the segments count into. ``exchanges`` counts the rows
    of all whole EXCHANGES blocks. ``account`` is the last COUNTERS payload; ``footer`` has a later one.
    """

    segments: list[IndexSegment] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    loose: list[DataBlock] = field(default_factory=list)
    messages: list[MessageBlock] = field(default_factory=list)
    dictionaries: dict[int, int] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    missing_blocks: int = 0
    exchanges: int = 0
    last_ns: int | None = None
    account: bytes | None = None
    meta: bytes | None = None
    footer: bytes | None = None


class _Scanner:
    """
    One walk over a file.

    INDEX blocks hold only the labels that are new since the one before, so an endpoint's number
    means something only while none of them is missing: ``_numbering`` tells whether that holds.
    """

    def __init__(
        self, opener: BlockOpener, migrate: Callable[[dict[str, Any]], dict[str, Any]], *, use_index: bool
    ) -> None:
        self.scan = Scan()
        self._opener = opener
        self._migrate = migrate
        self._data: dict[int, BlockHeader] = {}
        self._covered: set[int] = set()
        self._covered_to = -1
        self._numbering = use_index
        self._next_number = 0
        self._missing_since_index = 0

    def take(self, item: Block | Damage) -> None:
        scan = self.scan
        if isinstance(item, Damage):
            scan.damages.append(item)
            return
        header = item.header
        missing = header.number - self._next_number
        self._numbering = self._numbering and missing >= 0
        self._missing_since_index += max(0, missing)
        scan.missing_blocks += max(0, missing)
        self._next_number = header.number + 1
        if header.type in {BlockType.EXCHANGES, BlockType.MESSAGES}:
            scan.last_ns = max(scan.last_ns or 0, header.last_ns)
        if header.type == BlockType.EXCHANGES:
            self._data[item.position] = header
            scan.exchanges += header.rows
        elif header.type == BlockType.INDEX:
            self._take_index(item)
        else:
            self._note(item)

    def finish(self) -> Scan:
        self.scan.loose = [
            DataBlock(position, header.rows)
            for position, header in self._data.items()
            if position not in self._covered
        ]
        return self.scan

    def _take_index(self, block: Block) -> None:
        if not self._numbering:
            return
        try:
            segment = unpack_segment(self._opener.open(block), block.header.rows, migrate=self._migrate)
        except CaptureError:
            self._numbering = False
            return
        positions = [data.position for data in segment.blocks]
        # What is missing must be blocks that this segment lists; else an INDEX may be among it.
        listed = sum(position not in self._data for position in positions)
        labels = [*self.scan.labels, *segment.labels]
        new = len(set(labels)) == len(labels) and all(position > self._covered_to for position in positions)
        if self._missing_since_index > listed or not new:
            self._numbering = False
            return
        self._missing_since_index = 0
        self._covered_to = max([self._covered_to, *positions])
        self.scan.labels = labels
        if all(self._can_be_read(data) for data in segment.blocks):
            self.scan.segments.append(segment)
            self._covered.update(positions)

    def _can_be_read(self, data: DataBlock) -> bool:
        """Whether the block was seen whole, with the rows it should have and the dictionary it needs."""
        header = self._data.get(data.position)
        if header is None or header.rows != data.rows:
            return False
        needs_dictionary = header.codec & ~SEALED == Codec.ZSTD_DICTIONARY
        return not needs_dictionary or header.dictionary in self.scan.dictionaries

    def _note(self, block: Block) -> None:
        header, scan = block.header, self.scan
        if header.type == BlockType.MESSAGES:
            scan.messages.append(
                MessageBlock(
                    position=block.position,
                    first_ns=header.first_ns,
                    last_ns=header.last_ns,
                    rows=header.rows,
                )
            )
        elif header.type == BlockType.DICTIONARY:
            scan.dictionaries[header.number] = block.position
        elif header.type in {BlockType.COUNTERS, BlockType.META, BlockType.FOOTER}:
            try:
                payload = self._opener.open(block)
            except CaptureError:
                return
            if header.type == BlockType.META:
                scan.meta = scan.meta or payload
            elif header.type == BlockType.FOOTER:
                scan.footer = payload
            else:
                scan.account = payload


def scan_file(
    read: ReadAt,
    size: int,
    opener: BlockOpener,
    *,
    migrate: Callable[[dict[str, Any]], dict[str, Any]],
    use_index: bool,
) -> Scan:
    """
    Walk all blocks up to ``size``; damaged stretches are noted and stepped over.

    A segment of the index is used only when every block it lists was seen whole and no INDEX
    block before it is missing; with ``use_index`` false none is, and every block is loose.
    """
    scanner = _Scanner(opener, migrate, use_index=use_index)
    for item in scan_blocks(read, FILE_HEADER.size, size):
        scanner.take(item)
    return scanner.finish()


def describe(scan: Scan, *, closed: bool, live: bool, account: Counters | None) -> tuple[str, ...]:
    """One sentence for each thing that is missing, for a person to read."""
    problems = []
    if not closed:
        problems.append(_unclosed(scan, live=live, account=account))
    if not closed and not live and account is None:
        problems.append("It has no account: how many exchanges were seen or lost is unknown.")
    for damage in scan.damages[:MAX_SENTENCES]:
        if damage.tail and not closed:
            problems.append(
                f"An unfinished block of {counted(damage.size_bytes, 'byte')} at the end was left out."
            )
        else:
            bytes_are = "1 byte is" if damage.size_bytes == 1 else f"{damage.size_bytes} bytes are"
            problems.append(f"At position {damage.position} {bytes_are} damaged and left out.")
    more = scan.damages[MAX_SENTENCES:]
    if more:
        lost_bytes = sum(damage.size_bytes for damage in more)
        places = counted(len(more), "more place")
        problems.append(f"{lost_bytes} bytes at {places} are damaged and were left out.")
    if scan.missing_blocks:
        problems.append(f"{count_blocks(scan.missing_blocks)} missing.")
    return tuple(problems)


def _unclosed(scan: Scan, *, live: bool, account: Counters | None) -> str:
    """That the file has no end, up to when it goes, and what its last account says."""
    until = "no exchange is whole in it"
    if scan.last_ns is not None:
        until = f"it ends at offset {scan.last_ns / 1e9:.3f} s"
    counted_last = ""
    if account is not None:
        missing = account.written - scan.exchanges
        gone = f" ({missing} of them missing here)" if missing > 0 else ""
        counted_last = (
            f"; at its last count {counted(account.seen, 'exchange')} had been seen, {account.written} "
            f"written{gone}, {account.dropped} dropped, {account.in_flight} in flight"
        )
    if live:
        return f"The file is still being written: so far {until}{counted_last}."
    return f"{NOT_CLOSED}: {until}{counted_last}. {LOST_BEHIND}"


def count_blocks(count: int) -> str:
    """The subject and verb of a sentence about ``count`` blocks."""
    return "1 block is" if count == 1 else f"{count} blocks are"
