"""Reads a capture while it is being written, until its recording ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from captures.codec import build_exchange, build_message, unpack_row
from captures.encryption import Identities, SealedOpener, identities_in_effect, unwrap
from captures.errors import CaptureError, UsageError
from captures.frames import (
    CAPTURE_MAGIC,
    FILE_HEADER,
    Block,
    BlockOpener,
    BlockType,
    parse_file_header,
    read_at,
    read_block,
)
from captures.migrate import CAPTURE_MIGRATIONS, CAPTURE_VERSION, MigrationPath
from captures.model import Exchange, Message
from captures.opening import is_live
from captures.rows import split_rows
from captures.scanning import Damage, scan_blocks


class Follower:
    """
    Gives exchanges and messages in the order in which they are written: that of completion.

    ``items`` ends when the recording does. ``closed`` then tells whether the file was closed, or its
    writer went away; ``problems`` says in sentences what is missing.
    """

    def __init__(self, descriptor: int, path: Path, identities: Identities | None) -> None:
        self.path = path
        self.closed = False
        self.problems: tuple[str, ...] = ()
        self._descriptor = descriptor
        self._read = read_at(descriptor)
        self._identities = identities
        self._dictionaries: dict[int, int] = {}
        self._opener = BlockOpener(self._dictionary)
        self._migrations = MigrationPath(
            version=CAPTURE_VERSION, current=CAPTURE_VERSION, table=CAPTURE_MIGRATIONS
        )
        self._head = b""

    @classmethod
    def open(cls, path: Path, *, identities: Identities | None = None) -> Self:
        """
        Open a capture that may still be growing; a sealed one as ``CaptureReader`` does.

        Raises:
            UsageError: there is no such file, or it may not be read.

        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read ({error.strerror}); start the recording first."
            ) from None
        return cls(descriptor, path, identities)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def items(self, wait: Callable[[], None]) -> Iterator[Exchange | Message]:
        """
        Everything in the file, then everything that is added to it; ``wait`` passes the time between.

        Raises:
            UsageError: no identity opens the file.
            CaptureError: it is no capture, or a block is damaged.

        """
        self._open_head(wait)
        position = FILE_HEADER.size
        while True:
            live = is_live(
                self._descriptor
            )  # asked before the look, so that nothing written between is missed
            block = read_block(self._read, position)
            if block is not None:
                position = block.end
                yield from self._take(block)
                if self.closed:
                    return
            elif live:
                wait()
            else:
                yield from self._rest(position)
                return

    def _open_head(self, wait: Callable[[], None]) -> None:
        live = True
        while len(self._head) < FILE_HEADER.size and live:
            live = is_live(self._descriptor)
            self._head = self._read(0, FILE_HEADER.size)
            if live and len(self._head) < FILE_HEADER.size:
                wait()
        name = self.path.name
        version, _ = parse_file_header(self._head, magic=CAPTURE_MAGIC, newest=CAPTURE_VERSION, name=name)
        self._migrations = MigrationPath(version=version, current=CAPTURE_VERSION, table=CAPTURE_MIGRATIONS)

    def _dictionary(self, number: int) -> bytes | None:
        block = read_block(self._read, self._dictionaries.get(number, -1))
        return None if block is None else self._opener.open(block)

    def _take(self, block: Block) -> Iterator[Exchange | Message]:
        kind = block.header.type
        if kind == BlockType.KEY:
            identities = self._identities or identities_in_effect(os.environ)
            envelope = unwrap(block.stored, identities, name=self.path.name)
            self._opener = SealedOpener(self._dictionary, envelope.key, self._head)
        elif kind == BlockType.DICTIONARY:
            self._dictionaries[block.header.number] = block.position
        elif kind == BlockType.FOOTER:
            self.closed = True
        elif kind in {BlockType.EXCHANGES, BlockType.MESSAGES}:
            rows = split_rows(self._opener.open(block), block.header.rows, block.position)
            for start, stop in zip(rows.starts, rows.starts[1:], strict=False):
                unpacked = unpack_row(rows.payload[start:stop])
                if kind == BlockType.EXCHANGES:
                    yield build_exchange(self._migrations.exchange(unpacked))
                else:
                    yield build_message(self._migrations.message(unpacked))

    def _rest(self, position: int) -> Iterator[Exchange | Message]:
        """What a writer that went away left behind: whole blocks behind damage, and an unfinished tail."""
        size = os.fstat(self._descriptor).st_size
        damaged_bytes = 0
        for found in scan_blocks(self._read, position, size):
            if isinstance(found, Damage):
                damaged_bytes += found.size_bytes
                continue
            try:
                yield from self._take(found)
            except CaptureError:
                damaged_bytes += found.end - found.position
            if self.closed:
                break
        problems = []
        if damaged_bytes:
            problems.append(f"{damaged_bytes} bytes are damaged or unfinished and were left out.")
        if not self.closed:
            problems.append(
                "The file was not closed (its writer was killed or the disk was full); at most the second "
                "before it stopped is missing."
            )
        self.problems = tuple(problems)
