"""
Exchanges anonymized by several processes, with the same outcome as by one.

Each process is a copy of this one, with the open capture and the automata of all detectors. What it
finds and what it makes goes through a pipe, never to a disk.
"""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

import msgpack
import numpy as np

from anonymizer.detectors import secrets
from anonymizer.detectors.base import Context, Kind
from anonymizer.detectors.registry import Detectors
from anonymizer.passes import Passes
from anonymizer.policy import Policy
from anonymizer.pseudonyms import PseudonymTable
from anonymizer.report import Report
from anonymizer.shares import Dealer, Piece, windows
from anonymizer.sieve import Sieve
from captures.codec import build_exchange, exchange_row, unpack_row
from captures.errors import HookreelError
from captures.keys import Prf
from captures.model import Exchange
from captures.reader import CaptureReader

_AHEAD = 2  # pieces that a process has: one to work on, and one to begin with at once after it
_LOOK_EVERY = 64  # exchanges taken from here before the processes are looked after again
_MAX_COUNTS = 4_096  # that a process keeps for itself, by kind, endpoint and field
_KEPT_WINDOWS = 3  # that a process keeps decoded, as its pieces come one by one


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
    """Some anonymized exchanges in their order, to be taken first, and what was counted up to them."""

    exchanges: Iterator[Exchange]
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What became of a piece: anonymized exchanges as packed rows, by their places in the window."""

    rows: tuple[tuple[int, bytes], ...] = ()
    report: Report | None = None


class Workers:
    """
    Processes that anonymize the exchanges of ``reader``; a context manager that ends them.

    ``collect`` comes first, then ``take``, then ``replace``; each may be used once.
    """

    def __init__(self, reader: CaptureReader, *, policy: Policy, prf: Prf, count: int) -> None:
        self._reader = reader
        self._policy = policy
        self._prf = prf
        self._count = count
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        self._what = ""
        self._dealer: Dealer[_Answer] = Dealer(iter(()))

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("fork")
        try:
            _make_automata()
            len(self._reader)  # has the index read once for all
            worker = _Worker(self._reader, self._policy, self._prf)
            for _ in range(self._count):
                pipe, other = context.Pipe()
                self._pipes.append(pipe)
                process = context.Process(
                    target=_serve, args=(other, tuple(self._pipes), worker), daemon=True
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

    def collect(self, table: PseudonymTable) -> None:
        """
        Take the values of all exchanges into ``table``.

        Raises:
            CaptureError: the capture is damaged.
            HookreelError: a process died.

        """
        for _ in self._windows("collect"):
            pass
        for number in range(self._count):
            self._tell(number, ("values", None))
        for number in range(self._count):
            self._hear(number).add_to(table)

    def take(self, table: PseudonymTable) -> None:
        """
        From now on replace the values of ``table``.

        Raises:
            HookreelError: a process died.

        """
        values = Values.of(table)
        for number in range(self._count):
            self._tell(number, ("take", values))

    def replace(self) -> Iterator[Made]:
        """
        All exchanges in their order with the stand-ins of the values.

        Raises:
            CaptureError: the capture is damaged.
            HookreelError: a process died.

        """
        for answers in self._windows("replace"):
            rows = sorted(row for answer in answers for row in answer.rows)
            yield Made(
                exchanges=self._unpacked([row for _, row in rows]),
                reports=tuple(answer.report for answer in answers if answer.report is not None),
            )
        for number in range(self._count):
            self._tell(number, ("counts", None))
        yield Made(exchanges=iter(()), reports=tuple(map(self._hear, range(self._count))))

    def _unpacked(self, rows: list[bytes]) -> Iterator[Exchange]:
        for at, row in enumerate(rows):
            if at % _LOOK_EVERY == 0:  # so that nobody waits while these are written
                self._take_answers(0)
                self._deal()
            yield build_exchange(unpack_row(row))

    def _windows(self, what: str) -> Iterator[list[_Answer]]:
        self._what = what
        self._dealer = Dealer(windows(self._reader.index, self._count))
        while True:
            self._deal()
            if self._dealer.finished:
                return
            answers = self._dealer.whole()
            if answers is None:
                self._take_answers(None)
            else:
                yield answers

    def _deal(self) -> None:
        for number in range(self._count):
            while self._dealer.under_way(number) < _AHEAD:
                piece = self._dealer.deal(number)
                if piece is None:
                    break
                self._tell(number, (self._what, piece))

    def _take_answers(self, timeout_s: float | None) -> None:
        """Wait until there is an answer, no longer than ``timeout_s``."""
        busy: dict[Any, int] = {
            pipe: number for number, pipe in enumerate(self._pipes) if self._dealer.under_way(number)
        }
        for pipe in wait(list(busy), timeout_s) if busy else ():
            self._dealer.answer(busy[pipe], self._hear(busy[pipe]))

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


def _serve(pipe: Connection, others: tuple[Connection, ...], worker: _Worker) -> None:
    """Do what comes through ``pipe`` until it is closed; ``others`` are the parent's own ends."""
    for other in others:
        other.close()  # else no pipe would be closed when the parent dies
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this
    with suppress(EOFError, OSError):
        while True:
            what, argument = pipe.recv()
            answer = _answer(worker, what, argument)
            if answer is not None:
                pipe.send(answer)
            while isinstance(answer, HookreelError):
                pipe.recv()  # who still tells us something must find an open pipe, and reads this then


