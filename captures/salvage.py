"""What a file without its footer (killed recorder, full disk, damage) still holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from captures.errors import CaptureError
from captures.frames import Block, BlockOpener, BlockType, Damage, ReadAt, scan_blocks
from captures.index import IndexSegment, unpack_segment
from captures.model import Counters


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

    ``segments`` are the INDEX blocks that are whole; ``loose`` the EXCHANGES blocks that none
    of them covers. ``account`` is the last COUNTERS payload.
    """

    segments: list[IndexSegment] = field(default_factory=list)
    loose: list[int] = field(default_factory=list)
    messages: list[MessageBlock] = field(default_factory=list)
    dictionaries: dict[int, int] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    missing_blocks: int = 0
    last_ns: int | None = None
    account: bytes | None = None
    meta: bytes | None = None


def scan_file(read: ReadAt, position: int, size: int, opener: BlockOpener) -> Scan:
    """
    Walk all blocks; damaged stretches are noted and stepped over.

    INDEX blocks are trusted only when every block they name was seen whole, so an exchange
    that they list can be read.
    """
    scan = Scan()
    data_rows: dict[int, int] = {}
    covered: set[int] = set()
    expected_number = 0
    for item in scan_blocks(read, position, size):
        if isinstance(item, Damage):
            scan.damages.append(item)
            continue
        header = item.header
        scan.missing_blocks += max(0, header.number - expected_number)
        expected_number = header.number + 1
        if header.type in {BlockType.EXCHANGES, BlockType.MESSAGES}:
            scan.last_ns = max(scan.last_ns or 0, header.last_ns)
        if header.type == BlockType.EXCHANGES:
            data_rows[item.position] = header.rows
        elif header.type == BlockType.INDEX:
            segment = _sound_segment(item, opener, data_rows)
            if segment is not None:
                scan.segments.append(segment)
                covered.update(block.position for block in segment.blocks)
        else:
            _note(scan, item, opener)
    scan.loose = [position for position in data_rows if position not in covered]
    return scan


def _sound_segment(block: Block, opener: BlockOpener, data_rows: dict[int, int]) -> IndexSegment | None:
    try:
        segment = unpack_segment(opener.open(block), block.header.rows)
    except CaptureError:
        return None
    sound = all(data_rows.get(data.position) == data.rows for data in segment.blocks)
    return segment if sound else None


def _note(scan: Scan, block: Block, opener: BlockOpener) -> None:
    header = block.header
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
    elif header.type in {BlockType.COUNTERS, BlockType.META}:
        try:
            payload = opener.open(block)
        except CaptureError:
            return
        if header.type == BlockType.META:
            scan.meta = scan.meta or payload
        else:
            scan.account = payload


def describe(scan: Scan, *, closed: bool, live: bool, account: Counters | None) -> tuple[str, ...]:
    """One sentence for each thing that is missing, for a person to read."""
    problems = []
    if not closed:
        until = f"{(scan.last_ns or 0) / 1e9:.3f} s"
        state = (
            "is still being written"
            if live
            else "was not closed (its writer was killed or the disk was full)"
        )
        counted = ""
        if account is not None:
            counted = (
                f"; at its last count {account.seen} exchanges were seen, {account.written} written, "
                f"{account.dropped} dropped and {account.in_flight} in flight"
            )
        lost = "" if live else "; at most the second before the writer stopped is missing"
        problems.append(f"The file {state}: it ends at offset {until}{lost}{counted}.")
    for damage in scan.damages:
        if damage.tail and not closed:
            problems.append(f"The last {damage.size_bytes} bytes are an unfinished block and were left out.")
        else:
            problems.append(
                f"{damage.size_bytes} bytes at position {damage.position} are damaged and were left out."
            )
    if scan.missing_blocks:
        problems.append(f"{scan.missing_blocks} blocks are missing.")
    return tuple(problems)
