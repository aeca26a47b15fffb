"""Sources into a new capture: one directly, several through parts that are merged by the wall clock."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from captures.errors import CaptureError, HookreelError, UsageError, WriteError
from captures.merge import merge_captures, merged_header
from captures.model import Counters, Exchange, Message, MessageKind, Request, Response
from captures.reader import CaptureReader
from captures.units import MIB
from captures.writer import CaptureWriter, new_header
from recorder.importers.base import Item, Source
from recorder.importers.detect import open_source

STANDARD_INPUT = Path("-")
MAX_BODY_BYTES = 60 * MIB  # two bodies and their heads fit into a block
_MAX_NS = 2**62  # 146 years
_TOO_LARGE = "body or message larger than a capture can hold, cut"
_Part = TypeVar("_Part", Request, Response)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of one source: its account in exchanges, its messages, and what was remarked."""

    name: str
    format: str
    counters: Counters
    messages: int
    remarks: dict[str, int]


def import_files(paths: Sequence[Path], out: Path) -> list[Imported]:
    """
    Write everything of ``paths`` to the new capture ``out``.

    Several sources are put together by the wall clock; ``-`` is the standard input. When it fails,
    ``out`` is not left behind.

    Raises:
        UsageError: a source cannot be read, or ``out`` exists.
        CaptureError: a source is in none of the formats, or nothing of it can be read.
        WriteError: ``out`` cannot be written.

    """
    if out.exists():
        raise UsageError(f"{out} exists already; name another file or remove it first.")
    folder = out.parent
    if not folder.is_dir():
        raise UsageError(f"The folder of {out} does not exist; create it first.")
    with _scratch(folder) as scratch, ExitStack() as stack:
        sources = [_seekable(path, Path(scratch) / str(number)) for number, path in enumerate(paths)]
        names = [_name(path) for path in paths]
        if len(paths) == 1:
            return [_import_one(sources[0], out, names[0])]
        imported, readers = [], []
        for number, (source, name) in enumerate(zip(sources, names, strict=True)):
            part = Path(scratch) / f"{number}.reel"
            imported.append(_import_one(source, part, name))
            readers.append(stack.enter_context(CaptureReader.open(part)))
        _merge(readers, out)
    return imported


def _scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Where parts and what came through pipes stand: beside the output, which has room for them."""
    try:
        return tempfile.TemporaryDirectory(prefix=".hookreel-import-", dir=folder)
    except OSError as error:
        raise WriteError(
            f"The folder {folder} cannot be written ({error.strerror}); choose another place."
        ) from error


def _name(path: Path) -> str:
    """What the account and the capture's header call a source; a file may have a name that is no text."""
    return "standard input" if path == STANDARD_INPUT else os.fsencode(path.name).decode("utf-8", "replace")


def _seekable(path: Path, scratch: Path) -> Path:
    """The file itself, or, of a pipe, a copy of what came through it: sources are read twice."""
    pipe = Path("/dev/stdin") if path == STANDARD_INPUT else path
    if pipe.is_file() or pipe.is_dir() or not pipe.exists():
        return pipe
    kept = scratch / _name(path)  # errors name it
    try:
        scratch.mkdir()
        with pipe.open("rb") as source, kept.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    except OSError as error:
        raise WriteError(f"{_name(path)} cannot be copied ({error.strerror}); free space.") from error
    return kept


def _merge(readers: Sequence[CaptureReader], out: Path) -> None:
    # The parts go away, so they are no captures that this one could have been made from.
    header = replace(merged_header(readers), lineage=())
    writer = CaptureWriter.create(out, header)
    try:
        with writer:
            merge_captures(readers, writer)
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _import_one(path: Path, out: Path, name: str) -> Imported:
    try:
        return _import_source(path, out, name)
    except OSError as error:  # those of the output are WriteErrors
        raise CaptureError(
            f"{name} cannot be read to its end ({error.strerror}); give a copy from another disk."
        ) from error


