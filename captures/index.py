"""The index: one row of numbers per exchange, so that nothing needs to be decoded to plan."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from captures.codec import check_ints
from captures.columns import Column, ColumnBlock, pack_columns
from captures.endpoints import EndpointTable, merge_labels
from captures.errors import CaptureError
from captures.model import Exchange, Response

INDEX_ROWS = 1 << 16  # rows an INDEX block holds; also what a crash leaves to be indexed anew

COLUMN_TYPES = {
    "offset_ns": "q",
    "seq": "q",
    "endpoint": "I",
    "connection": "I",
    "status": "H",
    "request_bytes": "I",
    "response_bytes": "I",
}
_MOST_ROW_BYTES = 36  # of a payload's columns, where they do not compress at all
_MOST_BLOCK_BYTES = 1 + 9 + 5  # a position and a number of rows in msgpack
_LABEL_HEAD_BYTES = 3
MAX_ROWS_A_BYTE = 4  # an exchange takes more of a file than this; an index that lists more is damaged
_NUMPY_TYPES: dict[str, np.dtype[Any]] = {"q": np.dtype("<i8"), "I": np.dtype("<u4"), "H": np.dtype("<u2")}


@dataclass(frozen=True, slots=True)
class DataBlock:
    """Where one EXCHANGES block starts and how many rows it holds."""

    position: int
    rows: int


@dataclass(slots=True)
class IndexBuilder:
    """
    Collects index rows in file order and hands them out as INDEX payloads.

    Memory is bounded by ``INDEX_ROWS`` rows and by the endpoint table.
    """

    endpoints: EndpointTable = field(default_factory=EndpointTable)
    blocks: list[DataBlock] = field(default_factory=list)
    _columns: dict[str, array[int]] = field(
        default_factory=lambda: {name: array(code) for name, code in COLUMN_TYPES.items()}
    )
    _labels_packed: int = 0
    _label_bytes: int = 0  # of those not yet packed

    def add(self, exchange: Exchange) -> None:
        """One more exchange of the block that will be closed next."""
        request, outcome, columns = exchange.request, exchange.outcome, self._columns
        response = outcome if isinstance(outcome, Response) else None
        columns["offset_ns"].append(exchange.offset_ns)
        columns["seq"].append(exchange.seq)
        known = len(self.endpoints.labels)
        columns["endpoint"].append(self.endpoints.add(request.method, request.target))
        for label in self.endpoints.labels[known:]:
            self._label_bytes += len(label.encode()) + _LABEL_HEAD_BYTES
        columns["connection"].append(exchange.connection)
        columns["status"].append(response.status if response else 0)
        columns["request_bytes"].append(len(request.body))
        columns["response_bytes"].append(len(response.body) if response else 0)

    def close_block(self, position: int, rows: int) -> None:
        """The exchanges added last stand in an EXCHANGES block at ``position``."""
        self.blocks.append(DataBlock(position, rows))

    @property
    def rows(self) -> int:
        """Rows not yet handed out."""
        return len(self._columns["seq"])

    @property
    def most_bytes(self) -> int:
        """At most so many bytes are the payload of the rows not yet handed out."""
        return self.rows * _MOST_ROW_BYTES + len(self.blocks) * _MOST_BLOCK_BYTES + self._label_bytes

    def take_payload(self) -> tuple[bytes, int]:
        """The INDEX payload of all rows collected, and their number; the builder is then empty."""
        rows = sum(block.rows for block in self.blocks)
        columns = {
            name: np.frombuffer(column, _NUMPY_TYPES[column.typecode])[:rows]
            for name, column in self._columns.items()
        }
        payload = msgpack.packb(
            [
                [list(pair) for pair in ((block.position, block.rows) for block in self.blocks)],
                self.endpoints.labels[self._labels_packed :],
                pack_columns(columns),
            ]
        )
        del columns
        self._labels_packed = len(self.endpoints.labels)
        self._label_bytes = 0
        self._columns = {name: column[rows:] for name, column in self._columns.items()}
        self.blocks = []
        return bytes(payload), rows


@dataclass(frozen=True, slots=True)
class IndexSegment:
    """One unpacked INDEX payload."""

    blocks: tuple[DataBlock, ...]
    labels: tuple[str, ...]
    columns: ColumnBlock


def unpack_segment(
    payload: bytes, rows: int, *, migrate: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> IndexSegment:
    """
    One INDEX payload; columns stay packed until they are asked for.

    ``migrate`` makes the columns' map one of the current version. Blocks stand in file order.

    Raises:
        CaptureError: it is damaged.

    """
    try:
        blocks, labels, columns = msgpack.unpackb(payload)
        for position, count in blocks:
            check_ints(position, count)
        _check_texts(labels)
        segment = IndexSegment(
            tuple(DataBlock(position, count) for position, count in blocks),
            tuple(labels),
            ColumnBlock(columns, rows, migrate=migrate),
        )
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise damaged_index() from error
    counts = [block.rows for block in segment.blocks]
    if min(counts, default=1) < 1 or sum(counts) != rows or not _increasing(segment.blocks):
        raise damaged_index()
    return segment


def _check_texts(texts: object) -> None:
    if type(texts) is not list or not all(type(text) is str for text in texts):
        raise TypeError


def damaged_index() -> CaptureError:
    """What to raise for an index that cannot be right."""
    return CaptureError(
        "The index is damaged; run hookreel verify FILE --salvage OUT to make a copy with a new one."
    )


def _increasing(blocks: Sequence[DataBlock]) -> bool:
    return all(one.position < other.position for one, other in pairwise(blocks))


@dataclass(frozen=True, slots=True)
class IndexParts:
    """What an index is made of: segments in file order, and the labels that they count into."""

    segments: Sequence[IndexSegment]
    labels: Sequence[str]

    def check(self, file_bytes: int) -> None:
        """
        Check that the segments could belong to one file of ``file_bytes``.

        Raises:
            CaptureError: they list a block twice, or far more rows than fit.

        """
        rows = sum(segment.columns.rows for segment in self.segments)
        blocks = [block for segment in self.segments for block in segment.blocks]
        if rows > MAX_ROWS_A_BYTE * file_bytes or not _increasing(blocks):
            raise damaged_index()
        if blocks and not 0 <= blocks[0].position <= blocks[-1].position < file_bytes:
            raise damaged_index()
        if len(set(self.labels)) != len(self.labels):
            raise damaged_index()


class CaptureIndex:
    """
    Columns in send order: exchanges sorted by ``offset_ns``, then ``seq``; one row each.

    This is where completion order (how a recorder writes) becomes send order. A column is
    decoded when it is first read: the due times of 10 million exchanges need one of them.
    """

    def __init__(self, load: Callable[[], IndexParts]) -> None:
        self._load = load

    @cached_property
    def _parts(self) -> IndexParts:
        return self._load()

    @property
    def _segments(self) -> Sequence[IndexSegment]:
        return self._parts.segments

    @cached_property
    def blocks(self) -> tuple[DataBlock, ...]:
        """Every EXCHANGES block in file order."""
        return tuple(block for segment in self._segments for block in segment.blocks)

    def _in_file_order(self, name: str) -> Column:
        dtype = _NUMPY_TYPES[COLUMN_TYPES[name]]
        parts = [segment.columns.column(name) for segment in self._segments]
        if any(part.dtype != dtype for part in parts):
            raise damaged_index()
        return np.concatenate(parts) if parts else np.empty(0, dtype)

    @cached_property
    def _sorted_offsets(self) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Offsets in send order, and the file rows in that order (None: as they are)."""
        offsets = self._in_file_order("offset_ns")
        steps = np.diff(offsets)
        if len(steps) == 0 or int(steps.min()) > 0:
            return offsets, None
        order = np.argsort(offsets, kind="stable")
        in_order = offsets[order]
        if bool((np.diff(in_order) == 0).any()):  # equal offsets: seq decides
            order = np.lexsort((self._in_file_order("seq"), offsets))
            in_order = offsets[order]
        return in_order, order

    def _in_send_order(self, name: str) -> Column:
        column = self._in_file_order(name)
        order = self._sorted_offsets[1]
        return column if order is None else column[order]

    @cached_property
    def offset_ns(self) -> NDArray[np.int64]:
        """When each request was first seen, int64 ns."""
        return self._sorted_offsets[0]

    @cached_property
    def file_row(self) -> NDArray[np.int64]:
        """Each exchange's place in the file, counted over all blocks."""
        order = self._sorted_offsets[1]
        return np.arange(len(self.offset_ns), dtype=np.int64) if order is None else order

    @cached_property
    def seq(self) -> NDArray[np.int64]:
        """Each exchange's sequence number, int64."""
        return self._in_send_order("seq")

    @cached_property
    def _labels(self) -> tuple[tuple[str, ...], NDArray[np.uint32]]:
        table = EndpointTable()
        numbers = [table.number(label) for label in merge_labels(self._parts.labels)]
        return tuple(table.labels), np.array(numbers, np.uint32)

    @property
    def endpoint_labels(self) -> tuple[str, ...]:
        """The final label of each endpoint number."""
        return self._labels[0]

    @cached_property
    def endpoint(self) -> NDArray[np.uint32]:
        """Each exchange's endpoint, a number into ``endpoint_labels``."""
        shape_numbers = self._in_send_order("endpoint")
        final = self._labels[1]
        if len(shape_numbers) and int(shape_numbers.max()) >= len(final):
            raise damaged_index()
        return final[shape_numbers]

    @cached_property
    def connection(self) -> NDArray[np.uint32]:
        """Each exchange's client connection, counted from 0."""
        return self._in_send_order("connection")

    @cached_property
    def status(self) -> NDArray[np.uint16]:
        """Each exchange's status; 0 where it failed."""
        return self._in_send_order("status")

    @cached_property
    def request_bytes(self) -> NDArray[np.uint32]:
        """Stored bytes of each request's body."""
        return self._in_send_order("request_bytes")

    @cached_property
    def response_bytes(self) -> NDArray[np.uint32]:
        """Stored bytes of each response's body."""
        return self._in_send_order("response_bytes")

    @cached_property
    def _seq_order(self) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Sequence numbers in rising order, and the send-order rows they are of (None: as they are)."""
        seq = self.seq
        if bool((np.diff(seq) > 0).all()):
            return seq, None
        order = np.argsort(seq, kind="stable")
        return seq[order], order

    def offset_of(self, seq: int) -> int | None:
        """``offset_ns`` of the exchange with that ``seq``, or None when there is none."""
        values, order = self._seq_order
        place = int(np.searchsorted(values, seq))
        if place == len(values) or int(values[place]) != seq:
            return None
        return int(self.offset_ns[place if order is None else order[place]])

    def describes_the_same(self, other: CaptureIndex) -> bool:
        """
        Whether both list the same blocks and the same numbers and labels for each exchange.

        Raises:
            CaptureError: one of the two is damaged.

        """
        if self.blocks != other.blocks:
            return False
        for name in COLUMN_TYPES:
            mine, others = self._in_file_order(name), other._in_file_order(name)
            if name == "endpoint":
                number_there = {label: number for number, label in enumerate(other._parts.labels)}
                there = np.array([number_there.get(label, -1) for label in self._parts.labels], np.int64)
                if len(mine) and int(mine.max()) >= len(there):
                    return False
                mine = there[mine]
            if not np.array_equal(mine, others):
                return False
        return True

    def __len__(self) -> int:
        return sum(block.rows for block in self.blocks)
