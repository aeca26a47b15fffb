"""
How a newer hookreel reads older files: a table of one-step migrations.

A file states its version. ``CAPTURE_MIGRATIONS[n]`` turns what version n holds into what
version n + 1 holds; a reader applies the steps from the file's version to the current one,
row by row, so a file is never rewritten and memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import zstandard

from captures.columns import MAX_ROWS
from captures.errors import CaptureError

Row: TypeAlias = tuple[Any, ...]
Map: TypeAlias = dict[str, Any]
_Value = TypeVar("_Value", Row, Map)

CAPTURE_VERSION = 1
RUN_VERSION = 4


def _same_row(row: Row) -> Row:
    return row


def _same_map(values: Map) -> Map:
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """
    One step from a version to the next; what it leaves out stays as it is.

    ``header``, ``footer`` and ``counters`` get the unpacked maps; ``columns`` gets that of a column
    payload, from name to ``[type, bytes]``, before any column is decoded; ``exchange`` and
    ``message`` get rows. A run has a header and columns.
    """

    header: Callable[[Map], Map] = _same_map
    footer: Callable[[Map], Map] = _same_map
    columns: Callable[[Map], Map] = _same_map
    counters: Callable[[Map], Map] = _same_map
    exchange: Callable[[Row], Row] = _same_row
    message: Callable[[Row], Row] = _same_row


def _with_load(header: Map) -> Map:
    return {**header, "load": f"time compressed {header['speed']}", "generator": None, "chains": None}


def _with_instances(columns: Map) -> Map:
    """All rows are of the first pass and waited for nothing; the bytes of another column count them."""
    rows = zstandard.frame_content_size(columns["outcome"][1])
    if not 0 <= rows <= MAX_ROWS:
        raise ValueError
    pack = zstandard.ZstdCompressor().compress
    return {**columns, "instance": [b"I", pack(bytes(4 * rows))], "waited_ns": [b"q", pack(bytes(8 * rows))]}


def _without_kept(header: Map) -> Map:
    """Nothing was kept, all went to one target; how the capture was anonymized stands in a note."""
    return {**header, "kept": None, "anonymized": None, "capture_problems": [], "services": []}


def _without_host(header: Map) -> Map:
    """Which machine sent was not said."""
    return {**header, "host": None}


CAPTURE_MIGRATIONS: Mapping[int, Migration] = {}
RUN_MIGRATIONS: Mapping[int, Migration] = {
    1: Migration(header=_with_load, columns=_with_instances),
    2: Migration(header=_without_kept),
    3: Migration(header=_without_host),
}


class MigrationPath:
    """The steps from a file's version to the current one, applied in order."""

    def __init__(self, *, version: int, current: int, table: Mapping[int, Migration]) -> None:
        missing = [step for step in range(version, current) if step not in table]
        if missing or version < 1:
            raise CaptureError(
                f"Format version {version} can no longer be read; convert the file with an older hookreel."
            )
        self._steps = [table[step] for step in range(version, current)]

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._steps)

    def header(self, values: Map) -> Map:
        """A header map of the current version."""
        for step in self._steps:
            values = _applied(step.header, values)
        return values

    def footer(self, values: Map) -> Map:
        """A footer map of the current version."""
        for step in self._steps:
            values = _applied(step.footer, values)
        return values

    def columns(self, values: Map) -> Map:
        """A column payload's map of the current version."""
        for step in self._steps:
            values = _applied(step.columns, values)
        return values

    def counters(self, values: Map) -> Map:
        """A counters map of the current version."""
        for step in self._steps:
            values = _applied(step.counters, values)
        return values

    def exchange(self, row: Row) -> Row:
        """An exchange row of the current version."""
        for step in self._steps:
            row = _applied(step.exchange, row)
        return row

    def message(self, row: Row) -> Row:
        """A message row of the current version."""
        for step in self._steps:
            row = _applied(step.message, row)
        return row


def _applied(step: Callable[[_Value], _Value], value: _Value) -> _Value:
    """What ``step`` makes of ``value``; a value that is not of its version is damage."""
    try:
        return step(value)
    except (LookupError, TypeError, ValueError, AttributeError, zstandard.ZstdError) as error:
        raise CaptureError("A part of the file is not of its version; give an undamaged copy.") from error
