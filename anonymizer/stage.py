"""A capture in, an anonymized capture out: one pass collects every value, a second one replaces."""

from __future__ import annotations

import contextlib
import gc
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from anonymizer.census import Census, UnknownFieldsError
from anonymizer.detectors.base import Kind
from anonymizer.exchange_scrubber import ExchangeScrubber
from anonymizer.passes import Passes
from anonymizer.policy import Action, Policy
from anonymizer.report import Report
from anonymizer.workers import Made, Workers
from captures.errors import UsageError, WriteError
from captures.keys import Prf, create_private_file
from captures.lineage import derived_header
from captures.model import CaptureHeader, Exchange, Provenance
from captures.reader import CaptureReader
from captures.units import NS_PER_S
from captures.writer import CaptureWriter

_OBJECTS_BETWEEN_COLLECTIONS = 200_000
_ID = re.compile("[0-9a-f]{32}")
_DAY_NS = 86_400 * NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an anonymization did, and what was wrong with the capture it read."""

    report: Report
    problems: tuple[str, ...]


def anonymize_capture(
    source: Path,
    destination: Path,
    *,
    policy: Policy,
    key: bytes,
    finish: Callable[[CaptureReader, Path], None] | None = None,
    workers: int = 1,
) -> Outcome:
    """
    Write an anonymized copy of the capture ``source`` to the new file ``destination``.

    Memory is bounded by the distinct sensitive values. Nothing stands at ``destination``
    before all of it is written. Two runs with one key and policy write the same bytes.

    With several ``workers`` as many processes take the exchanges, where no rule tells fields apart; the
    outcome is the same.

    ``finish`` gets the source and the file that was written, just before that gets its name: what it
    raises leaves nothing behind.

    Raises:
        UsageError: ``source`` is absent or ``destination`` exists.
        CaptureError: ``source`` is no capture or is damaged.
        WriteError: the copy cannot be written.
        HookreelError: one of several processes died.
        UnknownFieldsError: the policy is strict, and some fields with text are not named by it.

    """
    _check_free(destination)
    prf = Prf(key)
    with contextlib.ExitStack() as stack, _seldom_collected():
        reader = stack.enter_context(CaptureReader.open(source))
        report = Report(policy=policy.name, key_fingerprint=prf.fingerprint())
        census = None if policy.strict_fields is None else Census()
        passes = Passes(policy, prf, report, census)
        crew = None
        if workers > 1 and not policy.rules and census is None:
            crew = stack.enter_context(Workers(reader, policy=policy, prf=prf, count=workers))
        _collect(reader, passes, crew)
        if crew is not None:
            crew.take(passes.table)
        replacing = passes.replacing()
        exchanges = _exchanges(reader, replacing, crew, report)
        partial = destination.with_name(f".{destination.name}.{os.getpid()}.partial")
        try:
            _write(reader, exchanges, replacing, partial, _header(reader, passes, replacing, policy, prf))
            if census is not None:
                _check_named(census, policy)
            if finish is not None:
                finish(reader, partial)
            _publish(partial, destination)
        finally:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()
        return Outcome(report=report, problems=reader.problems)


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Look for cycles of garbage seldom: what is remembered are many objects, and hardly any is garbage."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _check_free(destination: Path) -> None:
    if destination.exists() or destination.is_symlink():
        raise UsageError(f"{destination} exists already; name another file or remove it first.")
    if not destination.parent.is_dir():
        raise UsageError(f"The folder of {destination} does not exist; create it first.")


def _check_named(census: Census, policy: Policy) -> None:
    unnamed = {path: field.count for path, field in census.unknown.items() if not policy.lists(path)}
    if unnamed:
        raise UnknownFieldsError(unnamed)


def _collect(reader: CaptureReader, passes: Passes, crew: Workers | None) -> None:
    scrubber = passes.collecting
    if crew is not None:
        crew.collect(passes.table)
    else:
        for exchange in reader.exchanges():
            scrubber.exchange(exchange)
    for message in reader.messages():
        scrubber.message(message)
    scrubber.source(reader.header.source)
    for problem in reader.header.source_problems:
        scrubber.sentence(problem)


def _exchanges(
    reader: CaptureReader, scrubber: ExchangeScrubber, crew: Workers | None, report: Report
) -> Iterator[Exchange]:
    if crew is None:
        return map(scrubber.exchange, reader.exchanges())
    return _followed(crew.replace(), scrubber, report)


def _followed(windows: Iterator[Made], scrubber: ExchangeScrubber, report: Report) -> Iterator[Exchange]:
    """The exchanges of ``windows``, which are counted in ``report`` as if they were made here."""
    for made in windows:
        for exchange in made.exchanges:
            scrubber.follow(exchange)
            yield exchange
        for counted in made.reports:
            report.exchanges += counted.exchanges
            report.signatures += counted.signatures
            for (kind, endpoint, path), count in counted.replaced.items():
                report.replaced[kind, report.endpoint(endpoint), path] += count
            for (endpoint, path), count in counted.undecodable.items():
                report.undecodable[report.endpoint(endpoint), path] += count


def _header(
    reader: CaptureReader, passes: Passes, scrubber: ExchangeScrubber, policy: Policy, prf: Prf
) -> CaptureHeader:
    header = derived_header(
        reader,
        source=scrubber.source(reader.header.source),
        anonymized=Provenance(policy=policy.name, key_fingerprint=prf.fingerprint()),
    )
    # beside it a Date header would tell by how much all times moved
    moved_days = 0 if policy.usual(Kind.DATE) is Action.KEEP else passes.table.days
    return replace(
        header,
        capture_id=_capture_id(reader.header.capture_id, policy, prf),
        lineage=tuple(other for other in header.lineage if _ID.fullmatch(other)),
        source_problems=tuple(map(scrubber.sentence, header.source_problems)),
        started_wall_ns=max(0, header.started_wall_ns + moved_days * _DAY_NS),
        # with the original's own, credentials could be guessed whose fingerprints somebody has seen
        fingerprint_salt=prf.digest("fingerprint-salt", header.fingerprint_salt),
    )


def _write(
    reader: CaptureReader,
    exchanges: Iterable[Exchange],
    scrubber: ExchangeScrubber,
    path: Path,
    header: CaptureHeader,
) -> None:
    # blocks end by their size alone: how fast they are filled must not show in the file
    writer = CaptureWriter.create(path, header, clock_ns=lambda: 0)
    with writer:
        for exchange in exchanges:
            writer.write(exchange)
        for message in reader.messages():
            writer.write_message(scrubber.message(message))
        scrubber.settle()
        writer.close(reader.counters if reader.has_account else None)


def _capture_id(source: str, policy: Policy, prf: Prf) -> str:
    """The id of what becomes of the capture ``source`` under this policy and key, the same in each run."""
    stated = (source, replace(policy, name_keys=frozenset()), sorted(policy.name_keys))
    return prf.digest("capture-id", repr(stated).encode()).hex()


def _publish(partial: Path, destination: Path) -> None:
    """Give the finished file its name; another file of that name is never replaced."""
    try:
        os.link(partial, destination)
    except FileExistsError:
        raise UsageError(f"{destination} exists already; name another file or remove it first.") from None
    except OSError:  # file systems without hard links: of a name that is ours a rename replaces nobody's file
        os.close(create_private_file(destination))
        try:
            partial.rename(destination)
        except OSError as error:
            destination.unlink()
            raise WriteError(
                f"{destination} cannot be written ({error.strerror}); choose another place."
            ) from error
