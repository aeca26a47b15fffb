"""Interleaved replays of two targets: one after the other, kept in a folder, gone on with when stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captures.errors import CaptureError, HookreelError, UsageError, WriteError
from captures.text import clean
from captures.units import NS_PER_S
from replayer.results import read_run
from replayer.review.documents import read_document, write_document
from replayer.review.plan import MIN_PAIRS, Side, Turn, order_of
from replayer.review.sides import InvalidRunError, NamedRun
from replayer.review.tools import Tools

PLAN_NAME = "review.json"
LOG_NAME = "review.log"
FORMAT = 1
ATTEMPTS = 3
_KIND = "hookreel review"
_SETTLE_S = 3.0
_EXIT_NO = 3  # an unexpected answer under --expect: the run is a good one
_EXIT_INVALID = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewPlan:
    """
    What a review does; two reviews with equal plans are one review.

    ``capture_id`` is of the capture at ``capture``. ``targets`` has a URL per side. ``words`` are
    further options of ``hookreel replay``. ``before`` is the user's command, with ``{side}`` and
    ``{target}`` in it. The order of the replays follows from ``pairs`` and ``seed``.
    """

    capture: str
    capture_id: str
    targets: Mapping[str, str]
    words: tuple[str, ...]
    pairs: int
    seed: int
    before: tuple[str, ...] = ()

    @property
    def turns(self) -> list[Turn]:
        """Every replay in order."""
        return order_of(self.pairs, self.seed)

    def stored(self) -> dict[str, Any]:
        """As it stands in the folder; of the command only its first word, as others may be secret."""
        return {
            "capture_id": self.capture_id,
            "targets": dict(self.targets),
            "replay_options": list(self.words),
            "pairs": self.pairs,
            "seed": self.seed,
            "before": list(self.before[:1]),
        }


@dataclass(slots=True, kw_only=True)
class Replayed:
    """The runs of a review, pair by pair, and how long the replays took beyond their schedules."""

    baseline: list[NamedRun] = field(default_factory=list)
    candidate: list[NamedRun] = field(default_factory=list)
    overheads_s: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def stored_plan(folder: Path) -> dict[str, Any] | None:
    """
    The plan that a folder was begun with; None where no review was begun.

    Raises:
        CaptureError: it is damaged.

    """
    path = folder / PLAN_NAME
    if not path.exists():
        return None
    values = read_document(path, kind=_KIND, newest=FORMAT, migrations={})
    try:
        seed, pairs = values["seed"], values["pairs"]
    except LookupError:
        raise CaptureError(f"{path} is damaged; name a new folder.") from None
    if type(seed) is not int or type(pairs) is not int:
        raise CaptureError(f"{path} is damaged; name a new folder.")
    return values


def open_folder(folder: Path, plan: ReviewPlan) -> None:
    """
    Begin a review in a folder, or go on with the same one.

    Raises:
        UsageError: another review is there, or something else.
        WriteError: it cannot be written to.

    """
    stored = stored_plan(folder)
    if stored is not None:
        begun = {key: stored.get(key) for key in plan.stored()}
        if begun != plan.stored():
            unlike = ", ".join(sorted(key for key, value in plan.stored().items() if begun[key] != value))
            raise UsageError(
                f"{folder} holds a review with other settings ({unlike}); repeat them to go on with it, or"
                " name a new folder."
            )
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and holds no review; name a new folder.")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_document(folder / PLAN_NAME, kind=_KIND, format_=FORMAT, values=plan.stored())
    except OSError as error:
        raise WriteError(f"{folder} cannot be written to ({error.strerror}); name another place.") from None


def perform(
    plan: ReviewPlan,
    folder: Path,
    tools: Tools,
    say: Callable[[str], None],
    *,
    budget_s: float | None = None,
) -> Replayed:
    """
    Make every replay that the folder does not hold yet, and load them all.

    A pair of which only one replay is there is made anew, since what a pair shares is its time.
    With a budget no pair is begun that would not be done in time, but for the first three.

    Raises:
        InvalidRunError: a replay was INVALID three times.
        HookreelError: a replay, the command or a target failed.

    """
    began_s = tools.monotonic_s()
    turns, outcome = plan.turns, Replayed()
    longest_s = 0.0
    for number in range(1, plan.pairs + 1):
        pair = [turn for turn in turns if turn.pair == number]
        paths = {turn.side: folder / turn.file_name for turn in pair}
        if not all(_usable(path) for path in paths.values()):
            spent_s = tools.monotonic_s() - began_s
            if budget_s is not None and number > MIN_PAIRS and spent_s + longest_s > budget_s:
                outcome.notes.append(
                    f"The budget was spent after {number - 1} of {plan.pairs} pairs; smaller changes were"
                    " to be seen with all of them."
                )
                break
            started_s = tools.monotonic_s()
            for turn in pair:
                paths[turn.side].unlink(missing_ok=True)
            for turn in pair:
                outcome.overheads_s.append(_replay(plan, turn, paths[turn.side], tools, say))
            longest_s = max(longest_s, tools.monotonic_s() - started_s)
        outcome.baseline.append(_named(paths[Side.BASELINE]))
        outcome.candidate.append(_named(paths[Side.CANDIDATE]))
    return outcome


def _usable(path: Path) -> bool:
    """Whether a whole and valid run is there; what was cut short is made again."""
    if not path.exists():
        return False
    try:
        run = read_run(path)
    except CaptureError:
        return False
    return run.valid and not run.header.interrupted


def _named(path: Path) -> NamedRun:
    return NamedRun(name=path.name, run=read_run(path))


def _replay(plan: ReviewPlan, turn: Turn, path: Path, tools: Tools, say: Callable[[str], None]) -> float:
    """One valid replay; returns how many seconds it took beyond its schedule, per attempt."""
    url = plan.targets[turn.side]
    what = f"Pair {turn.pair} of {plan.pairs}, {turn.side}"
    reasons = ""
    for attempt in range(1, ATTEMPTS + 1):
        started_s = tools.monotonic_s()
        restore(plan, turn.side, tools)
        code, stdout, last_error = tools.replay(
            [plan.capture, "--target", url, "--json", "-o", str(path), *plan.words]
        )
        said = _said(stdout)
        if code in (0, _EXIT_NO) and said is not None and path.exists():
            took_s = tools.monotonic_s() - started_s
            lag_us, p50_ms = said["send_lag_ns"]["p99"] / 1e3, said["response_time_ns"]["p50"] / 1e6
            say(
                f"{what}: {said['sent']:,} sent in {said['duration_ns'] / NS_PER_S:.1f} s, {said['failed']}"
                f" failed; p50 {p50_ms:.1f} ms, send lag p99 {lag_us:.0f} us."
            )
            return max(0.0, took_s - float(said["duration_ns"]) / NS_PER_S)
        path.unlink(missing_ok=True)
        if code != _EXIT_INVALID or said is None:
            raise HookreelError(f"{what}: the replay failed ({clean(last_error)}).")
        reasons = clean(" ".join(said["invalid_reasons"]))
        say(f"{what}, attempt {attempt} of {ATTEMPTS}: INVALID, {reasons}")
        if attempt < ATTEMPTS:
            tools.sleep(_SETTLE_S)  # what disturbed it may be over soon
    raise InvalidRunError(
        f"{what}: {ATTEMPTS} replays in a row were INVALID ({reasons}); quieten the machine or lower the"
        " load, then run the same command to go on."
    )


def _said(stdout: str) -> dict[str, Any] | None:
    try:
        said = json.loads(stdout)
    except ValueError:
        return None
    return said if type(said) is dict else None


def restore(plan: ReviewPlan, side: Side, tools: Tools) -> None:
    """
    Put one side's target into the state that every replay begins with.

    Raises:
        HookreelError: the user's command failed, or the target does not come up.

    """
    url = plan.targets[side]
    if plan.before:
        code = tools.before([word.replace("{side}", side).replace("{target}", url) for word in plan.before])
        if code:
            raise HookreelError(
                f"The command of --before ended with exit code {code} for the {side}; {LOG_NAME} has"
                " what it said."
            )
    tools.await_target(url)
