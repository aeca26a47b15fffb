"""What is counted while bodies are scrubbed, and bodies as they came out with their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple, Protocol

from captures.units import MIB

_MAX_BYTES = 32 * MIB
_ROW_BYTES = 200
_MAX_ALL_UNCHANGED_BYTES = 4 * MIB
_MAX_UNCHANGED_BYTES = 1_024


class Tally(Protocol):
    """Told of what was replaced where, and of what could not be read."""

    def replaced(self, path: str, kind: str, count: int) -> None:
        """``count`` values of ``kind`` were replaced in the field at ``path``."""

    def replaced_again(self, counts: Counter[tuple[str, str]]) -> None:
        """Values were replaced as ``counts`` (by path and kind) says, which many bodies share."""

    def undecodable(self, path: str) -> None:
        """The body at ``path`` could not be read."""


class Done(NamedTuple):
    """A body as it came out, and what is to be counted for it."""

    body: bytes
    replaced: Counter[tuple[str, str]]  # by path and kind
    undecodable: tuple[str, ...]


class Remembered:
    """Bodies as they came out, by a digest of what went in; all are forgotten when they are too many."""

    def __init__(self) -> None:
        self._done: dict[bytes, Done] = {}
        self._size_bytes = 0

    def get(self, key: bytes) -> Done | None:
        """What became of the body with the digest ``key``."""
        return self._done.get(key)

    def put(self, key: bytes, done: Done) -> None:
        """Remember ``done``."""
        size_bytes = len(done.body) + _ROW_BYTES * len(done.replaced)
        self._size_bytes += size_bytes
        if self._size_bytes > _MAX_BYTES:
            self._done.clear()
            self._size_bytes = size_bytes
        self._done[key] = done


class Unchanged:
    """Small things that stay as they are, so that they are looked at once; forgotten when too many."""

    def __init__(self) -> None:
        self._known: set[Hashable] = set()
        self._size_bytes = 0

    def __contains__(self, thing: Hashable) -> bool:
        return thing in self._known

    def add(self, thing: Hashable, size_bytes: int) -> None:
        """Remember ``thing``, unless it is large."""
        if size_bytes > _MAX_UNCHANGED_BYTES:
            return
        self._size_bytes += size_bytes + _ROW_BYTES
        if self._size_bytes > _MAX_ALL_UNCHANGED_BYTES:
            self._known.clear()
            self._size_bytes = size_bytes + _ROW_BYTES
        self._known.add(thing)
