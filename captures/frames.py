"""
The container that captures and runs share: a file header and checksummed, typed blocks.

docs/format.md describes every byte; this module is its only reader and writer. Nothing here
knows what is inside a block.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import zstandard

from captures.errors import CaptureError, CaptureVersionError, FileKindError, WriteError

CAPTURE_MAGIC = b"\x89REEL\r\n\x1a"
RUN_MAGIC = b"\x89HRUN\r\n\x1a"

FILE_HEADER = struct.Struct("<8sHH16s32xI")  # magic, version, reserved, file id, crc32 of what is before
BLOCK_HEADER = struct.Struct("<8sBBHIIIIIqqII")
TRAILER = struct.Struct("<QII8s")  # footer position, footer size with its header, crc32, magic
SYNC = b"\xf5\xe9reel\r\n"
TRAILER_MAGIC = b"\x89DONE\r\n\x1a"

MAX_POSITION = 1 << 62  # no file is that large; what names a place beyond is damaged
MAX_BLOCK_BYTES = 128 * 1024 * 1024  # raw or stored; nothing larger is ever allocated
COMPRESSION_LEVEL = 3  # 1 GB/s and 16:1 on webhooks; higher levels cost four times the time for 10 %
_MAX_DICTIONARIES = 4  # kept ready; each is up to 112 KiB and its tables
SEALED = 0x80  # set in a block's codec when its stored payload is encrypted
_MIN_COMPRESSED_BYTES = 64  # below this zstd's frame header costs more than it saves


class BlockType(IntEnum):
    """What a block holds; readers skip types they do not know."""

    META = 1
    EXCHANGES = 2
    MESSAGES = 3
    DICTIONARY = 4
    INDEX = 5
    COUNTERS = 6
    FOOTER = 7
    COLUMNS = 8
    KEY = 9
    KEPT = 10


_ROW_TYPES = frozenset({BlockType.EXCHANGES, BlockType.MESSAGES, BlockType.DICTIONARY, BlockType.KEPT})
_MAX_RATIO = 64  # of the other blocks' compression: what unpacks to far more was made to fill memory


class Codec(IntEnum):
    """How a block's payload is stored."""

    RAW = 0
    ZSTD = 1
    ZSTD_DICTIONARY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockHeader:
    """
    The fixed 56 bytes before a payload.

    ``number`` counts blocks from 0, so a gap tells that blocks are missing. ``dictionary`` is
    the number of the DICTIONARY block that a ZSTD_DICTIONARY payload needs. ``first_ns`` and
    ``last_ns`` are the smallest and largest offset of the rows inside.
    """

    type: int
    codec: int
    dictionary: int
    number: int
    rows: int
    raw_bytes: int
    stored_bytes: int
    first_ns: int
    last_ns: int
    payload_crc: int

    def pack(self) -> bytes:
        """The header's bytes, closed by their own CRC-32."""
        head = BLOCK_HEADER.pack(
            SYNC,
            self.type,
            self.codec,
            0,
            self.dictionary,
            self.number,
            self.rows,
            self.raw_bytes,
            self.stored_bytes,
            self.first_ns,
            self.last_ns,
            self.payload_crc,
            0,
        )[:-4]
        return head + struct.pack("<I", zlib.crc32(head))


@dataclass(frozen=True, slots=True)
class Block:
    """One whole, checksummed block: where it starts in the file, its header, its stored payload."""

    position: int
    header: BlockHeader
    stored: bytes = field(repr=False)

    @property
    def end(self) -> int:
        """The file position just behind the block."""
        return self.position + BLOCK_HEADER.size + self.header.stored_bytes


class ReadAt(Protocol):
    """Read at most ``size`` bytes at ``position``; fewer only at the end of the file."""

    def __call__(self, position: int, size: int, /) -> bytes:
        """The bytes at ``position``."""
        ...


def read_at(descriptor: int) -> ReadAt:
    """A ``ReadAt`` over an open file."""

    def read(position: int, size: int) -> bytes:
        parts = []
        while size > 0:
            part = os.pread(descriptor, size, position)
            if not part:
                break
            parts.append(part)
            position += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read


def pack_file_header(magic: bytes, version: int, file_id: bytes) -> bytes:
    """The first 64 bytes of a file; ``file_id`` has 16 bytes."""
    head = FILE_HEADER.pack(magic, version, 0, file_id, 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(head))


