"""Responses that a run keeps for comparison: how they are stored, and read by the row of their exchange."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgpack

from captures.codec import check_ints
from captures.errors import CaptureError
from captures.frames import Block, BlockOpener, BlockPacker, BlockType, ReadAt, read_block
from captures.model import Headers, Provenance
from captures.units import MIB

_BLOCK_BYTES = MIB  # so much is unpacked to read one of them
_MAX_ROWS_A_BLOCK = 65_536
_DAMAGED = "A response that the run kept is damaged; replay again to make a new run."


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptResponse:
    """
    A response as it came, anonymized: ``row`` is that of its exchange in the run.

    ``body`` has its content coding and no transfer coding, as in a capture; ``truncated_bytes``
    counts what is missing at its end.
    """

    row: int
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)
    truncated_bytes: int = 0

    @property
    def content_type(self) -> bytes:
        """The value of its Content-Type, empty without one."""
        return self._header(b"content-type")

    @property
    def content_encoding(self) -> bytes:
        """The values of its Content-Encoding, joined by commas; empty without one."""
        return self._header(b"content-encoding")

    def _header(self, wanted: bytes) -> bytes:
        return b",".join(value for name, value in self.headers if name.lower() == wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFacts:
    """
    What a run was to keep (``policy``, within ``budget_bytes`` of heads and bodies) and what became of it.

    ``over_budget`` counts responses that there was no room for, ``lost`` those that could not be
    anonymized; neither are in the run. ``anonymized`` says how the others were made fit to keep: values in
    the bodies of two runs can be compared only under one key.
    """

    policy: str
    budget_bytes: int
    kept: int
    over_budget: int
    lost: int
    anonymized: Provenance | None


class KeptResponses(Mapping[int, KeptResponse]):
    """The kept responses of a run by row, in row order; they stay packed, a block is unpacked at a time."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self._blocks = tuple(blocks)
        self._opener = BlockOpener(lambda _number: None)
        self._block_of: dict[int, int] = {}
        self._opened: tuple[int, dict[int, KeptResponse]] = (-1, {})
        for number in range(len(self._blocks)):
            found = self._open(number)
            if not self._block_of.keys().isdisjoint(found):
                raise CaptureError(_DAMAGED)
            self._block_of.update(dict.fromkeys(found, number))

    def __getitem__(self, row: int) -> KeptResponse:
        number = self._block_of[row]
        if self._opened[0] != number:
            self._opened = number, self._open(number)
        return self._opened[1][row]

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._block_of))

    def __len__(self) -> int:
        return len(self._block_of)

    @classmethod
    def of(cls, kept: Iterable[KeptResponse]) -> Self:
        """Those of a run that was just made."""
        blocks = (read_block(_reading(data), 0) for data in pack_kept(BlockPacker(), kept))
        return cls(block for block in blocks if block is not None)

    def body(self, row: int) -> bytes | None:
        """The body that was kept of a row, with its content coding; None if none was."""
        found = self.get(row)
        return None if found is None else found.body

    def _open(self, number: int) -> dict[int, KeptResponse]:
        block = self._blocks[number]
        found = [_build(row) for row in _unpacked(self._opener.open(block))]
        if len(found) != block.header.rows:
            raise CaptureError(_DAMAGED)
        by_row = {response.row: response for response in found}
        if len(by_row) != len(found):
            raise CaptureError(_DAMAGED)
        return by_row


def _reading(data: bytes) -> ReadAt:
    return lambda position, size: data[position : position + size]


def pack_kept(packer: BlockPacker, kept: Iterable[KeptResponse]) -> Iterator[bytes]:
    """``kept`` as blocks of some ``_BLOCK_BYTES`` each."""
    rows: list[tuple[Any, ...]] = []
    size_bytes = 0
    for response in kept:
        rows.append((response.row, response.truncated_bytes, response.headers, response.body))
        size_bytes += len(response.body) + sum(len(name) + len(value) for name, value in response.headers)
        if size_bytes >= _BLOCK_BYTES or len(rows) == _MAX_ROWS_A_BLOCK:
            yield packer.pack(BlockType.KEPT, msgpack.packb(rows), rows=len(rows))
            rows, size_bytes = [], 0
    if rows:
        yield packer.pack(BlockType.KEPT, msgpack.packb(rows), rows=len(rows))


def _unpacked(payload: bytes) -> list[Any]:
    try:
        found = msgpack.unpackb(payload, use_list=False)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException):
        raise CaptureError(_DAMAGED) from None
    if type(found) is not tuple:
        raise CaptureError(_DAMAGED)
    return list(found)


def _build(values: Any) -> KeptResponse:
    try:
        row, truncated_bytes, headers, body = values
        check_ints(row, truncated_bytes)
        sound = min(row, truncated_bytes) >= 0 and type(headers) is tuple
        texts = [body, *(text for name, value in headers for text in (name, value))] if sound else []
    except (TypeError, ValueError):
        raise CaptureError(_DAMAGED) from None
    if not sound or not all(type(text) is bytes for text in texts):
        raise CaptureError(_DAMAGED)
    return KeptResponse(row=row, headers=headers, body=body, truncated_bytes=truncated_bytes)


def build_facts(values: Any) -> KeptFacts | None:
    """
    The facts of a run's header.

    Raises:
        TypeError, ValueError, LookupError: they are damaged.

    """
    if values is None:
        return None
    facts = KeptFacts(**{**values, "anonymized": build_provenance(values["anonymized"])})
    check_ints(facts.budget_bytes, facts.kept, facts.over_budget, facts.lost)
    if type(facts.policy) is not str:
        raise TypeError
    return facts


def build_provenance(values: Any) -> Provenance | None:
    """
    A provenance of a run's header.

    Raises:
        TypeError: it is damaged.

    """
    if values is None:
        return None
    found = Provenance(**values)
    types = [type(value) for value in (found.policy, found.key_fingerprint, found.audit_passed)]
    if types != [str, str, bool]:
        raise TypeError
    return found
