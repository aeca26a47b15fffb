"""Writes a capture: one writer a file, memory bounded by the open block."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgpack

from captures.codec import exchange_row, message_row, pack_counters, pack_header
from captures.encryption import SEAL_BYTES, seal_file
from captures.errors import HookreelError, WriteError
from captures.footer import Totals, lists_bytes, pack_footer
from captures.frames import (
    CAPTURE_MAGIC,
    MAX_BLOCK_BYTES,
    BlockPacker,
    BlockType,
    pack_file_header,
    pack_trailer,
)
from captures.index import INDEX_ROWS, IndexBuilder
from captures.keys import create_private_file
from captures.migrate import CAPTURE_VERSION
from captures.model import (
    MAX_CONNECTIONS,
    CaptureHeader,
    Counters,
    Exchange,
    Message,
    MessageKind,
    Provenance,
    RecorderFacts,
)
from captures.rows import RowBuffer
from captures.units import MIB, NS_PER_MS

BLOCK_BYTES = MIB  # a block is written when it holds this much
BLOCK_AGE_NS = 750 * NS_PER_MS  # or is this old; with a look four times a second, 1 s at most is at risk
DICTIONARY_BYTES = 112 * 1024
DICTIONARY_REFRESH_BYTES = 32 * MIB
SMALL_BLOCK_BYTES = 256 * 1024  # above this a block compresses well by itself

TOOL = "hookreel"


def new_header(
    *,
    source: str,
    started_wall_ns: int,
    lineage: tuple[str, ...] = (),
    anonymized: Provenance | None = None,
    fingerprint_salt: bytes | None = None,
    tool: str = TOOL,
) -> CaptureHeader:
    """A header with a fresh capture id and, unless one is handed on, a fresh salt."""
    return CaptureHeader(
        capture_id=secrets.token_hex(16),
        started_wall_ns=started_wall_ns,
        tool=tool,
        source=source,
        fingerprint_salt=fingerprint_salt or secrets.token_bytes(16),
        lineage=lineage,
        anonymized=anonymized,
    )


class CaptureWriter:
    """
    Appends exchanges and messages to a new capture.

    Exchanges may come in any order (a recorder has them as they complete); the reader gives
    them back in send order. Every block goes to the operating system in one write, so what
    a killed process leaves behind is whole up to its open block.

    After a WriteError nothing more is taken and ``close`` adds no index; the file opens all the
    same, as that of a killed recorder does, and as that of a ``with`` block that raised.
    """

    def __init__(
        self,
        descriptor: int,
        path: Path,
        header: CaptureHeader,
        clock_ns: Callable[[], int],
        packer: BlockPacker,
    ) -> None:
        self.path = path
        self.header = header
        self.exchanges_flushed = 0
        """Exchanges that are in the file; after a WriteError the rest of those taken are lost."""
        self.facts: RecorderFacts | None = None  # what a recorder tells; it goes into the footer
        self._descriptor = descriptor
        self._clock_ns = clock_ns
        self._pack = msgpack.Packer().pack
        self._packer = packer
        self._position = 0
        self._index = IndexBuilder()
        self._exchanges = RowBuffer()
        self._messages = RowBuffer()
        self._opened_ns = 0
        self._raw_since_dictionary = DICTIONARY_REFRESH_BYTES
        self._counters: Counters | None = None
        self._written_counters: Counters | None = None
        self._totals = Totals()
        self._index_positions: list[int] = []
        self._message_blocks: list[tuple[int, int, int, int]] = []
        self._dictionaries: list[tuple[int, int]] = []
        self._stream_ends: list[tuple[int, int]] = []
        self._failed = False
        self._closed = False

    @classmethod
    def create(
        cls,
        path: Path,
        header: CaptureHeader,
        *,
        recipients: Sequence[str] = (),
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> Self:
        """
        Start a new file with mode 0600; the file is locked against a second writer.

        With ``recipients`` (age or SSH public keys) it is sealed, and only they can read it.

        Raises:
            UsageError: the file exists or its folder does not, or a recipient is none.
            WriteError: it cannot be written.

        """
        start = pack_file_header(CAPTURE_MAGIC, CAPTURE_VERSION, bytes.fromhex(header.capture_id))
        packer = BlockPacker()
        if recipients:
            key_block, packer = seal_file(recipients, start)
            start += key_block
        start += packer.pack(BlockType.META, pack_header(header), compress=False)
        descriptor = create_private_file(path)
        writer = cls(descriptor, path, header, clock_ns, packer)
        try:
            # The file is new, so nobody but a reader that looks whether it is live can hold the lock.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            writer._append(start)
        except OSError as error:
            writer.discard()
            raise writer._write_error(error) from error
        except WriteError:
            writer.discard()
            raise
        return writer

    @property
    def parts(self) -> tuple[Path, ...]:
        """The files this writes: one."""
        return (self.path,)

    @property
    def size_bytes(self) -> int:
        """Bytes that are in the file."""
        return self._position

    @property
    def open_bytes(self) -> int:
        """Bytes of the open block before compression."""
        return self._exchanges.bytes + self._messages.bytes

    @property
    def end_bytes(self) -> int:
        """At most so many bytes will be added at the end, beside the open block and some KiB in any case."""
        return self._index.most_bytes + lists_bytes(
            index=len(self._index_positions),
            messages=len(self._message_blocks),
            stream_ends=len(self._stream_ends),
            dictionaries=len(self._dictionaries),
        )

    def discard(self) -> None:
        """Close and remove the file; for a recording that did not begin."""
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)
        self.path.unlink(missing_ok=True)

    def write(self, exchange: Exchange) -> None:
        """
        Take one exchange; the block is written when it is full or old.

        Raises:
            WriteError: the file cannot be written any more.
            HookreelError: the exchange does not fit the format; it was not taken.

        """
        if not 0 <= exchange.connection < MAX_CONNECTIONS:
            raise HookreelError(f"A connection's number must be below {MAX_CONNECTIONS}; number them anew.")
        row = self._pack(exchange_row(exchange))
        self._make_room(len(row))
        self._exchanges.add(row, exchange.offset_ns)
        self._index.add(exchange)
        self._totals.add(exchange)
        self._flush_when_full()

    def write_message(self, message: Message) -> None:
        """
        Take one message; an END message closes its exchange's stream.

        Raises:
            WriteError: the file cannot be written any more.
            HookreelError: the message is too large for the format; it was not taken.

        """
        row = self._pack(message_row(message))
        self._make_room(len(row))
        self._messages.add(row, message.offset_ns)
        if message.kind is MessageKind.END:
            self._stream_ends.append((message.exchange, message.offset_ns))
        self._flush_when_full()

    def count(self, counters: Counters) -> None:
        """The account as it stands; it goes into the file with the next block."""
        self._counters = counters

    def flush_if_due(self) -> None:
        """Write the open block when it is old; to be called about four times a second."""
        is_open = self._exchanges.rows or self._messages.rows
        if is_open and self._clock_ns() - self._opened_ns >= BLOCK_AGE_NS:
            self.flush()

    def flush(self) -> None:
        """
        Write the open block now.

        Raises:
            WriteError: the file cannot be written (disk full); it stays whole up to the block before.

        """
        parts: list[bytes] = []
        size = self.open_bytes
        if not size:
            return
        self._raw_since_dictionary += size
        if self._raw_since_dictionary > DICTIONARY_REFRESH_BYTES and size >= DICTIONARY_BYTES // 4:
            content = b"".join(self._exchanges.rows + self._messages.rows)[-DICTIONARY_BYTES:]
            self._dictionaries.append((self._packer.next_number, self._position))
            parts.append(self._packer.use_dictionary(content))
            self._raw_since_dictionary = 0
        rows = len(self._exchanges.rows)
        if rows:
            self._index.close_block(self._position + sum(map(len, parts)), rows)
            parts.append(self._pack_buffer(BlockType.EXCHANGES, self._exchanges))
        if self._messages.rows:
            buffer = self._messages
            self._message_blocks.append(
                (self._position + sum(map(len, parts)), buffer.first_ns, buffer.last_ns, len(buffer.rows))
            )
            parts.append(self._pack_buffer(BlockType.MESSAGES, buffer))
        counters = self._counters
        parts.append(self._pack_account())
        self._exchanges, self._messages = RowBuffer(), RowBuffer()
        self._append(b"".join(parts))
        self._written_counters = counters
        self.exchanges_flushed += rows
        if self._index.rows >= INDEX_ROWS:
            self._append(self._pack_index())

    def close(self, counters: Counters | None = None) -> None:
        """
        Write what is open, the index and the footer, and close the file.

        Without ``counters`` the account says that all that was taken was seen and written.

        Raises:
            WriteError: something could not be written; what was written before is whole.

        """
        if self._closed:
            return
        self._closed = True
        if counters is not None:
            self._counters = counters
        try:
            if self._failed:  # the account alone may still fit; the reader finds the blocks by itself
                self._append(self._pack_account())
            else:
                self.flush()
                self._write_footer()
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._write_error(error) from error
        finally:
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self.close if error is None else self.abandon)()

    def abandon(self) -> None:
        """
        Write what is open and close the file without a footer: what should be in it is not all there.

        A reader then says that the file was not closed. No error is raised, as one is under way.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if not self._failed:
                self.flush()
            os.fsync(self._descriptor)
        except (OSError, WriteError):
            pass  # what was written before is whole
        finally:
            os.close(self._descriptor)

    def _make_room(self, row_bytes: int) -> None:
        if self._failed or self._closed:
            raise WriteError(f"{self.path} takes no more; it was closed or could not be written.")
        if row_bytes > MAX_BLOCK_BYTES - 4 - SEAL_BYTES:
            raise HookreelError("An exchange is too large for a capture; record with a lower --max-body.")
        if self.open_bytes and self.open_bytes + row_bytes > BLOCK_BYTES:
            self.flush()
        if not (self._exchanges.rows or self._messages.rows):
            self._opened_ns = self._clock_ns()

    def _flush_when_full(self) -> None:
        if self.open_bytes >= BLOCK_BYTES or self._clock_ns() - self._opened_ns >= BLOCK_AGE_NS:
            self.flush()

    def _pack_buffer(self, block_type: BlockType, buffer: RowBuffer) -> bytes:
        return self._packer.pack(
            block_type,
            buffer.payload(),
            rows=len(buffer.rows),
            first_ns=buffer.first_ns,
            last_ns=buffer.last_ns,
            small=buffer.bytes < SMALL_BLOCK_BYTES,
        )

    def _pack_account(self) -> bytes:
        if self._counters is None or self._counters == self._written_counters:
            return b""
        return self._packer.pack(BlockType.COUNTERS, pack_counters(self._counters))

    def _pack_index(self) -> bytes:
        payload, rows = self._index.take_payload()
        block = self._packer.pack(BlockType.INDEX, payload, rows=rows, compress=False)
        self._index_positions.append(self._position)
        return block

    def _write_footer(self) -> None:
        block = self._pack_index() if self._index.blocks or not self._index_positions else b""
        written = self.exchanges_flushed
        counters = self._counters or Counters(seen=written, written=written, truncated=self._totals.truncated)
        footer = self._packer.pack(
            BlockType.FOOTER,
            pack_footer(
                index=self._index_positions,
                messages=self._message_blocks,
                stream_ends=self._stream_ends,
                dictionaries=self._dictionaries,
                counters=counters,
                facts=self.facts,
                totals=self._totals,
            ),
        )
        position = self._position + len(block)
        self._append(block + footer + pack_trailer(position, len(footer)))

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            self._failed = True
            with suppress(OSError):  # a reader finds the last whole block by itself
                os.ftruncate(self._descriptor, self._position)
                os.lseek(self._descriptor, self._position, os.SEEK_SET)
            raise self._write_error(error) from error
        self._position += len(data)

    def _write_error(self, error: OSError) -> WriteError:
        return WriteError(
            f"{self.path} cannot be written ({error.strerror}); free space or choose another place. "
            "What was written before is whole."
        )
