"""
The entries of a HAR document one by one, in memory bounded by the largest entry.

HAR is a single JSON document that may be gigabytes long, cut at its end or broken somewhere. So
the entries are found by their braces and parsed each for itself: a broken entry costs only itself.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

_CHUNK_BYTES = 256 * 1024
_DECODER = json.JSONDecoder()
MAX_ENTRY_BYTES = 512 * 1024 * 1024

# A whole string (RFC 8259, section 7), a brace, or the quote of a string that is not whole.
# Possessive, so that no input makes it backtrack.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]"]', re.DOTALL)
_PROPER = re.compile(r"\s*+(?:,\s*+\{|\]|,?\s*+\Z)")  # what stands behind an entry
# How exporters begin an entry; where an unclosed string hides the braces, the next one starts here.
_ENTRY = re.compile(
    r'\{\s*+"(?:startedDateTime|pageref|request|connection|time|_initiator|_priority|_resourceType'
    r'|_fromCache|_connectionId)"\s*+:'
)


@dataclass(frozen=True, slots=True)
class Broken:
    """A stretch of the document that is no entry: ``cut`` when the document ends inside it."""

    cut: bool = False


class EntryScanner:
    """
    Walks one document.

    ``found`` tells whether it has a list of entries at all, ``cut`` whether it ended in the search.
    ``entries`` yields each entry as parsed JSON (any value, not only objects) or ``Broken``.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.found = False
        self.cut = False
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._buffer = ""
        self._at = 0
        self._value_start = 0
        self._ended = False

    def entries(self) -> Iterator[Any]:
        """Every entry in document order."""
        if not self._find_list():
            return
        self.found = True
        while (mark := self._token()) != "]":
            if mark is None:
                yield Broken(cut=True)
                return
            entry = self._value() if mark in {"{", "["} else Broken()
            yield entry
            if entry == Broken(cut=True):
                return

    def _value(self) -> Any:
        """The value whose opening brace was the last mark."""
        start = self._value_start = self._at - 1
        try:
            value, self._at = _DECODER.raw_decode(self._buffer, start)
        except (ValueError, RecursionError):  # broken, or not yet read to its end
            end = self._end_of_value()
        else:
            return value
        value = Broken() if end is None else _parsed(self._buffer[self._value_start : end])
        if isinstance(value, Broken) and not self._step_behind(end):
            return Broken(cut=True)
        return value

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

    def _token(self, *, in_value: bool = False) -> str | None:
        """The next brace or whole string; None at the end. The buffer keeps a value from its start on."""
        while True:
            match = _TOKEN.search(self._buffer, self._at)
            if match is not None and match[0] != '"':
                self._at = match.end()
                return match[0]
            self._at = len(self._buffer) if match is None else match.start()
            if not self._read(keep_from=self._value_start if in_value else self._at):
                return None

    def _read(self, *, keep_from: int) -> bool:
        """Reads on and forgets what is before ``keep_from``; False at the end of the document."""
        kept = len(self._buffer) - keep_from
        if self._ended or kept > MAX_ENTRY_BYTES:
            return False
        # A long value is searched again from its start, so each read is as long as what is kept.
        data = self._file.read(max(_CHUNK_BYTES, kept))
        self._ended = not data
        self._buffer = self._buffer[keep_from:] + self._decoder.decode(data, final=self._ended)
        self._at -= keep_from
        self._value_start -= keep_from
        return True

    def _find_list(self) -> bool:
        """Go behind the bracket that opens ``log.entries``."""
        depth, key = 0, ""
        while (mark := self._token()) is not None:
            if mark == "[" and key == '"entries"' and depth in {1, 2}:
                return True
            depth += (mark in {"{", "["}) - (mark in {"}", "]"})
            key = mark
        self.cut = depth > 0
        return False

    def _end_of_value(self) -> int | None:
        """Where the value that opens at ``_value_start`` ends."""
        depth = 1
        while depth:
            mark = self._token(in_value=True)
            if mark is None:
                return None
            depth += (mark in {"{", "["}) - (mark in {"}", "]"})
        return self._at


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return Broken()
