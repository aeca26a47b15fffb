"""What every importer gives: exchanges and messages one by one, and an account of the rest."""

from __future__ import annotations

import io
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from captures.errors import UsageError
from captures.model import Exchange, Message
from captures.units import KIB

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Item: TypeAlias = Exchange | Message
"""A stream's exchange comes before its messages; an END message closes it."""

GZIP_MAGIC = b"\x1f\x8b\x08"


class Tally:
    """
    What an importer could not take, or had to make up; it grows while the items are read.

    ``dropped`` counts exchanges that were seen and are in no item, ``in_flight`` those that the
    source ends in the middle of. ``remarks`` says in a few words what was done about what, with how
    often, and never holds traffic: ``{"entry without a time, offset made up": 3}``.
    """

    __slots__ = ("dropped", "in_flight", "remarks")

    def __init__(self) -> None:
        self.dropped = 0
        self.in_flight = 0
        self.remarks: Counter[str] = Counter()

    def drop(self, reason: str, count: int = 1) -> None:
        """``count`` exchanges are left out because of ``reason``."""
        self.dropped += count
        self.remarks[reason] += count

    def remark(self, what: str, count: int = 1) -> None:
        """Something about an item that is taken all the same."""
        self.remarks[what] += count


class Source(Protocol):
    """
    One opened source of traffic.

    ``started_wall_ns`` (Unix time) is known on opening and is where offsets count from; no offset
    is below 0. ``items`` may be called once; it yields in any order, with ``seq`` unique and in the
    order in which requests were first seen, and connections counted from 0. ``tally`` is complete
    when ``items`` has ended. Damage inside the source is tallied; a source that cannot be read at
    all raises CaptureError on opening.
    """

    @property
    def format(self) -> str:
        """``har``, ``mitmproxy``, ``goreplay``, ``pcap``."""

    @property
    def note(self) -> str:
        """What a capture's header says of this source beside its name; empty when there is nothing."""

    @property
    def started_wall_ns(self) -> int:
        """Unix time in ns at offset 0."""

    @property
    def tally(self) -> Tally:
        """The account of what is in no item."""

    def items(self) -> Iterator[Item]:
        """The exchanges and messages, memory bounded where the format permits."""

    def close(self) -> None:
        """Let the file go."""


def open_bytes(path: Path, tally: Tally | None = None) -> BinaryIO:
    """
    The bytes of ``path``, unzipped when they are gzip; ``tally`` is told where they cannot be.

    Raises:
        UsageError: the file is absent or cannot be read.

    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give a file that exists.") from error
    if file.peek(3).startswith(GZIP_MAGIC):
        return io.BufferedReader(_Unzipped(file, tally or Tally()), 256 * KIB)
    return file


class _Unzipped(io.RawIOBase):
    """
    The members of a gzip file one after the other, up to its end or to where it is damaged.

    Python's own reader raises at damage and keeps what it had unzipped before to itself.
    """

    def __init__(self, file: BinaryIO, tally: Tally) -> None:
        self._file = file
        self._tally = tally
        self._inflate = zlib.decompressobj(wbits=31)
        self._begun = False  # whether anything of the member was read
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        data = b""
        while not data and not self._ended:
            data = self._more(len(view))
        view[: len(data)] = data
        return len(data)

    def _more(self, size_bytes: int) -> bytes:
        zipped = self._inflate.unconsumed_tail
        if self._inflate.eof:
            zipped = self._inflate.unused_data
            self._inflate = zlib.decompressobj(wbits=31)
            self._begun = False
        zipped = zipped or self._file.read(64 * KIB)
        if not zipped:
            self._ended = True
            if self._begun:
                self._tally.remark("gzip file that is cut, read up to there")
        if not self._begun:
            zipped = zipped.lstrip(b"\0")  # some tools fill a file's last block with them
        self._begun = self._begun or bool(zipped)
        before = self._inflate.copy()
        try:
            return self._inflate.decompress(zipped, size_bytes)
        except zlib.error:
            self._ended = True
            self._tally.remark("gzip file that is damaged, read up to there")
        return _until_damage(before, zipped)[:size_bytes]

    def close(self) -> None:
        self._file.close()
        super().close()


def _until_damage(inflate: zlib._Decompress, zipped: bytes) -> bytes:
    """What a piece holds before its damage, for which the decompressor gives an error alone."""
    data = bytearray()
    with suppress(zlib.error):
        for at in range(len(zipped)):
            data += inflate.decompress(zipped[at : at + 1])
    return bytes(data)
