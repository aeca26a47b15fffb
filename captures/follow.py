"""Reads a capture while it is being written, until its recording ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from captures.codec import build_header, unpack_map
from captures.encryption import Identities, SealedOpener, identities_in_effect, unwrap
from captures.errors import CaptureError
from captures.frames import FILE_HEADER, Block, BlockType, read_block
from captures.handle import CaptureHandle, open_capture
from captures.model import CaptureHeader, Exchange, Message
from captures.opening import is_live
from captures.rows import split_rows
from captures.salvage import LOST_BEHIND, NOT_CLOSED
from captures.scanning import Damage, scan_blocks
from captures.text import counted


class Follower(CaptureHandle):
    """
    Gives exchanges and messages in the order in which they are written: that of completion.

    ``items`` ends when the file does. ``closed`` then tells whether the file was closed, or its
    writer went away; ``problems`` says in sentences what is missing; ``header`` is the capture's, if one
    was read. ``was_live`` tells whether the file was being written when it was followed, and
    ``ends_recording`` whether a recorder said that nothing comes after it, in other parts either.
    """

    def __init__(self, descriptor: int, path: Path, identities: Identities | None) -> None:
        super().__init__(descriptor, path)
        self.closed = False
        self.problems: tuple[str, ...] = ()
        self.header: CaptureHeader | None = None
        self.was_live = False
        self.ends_recording = False
        self._identities = identities
        self._head = b""

    @classmethod
    def open(cls, path: Path, *, identities: Identities | None = None) -> Self:
        """
        Open a capture that may still be growing; a sealed one as ``CaptureReader`` does.

        Raises:
            UsageError: there is no such file, or it may not be read.

        """
        return open_capture(path, lambda descriptor: cls(descriptor, path, identities))

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
            live = is_live(self._descriptor)  # asked before the look, so that nothing between is missed
            self.was_live = self.was_live or live
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
        self._begin(self._head)

    def _take(self, block: Block) -> Iterator[Exchange | Message]:
        kind = block.header.type
        if kind == BlockType.KEY:
            identities = self._identities or identities_in_effect(os.environ)
            envelope = unwrap(block.stored, identities, name=self.path.name)
            self._opener = SealedOpener(self._dictionary, envelope.key, self._head)
        elif kind == BlockType.DICTIONARY:
            self._dictionary_position[block.header.number] = block.position
        elif kind == BlockType.META:
            self.header = build_header(self._path.header(unpack_map(self._opener.open(block))))
        elif kind == BlockType.FOOTER:
            self.closed = True
            footer = self._path.footer(unpack_map(self._opener.open(block)))
            self.ends_recording = footer.get("facts") is not None  # which stand in the last part
        elif kind in {BlockType.EXCHANGES, BlockType.MESSAGES}:
            rows = split_rows(self._opener.open(block), block.header.rows, block.position)
            for row in rows.rows(self._path):
                yield row.exchange() if kind == BlockType.EXCHANGES else row.message()

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
            problems.append(f"What is damaged or unfinished was left out: {counted(damaged_bytes, 'byte')}.")
        if not self.closed:
            problems.append(f"{NOT_CLOSED}. {LOST_BEHIND}")
        self.problems = tuple(problems)
