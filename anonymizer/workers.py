"""
Exchanges anonymized by several processes, with the same outcome as by one.

Each process is a copy of this one, which made the automata of all detectors before. It opens the
capture itself and takes every so manieth chunk of it; what it finds and what it makes goes through
a pipe, never to a disk. The chunks come back in order.
"""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from anonymizer.detectors import secrets
from anonymizer.detectors.base import Context, Kind
from anonymizer.detectors.registry import Detectors
from anonymizer.exchange_scrubber import ExchangeScrubber
from anonymizer.literals import Literals
from anonymizer.policy import Policy
from anonymizer.pseudonyms import PseudonymTable
from anonymizer.report import Report
from anonymizer.scrubber import Scrubber
from anonymizer.sieve import Sieve
from captures.errors import HookreelError
from captures.keys import Prf
from captures.model import Exchange
from captures.reader import CaptureReader

CHUNK_EXCHANGES = 64
_AHEAD = 2  # chunks that a process is given before its first is taken back

Span = tuple[int, int | None]
"""Exchanges from one offset on, up to another one (both in ns) or to the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What was collected, as `PseudonymTable` holds it."""

    spellings: dict[bytes, Kind]
    phrases: set[tuple[bytes, ...]]
    full_names: set[tuple[bytes, tuple[bytes, ...]]]

    @classmethod
    def of(cls, table: PseudonymTable) -> Self:
        """The values of ``table``."""
        return cls(spellings=table.spellings, phrases=table.phrases, full_names=table.full_names)

    def add_to(self, table: PseudonymTable) -> None:
        """Take them into ``table``."""
        for raw, kind in self.spellings.items():
            table.add(kind, raw)
        table.phrases |= self.phrases
        table.full_names |= self.full_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A chunk as it came out, and what was counted for it."""

    exchanges: list[Exchange]
    report: Report


def spans(reader: CaptureReader) -> list[Span]:
    """The exchanges of a capture in chunks; those with one offset stay together."""
    offsets = reader.index.offset_ns
    starts: list[int] = []
    for at in range(0, len(offsets), CHUNK_EXCHANGES):
        start_ns = int(offsets[at])
        if not starts or start_ns > starts[-1]:
            starts.append(start_ns)
    return list(zip(starts, [*starts[1:], None], strict=True))


class Workers:
    """
    Processes that anonymize the capture ``source``; a context manager that ends them.

    ``collect`` comes first and may be used once; then ``replace``.
    """

    def __init__(self, source: Path, *, policy: Policy, key: bytes, count: int) -> None:
        self._source = source
        self._policy = policy
        self._key = key
        self._count = count
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("fork")
        try:
            _make_automata()
            for _ in range(self._count):
                pipe, other = context.Pipe()
                self._pipes.append(pipe)
                process = context.Process(
                    target=_serve,
                    args=(other, tuple(self._pipes), self._source, self._policy, self._key),
                    daemon=True,
                )
                with warnings.catch_warnings():
                    # the threads are those of numpy, which idle and are not asked for anything here
                    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                    process.start()
                other.close()
                self._processes.append(process)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def collect(self, chunks: Sequence[Span], table: PseudonymTable) -> None:
        """
        Take the values of all ``chunks`` into ``table``.

        Raises:
            CaptureError: the capture is damaged.
            HookreelError: a process died.

        """
        for values in self._each("collect", chunks):
            values.add_to(table)

    def replace(self, chunks: Sequence[Span], table: PseudonymTable) -> Iterator[Made]:
        """
        Every chunk of ``chunks`` in order, with the stand-ins of ``table``.

        Raises:
            CaptureError: the capture is damaged.
            HookreelError: a process died.

        """
        values = Values.of(table)
        for number in range(self._count):
            self._tell(number, ("values", values))
        yield from self._each("replace", chunks)

    def _each(self, what: str, chunks: Sequence[Span]) -> Iterator[Any]:
        window = _AHEAD * self._count
        for at, chunk in enumerate(chunks[:window]):
            self._tell(at % self._count, (what, chunk))
        for at in range(len(chunks)):
            number = at % self._count
            answer = self._hear(number)
            if at + window < len(chunks):
                self._tell(number, (what, chunks[at + window]))
            yield answer

    def _tell(self, number: int, message: tuple[str, Any]) -> None:
        try:
            self._pipes[number].send(message)
        except OSError as error:
            raise _died() from error

    def _hear(self, number: int) -> Any:
        try:
            answer = self._pipes[number].recv()
        except (EOFError, OSError) as error:
            raise _died() from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _end(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.terminate()
            process.join()


def _died() -> HookreelError:
    return HookreelError(
        "A process that anonymized ended before its time (out of memory?); nothing was written. "
        "Use fewer --workers."
    )


def _make_automata() -> None:
    Detectors().find(b" " * secrets.MIN_BYTES, Context())
    Sieve(None).sort([b""])


def _serve(
    pipe: Connection, others: tuple[Connection, ...], source: Path, policy: Policy, key: bytes
) -> None:
    """Do what comes through ``pipe`` until it is closed; ``others`` are the parent's own ends."""
    for other in others:
        other.close()  # else no pipe would be closed when the parent dies
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this
    with suppress(EOFError, OSError):
        try:
            with CaptureReader.open(source) as reader:
                worker = _Worker(reader, policy, Prf(key))
                while True:
                    what, argument = pipe.recv()
                    if what == "collect":
                        pipe.send(worker.collect(argument))
                    elif what == "values":
                        worker.take(argument)
                    else:
                        pipe.send(worker.scrub(argument))
        except HookreelError as error:
            pipe.send(error)


class _Worker:
    def __init__(self, reader: CaptureReader, policy: Policy, prf: Prf) -> None:
        self._reader = reader
        self._policy = policy
        self._prf = prf
        self._table = PseudonymTable(prf, policy)
        self._scrubber = Scrubber(prf, policy, self._table)

    def collect(self, span: Span) -> Values:
        """The values that no chunk before had."""
        self.scrub(span)
        found = Values.of(self._table)
        self._table.spellings, self._table.phrases, self._table.full_names = {}, set(), set()
        return found

    def take(self, values: Values) -> None:
        """From now on replace ``values`` by their stand-ins."""
        self._table = PseudonymTable(self._prf, self._policy)
        values.add_to(self._table)
        self._table.freeze()
        literals = Literals(self._table, self._policy)
        self._scrubber = Scrubber(self._prf, self._policy, self._table, literals, self._scrubber.layouts)

    def scrub(self, span: Span) -> Made:
        """A chunk as it comes out; of no use while collecting."""
        report = Report(policy=self._policy.name, key_fingerprint=self._prf.fingerprint())
        scrubber = ExchangeScrubber(self._scrubber, self._policy, report)
        start_ns, stop_ns = span
        chunk = self._reader.exchanges(start_ns=start_ns, stop_ns=stop_ns)
        made = [scrubber.exchange(exchange) for exchange in chunk]
        scrubber.settle()
        return Made(exchanges=made, report=report)
