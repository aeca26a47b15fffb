"""Reads a capture: by time window or endpoint, in send order, memory bounded by a few blocks."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from captures.codec import build_exchange, unpack_map, unpack_row
from captures.encryption import Identities
from captures.endpoints import EndpointTable
from captures.errors import CaptureError
from captures.frames import FILE_HEADER, TRAILER, Block, BlockType, read_block
from captures.handle import CaptureHandle, open_capture
from captures.index import (
    CaptureIndex,
    DataBlock,
    IndexBuilder,
    IndexParts,
    IndexSegment,
    damaged_index,
    unpack_segment,
)
from captures.model import Counters, Exchange, Message, MessageKind, RecorderFacts, Response
from captures.opening import build_footer, find_footer, find_opener, is_live, read_header, read_scan
from captures.rows import OpenBlock, Row, split_rows
from captures.salvage import MessageBlock, count_blocks, describe, scan_file
from captures.units import MIB, NS_PER_S

CACHE_BYTES = 32 * MIB  # raw blocks kept while reading in send order
SLICE_ROWS = 1 << 16  # rows that are planned at a time
GRACE_NS = 60 * NS_PER_S  # how far a message may stand outside its stream's times


class CaptureReader(CaptureHandle):
    """
    One open capture. Use it as a context manager.

    ``complete`` tells whether the recording was closed and nothing is damaged; ``problems``
    says in sentences what is missing; ``recipients`` for whom the file is sealed, if it is. Without
    an account in the file (``has_account``) ``counters`` are all 0 and mean nothing. A file
    without a footer is scanned, which costs one pass over it; so is one opened with ``salvage``,
    which trusts no index and decodes every exchange. Blocks that cannot be decoded are then left
    out instead of raising CaptureError when they are read.
    """

    def __init__(self, descriptor: int, path: Path, *, salvage: bool, identities: Identities | None) -> None:
        super().__init__(descriptor, path)
        self._size = os.fstat(descriptor).st_size
        head = self._read(0, FILE_HEADER.size)
        self.version, file_id = self._begin(head)
        self._opener, self._meta_position, self.recipients = find_opener(
            self._read, head, self._dictionary, identities, name=path.name
        )
        self._cache: OrderedDict[int, OpenBlock] = OrderedDict()
        self._cache_bytes = 0
        self._segments: list[IndexSegment] | None = None
        self._labels: list[str] = []
        self._loose: list[DataBlock] = []
        self._left_out: set[int] = set()
        self._problems: tuple[str, ...] = ()
        self._salvage = salvage
        self.facts: RecorderFacts | None = None  # what a recorder told; None too when it was killed
        self._stream_ends: dict[int, int] | None = None
        self._span_ns: tuple[int, int] | None = None
        footer = None if salvage else find_footer(self._read, self._size)
        self._scanned = footer is None
        if footer is None:
            self._open_by_scan(file_id)
        else:
            self._open_by_footer(footer)
        self.index = CaptureIndex(self._load_index)

    @classmethod
    def open(cls, path: Path, *, salvage: bool = False, identities: Identities | None = None) -> Self:
        """
        Open a capture; a sealed one with ``identities`` or, without them, with those in effect.

        Raises:
            UsageError: there is no such file, it may not be read, or no identity opens it.
            CaptureError: it is not a capture, or nothing of it can be read.

        """
        return open_capture(
            path, lambda descriptor: cls(descriptor, path, salvage=salvage, identities=identities)
        )

    # -- opening ---------------------------------------------------------------------------

    @property
    def problems(self) -> tuple[str, ...]:
        """What is missing, in sentences; blocks that cannot be decoded are told once they were read."""
        if not self._left_out:
            return self._problems
        count = len(self._left_out)
        return (*self._problems, f"{count_blocks(count)} whole but cannot be decoded, and left out.")

    @property
    def complete(self) -> bool:
        """Whether the recording was closed and nothing is known to be damaged."""
        return not self.problems

    def _open_by_footer(self, block: Block) -> None:
        values = unpack_map(self._opener.open(block))
        footer = build_footer(values, self._path, position=block.position, name=self.path.name)
        self.header = read_header(self._read, self._meta_position, self._opener, self._path)
        self._index_positions = footer.index
        self._message_blocks: Sequence[MessageBlock] = footer.messages
        self._stream_ends = footer.stream_ends
        self._dictionary_position = footer.dictionaries
        self._span_ns = footer.first_ns, footer.last_end_ns
        self.has_account, self.counters, self.facts = True, footer.counters, footer.facts

    def _open_by_scan(self, file_id: bytes) -> None:
        closed = find_footer(self._read, self._size) is not None
        end = self._size - TRAILER.size if closed else self._size
        use_index = not self._salvage
        scan = scan_file(self._read, end, self._opener, migrate=self._path.columns, use_index=use_index)
        self.header, account, lost = read_scan(
            scan, self._path, name=self.path.name, file_id=file_id if self._salvage else None
        )
        self._dictionary_position = scan.dictionaries
        self._segments, self._labels, self._loose = scan.segments, scan.labels, scan.loose
        self._message_blocks = scan.messages
        self.has_account = account is not None
        self.counters = account or Counters()
        told = describe(scan, closed=closed, live=is_live(self._descriptor), account=account)
        self._problems = (*told, *lost)

    # -- the index -------------------------------------------------------------------------

    def _load_index(self) -> IndexParts:
        if self._segments is None:
            self._segments = list(self._listed_segments())
            self._labels = [label for segment in self._segments for label in segment.labels]
        if self._loose:
            IndexParts(self._segments, self._labels).check(self._size)
            self._segments.extend(self._index_loose_blocks())
            self._segments.sort(key=lambda segment: segment.blocks[0].position if segment.blocks else 0)
            self._loose = []
        parts = IndexParts(self._segments, self._labels)
        parts.check(self._size)
        return parts

    def _listed_segments(self) -> Iterator[IndexSegment]:
        for position in self._index_positions:
            block = read_block(self._read, position)
            if block is None or block.header.type != BlockType.INDEX:
                raise CaptureError(
                    f"An index block of {self.path.name} is damaged; "
                    "run hookreel verify FILE --salvage OUT to rebuild it."
                )
            yield unpack_segment(self._opener.open(block), block.header.rows, migrate=self._path.columns)

    def _index_loose_blocks(self) -> Iterator[IndexSegment]:
        """Index rows for EXCHANGES blocks that no INDEX block covers; the labels grow with them."""
        builder = IndexBuilder(EndpointTable(self._labels))
        for block in self._loose:
            try:
                exchanges = [row.exchange() for row in self._block_rows(block)]
            except CaptureError:
                self._left_out.add(block.position)
                continue
            for exchange in exchanges:
                builder.add(exchange)
            builder.close_block(block.position, len(exchanges))
            payload, rows = builder.take_payload()
            yield unpack_segment(payload, rows)
        self._labels = builder.endpoints.labels

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
        last_ns = max(self.stream_ends.values(), default=0)
        for exchange in (row.exchange() for row in self.rows()):
            outcome = exchange.outcome
            end_ns = (outcome.end_ns or 0) if isinstance(outcome, Response) else 0
            last_ns = max(last_ns, outcome.offset_ns, end_ns)
            first_ns = exchange.offset_ns if first_ns is None else min(first_ns, exchange.offset_ns)
        return first_ns or 0, last_ns

    # -- rows ------------------------------------------------------------------------------

    def _open_block(self, place: DataBlock | MessageBlock) -> OpenBlock:
        position = place.position
        block = read_block(self._read, position)
        if block is None:
            raise CaptureError(
                f"The block at byte {position} of {self.path.name} is damaged; "
                "run hookreel verify FILE --salvage OUT to keep what is whole."
            )
        wanted = BlockType.EXCHANGES if isinstance(place, DataBlock) else BlockType.MESSAGES
        if block.header.type != wanted or block.header.rows != place.rows:
            raise CaptureError(
                f"The index of {self.path.name} is wrong about the block at byte {position}; "
                "run hookreel verify FILE --salvage OUT to rebuild it."
            )
        return split_rows(self._opener.open(block), block.header.rows, position)

    def _cached_block(self, place: DataBlock) -> OpenBlock:
        found = self._cache.get(place.position)
        if found is not None:
            self._cache.move_to_end(place.position)
            return found
        found = self._open_block(place)
        self._cache[place.position] = found
        self._cache_bytes += len(found.payload)
        while self._cache_bytes > CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cache_bytes -= len(dropped.payload)
        return found

    def _block_rows(self, place: DataBlock | MessageBlock) -> Iterator[Row]:
        return self._open_block(place).rows(self._path)

    def rows(self) -> Iterator[Row]:
        """
        Every exchange in file order (the order of completion), lazily decoded.

        Raises:
            CaptureError: a block is damaged.

        """
        for block in self.index.blocks:
            yield from self._block_rows(block)

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
        wanted = None
        if endpoints is not None:
            wanted = [number for number, label in enumerate(self.endpoint_labels) if label in endpoints]
        blocks = self.index.blocks
        first_rows = np.cumsum([0, *(block.rows for block in blocks)])
        ends = self.stream_ends
        for start in range(first, last, SLICE_ROWS):
            chosen = np.arange(start, min(start + SLICE_ROWS, last))
            if wanted is not None:
                chosen = chosen[np.isin(self.index.endpoint[chosen], wanted)]
            file_rows = self.index.file_row[chosen]
            numbers = np.searchsorted(first_rows, file_rows, side="right") - 1
            places = zip(
                numbers.tolist(),
                (file_rows - first_rows[numbers]).tolist(),
                offsets[chosen].tolist(),
                self.index.seq[chosen].tolist(),
                strict=True,
            )
            for number, row, offset_ns, seq in places:
                exchange = self._exchange_at(blocks[number], row)
                if exchange.offset_ns != offset_ns or exchange.seq != seq:
                    raise damaged_index()
                yield _with_stream_end(exchange, ends) if seq in ends else exchange

    def _exchange_at(self, place: DataBlock, row: int) -> Exchange:
        block = self._cached_block(place)
        unpacked = unpack_row(block.payload[block.starts[row] : block.starts[row + 1]])
        return build_exchange(self._path.exchange(unpacked) if self._path.needed else unpacked)

    # -- messages --------------------------------------------------------------------------

    @cached_property
    def stream_ends(self) -> dict[int, int]:
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

        For one exchange, blocks that lie wholly before its request or after its end are not read;
        ``GRACE_NS`` allows for imported messages whose clock was another.

        Raises:
            CaptureError: a block is damaged.

        """
        first_ns = last_ns = None
        if exchange is not None:
            first_ns, last_ns = self.index.offset_of(exchange), self.stream_ends.get(exchange)
        for block in self._message_blocks:
            if first_ns is not None and block.last_ns < first_ns - GRACE_NS:
                continue
            if last_ns is not None and block.first_ns > last_ns + GRACE_NS:
                continue
            for message in self._block_messages(block):
                if exchange is None or message.exchange == exchange:
                    yield message

    def _block_messages(self, place: MessageBlock) -> list[Message]:
        try:
            return [row.message() for row in self._block_rows(place)]
        except CaptureError:
            if not self._scanned:
                raise
            self._left_out.add(place.position)
            return []


def _with_stream_end(exchange: Exchange, ends: dict[int, int]) -> Exchange:
    outcome: Any = exchange.outcome
    if isinstance(outcome, Response) and outcome.end_ns is None:
        return replace(exchange, outcome=replace(outcome, end_ns=ends[exchange.seq]))
    return exchange
