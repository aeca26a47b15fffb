"""The container: checksums, resynchronisation, bounds."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures.errors import CaptureError, CaptureVersionError, FileKindError
from captures.frames import (
    BLOCK_HEADER,
    CAPTURE_MAGIC,
    MAX_BLOCK_BYTES,
    RUN_MAGIC,
    Block,
    BlockHeader,
    BlockOpener,
    BlockPacker,
    BlockType,
    Codec,
    pack_file_header,
    pack_trailer,
    parse_file_header,
    parse_trailer,
    read_block,
)
from captures.scanning import Damage, scan_blocks


def reader(data: bytes):
    return lambda position, size: data[position : position + size]


def opener(dictionaries: dict[int, bytes] | None = None) -> BlockOpener:
    return BlockOpener((dictionaries or {}).get)


@given(st.binary(max_size=5000))
def test_a_payload_comes_back(payload: bytes) -> None:
    """Whatever was packed is what is opened, compressed or not."""
    data = BlockPacker().pack(BlockType.EXCHANGES, payload, rows=3, first_ns=-5, last_ns=7)
    block = read_block(reader(data), 0)
    assert block is not None
    assert opener().open(block) == payload
    assert (block.header.rows, block.header.first_ns, block.header.last_ns) == (3, -5, 7)


def test_small_blocks_use_the_dictionary() -> None:
    """A row like the dictionary's takes a fraction of its size, and needs the dictionary to open."""
    row = bytes(range(256)) * 4
    packer = BlockPacker()
    packer.use_dictionary(row)
    with_dictionary = packer.pack(BlockType.EXCHANGES, row, small=True)
    without = packer.pack(BlockType.EXCHANGES, row, small=False)
    block = read_block(reader(with_dictionary), 0)
    assert block is not None
    assert block.header.codec == Codec.ZSTD_DICTIONARY
    assert len(with_dictionary) < len(without) / 2
    assert opener({0: row}).open(block) == row
    with pytest.raises(CaptureError):
        opener().open(block)


def test_damage_costs_only_its_own_block() -> None:
    """After a flipped byte the scan finds the next block by its sync word."""
    packer = BlockPacker()
    blocks = [packer.pack(BlockType.EXCHANGES, bytes([n]) * 500) for n in range(5)]
    data = bytearray(b"".join(blocks))
    data[len(blocks[0]) + 60] ^= 1
    found = list(scan_blocks(reader(bytes(data)), 0, len(data)))
    assert [item.header.number for item in found if isinstance(item, Block)] == [0, 2, 3, 4]
    assert [item for item in found if isinstance(item, Damage)] == [
        Damage(position=len(blocks[0]), size_bytes=len(blocks[1]), tail=False)
    ]


@given(st.data())
@settings(max_examples=50)
def test_a_cut_anywhere_keeps_all_whole_blocks(data: st.DataObject) -> None:
    """Truncation loses the block it hits and no other."""
    packer = BlockPacker()
    blocks = [packer.pack(BlockType.EXCHANGES, bytes([n]) * 100) for n in range(4)]
    whole = b"".join(blocks)
    cut = data.draw(st.integers(0, len(whole)))
    found = [item for item in scan_blocks(reader(whole[:cut]), 0, cut) if isinstance(item, Block)]
    assert len(found) == sum(1 for n in range(4) if len(b"".join(blocks[: n + 1])) <= cut)


@given(st.binary(max_size=3000))
def test_a_scan_of_arbitrary_bytes_ends(data: bytes) -> None:
    """Random bytes give damage that covers all of them, never an exception."""
    assert sum(item.size_bytes for item in scan_blocks(reader(data), 0, len(data))) == len(data)


def test_a_length_above_the_cap_is_no_block() -> None:
    """A header that claims gigabytes is refused before anything is allocated."""
    header = BlockHeader(
        type=2, codec=0, dictionary=0, number=0, rows=1, raw_bytes=MAX_BLOCK_BYTES + 1,
        stored_bytes=10, first_ns=0, last_ns=0, payload_crc=zlib.crc32(b"x" * 10),
    )  # fmt: skip
    asked: list[int] = []

    def read(position: int, size: int) -> bytes:
        asked.append(size)
        return (header.pack() + b"x" * 10)[position : position + size]

    assert read_block(read, 0) is None
    assert max(asked) <= BLOCK_HEADER.size


def test_a_frame_that_inflates_beyond_its_header_is_refused() -> None:
    """A zstd frame whose own length differs from the header's is damage, not memory."""
    packed = BlockPacker().pack(BlockType.EXCHANGES, b"a" * 100_000)
    block = read_block(reader(packed), 0)
    assert block is not None
    lying = BlockHeader(
        **{**{name: getattr(block.header, name) for name in block.header.__slots__}, "raw_bytes": 50}
    )
    with pytest.raises(CaptureError):
        opener().open(Block(0, lying, block.stored))


def test_the_file_header_tells_kind_and_version() -> None:
    """Magic, version and id come back; another kind, a newer version and damage are named."""
    head = pack_file_header(CAPTURE_MAGIC, 1, b"i" * 16)
    assert len(head) == 64
    assert parse_file_header(head, magic=CAPTURE_MAGIC, newest=1, name="f") == (1, b"i" * 16)
    with pytest.raises(FileKindError, match="f is a capture, not a run; give a file that hookreel replay"):
        parse_file_header(head, magic=RUN_MAGIC, newest=1, name="f")
    run = pack_file_header(RUN_MAGIC, 1, b"i" * 16)
    with pytest.raises(FileKindError, match="f is a run, not a capture; give the capture"):
        parse_file_header(run, magic=CAPTURE_MAGIC, newest=1, name="f")
    with pytest.raises(FileKindError, match="f is not a capture; give"):
        parse_file_header(b'{"log": {}}', magic=CAPTURE_MAGIC, newest=1, name="f")
    with pytest.raises(CaptureVersionError, match="newer hookreel"):
        parse_file_header(
            pack_file_header(CAPTURE_MAGIC, 2, b"i" * 16), magic=CAPTURE_MAGIC, newest=1, name="f"
        )
    with pytest.raises(CaptureError, match="damaged"):
        parse_file_header(head[:20] + b"X" + head[21:], magic=CAPTURE_MAGIC, newest=1, name="f")


@pytest.mark.parametrize("size", [0, 1, 8, 63])
def test_a_file_that_ends_in_its_header_is_damage(size: int) -> None:
    """A cut file is no file of another kind: the exit code is that of damage, and the sentence is one."""
    head = pack_file_header(CAPTURE_MAGIC, 1, b"i" * 16)[:size]
    with pytest.raises(CaptureError, match="undamaged copy") as raised:
        parse_file_header(head, magic=CAPTURE_MAGIC, newest=1, name="f")
    assert raised.value.exit_code == 1
    assert FileKindError.exit_code == 2


def test_the_trailer_is_checked() -> None:
    """Only an undamaged trailer names a footer."""
    trailer = pack_trailer(1234, 56)
    assert parse_trailer(trailer) == 1234
    assert parse_trailer(trailer[:-1]) is None
    assert parse_trailer(struct.pack("<Q", 9) + trailer[8:]) is None
