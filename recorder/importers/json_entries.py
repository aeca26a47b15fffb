"""
The entries of a HAR document one by one, in memory bounded by the largest entry.

HAR is a single JSON document that may be gigabytes long, cut at its end or broken somewhere. So
the entries are found by their braces and parsed each for itself: a broken entry costs only itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

_CHUNK_BYTES = 256 * 1024
MAX_ENTRY_BYTES = 512 * 1024 * 1024

# A whole string (RFC 8259, section 7), or a brace. Possessive, so that no input makes it backtrack.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
_PROPER = re.compile(rb"\s*+(?:,\s*+\{|\]|,?\s*+\Z)")  # what stands behind an entry
_START = re.compile(rb'["{}\[\]]')
# How exporters begin an entry; where an unclosed string hides the braces, the next one starts here.
_ENTRY = re.compile(
    rb'\{\s*+"(?:startedDateTime|pageref|request|connection|time|_initiator|_priority|_resourceType'
    rb'|_fromCache|_connectionId)"\s*+:'
)


@dataclass(frozen=True, slots=True)
class Broken:
    """A stretch of the document that is no entry: ``cut`` when the document ends inside it."""

    cut: bool = False


class EntryScanner:
    """
    Walks one document; ``found`` tells whether it has a list of entries at all.

    ``entries`` yields each entry as parsed JSON (any value, not only objects) or ``Broken``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.found = False
        self._file = file
        self._buffer = b""
        self._at = 0
        self._value_start = 0
        self._ended = False

    def entries(self) -> Iterator[Any]:
        """Every entry in document order."""
        if not self._find_list():
            return
        self.found = True
        while True:
            token = self._next_token()
            if token is None:
                yield Broken(cut=True)
                return
            kind, start = token
            if kind == b"]":
                return
            if kind in {b"{", b"["}:
                end = self._end_of_value(start)
                entry = Broken() if end is None else _parsed(self._buffer[self._value_start : end])
                if isinstance(entry, Broken) and not self._step_behind(end):
                    yield Broken(cut=True)
                    return
                yield entry
            else:
                yield Broken()

    def _step_behind(self, end: int | None) -> bool:
        """Go on behind a broken value; False when nothing that looks like an entry is left."""
        inside = _ENTRY.search(self._buffer, self._value_start + 1, len(self._buffer) if end is None else end)
        if inside is not None:  # an unclosed string hid its end
            self._at = inside.start()
        elif end is not None and _PROPER.match(self._buffer, end) is None:
            following = _ENTRY.search(self._buffer, end)
            self._at = end if following is None else following.start()
        return inside is not None or end is not None

    # -- tokens ----------------------------------------------------------------------------

    def _next_token(self) -> tuple[bytes, int] | None:
        """The next token's first byte (or the whole string) and where it starts; None at the end."""
        while True:
            found = _START.search(self._buffer, self._at)
            if found is not None:
                match = _TOKEN.match(self._buffer, found.start())
                if match is not None:
                    self._at = match.end()
                    return match[0], match.start()
                self._at = found.start()
            else:
                self._at = len(self._buffer)
            if not self._read(keep_from=self._at):
                return None

    def _read(self, *, keep_from: int) -> bool:
        """Reads on and forgets what is before ``keep_from``; False at the end of the document."""
        if self._ended or len(self._buffer) - keep_from > MAX_ENTRY_BYTES:
            return False
        kept = len(self._buffer) - keep_from
        # A long value is searched again from its start, so each read is as long as what is kept.
        data = self._file.read(max(_CHUNK_BYTES, kept))
        self._ended = not data
        self._buffer = self._buffer[keep_from:] + data
        self._at -= keep_from
        return bool(data)

    def _find_list(self) -> bool:
        """Go behind the bracket that opens ``log.entries``."""
        depth, key = 0, b""
        while (token := self._next_token()) is not None:
            kind, _ = token
            if kind == b"[" and key == b'"entries"' and depth in {1, 2}:
                return True
            if kind in {b"{", b"["}:
                depth += 1
            elif kind in {b"}", b"]"}:
                depth -= 1
            key = kind if kind[:1] == b'"' else b""
        return False

    def _end_of_value(self, start: int) -> int | None:
        """Where the value that opens at ``start`` ends; the buffer keeps all of it."""
        self._value_start = start
        depth = 1
        while depth:
            token = self._token_in_value()
            if token is None:
                return None
            if token in {b"{", b"["}:
                depth += 1
            elif token in {b"}", b"]"}:
                depth -= 1
        return self._at

    def _token_in_value(self) -> bytes | None:
        while True:
            found = _START.search(self._buffer, self._at)
            if found is not None:
                match = _TOKEN.match(self._buffer, found.start())
                if match is not None:
                    self._at = match.end()
                    return match[0]
                self._at = found.start()
            else:
                self._at = len(self._buffer)
            if not self._read(keep_from=self._value_start):
                return None
            self._value_start = 0


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return Broken()