def _answer(worker: _Worker, what: str, argument: Any) -> object:
    """What ``worker`` makes of a message; an error where it fails, which quotes nothing."""
    try:
        if what == "take":
            worker.take(argument)
            return None
        if what == "values":
            return worker.values()
        if what == "counts":
            return worker.counts()
        return worker.scrub(argument, making=what == "replace")
    except HookreelError as error:
        return error
    except MemoryError:
        return _died()
    except Exception as error:  # noqa: BLE001 - its traceback would go to stderr, and may quote traffic
        return HookreelError(
            f"A process that anonymized failed ({type(error).__name__}); nothing was written. "
            "Run it again with --workers 1 --debug to see where."
        )


class _Counts(Report):
    """Counts of a process; how many endpoints are told apart is up to the one that adds them up."""

    def endpoint(self, label: str) -> str:
        return label


class _Worker:
    def __init__(self, reader: CaptureReader, policy: Policy, prf: Prf) -> None:
        self._reader = reader
        self._report = _Counts(policy=policy.name, key_fingerprint=prf.fingerprint())
        self._passes = Passes(policy, prf, self._report)
        self._scrubber = self._passes.collecting
        self._pack = msgpack.Packer().pack
        self._kept: OrderedDict[int, list[Exchange]] = OrderedDict()

    def values(self) -> Values:
        """All that was collected."""
        return Values.of(self._passes.table)

    def take(self, values: Values) -> None:
        """From now on replace ``values`` by their stand-ins."""
        values.add_to(self._passes.table)
        self._scrubber = self._passes.replacing()

    def scrub(self, piece: Piece, *, making: bool) -> _Answer:
        """What becomes of ``piece``; an empty answer while collecting."""
        window = self._window(piece)
        made = [(place, self._scrubber.exchange(window[place])) for place in piece.places]
        if not making:
            return _Answer()
        rows = tuple((place, self._pack(exchange_row(exchange))) for place, exchange in made)
        many = len(self._report.replaced) + len(self._report.undecodable) > _MAX_COUNTS
        return _Answer(rows=rows, report=self.counts() if many else None)

    def counts(self) -> Report:
        """What was counted since the last time."""
        self._scrubber.settle()
        told = replace(self._report)
        self._report.exchanges = self._report.signatures = 0
        self._report.replaced, self._report.undecodable = Counter(), Counter()
        return told

    def _window(self, piece: Piece) -> list[Exchange]:
        known = self._kept.get(piece.first)
        if known is None:
            if len(self._kept) >= _KEPT_WINDOWS:
                self._kept.popitem(last=False)
            offsets = self._reader.index.offset_ns
            start_ns, last_ns = (int(offsets[at]) for at in (piece.first, piece.first + piece.count - 1))
            before = piece.first - int(np.searchsorted(offsets, start_ns))
            found = self._reader.exchanges(start_ns=start_ns, stop_ns=last_ns + 1)
            known = self._kept[piece.first] = list(islice(found, before, before + piece.count))
        return known
