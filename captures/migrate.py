"""
How a newer hookreel reads older files: a table of one-step migrations.

A file states its version. ``CAPTURE_MIGRATIONS[n]`` turns what version n holds into what
version n + 1 holds; a reader applies the steps from the file's version to the current one,
row by row, so a file is never rewritten and memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from captures.errors import CaptureError

Row: TypeAlias = tuple[Any, ...]
Map: TypeAlias = dict[str, Any]

CAPTURE_VERSION = 1
RUN_VERSION = 1


def _same_row(row: Row) -> Row:
    return row


def _same_map(values: Map) -> Map:
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step from a version to the next; what it leaves out stays as it is."""

    header: Callable[[Map], Map] = _same_map
    counters: Callable[[Map], Map] = _same_map
    exchange: Callable[[Row], Row] = _same_row
    message: Callable[[Row], Row] = _same_row


CAPTURE_MIGRATIONS: Mapping[int, Migration] = {}
RUN_MIGRATIONS: Mapping[int, Migration] = {}


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
            values = step.header(values)
        return values

    def counters(self, values: Map) -> Map:
        """A counters map of the current version."""
        for step in self._steps:
            values = step.counters(values)
        return values

    def exchange(self, row: Row) -> Row:
        """An exchange row of the current version."""
        for step in self._steps:
            row = step.exchange(row)
        return row

    def message(self, row: Row) -> Row:
        """A message row of the current version."""
        for step in self._steps:
            row = step.message(row)
        return row