def _import_source(path: Path, out: Path, name: str) -> Imported:
    source = open_source(path)
    try:
        note = f" ({source.note})" if source.note else ""
        header = new_header(
            source=f"import {source.format}:{name}{note}", started_wall_ns=source.started_wall_ns
        )
        writer = CaptureWriter.create(out, header)
        try:
            with writer:
                return _copy(source, writer, name)
        except BaseException:
            out.unlink(missing_ok=True)
            raise
    finally:
        source.close()


def _copy(source: Source, writer: CaptureWriter, name: str) -> Imported:
    written = truncated = messages = 0
    tally = source.tally
    left_out: set[int] = set()  # streams, so that none of their messages stands alone
    for item in source.items():
        if isinstance(item, Message) and item.exchange in left_out:
            if item.kind is not MessageKind.END:
                tally.remark("message of an exchange that is left out")
            continue
        if not _is_possible(item):
            if isinstance(item, Exchange):
                tally.drop("exchange with a time or status that cannot be")
                left_out.update(_streams(item))
            else:
                tally.remark("message with a time that cannot be, left out")
            continue
        fitting = _fitting(item)
        if fitting is not item:
            tally.remark(_TOO_LARGE)
        if isinstance(fitting, Exchange):
            try:
                writer.write(fitting)
            except WriteError:
                raise
            except HookreelError:  # its headers alone do not fit
                tally.drop("exchange larger than a capture can hold")
                left_out.update(_streams(fitting))
                continue
            written += 1
            truncated += _is_truncated(fitting)
        else:
            writer.write_message(fitting)
            messages += fitting.kind is not MessageKind.END
    counters = Counters(
        seen=written + tally.dropped + tally.in_flight,
        written=written,
        truncated=truncated,
        dropped=tally.dropped,
        in_flight=tally.in_flight,
    )
    writer.count(counters)
    return Imported(
        name=name,
        format=source.format,
        counters=counters,
        messages=messages,
        remarks=dict(tally.remarks.most_common()),
    )


def _streams(exchange: Exchange) -> tuple[int, ...]:
    """The exchange's number when it may have messages."""
    outcome = exchange.outcome
    return (exchange.seq,) if isinstance(outcome, Response) and outcome.stream else ()


def _is_possible(item: Item) -> bool:
    """Whether the numbers, which come from files that may be damaged, are those of some traffic."""
    if isinstance(item, Message):
        return 0 <= item.offset_ns < _MAX_NS and 0 <= item.truncated_bytes < _MAX_NS
    outcome = item.outcome
    times = [item.offset_ns, item.request_end_ns, outcome.offset_ns]
    sizes = [item.request.truncated_bytes]
    if isinstance(outcome, Response):
        if not 100 <= outcome.status <= 999:
            return False
        times.append(outcome.end_ns or 0)
        sizes.append(outcome.truncated_bytes)
    return all(0 <= number < _MAX_NS for number in (*times, *sizes))


def _fitting(item: Item) -> Item:
    """The item itself, or with bodies cut to what a block can hold and marked."""
    if isinstance(item, Message):
        excess = len(item.payload) - MAX_BODY_BYTES
        if excess <= 0:
            return item
        return replace(
            item, payload=item.payload[:MAX_BODY_BYTES], truncated_bytes=item.truncated_bytes + excess
        )
    request, outcome = _cut(item.request), item.outcome
    if isinstance(outcome, Response):
        outcome = _cut(outcome)
    if request is item.request and outcome is item.outcome:
        return item
    return replace(item, request=request, outcome=outcome)


def _cut(part: _Part) -> _Part:
    excess = len(part.body) - MAX_BODY_BYTES
    if excess <= 0:
        return part
    return replace(part, body=part.body[:MAX_BODY_BYTES], truncated_bytes=part.truncated_bytes + excess)


def _is_truncated(exchange: Exchange) -> bool:
    outcome = exchange.outcome
    cut = outcome.truncated_bytes if isinstance(outcome, Response) else 0
    return exchange.request.truncated_bytes + cut > 0