def parse_file_header(data: bytes, *, magic: bytes, newest: int, name: str) -> tuple[int, bytes]:
    """
    Version and file id.

    Raises:
        FileKindError: the file is something else.
        CaptureVersionError: the file's version is above ``newest``.
        CaptureError: the file header is cut or damaged.

    """
    if not magic.startswith(data[: len(magic)]):
        raise FileKindError(f"{name} is {_kind_instead(data, magic)}")
    if len(data) < FILE_HEADER.size:
        state = "ends within its first 64 bytes" if data else "is empty"
        raise CaptureError(f"{name} {state}; give an undamaged copy.")
    _, version, _, file_id, crc = FILE_HEADER.unpack(data[: FILE_HEADER.size])
    if zlib.crc32(data[: FILE_HEADER.size - 4]) != crc:
        raise CaptureError(f"The first 64 bytes of {name} are damaged; give an undamaged copy.")
    if version > newest:
        raise CaptureVersionError(
            f"{name} has format version {version}, this hookreel reads up to {newest}; use a newer hookreel."
        )
    return version, file_id


def _kind_instead(data: bytes, magic: bytes) -> str:
    """What a file is that does not start with ``magic``, and which one to give."""
    if magic == CAPTURE_MAGIC:
        if data.startswith(RUN_MAGIC):
            return "a run, not a capture; give the capture that was replayed."
        return "not a capture; give a file that hookreel record or hookreel import wrote."
    what = "a capture, not a run" if data.startswith(CAPTURE_MAGIC) else "not a run"
    return f"{what}; give a file that hookreel replay wrote."


class BlockPacker:
    """Turns payloads into numbered blocks; one per file, since it owns the numbering."""

    def __init__(self, *, first_number: int = 0) -> None:
        self.next_number = first_number
        """The number the next block gets."""
        self._plain = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
        self._with_dictionary: zstandard.ZstdCompressor | None = None
        self._dictionary_number = 0

    def use_dictionary(self, content: bytes) -> bytes:
        """
        Pack ``content`` as a DICTIONARY block and compress small blocks with it from now on.

        The dictionary is raw content (recent rows): on webhooks it compresses better than a
        trained one and costs no training. precompute_compress is never called: calling it
        again while a compressor lives crashes zstandard 0.23 and 0.25.
        """
        self._dictionary_number = self.next_number
        block = self.pack(BlockType.DICTIONARY, content)
        self._with_dictionary = zstandard.ZstdCompressor(
            level=COMPRESSION_LEVEL, dict_data=raw_dictionary(content)
        )
        return block

    def pack(
        self,
        block_type: BlockType,
        payload: bytes,
        *,
        rows: int = 0,
        first_ns: int = 0,
        last_ns: int = 0,
        small: bool = False,
        compress: bool = True,
    ) -> bytes:
        """
        The block's bytes. ``small`` asks for the dictionary, when there is one.

        Raises:
            WriteError: the payload is above ``MAX_BLOCK_BYTES``.

        """
        if len(payload) > MAX_BLOCK_BYTES:
            raise too_large()
        codec, stored, dictionary = Codec.RAW, payload, 0
        if compress and len(payload) >= _MIN_COMPRESSED_BYTES:
            if small and self._with_dictionary is not None:
                codec, stored = Codec.ZSTD_DICTIONARY, self._with_dictionary.compress(payload)
                dictionary = self._dictionary_number
            else:
                codec, stored = Codec.ZSTD, self._plain.compress(payload)
            if len(stored) >= len(payload):
                codec, stored, dictionary = Codec.RAW, payload, 0
        header = BlockHeader(
            type=block_type,
            codec=codec,
            dictionary=dictionary,
            number=self.next_number,
            rows=rows,
            raw_bytes=len(payload),
            stored_bytes=len(stored),
            first_ns=first_ns,
            last_ns=last_ns,
            payload_crc=zlib.crc32(stored),
        )
        self.next_number += 1
        return self.finish(header, stored)

    def finish(self, header: BlockHeader, stored: bytes) -> bytes:
        """The block's bytes once its payload is as it will be stored; a sealing packer adds its own step."""
        return header.pack() + stored


def too_large() -> WriteError:
    """What to raise for a payload that no reader would take."""
    return WriteError(f"A block would be above {MAX_BLOCK_BYTES} bytes; write the capture in smaller parts.")


