"""Saved baselines: runs by name and commit, in a folder that can live in git or an artefact store."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from captures.errors import CaptureError, UsageError, WriteError
from captures.units import NS_PER_S
from replayer.host import HostFacts
from replayer.results import RunHeader, read_run
from replayer.review.documents import Map, Migrations, read_document, write_document
from replayer.review.sides import InvalidRunError, NamedRun, reasons_against

FORMAT = 1
MIGRATIONS: Migrations = {}
"""One-step migrations of the description of a baseline; runs have their own."""

ENOUGH_RUNS = 5
_KIND = "hookreel baseline"
_DESCRIPTION = "baseline.json"
_YEAR_10000_NS = 253_402_300_800 * NS_PER_S  # no calendar goes further
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Unlike(StrEnum):
    """What may differ between runs so that a difference of theirs may come from that alone."""

    CAPTURE = "capture"
    SPEED = "speed"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """One run of a baseline; ``digest`` is the BLAKE2b-128 of its file in hex."""

    file: str
    run_id: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """
    Runs of one build of a target.

    ``capture_id`` and ``schedule_hash`` tell what was offered: the hash is the same for a capture
    and for those made from it. ``host`` is the machine that sent, ``saved_wall_ns`` Unix time in ns.
    """

    name: str
    commit: str
    saved_wall_ns: int
    host: HostFacts
    tool: str
    capture_id: str
    schedule_hash: str
    speed: str
    load: str
    runs: tuple[SavedRun, ...]


def save(
    store: Path,
    name: str,
    paths: Sequence[Path],
    *,
    commit: str,
    host: HostFacts,
    now_wall_ns: int,
    replace: bool = False,
) -> Baseline:
    """
    Copy runs into ``store`` as the baseline ``name``; what is there is only touched when all is well.

    ``host`` is this machine, which is taken for the one that sent where runs do not say.

    Raises:
        UsageError: the name is no name, is taken or is that of something else, or the runs are unlike
            one another.
        InvalidRunError: a run is INVALID and proves nothing.
        CaptureError: a file is no run.
        WriteError: the store cannot be written to.

    """
    folder = _folder(store, name)
    if os.path.lexists(folder) and not (folder / _DESCRIPTION).is_file():
        raise UsageError(f"{folder} is no baseline; choose another name.")
    if folder.exists() and not replace:
        raise UsageError(f"{store} has a baseline {name} already; choose another name, or pass --replace.")
    runs = [NamedRun(name=str(path), run=read_run(path)) for path in paths]
    _check_alike(runs)
    first = runs[0].run.header
    saved = tuple(
        SavedRun(file=f"{number:02d}.run", run_id=named.run.header.run_id, digest=_digest(path))
        for number, (named, path) in enumerate(zip(runs, paths, strict=True), 1)
    )
    baseline = Baseline(
        name=name,
        commit=commit,
        saved_wall_ns=now_wall_ns,
        host=first.host or host,
        tool=first.tool,
        capture_id=first.capture_id,
        schedule_hash=first.schedule_hash,
        speed=first.speed,
        load=first.load,
        runs=saved,
    )
    _write(store, folder, baseline, paths)
    return baseline


def _check_alike(runs: Sequence[NamedRun]) -> None:
    first, *others = runs
    ids: set[str] = set()
    for named in runs:
        header = named.run.header
        if reasons := reasons_against(named.run):
            raise InvalidRunError(f"{named.name} proves nothing: {' '.join(reasons)} Replay it again.")
        if header.run_id in ids:
            raise UsageError(f"{named.name} is among the runs twice; name each once.")
        ids.add(header.run_id)
    for named in others:
        header = named.run.header
        if (header.schedule_hash, header.speed) != (first.run.header.schedule_hash, first.run.header.speed):
            raise UsageError(
                f"{named.name} did not offer what {first.name} did; save runs of one capture at one speed."
            )
        if len({one.host.host_class for one in (header, first.run.header) if one.host}) > 1:
            raise UsageError(
                f"{named.name} was sent by a machine of another class than {first.name}; save runs of one."
            )


def _write(store: Path, folder: Path, baseline: Baseline, paths: Sequence[Path]) -> None:
    beside = store / f".{folder.name}.{secrets.token_hex(4)}"
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.mkdir(mode=0o700)
        try:
            for path, saved in zip(paths, baseline.runs, strict=True):
                shutil.copyfile(path, beside / saved.file)
                (beside / saved.file).chmod(0o600)
            write_document(beside / _DESCRIPTION, kind=_KIND, format_=FORMAT, values=asdict(baseline))
            _put_in_place(beside, folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    except OSError as error:
        raise WriteError(
            f"{store} cannot be written to ({error.strerror}); choose another --store."
        ) from None


def _put_in_place(beside: Path, folder: Path) -> None:
    """Rename; what had the name is set aside, comes back when that fails, and is removed only after it."""
    if not folder.exists():
        beside.rename(folder)
        return
    aside = beside.with_name(f"{beside.name}.old")
    folder.rename(aside)
    try:
        beside.rename(folder)
    except BaseException:
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)  # the new one stands, whatever becomes of this


def load(store: Path, name: str) -> Baseline:
    """
    The description of a baseline.

    Raises:
        UsageError: there is none of that name.
        CaptureError: its description is damaged.

    """
    path = _folder(store, name) / _DESCRIPTION
    if not path.exists():
        known = ", ".join(baseline.name for baseline in everything(store)) or "none"
        raise UsageError(f"{store} has no baseline {name} (it has {known}); save it first.")
    return _built(read_document(path, kind=_KIND, newest=FORMAT, migrations=MIGRATIONS), path)


def everything(store: Path) -> list[Baseline]:
    """
    Every baseline of a store, oldest first; none when there is no store.

    Raises:
        CaptureError: a description is damaged.

    """
    found = [
        _built(read_document(path, kind=_KIND, newest=FORMAT, migrations=MIGRATIONS), path)
        for path in sorted(store.glob(f"*/{_DESCRIPTION}"))
        if _NAME.fullmatch(path.parent.name)
    ]
    return sorted(found, key=lambda baseline: (baseline.saved_wall_ns, baseline.name))


def load_runs(store: Path, baseline: Baseline) -> list[NamedRun]:
    """
    The runs of a baseline.

    Raises:
        CaptureError: a file is missing, or is not the one that was saved.

    """
    found = []
    for saved in baseline.runs:
        path = _folder(store, baseline.name) / saved.file
        if not path.exists() or _digest(path) != saved.digest:
            raise CaptureError(
                f"{path} is not the run that was saved; restore the store, or save {baseline.name} again."
            )
        found.append(NamedRun(name=f"{baseline.name}/{saved.file}", run=read_run(path)))
    return found


def unlike(baseline: Baseline, header: RunHeader, host: HostFacts) -> dict[Unlike, str]:
    """
    In what a run differs from a baseline so that they are no fair comparison, each in words.

    ``host`` is this machine, which is taken for the one that sent where the run does not say. Of a
    capture and its anonymized copy the schedules are one at one speed; at two speeds only the
    captures' own ids are left to compare, so that a copy counts as another capture.
    """
    found = {}
    alike = header.capture_id == baseline.capture_id
    if header.speed != baseline.speed:
        found[Unlike.SPEED] = f"the run was replayed at {header.speed}, the baseline at {baseline.speed}"
        if not alike:
            found[Unlike.CAPTURE] = "the run replays another capture than the baseline, or a copy of it"
    elif header.schedule_hash != baseline.schedule_hash:
        what = "another part of the capture" if alike else "another capture"
        found[Unlike.CAPTURE] = f"the run replays {what} than the baseline"
    ours = (header.host or host).host_class
    if ours != baseline.host.host_class:
        found[Unlike.HOST] = f"the run was sent by {ours}, the baseline by {baseline.host.host_class}"
    return found


def check_like(
    baseline: Baseline, runs: Sequence[NamedRun], host: HostFacts, allowed: Collection[Unlike]
) -> list[str]:
    """
    Refuse what must not be compared; return warnings about what was allowed all the same.

    Raises:
        UsageError: a run is unlike the baseline in something that is not allowed.

    """
    warnings: list[str] = []
    for named in runs:
        for kind, why in unlike(baseline, named.run.header, host).items():
            if kind not in allowed:
                raise UsageError(
                    f"{named.name} is unlike the baseline {baseline.name}: {why}; compare like with like,"
                    f" or pass --allow {kind}."
                )
            warning = f"Unlike the baseline ({kind} allowed): {why}; a difference may come from that alone."
            if warning not in warnings:
                warnings.append(warning)
    return warnings


def _folder(store: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of a baseline; use letters, digits, dots, dashes and underscores."
        )
    return store / name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _built(values: Map, path: Path) -> Baseline:
    try:
        known: dict[str, Any] = {name: values[name] for name in Baseline.__slots__}
        built = Baseline(
            **{
                **known,
                "runs": tuple(SavedRun(**run) for run in known["runs"]),
                "host": HostFacts(**known["host"]),
            }
        )
        sound = _sound(built) and built.name == path.parent.name
    except (LookupError, TypeError, ValueError):
        sound = False
    if not sound:
        raise CaptureError(f"{path} is damaged; restore it or save the baseline again.")
    return built


def _sound(baseline: Baseline) -> bool:
    """Whether every value is of its type and no file lies elsewhere."""
    host = baseline.host
    texts = [baseline.name, baseline.commit, baseline.tool, baseline.capture_id, baseline.schedule_hash]
    texts += [baseline.speed, baseline.load, host.cpu_model, host.kernel, host.python]
    texts += [text for run in baseline.runs for text in (run.file, run.run_id, run.digest)]
    return (
        all(type(text) is str for text in texts)
        and all(type(number) is int for number in (baseline.saved_wall_ns, host.cores))
        and 0 <= baseline.saved_wall_ns < _YEAR_10000_NS
        and bool(baseline.runs)
        and all(_NAME.fullmatch(run.file) is not None for run in baseline.runs)
    )
