"""Walks the blocks of a file that may be damaged or cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from captures.frames import BLOCK_HEADER, SYNC, Block, ReadAt, parse_block_header, read_block

_SCAN_CHUNK_BYTES = 1024 * 1024
_FIRST_CHUNK_BYTES = 4096  # damage is mostly short, so a search starts small
_REREAD_FACTOR = 4  # headers without their payload may cost a scan this many times the file, no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A stretch of a file that holds no whole block; ``tail`` when nothing whole comes after it."""

    position: int
    size_bytes: int
    tail: bool


def scan_blocks(read: ReadAt, position: int, size: int) -> Iterator[Block | Damage]:
    """
    Every whole block from ``position`` to ``size`` in order, with the damaged stretches between.

    After damage it looks for the next sync word that starts a whole block, so one bad block
    costs only itself. A file made of headers whose payloads are not theirs would be read over
    and over: after ``_REREAD_FACTOR`` times its size the rest counts as damage.
    """
    search = _Search(read, size)
    while position < size:
        block = read_block(read, position)
        if block is not None:
            yield block
            position = block.end
            continue
        following = search.next_block(position + 1)
        yield Damage(position=position, size_bytes=(following or size) - position, tail=following is None)
        if following is None:
            return
        position = following


class _Search:
    """Looks for whole blocks behind damage, within a budget of bytes read for nothing."""

    def __init__(self, read: ReadAt, size: int) -> None:
        self._read = read
        self._size = size
        self._budget_bytes = _REREAD_FACTOR * size

    def next_block(self, position: int) -> int | None:
        chunk_bytes = _FIRST_CHUNK_BYTES
        while position < self._size and self._budget_bytes >= 0:
            chunk = self._read(position, chunk_bytes)
            found = chunk.find(SYNC)
            while found >= 0 and self._budget_bytes >= 0:
                if self._is_whole(position + found):
                    return position + found
                found = chunk.find(SYNC, found + 1)
            position += max(1, len(chunk) - len(SYNC) + 1)
            chunk_bytes = min(2 * chunk_bytes, _SCAN_CHUNK_BYTES)
        return None

    def _is_whole(self, position: int) -> bool:
        header = parse_block_header(self._read(position, BLOCK_HEADER.size))
        if header is None or position + BLOCK_HEADER.size + header.stored_bytes > self._size:
            return False
        if read_block(self._read, position) is not None:
            return True
        self._budget_bytes -= header.stored_bytes
        return False
