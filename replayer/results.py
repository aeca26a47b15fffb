"""A run: the results of one replay, a row per exchange, in columns."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeAlias

import msgpack
import numpy as np
from numpy.typing import NDArray

from captures.codec import check_ints, unpack_map
from captures.columns import MAX_ROWS, ColumnBlock, pack_columns
from captures.errors import CaptureError, UsageError, WriteError
from captures.frames import (
    FILE_HEADER,
    RUN_MAGIC,
    TRAILER,
    Block,
    BlockOpener,
    BlockPacker,
    BlockType,
    pack_file_header,
    pack_trailer,
    parse_file_header,
    parse_trailer,
    read_at,
)
from captures.keys import create_private_file
from captures.migrate import RUN_MIGRATIONS, RUN_VERSION, MigrationPath
from captures.model import Provenance
from captures.scanning import Damage, scan_blocks
from replayer.generator import GeneratorFacts
from replayer.host import HostFacts, build_host
from replayer.kept import KeptFacts, KeptResponses, build_facts, build_provenance, pack_kept
from replayer.messages import MessageRows, build_messages, message_columns

Int64s: TypeAlias = NDArray[np.int64]
UInt32s: TypeAlias = NDArray[np.uint32]
UInt16s: TypeAlias = NDArray[np.uint16]
UInt8s: TypeAlias = NDArray[np.uint8]

_MAX_ROWS_A_BYTE = 16  # a row takes more of a real run than this; others were made to fill memory
NEVER_NS = -1  # what a time column holds for something that did not happen
NEVER_DUE_NS = 2**63 - 1  # the due time of what is never due
ERROR_STATUS = 500  # answers from this status on are errors
_TEXTS = ("run_id", "capture_id", "target", "speed", "load", "tool", "schedule_hash")


class Outcome(IntEnum):
    """How one exchange of a run ended; every value but COMPLETED and DROPPED is a failure."""

    COMPLETED = 0  # a whole response came
    DROPPED = 1  # due and not sent
    CONNECT_FAILED = 2
    TLS_FAILED = 3
    RESET = 4  # the connection broke after sending
    TIMEOUT = 5
    BAD_RESPONSE = 6  # what came was not HTTP
    INTERRUPTED = 7  # the run was stopped before the response came


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The gates a run must pass to be valid; options set them and the run carries them."""

    lag_p99_ns: int = 1_000_000
    lag_p99_share_of_service_p50: float = 0.05
    lag_max_ns: int = 250_000_000
    rate_error: float = 0.05  # in any one second of the schedule


@dataclass(slots=True, kw_only=True)
class ChainCounts:
    """
    What became of the chained exchanges of a run.

    ``substituted`` carried fresh values only; ``broken`` carried at least one recorded value,
    since a parent failed, was not sent or did not say the value. ``waited`` were held back for
    a parent, ``waited_ns`` in all.
    """

    chained: int = 0
    substituted: int = 0
    broken: int = 0
    waited: int = 0
    waited_ns: int = 0

    def merge(self, other: ChainCounts) -> None:
        """Count what another process did, too."""
        for name in ChainCounts.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHeader:
    """
    What stands once in a run.

    ``started_wall_ns`` is Unix time in ns at run time 0. ``speed`` is what set the pace (``10x``,
    ``500/s``), ``load`` what was offered in words. ``schedule_hash`` is the same for runs that
    offered the same exchanges at the same due times. ``invalid_reasons`` is empty when the run is
    valid; each is one sentence. ``notes`` are things a reader must know (HTTP/2 sent as HTTP/1.1,
    unsigned exchanges). ``generator`` is what
    the run cost its own machine, ``chains`` what became of chained exchanges; None if not known.
    ``anonymized`` says how the capture was (None if it was not, or before version 3),
    ``capture_problems`` what it was missing, ``kept`` which responses the run kept (None: none were to be).
    ``services`` has the host that each of ``endpoints`` was recorded for (its label has it, too); it is
    empty when all went to one target. ``host`` is the machine that sent (None before version 4).
    """

    run_id: str
    capture_id: str
    target: str
    speed: str
    load: str
    started_wall_ns: int
    tool: str
    schedule_hash: str
    endpoints: tuple[str, ...]
    limits: Limits
    invalid_reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    interrupted: bool = False
    generator: GeneratorFacts | None = None
    chains: ChainCounts | None = None
    anonymized: Provenance | None = None
    capture_problems: tuple[str, ...] = ()
    kept: KeptFacts | None = None
    services: tuple[str, ...] = ()
    host: HostFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunRows:
    """
    A row per exchange in the schedule's order; every array has the same length.

    Times are int64 ns since the run's time 0 on one monotonic clock, NEVER_NS where the thing
    did not happen. ``endpoint`` counts into ``RunHeader.endpoints``. ``instance`` numbers the
    passes through the capture: every copy and loop of it. ``due_ns`` of a chained exchange is
    ``waited_ns`` after its place in the schedule. ``status`` is 0 without a
    response; ``recorded_status`` is 0 where the capture holds a failure. ``outcome`` holds
    ``Outcome`` values. ``response_bytes`` counts body bytes.
    """

    seq: Int64s
    endpoint: UInt32s
    connection: UInt32s
    due_ns: Int64s
    sent_ns: Int64s
    first_byte_ns: Int64s
    done_ns: Int64s
    status: UInt16s
    recorded_status: UInt16s
    instance: UInt32s
    waited_ns: Int64s
    outcome: UInt8s
    response_bytes: UInt32s

    def __len__(self) -> int:
        return len(self.seq)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """One replay: header, rows, stream messages, kept responses; ``write_run`` and ``read_run`` store it."""

    header: RunHeader
    rows: RunRows
    messages: MessageRows = field(default_factory=MessageRows.none)
    kept: KeptResponses = field(default_factory=KeptResponses)

    @property
    def valid(self) -> bool:
        """Whether every fidelity gate was passed."""
        return not self.header.invalid_reasons


