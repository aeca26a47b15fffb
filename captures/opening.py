"""How a capture is opened: its key, its footer, and what stands in for a header that is lost."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from captures.codec import build_counters, build_facts, build_header, check_ints, unpack_map
from captures.encryption import Identities, SealedOpener, identities_in_effect, unwrap
from captures.errors import CaptureError
from captures.frames import (
    FILE_HEADER,
    TRAILER,
    Block,
    BlockOpener,
    BlockType,
    ReadAt,
    parse_trailer,
    read_block,
)
from captures.migrate import MigrationPath
from captures.model import CaptureHeader, Counters, RecorderFacts
from captures.salvage import MessageBlock, Scan

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Footer:
    """What a closed capture says about itself; positions rise and lie below the footer."""

    index: tuple[int, ...]
    messages: tuple[MessageBlock, ...]
    stream_ends: dict[int, int]
    dictionaries: dict[int, int]
    counters: Counters
    facts: RecorderFacts | None
    first_ns: int
    last_end_ns: int


def find_opener(
    read: ReadAt,
    head: bytes,
    dictionary: Callable[[int], bytes | None],
    identities: Identities | None,
    *,
    name: str,
) -> tuple[BlockOpener, int, tuple[str, ...]]:
    """
    What opens the blocks; where META stands (behind the KEY block of a sealed file); the recipients.

    Raises:
        UsageError: no identity opens the file.
        CaptureError: its KEY block is damaged.

    """
    first = read_block(read, FILE_HEADER.size)
    if first is None or first.header.type != BlockType.KEY:
        return BlockOpener(dictionary), FILE_HEADER.size, ()
    if identities is None:
        identities = identities_in_effect(os.environ)
    envelope = unwrap(first.stored, identities, name=name)
    return SealedOpener(dictionary, envelope.key, head), first.end, envelope.recipients


def find_footer(read: ReadAt, size: int) -> Block | None:
    """The FOOTER block of a file of ``size`` bytes, or None when it was not closed or is damaged."""
    position = parse_trailer(read(max(0, size - TRAILER.size), TRAILER.size))
    if position is None or not FILE_HEADER.size <= position < size:
        return None
    block = read_block(read, position)
    return block if block is not None and block.header.type == BlockType.FOOTER else None


def build_footer(values: dict[str, Any], path: MigrationPath, *, position: int, name: str) -> Footer:
    """
    The footer at ``position`` from an unpacked map.

    Raises:
        CaptureError: something is missing, of another type, or out of order.

    """
    try:
        values = path.footer(values)
        footer = Footer(
            index=tuple(values["index"]),
            messages=tuple(_message_block(*entry) for entry in values["messages"]),
            stream_ends=_pairs(values["stream_ends"]),
            dictionaries=_pairs(values["dictionaries"]),
            counters=build_counters(path.counters(values["counters"])),
            facts=None if values.get("facts") is None else build_facts(values["facts"]),
            first_ns=values["first_ns"],
            last_end_ns=values["last_end_ns"],
        )
        check_ints(footer.first_ns, footer.last_end_ns, *footer.index)
        _check_positions(footer.index, position)
        _check_positions([block.position for block in footer.messages], position)
    except (LookupError, TypeError, ValueError) as error:
        raise CaptureError(f"The footer of {name} is damaged; give an undamaged copy.") from error
    return footer


def _message_block(position: int, first_ns: int, last_ns: int, rows: int) -> MessageBlock:
    check_ints(position, first_ns, last_ns, rows)
    return MessageBlock(position=position, first_ns=first_ns, last_ns=last_ns, rows=rows)


def _pairs(values: Any) -> dict[int, int]:
    pairs = {}
    for key, value in values:
        check_ints(key, value)
        pairs[key] = value
    return pairs


def _check_positions(positions: Any, end: int) -> None:
    places = [FILE_HEADER.size - 1, *positions, end]
    if not all(one < other for one, other in pairwise(places)):
        raise ValueError


def read_header(read: ReadAt, position: int, opener: BlockOpener, path: MigrationPath) -> CaptureHeader:
    """
    The capture's header out of the META block at ``position``.

    Raises:
        CaptureError: it is not there, or damaged.

    """
    meta = read_block(read, position)
    if meta is None or meta.header.type != BlockType.META:
        raise CaptureError("The file's header block is damaged; give an undamaged copy.")
    return build_header(path.header(unpack_map(opener.open(meta))))


def read_scan(
    scan: Scan, path: MigrationPath, *, name: str, file_id: bytes | None
) -> tuple[CaptureHeader, Counters | None, tuple[str, ...]]:
    """
    The header and last account that a scan found, and sentences about what is lost.

    With ``file_id`` another header stands in for a damaged one, and a damaged account is left out.

    Raises:
        CaptureError: nothing can be read.

    """
    lost = []
    if scan.meta is None and (file_id is None or not (scan.loose or scan.messages)):
        raise CaptureError(f"{name} holds no header block; nothing of it can be read.")
    try:
        header = build_header(path.header(unpack_map(scan.meta or b"")))
    except CaptureError:
        if file_id is None:
            raise
        header = _lost_header(file_id)
        lost.append("The header block is damaged: start, source, origin and credential names are lost.")
    try:
        account = _account(scan, path)
    except CaptureError:
        if file_id is None:
            raise
        account = None
        lost.append("The account is damaged.")
    return header, account, tuple(lost)


def _account(scan: Scan, path: MigrationPath) -> Counters | None:
    """The account of the footer, when there is one, else the last that was counted."""
    if scan.footer is not None:
        return build_counters(path.counters(path.footer(unpack_map(scan.footer)).get("counters", {})))
    return None if scan.account is None else build_counters(path.counters(unpack_map(scan.account)))


def _lost_header(file_id: bytes) -> CaptureHeader:
    """What stands in for a header that cannot be read; the id is that of the file."""
    return CaptureHeader(
        capture_id=file_id.hex(),
        started_wall_ns=0,
        tool=UNKNOWN,
        source=UNKNOWN,
        fingerprint_salt=secrets.token_bytes(16),
    )


def is_live(descriptor: int) -> bool:
    """Whether a writer holds the file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False
