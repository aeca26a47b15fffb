"""The header of a capture that is made from other captures, and what was missing in those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from captures.model import CaptureHeader, Provenance
from captures.reader import CaptureReader
from captures.writer import new_header

ID_DIGITS = 8  # of a capture's id, enough to tell the sources of one capture apart


def derived_header(
    reader: CaptureReader, *, source: str | None = None, anonymized: Provenance | None = None
) -> CaptureHeader:
    """
    The header of a capture made from ``reader``: of the same start and salt, and of its lineage.

    ``source`` and ``anonymized`` stand instead of the reader's own. Reads the index and the ends of
    streams, so that all is known that is missing.

    Raises:
        CaptureError: the capture is damaged.

    """
    header = reader.header
    made = new_header(
        source=header.source if source is None else source,
        started_wall_ns=header.started_wall_ns,
        lineage=(header.capture_id, *header.lineage),
        anonymized=anonymized or header.anonymized,
        fingerprint_salt=header.fingerprint_salt,
    )
    return replace(made, source_problems=_missing_in(reader))


def joint_problems(readers: Sequence[CaptureReader]) -> tuple[str, ...]:
    """
    What is missing in any of several captures, or in what they were made from; each told once.

    Raises:
        CaptureError: a capture is damaged.

    """
    return unique(
        f"{reader.header.capture_id[:ID_DIGITS]}: {problem}"
        for reader in readers
        for problem in _missing_in(reader)
    )


def _missing_in(reader: CaptureReader) -> tuple[str, ...]:
    _ = len(reader), reader.stream_ends  # reading these finds the blocks that cannot be decoded
    return unique((*reader.problems, *reader.header.source_problems))


def recording_of(header: CaptureHeader) -> tuple[str, int]:
    """What the parts of one rotated recording have in common: the first part's id, and the start."""
    return header.lineage[-1] if header.lineage else header.capture_id, header.started_wall_ns


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, where it first stood."""
    return tuple(dict.fromkeys(texts))