_COLUMN_TYPES: dict[str, np.dtype[Any]] = {
    "seq": np.dtype("<i8"),
    "endpoint": np.dtype("<u4"),
    "connection": np.dtype("<u4"),
    "due_ns": np.dtype("<i8"),
    "sent_ns": np.dtype("<i8"),
    "first_byte_ns": np.dtype("<i8"),
    "done_ns": np.dtype("<i8"),
    "status": np.dtype("<u2"),
    "recorded_status": np.dtype("<u2"),
    "instance": np.dtype("<u4"),
    "waited_ns": np.dtype("<i8"),
    "outcome": np.dtype("u1"),
    "response_bytes": np.dtype("<u4"),
}


def write_run(path: Path, run: Run) -> None:
    """
    Write ``run`` to a new file with mode 0600; a file that could not be finished is removed.

    Raises:
        UsageError: the file exists already.
        WriteError: it cannot be written.

    """
    descriptor = create_private_file(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            position = 0
            for part in _run_parts(run):
                position += file.write(part)
            file.write(pack_trailer(position, 0))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise WriteError(
            f"{path} cannot be written ({error.strerror}); free space or choose another place."
        ) from error


def _run_parts(run: Run) -> list[bytes]:
    packer = BlockPacker()
    parts = [
        pack_file_header(RUN_MAGIC, RUN_VERSION, bytes.fromhex(run.header.run_id)),
        packer.pack(BlockType.META, msgpack.packb(asdict(run.header))),
    ]
    columns = {name: np.asarray(getattr(run.rows, name), dtype) for name, dtype in _COLUMN_TYPES.items()}
    for start in range(0, max(1, len(run.rows)), MAX_ROWS):
        chunk = {name: column[start : start + MAX_ROWS] for name, column in columns.items()}
        rows = len(chunk["seq"])
        parts.append(packer.pack(BlockType.COLUMNS, pack_columns(chunk), rows=rows, compress=False))
    for chunk in message_columns(run.messages):
        rows = len(chunk["stream"])
        parts.append(packer.pack(BlockType.MESSAGES, pack_columns(chunk), rows=rows, compress=False))
    parts += pack_kept(packer, run.kept.values())
    return parts


def read_run(path: Path) -> Run:
    """
    Read a run.

    Raises:
        UsageError: there is no such file.
        CaptureError: it is not a run, or any part of it is damaged or missing.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give a run that exists.") from None
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder; give a run.")
        return _read_run(descriptor, path)
    finally:
        os.close(descriptor)


def _read_run(descriptor: int, path: Path) -> Run:
    read, size = read_at(descriptor), os.fstat(descriptor).st_size
    head = read(0, FILE_HEADER.size)
    version, _ = parse_file_header(head, magic=RUN_MAGIC, newest=RUN_VERSION, name=path.name)
    migration = MigrationPath(version=version, current=RUN_VERSION, table=RUN_MIGRATIONS)
    end = size - TRAILER.size
    opener = BlockOpener(lambda _number: None)
    header: RunHeader | None = None
    chunks: list[ColumnBlock] = []
    said: list[ColumnBlock] = []
    kept: list[Block] = []
    total = 0
    whole = end >= FILE_HEADER.size and parse_trailer(read(end, TRAILER.size)) == end
    for item in scan_blocks(read, FILE_HEADER.size, end) if whole else ():
        if isinstance(item, Damage):
            whole = False
            break
        if item.header.type == BlockType.META:
            header = _build_header(migration.header(unpack_map(opener.open(item))))
        elif item.header.type in (BlockType.COLUMNS, BlockType.MESSAGES):
            total += item.header.rows
            if total > max(4 * MAX_ROWS, _MAX_ROWS_A_BYTE * size):
                whole = False
                break
            found = chunks if item.header.type == BlockType.COLUMNS else said
            found.append(ColumnBlock(opener.open(item), item.header.rows, migrate=migration.columns))
        elif item.header.type == BlockType.KEPT:
            kept.append(item)
    if not whole or header is None or not chunks:
        raise CaptureError(f"The run {path.name} is damaged or cut; replay again to make a new one.")
    columns: dict[str, Any] = {name: _join(chunks, name) for name in _COLUMN_TYPES}
    rows = RunRows(**columns)
    if len(rows) and int(np.max(rows.endpoint)) >= len(header.endpoints):
        raise CaptureError(f"The run {path.name} names an endpoint that is not there; replay again.")
    responses = KeptResponses(kept)
    if max(responses, default=-1) >= len(rows):
        raise CaptureError(f"The run {path.name} kept a response to no exchange of it; replay again.")
    return Run(header=header, rows=rows, messages=build_messages(said, len(rows)), kept=responses)


def _join(chunks: list[ColumnBlock], name: str) -> NDArray[Any]:
    parts = [chunk.column(name) for chunk in chunks]
    if any(part.dtype != _COLUMN_TYPES[name] for part in parts):
        raise CaptureError(f"The column {name} is damaged; replay again to make a new run.")
    return np.concatenate(parts)


def _build_header(values: dict[str, Any]) -> RunHeader:
    try:
        known = {one.name: values[one.name] for one in fields(RunHeader)}
        for name in ("endpoints", "services", "invalid_reasons", "notes", "capture_problems"):
            known[name] = tuple(_texts(known[name]))
        _texts([known[name] for name in _TEXTS])
        _check_services(known["services"], known["endpoints"])
        check_ints(known["started_wall_ns"])
        _check_flag(known["interrupted"])
        return RunHeader(
            **{
                **known,
                "limits": _build_limits(known["limits"]),
                "generator": _build_generator(known["generator"]),
                "chains": _build_chains(known["chains"]),
                "anonymized": build_provenance(known["anonymized"]),
                "kept": build_facts(known["kept"]),
                "host": build_host(known["host"]),
            }
        )
    except (LookupError, TypeError, ValueError) as error:
        raise CaptureError("The run's header block is damaged; replay again to make a new run.") from error


def _build_generator(values: Any) -> GeneratorFacts | None:
    if values is None:
        return None
    facts = GeneratorFacts(**values)
    check_ints(*(number for number in values.values() if number is not None))
    return facts


def _build_chains(values: Any) -> ChainCounts | None:
    if values is None:
        return None
    counts = ChainCounts(**values)
    check_ints(*values.values())
    return counts


def _check_services(services: tuple[str, ...], endpoints: tuple[str, ...]) -> None:
    if services and len(services) != len(endpoints):
        raise ValueError


def _check_flag(value: object) -> None:
    if type(value) is not bool:
        raise TypeError


def _texts(values: Any) -> list[str]:
    if type(values) is not list or not all(type(value) is str for value in values):
        raise TypeError
    return values


def _build_limits(values: Any) -> Limits:
    """Limits of the types they were declared with; shares and rates are finite."""
    limits = Limits(**values)
    check_ints(limits.lag_p99_ns, limits.lag_max_ns)
    for share in (limits.lag_p99_share_of_service_p50, limits.rate_error):
        if type(share) not in {int, float} or not math.isfinite(share):
            raise TypeError
    return limits
