"""Checks every block and row of a capture, and writes what is whole to a new one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from captures.errors import CaptureError
from captures.lineage import derived_header
from captures.model import Counters, Exchange, MessageKind, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """
    What was found; ``whole`` when nothing of the file is damaged or missing.

    ``source_problems`` says what was missing in the captures it was made from.
    """

    whole: bool
    exchanges: int
    messages: int
    problems: tuple[str, ...]
    source_problems: tuple[str, ...]


def verify_capture(path: Path, *, salvage_to: Path | None = None) -> Verification:
    """
    Read everything there is, block by block.

    The file is scanned as if it had neither footer nor index, so damage anywhere is found, and an
    index is made of the rows themselves; then the file's own is compared with it, column by column.

    Raises:
        UsageError: there is no such file, or ``salvage_to`` exists.
        CaptureError: it is not a capture, or nothing of it can be read.
        WriteError: ``salvage_to`` cannot be written; it was removed.

    """
    with CaptureReader.open(path, salvage=True) as reader:
        exchanges = len(reader)  # decodes all of them
        messages = sum(message.kind is not MessageKind.END for message in reader.messages())
        problems = [*_index_problems(path, reader), *reader.problems]
        if salvage_to is not None:
            _write(reader, salvage_to)
        source_problems = reader.header.source_problems
    return Verification(
        whole=not problems,
        exchanges=exchanges,
        messages=messages,
        problems=tuple(problems),
        source_problems=source_problems,
    )


def _index_problems(path: Path, reader: CaptureReader) -> list[str]:
    """What the file's own index says otherwise than ``reader``, which made one of the rows."""
    try:
        with CaptureReader.open(path) as by_index:
            same = by_index.index.describes_the_same(reader.index)
            if same and by_index.stream_ends == reader.stream_ends:
                return []
            listed = len(by_index)
    except CaptureError:
        return ["The file's own header, index or footer cannot be used."]
    if listed != len(reader):
        return [f"The index lists {listed} exchanges, {len(reader)} can be read."]
    return [f"The {'footer' if same else 'index'} describes the exchanges otherwise than they are."]


def _write(reader: CaptureReader, path: Path) -> None:
    writer = CaptureWriter.create(path, derived_header(reader), recipients=reader.recipients)
    try:
        truncated = 0
        for exchange in reader.exchanges():
            writer.write(exchange)
            truncated += _is_truncated(exchange)
        for message in reader.messages():
            writer.write_message(message)
        writer.flush()
        writer.close(salvaged_account(reader.counters, kept=writer.exchanges_flushed, truncated=truncated))
    except BaseException:
        writer.discard()
        raise


def _is_truncated(exchange: Exchange) -> bool:
    outcome = exchange.outcome
    cut_bytes = outcome.truncated_bytes if isinstance(outcome, Response) else 0
    return exchange.request.truncated_bytes + cut_bytes > 0


def salvaged_account(old: Counters, *, kept: int, truncated: int) -> Counters:
    """
    The account of a copy that holds ``kept`` exchanges; what it lost was dropped.

    A killed recorder's last account may be older than its last block: exchanges beyond it were in
    flight then, or not seen yet.
    """
    lost = max(0, old.written - kept)
    in_flight = max(0, old.in_flight - max(0, kept - old.written))
    dropped = old.dropped + lost
    return Counters(
        seen=kept + old.sampled_out + dropped + in_flight,
        written=kept,
        sampled_out=old.sampled_out,
        truncated=truncated,
        dropped=dropped,
        in_flight=in_flight,
    )
