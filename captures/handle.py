"""What every reader of a capture has in common: the open file, its version and what opens its blocks."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from captures.errors import UsageError
from captures.frames import CAPTURE_MAGIC, BlockOpener, BlockType, parse_file_header, read_at, read_block
from captures.migrate import CAPTURE_MIGRATIONS, CAPTURE_VERSION, MigrationPath

_Handle = TypeVar("_Handle", bound="CaptureHandle")


class CaptureHandle:
    """An open capture; a context manager that closes it."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.path = path
        self._descriptor = descriptor
        self._read = read_at(descriptor)
        self._dictionary_position: dict[int, int] = {}
        self._opener = BlockOpener(self._dictionary)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; rows and iterators end with it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _begin(self, head: bytes) -> tuple[int, bytes]:
        """
        Version and file id out of the file's first bytes; from then on its rows can be migrated.

        Raises:
            CaptureError: these do not begin a capture that can be read.

        """
        version, file_id = parse_file_header(
            head, magic=CAPTURE_MAGIC, newest=CAPTURE_VERSION, name=self.path.name
        )
        self._path = MigrationPath(version=version, current=CAPTURE_VERSION, table=CAPTURE_MIGRATIONS)
        return version, file_id

    def _dictionary(self, number: int) -> bytes | None:
        """The raw content of the DICTIONARY block with that number."""
        block = read_block(self._read, self._dictionary_position.get(number, -1))
        if block is None or block.header.type != BlockType.DICTIONARY:
            return None
        return self._opener.open(block)


def open_capture(path: Path, build: Callable[[int], _Handle]) -> _Handle:
    """
    What ``build`` makes of the file's descriptor, which is closed again when that fails.

    Raises:
        UsageError: there is no such file, or it may not be read.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give a capture that exists.") from None
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise UsageError(f"{path} is a folder; give a capture.")  # noqa: TRY301  # closes below
        return build(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