def raw_dictionary(content: bytes) -> zstandard.ZstdCompressionDict:
    """``content`` as a zstd dictionary without a header of its own."""
    return zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def parse_block_header(data: bytes) -> BlockHeader | None:
    """The header in the first bytes of ``data``, or None when there is no sound one."""
    if len(data) < BLOCK_HEADER.size or data[: len(SYNC)] != SYNC:
        return None
    fields = BLOCK_HEADER.unpack(data[: BLOCK_HEADER.size])
    if zlib.crc32(data[: BLOCK_HEADER.size - 4]) != fields[-1]:
        return None
    header = BlockHeader(
        type=fields[1],
        codec=fields[2],
        dictionary=fields[4],
        number=fields[5],
        rows=fields[6],
        raw_bytes=fields[7],
        stored_bytes=fields[8],
        first_ns=fields[9],
        last_ns=fields[10],
        payload_crc=fields[11],
    )
    return header if max(header.raw_bytes, header.stored_bytes) <= MAX_BLOCK_BYTES else None


def read_block(read: ReadAt, position: int) -> Block | None:
    """The whole block at ``position`` (any number), or None when it is cut, damaged or not there."""
    if not 0 <= position < MAX_POSITION:
        return None
    header = parse_block_header(read(position, BLOCK_HEADER.size))
    if header is None:
        return None
    stored = read(position + BLOCK_HEADER.size, header.stored_bytes)
    if len(stored) != header.stored_bytes or zlib.crc32(stored) != header.payload_crc:
        return None
    return Block(position, header, stored)


class BlockOpener:
    """Turns stored payloads back into raw ones; fetches dictionaries as they are needed."""

    def __init__(self, dictionary: Callable[[int], bytes | None]) -> None:
        self._dictionary = dictionary
        self._plain = zstandard.ZstdDecompressor()
        self._with_dictionary: OrderedDict[int, zstandard.ZstdDecompressor] = OrderedDict()

    def open(self, block: Block) -> bytes:
        """
        The raw payload.

        Raises:
            CaptureError: it does not decompress to the length that the header states, or the
                dictionary it needs is damaged.

        """
        header = block.header
        if header.type not in _ROW_TYPES and header.raw_bytes > _MAX_RATIO * (header.stored_bytes + 1024):
            raise _damaged(block)
        if header.codec == Codec.RAW:
            if header.raw_bytes != header.stored_bytes:
                raise _damaged(block)
            return block.stored
        decompressor = self._plain if header.codec == Codec.ZSTD else self._for_dictionary(block)
        try:
            if zstandard.frame_content_size(block.stored) != header.raw_bytes:
                raise _damaged(block)
            return decompressor.decompress(block.stored, max_output_size=header.raw_bytes)
        except zstandard.ZstdError:
            raise _damaged(block) from None

    def _for_dictionary(self, block: Block) -> zstandard.ZstdDecompressor:
        number = block.header.dictionary
        if block.header.codec != Codec.ZSTD_DICTIONARY:
            raise CaptureError(
                f"The block at byte {block.position} uses an unknown codec; use a newer hookreel."
            )
        if block.header.type in {BlockType.META, BlockType.DICTIONARY}:  # it could need itself
            raise _damaged(block)
        known = self._with_dictionary.get(number)
        if known is not None:
            self._with_dictionary.move_to_end(number)
            return known
        content = self._dictionary(number)
        if not content:
            raise _damaged(block)
        known = zstandard.ZstdDecompressor(dict_data=raw_dictionary(content))
        self._with_dictionary[number] = known
        if len(self._with_dictionary) > _MAX_DICTIONARIES:
            self._with_dictionary.popitem(last=False)
        return known


def _damaged(block: Block) -> CaptureError:
    return CaptureError(
        f"The block at byte {block.position} is damaged; "
        "run hookreel verify FILE --salvage OUT to keep what is whole."
    )


def pack_trailer(footer_position: int, footer_size: int) -> bytes:
    """The last 24 bytes of a closed file."""
    head = struct.pack("<QI", footer_position, footer_size)
    return head + struct.pack("<I8s", zlib.crc32(head), TRAILER_MAGIC)


def parse_trailer(data: bytes) -> int | None:
    """The footer's position, or None when the file was not closed."""
    if len(data) != TRAILER.size or data[-8:] != TRAILER_MAGIC:
        return None
    position, _, crc, _ = TRAILER.unpack(data)
    return int(position) if zlib.crc32(data[:12]) == crc else None
