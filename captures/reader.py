"""Reads a capture: by time window or endpoint, in send order, memory bounded by a few blocks."""

from __future__ import annotations

import fcntl
import os
import stat
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from captures.codec import build_counters, build_exchange, build_header, build_message, unpack_map, unpack_row
from captures.encryption import Identities, SealedOpener, identities_in_effect, unwrap
from captures.errors import CaptureError, UsageError
from captures.frames import (
    CAPTURE_MAGIC,
    FILE_HEADER,
    TRAILER,
    Block,
    BlockOpener,
    BlockType,
    parse_file_header,
    parse_trailer,
    read_at,
    read_block,
)
from captures.index import CaptureIndex, DataBlock, IndexBuilder, IndexSegment, unpack_segment
from captures.migrate import CAPTURE_MIGRATIONS, CAPTURE_VERSION, MigrationPath
from captures.model import CaptureHeader, Counters, Exchange, Message, MessageKind, Response
from captures.rows import OpenBlock, split_rows
from captures.salvage import MessageBlock, describe, scan_file
from captures.units import MIB

CACHE_BYTES = 32 * MIB  # raw blocks kept while reading in send order


@dataclass(frozen=True, slots=True)
class Row:
    """One exchange as packed bytes in file order, decoded on demand; valid while the reader is open."""

    packed: memoryview
    _path: MigrationPath

    def exchange(self) -> Exchange:
        """
        Decode.

        Raises:
            CaptureError: the row is damaged.

        """
        return build_exchange(self._path.exchange(unpack_row(self.packed)))


