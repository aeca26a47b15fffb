"""Scanning damaged files: what is found, and what it may cost."""

from __future__ import annotations

from captures.frames import BlockHeader, BlockPacker, BlockType
from captures.salvage import MAX_SENTENCES, Scan, describe
from captures.scanning import Damage, scan_blocks


def test_headers_without_their_payloads_cost_a_bounded_search() -> None:
    """A file of nothing but headers that claim the rest of it is given up after a few times its size."""
    count = 4000
    data = b"".join(
        BlockHeader(
            type=2, codec=0, dictionary=0, number=number, rows=0, raw_bytes=0,
            stored_bytes=(count - number - 1) * 56, first_ns=0, last_ns=0, payload_crc=1,
        ).pack()
        for number in range(count)
    )  # fmt: skip
    asked = 0

    def read(position: int, size: int) -> bytes:
        nonlocal asked
        part = data[position : position + size]
        asked += len(part)
        return part

    (damage,) = scan_blocks(read, 0, len(data))
    assert damage == Damage(position=0, size_bytes=len(data), tail=True)
    assert asked < 12 * len(data)


def test_many_short_damages_cost_a_bounded_search() -> None:
    """Damage of one byte after each block does not make the search read megabytes for each."""
    packer = BlockPacker()
    blocks = [packer.pack(BlockType.COUNTERS, b"x" * 50) for _ in range(500)]
    data = b"?".join(blocks)
    asked = 0

    def read(position: int, size: int) -> bytes:
        nonlocal asked
        part = data[position : position + size]
        asked += len(part)
        return part

    found = list(scan_blocks(read, 0, len(data)))
    assert sum(isinstance(item, Damage) for item in found) == 499
    assert len(found) == 999
    assert asked < 100 * len(data)


def test_many_places_of_damage_are_told_in_a_few_sentences() -> None:
    """A file with thousands of bad places does not fill the screen, and every byte is counted."""
    scan = Scan(damages=[Damage(position=n * 100, size_bytes=3, tail=False) for n in range(5000)])
    told = describe(scan, closed=True, live=False, account=None)
    assert len(told) == MAX_SENTENCES + 1
    assert told[-1].startswith(f"{3 * (5000 - MAX_SENTENCES)} bytes at {5000 - MAX_SENTENCES} more places")
