"""Checks every block and row of a capture, and writes what is whole to a new one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from captures.errors import CaptureError
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found; ``whole`` when nothing is damaged or missing."""

    whole: bool
    exchanges: int
    messages: int
    problems: tuple[str, ...]


def verify_capture(path: Path, *, salvage_to: Path | None = None) -> Verification:
    """
    Read everything there is, block by block.

    The file is scanned as if it had no footer, so damage anywhere is found; then the index is
    compared with what was read.

    Raises:
        UsageError: there is no such file, or ``salvage_to`` exists.
        CaptureError: it is not a capture, or nothing of it can be read.

    """
    problems: list[str] = []
    try:
        with CaptureReader.open(path) as by_footer:
            closed_rows = len(by_footer) if by_footer.complete else None
    except CaptureError:
        closed_rows = None
        problems.append("The index cannot be used and was rebuilt.")
    with CaptureReader.open(path, salvage=True) as reader:
        exchanges = 0
        for row in reader.rows():
            row.exchange()  # raises when it cannot be decoded
            exchanges += 1
        messages = sum(1 for _ in reader.messages())
        problems.extend(reader.problems)
        if closed_rows is not None and closed_rows != exchanges:
            problems.append(f"The index lists {closed_rows} exchanges, {exchanges} can be read.")
        if salvage_to is not None:
            _write(reader, salvage_to)
    return Verification(whole=not problems, exchanges=exchanges, messages=messages, problems=tuple(problems))


def _write(reader: CaptureReader, path: Path) -> None:
    old = reader.header
    header = new_header(
        source=old.source,
        started_wall_ns=old.started_wall_ns,
        lineage=(old.capture_id, *old.lineage),
        anonymized=old.anonymized,
        fingerprint_salt=old.fingerprint_salt,
    )
    with CaptureWriter.create(path, header, recipients=reader.recipients) as writer:
        for exchange in reader.exchanges():
            writer.write(exchange)
        for message in reader.messages():
            writer.write_message(message)
        lost = max(0, reader.counters.written - writer.exchanges_flushed)
        writer.count(replace(reader.counters, dropped=reader.counters.dropped + lost))