class CaptureReader:
    """
    One open capture. Use it as a context manager.

    ``complete`` tells whether the recording was closed and nothing is damaged; ``problems``
    says in sentences what is missing. A file without a footer is scanned, which costs one
    pass over it; so is one opened with ``salvage``, where damaged blocks are then left out
    instead of raising CaptureError when they are read.
    """

    def __init__(self, descriptor: int, path: Path, *, salvage: bool, identities: Identities | None) -> None:
        self.path = path
        self._descriptor = descriptor
        self._read = read_at(descriptor)
        self._size = os.fstat(descriptor).st_size
        head = self._read(0, FILE_HEADER.size)
        version, _ = parse_file_header(head, magic=CAPTURE_MAGIC, newest=CAPTURE_VERSION, name=path.name)
        self.version = version
        self._path = MigrationPath(version=version, current=CAPTURE_VERSION, table=CAPTURE_MIGRATIONS)
        self.recipients: tuple[str, ...] = ()
        """For whom the file is sealed; empty when it is not."""
        self._opener, self._meta_position = self._find_opener(head, identities)
        self._dictionary_position: dict[int, int] = {}
        self._cache: OrderedDict[int, OpenBlock] = OrderedDict()
        self._cache_bytes = 0
        self._segments: list[IndexSegment] | None = None
        self._loose: list[int] = []
        self.counters = Counters()
        self.problems: tuple[str, ...] = ()
        self._stream_ends: dict[int, int] | None = None
        self._span_ns: tuple[int, int] | None = None
        footer = None if salvage else self._find_footer()
        if footer is None:
            self._open_by_scan()
        else:
            self._open_by_footer(footer)
        self.index = CaptureIndex(self._load_segments)

    @classmethod
    def open(cls, path: Path, *, salvage: bool = False, identities: Identities | None = None) -> Self:
        """
        Open a capture; a sealed one with ``identities`` or, without them, with those in effect.

        Raises:
            UsageError: there is no such file, it may not be read, or no identity opens it.
            CaptureError: it is not a capture, or nothing of it can be read.

        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read ({error.strerror}); give a capture that exists."
            ) from None
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise UsageError(f"{path} is a folder; give a capture.")  # noqa: TRY301  # closes below
            return cls(descriptor, path, salvage=salvage, identities=identities)
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; rows and iterators of this reader end with it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # -- opening ---------------------------------------------------------------------------

    def _find_opener(self, head: bytes, identities: Identities | None) -> tuple[BlockOpener, int]:
        """What opens the blocks, and where META stands: behind the KEY block of a sealed file."""
        first = read_block(self._read, FILE_HEADER.size)
        if first is None or first.header.type != BlockType.KEY:
            return BlockOpener(self._dictionary), FILE_HEADER.size
        if identities is None:
            identities = identities_in_effect(os.environ)
        envelope = unwrap(first.stored, identities, name=self.path.name)
        self.recipients = envelope.recipients
        return SealedOpener(self._dictionary, envelope.key, head), first.end

    def _find_footer(self) -> Block | None:
        position = parse_trailer(self._read(max(0, self._size - TRAILER.size), TRAILER.size))
        if position is None or not FILE_HEADER.size <= position < self._size:
            return None
        block = read_block(self._read, position)
        return block if block is not None and block.header.type == BlockType.FOOTER else None

    def _open_by_footer(self, block: Block) -> None:
        footer = unpack_map(self._opener.open(block))
        meta = read_block(self._read, self._meta_position)
        if meta is None or meta.header.type != BlockType.META:
            raise CaptureError(f"The header block of {self.path.name} is damaged; give an undamaged copy.")
        self.header = self._build_header(self._opener.open(meta))
        try:
            self._index_positions = [int(position) for position in footer["index"]]
            self._message_blocks = [
                MessageBlock(position=int(position), first_ns=int(first), last_ns=int(last), rows=int(rows))
                for position, first, last, rows in footer["messages"]
            ]
            self._stream_ends = {int(seq): int(end_ns) for seq, end_ns in footer["stream_ends"]}
            self._dictionary_position = {int(number): int(at) for number, at in footer["dictionaries"]}
            self._span_ns = int(footer["first_ns"]), int(footer["last_end_ns"])
            self.counters = build_counters(self._path.counters(footer["counters"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CaptureError(
                f"The footer of {self.path.name} is damaged; give an undamaged copy."
            ) from error
        self.complete = True

    def _open_by_scan(self) -> None:
        closed = self._find_footer() is not None
        end = self._size - TRAILER.size if closed else self._size
        scan = scan_file(self._read, FILE_HEADER.size, end, self._opener)
        if scan.meta is None:
            raise CaptureError(f"{self.path.name} holds no header block; nothing of it can be read.")
        self.header = self._build_header(scan.meta)
        self._dictionary_position = scan.dictionaries
        self._segments, self._loose = list(scan.segments), scan.loose
        self._message_blocks = scan.messages
        account = None
        if scan.account is not None:
            account = build_counters(self._path.counters(unpack_map(scan.account)))
        self.counters = account or Counters()
        self.problems = describe(scan, closed=closed, live=self._is_live(), account=account)
        self.complete = not self.problems

    def _is_live(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    def _build_header(self, payload: bytes) -> CaptureHeader:
        return build_header(self._path.header(unpack_map(payload)))

    def _dictionary(self, number: int) -> bytes | None:
        """The raw content of the DICTIONARY block with that number."""
        position = self._dictionary_position.get(number)
        block = None if position is None else read_block(self._read, position)
        return None if block is None else self._opener.open(block)

    # -- the index -------------------------------------------------------------------------

    def _load_segments(self) -> list[IndexSegment]:
        if self._segments is None:
            self._segments = []
            for position in self._index_positions:
                block = read_block(self._read, position)
                if block is None or block.header.type != BlockType.INDEX:
                    raise CaptureError(
                        f"An index block of {self.path.name} is damaged; "
                        "run hookreel verify FILE --salvage OUT to rebuild it."
                    )
                self._segments.append(unpack_segment(self._opener.open(block), block.header.rows))
        if self._loose:
            self._segments.extend(self._index_loose_blocks())
            self._loose = []
        return self._segments

    def _index_loose_blocks(self) -> Iterator[IndexSegment]:
        """Index rows for EXCHANGES blocks that no INDEX block covers."""
        builder = IndexBuilder()
        for label in [label for segment in self._segments or [] for label in segment.labels]:
            builder.endpoints.number(label)
        builder.take_payload()
        left_out = 0
        for position in self._loose:
            try:
                exchanges = [row.exchange() for row in self._block_rows(position)]
            except CaptureError:
                left_out += 1
                continue
            for exchange in exchanges:
                builder.add(exchange)
            builder.close_block(position, len(exchanges))
            payload, rows = builder.take_payload()
            yield unpack_segment(payload, rows)
        if left_out:
            self.complete = False
            self.problems = (*self.problems, f"{left_out} blocks cannot be decoded and were left out.")

    @property
    def endpoint_labels(self) -> tuple[str, ...]:
        """The label of each endpoint number in ``index.endpoint``."""
        return self.index.endpoint_labels

    def __len__(self) -> int:
        return len(self.index)

    @property
    def duration_ns(self) -> int:
        """From the first request to the last completion; 0 for an empty capture."""
        first_ns, last_ns = self._span
        return max(0, last_ns - first_ns)

    @cached_property
    def _span(self) -> tuple[int, int]:
        if self._span_ns is not None:
            return self._span_ns
        first_ns: int | None = None
        last_ns = max(self._ends.values(), default=0)
        for exchange in (row.exchange() for row in self.rows()):
            outcome = exchange.outcome
            end_ns = (outcome.end_ns or 0) if isinstance(outcome, Response) else 0
            last_ns = max(last_ns, outcome.offset_ns, end_ns)
            first_ns = exchange.offset_ns if first_ns is None else min(first_ns, exchange.offset_ns)
        return first_ns or 0, last_ns

    # -- rows ------------------------------------------------------------------------------

    def _open_block(self, position: int) -> OpenBlock:
        block = read_block(self._read, position)
        if block is None:
            raise CaptureError(
                f"The block at byte {position} of {self.path.name} is damaged; "
                "run hookreel verify FILE --salvage OUT to keep what is whole."
            )
        return split_rows(self._opener.open(block), block.header.rows, position)

    def _cached_block(self, position: int) -> OpenBlock:
        found = self._cache.get(position)
        if found is not None:
            self._cache.move_to_end(position)
            return found
        found = self._open_block(position)
        self._cache[position] = found
        self._cache_bytes += len(found.payload)
        while self._cache_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cache_bytes -= len(dropped.payload)
        return found

    def _block_rows(self, position: int) -> Iterator[Row]:
        block = self._open_block(position)
        for start, stop in zip(block.starts, block.starts[1:], strict=False):
            yield Row(block.payload[start:stop], self._path)

    def rows(self) -> Iterator[Row]:
        """
        Every exchange in file order (the order of completion), lazily decoded.

        Raises:
            CaptureError: a block is damaged.

        """
        for block in self.index.blocks:
            yield from self._block_rows(block.position)

    def exchanges(
        self,
        *,
        start_ns: int | None = None,
        stop_ns: int | None = None,
        endpoints: Collection[str] | None = None,
    ) -> Iterator[Exchange]:
        """
        Exchanges in send order, with ``start_ns <= offset_ns < stop_ns`` and of ``endpoints``.

        Only the blocks that hold such exchanges are decoded.

        Raises:
            CaptureError: a block is damaged.

        """
        offsets = self.index.offset_ns
        first = 0 if start_ns is None else int(np.searchsorted(offsets, start_ns))
        last = len(offsets) if stop_ns is None else int(np.searchsorted(offsets, stop_ns))
        file_rows = self.index.file_row[first:last]
        if endpoints is not None:
            wanted = [number for number, label in enumerate(self.endpoint_labels) if label in endpoints]
            file_rows = file_rows[np.isin(self.index.endpoint[first:last], wanted)]
        blocks: tuple[DataBlock, ...] = self.index.blocks
        first_rows = np.cumsum([0, *(block.rows for block in blocks)])
        block_numbers = np.searchsorted(first_rows, file_rows, side="right") - 1
        rows_in_block = file_rows - first_rows[block_numbers]
        ends, path = self._ends, self._path
        for number, row in zip(block_numbers.tolist(), rows_in_block.tolist(), strict=True):
            block = self._cached_block(blocks[number].position)
            packed = block.payload[block.starts[row] : block.starts[row + 1]]
            unpacked = unpack_row(packed)
            exchange = build_exchange(path.exchange(unpacked) if path.needed else unpacked)
            yield _with_stream_end(exchange, ends) if exchange.seq in ends else exchange

    # -- messages --------------------------------------------------------------------------

    @cached_property
    def _ends(self) -> dict[int, int]:
        """When each stream ended, by seq."""
        if self._stream_ends is not None:
            return self._stream_ends
        return {
            message.exchange: message.offset_ns
            for message in self.messages()
            if message.kind is MessageKind.END
        }

    def messages(self, exchange: int | None = None) -> Iterator[Message]:
        """
        Messages in the order they were written: all, or those of the exchange with that seq.

        Raises:
            CaptureError: a block is damaged.

        """
        for block in self._message_blocks:
            for row in self._block_rows(block.position):
                message = build_message(self._path.message(unpack_row(row.packed)))
                if exchange is None or message.exchange == exchange:
                    yield message


def _with_stream_end(exchange: Exchange, ends: dict[int, int]) -> Exchange:
    outcome: Any = exchange.outcome
    if isinstance(outcome, Response) and outcome.end_ns is None:
        return replace(exchange, outcome=replace(outcome, end_ns=ends[exchange.seq]))
    return exchange
