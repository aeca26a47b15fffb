"""One review from its request to its comparison: plan, replay in turns, compare, learn."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from captures.errors import HookreelError, UsageError
from captures.keys import new_key, write_key_file
from captures.reader import CaptureReader
from captures.text import clean
from captures.units import NS_PER_S, format_duration
from replayer.host import host_facts
from replayer.review import ledger, plan
from replayer.review.compare import compare
from replayer.review.duplicates import growing_duplicates
from replayer.review.interleave import Replayed, ReviewPlan, open_folder, perform, stored_plan
from replayer.review.ledger import Entry, Noise
from replayer.review.report.material import Material
from replayer.review.tools import Tools
from replayer.review.verdict import Options

USUAL_PAIRS = 8
_USUAL_OVERHEAD_S = 8.0  # of a replay of which nothing is known: process, connections, draining

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    What is asked of a review.

    ``targets`` has a URL per side, ``words`` further options of ``hookreel replay``; ``sized`` names
    those of them that say how long a replay goes on; ``judged`` are the options of ``hookreel diff`` that
    judge the runs likewise and make a page of it. ``pairs`` and ``budget_ns`` exclude each other. ``keeps``
    says that replays keep answers and no key was named for them.
    """

    capture: Path
    targets: Mapping[str, str]
    folder: Path
    words: tuple[str, ...]
    sized: tuple[str, ...] = ()
    pairs: int | None = None
    budget_ns: int | None = None
    before: tuple[str, ...] = ()
    seed: int | None = None
    judged: tuple[str, ...] = ()
    ledger: Path
    keeps: bool = False

    @property
    def key_file(self) -> Path:
        """Where one key for the answers of all replays is; beside the folder, which may be shared."""
        return self.folder.with_name(f"{self.folder.name}.key")

    def __post_init__(self) -> None:
        """
        Check what excludes what.

        Raises:
            UsageError: two options say different things about the same.

        """
        if self.pairs is not None and self.budget_ns is not None:
            raise UsageError("--pairs and --budget both say how much to replay; give one of them.")
        if self.budget_ns is not None and self.sized:
            raise UsageError(f"--budget chooses how long replays are; leave --{self.sized[0]} out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """What a replay of the whole would be: its load in words, its length, and its requests by endpoint."""

    load: str
    duration_ns: int
    requests: Mapping[str, float]

    def within(self, duration_ns: int | None) -> dict[str, float]:
        """Requests by endpoint of a replay that ends after ``duration_ns``, as if they came evenly."""
        share = 1.0 if duration_ns is None or not self.duration_ns else duration_ns / self.duration_ns
        return {label: count * min(1.0, share) for label, count in self.requests.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What earlier reviews of the same capture, load and host class tell, and the key they are kept by."""

    root: str
    load: str
    host: str
    entries: Sequence[Entry]
    overhead_s: float | None

    def noise(self, before_wall_ns: int | None = None) -> Mapping[tuple[str, float], Noise]:
        """By endpoint and quantile; of reviews that ended before ``before_wall_ns``, if there is a limit."""
        entries = [
            entry for entry in self.entries if before_wall_ns is None or entry.made_wall_ns < before_wall_ns
        ]
        return ledger.learn(entries, self.root, self.load, self.host)


def review(
    request: Request, options: Options, tools: Tools, seed: Callable[[], int], say: Say
) -> tuple[Material, list[tuple[str, str, str]]]:
    """
    The comparison of both builds, and the noise of each endpoint as ``plan.floor_rows`` has it.

    ``seed`` draws the order when none was asked for; ``say`` gets a line per step.

    Raises:
        HookreelError: an option, a target, a replay or the command before it failed.

    """
    with CaptureReader.open(request.capture) as reader:
        header = reader.header
    root = header.lineage[-1] if header.lineage else header.capture_id
    offered = next(rehearse(request, url, tools) for url in request.targets.values())
    known = _known(request, root, offered)
    begun = stored_plan(request.folder)
    size = _size(request, begun, offered, known)
    drawn = request.seed if request.seed is not None else begun["seed"] if begun else seed()
    duration = () if size.duration_ns is None else (f"--duration={size.duration_ns // 1_000_000}ms",)
    planned = ReviewPlan(
        capture=str(request.capture),
        capture_id=header.capture_id,
        targets=request.targets,
        words=(*request.words, *duration, *((f"--key-file={request.key_file}",) if request.keeps else ())),
        pairs=size.pairs,
        seed=drawn,
        before=request.before,
    )
    open_folder(request.folder, planned)
    if request.keeps and not request.key_file.exists():
        write_key_file(request.key_file, new_key())
        say(f"Kept answers are anonymized with the key in {request.key_file}; do not share it.")
    requests = offered.within(size.duration_ns)
    length_ns = size.duration_ns or offered.duration_ns
    say(
        f"{size.pairs} pairs of replays of {format_duration(length_ns)} ({offered.load}), order seed {drawn}."
    )
    say(plan.prospect(requests, known.noise(), size.pairs).text)
    budget_s = None if request.budget_ns is None else request.budget_ns / NS_PER_S
    outcome = perform(planned, request.folder, tools, say, budget_s=budget_s)
    material = _compared(request, options, outcome, known, requests)
    learned = _learn(request, known, outcome)
    return material, list(plan.floor_rows(requests, learned, len(outcome.baseline)))


def rehearse(request: Request, url: str, tools: Tools) -> Offered:
    """
    Ask what a replay would send, which also checks every option before anything is sent.

    Raises:
        UsageError: the replay refuses its options.

    """
    code, stdout, last_error = tools.replay(
        [str(request.capture), "--target", url, "--dry-run", "--json", *request.words]
    )
    if code:
        raise UsageError(f"A replay against {clean(url)} is refused: {clean(last_error)}")
    try:
        said: dict[str, Any] = json.loads(stdout)
        return Offered(load=said["load"], duration_ns=said["duration_ns"], requests=dict(said["endpoints"]))
    except (ValueError, LookupError, TypeError):
        raise HookreelError(
            "The rehearsal of a replay said nothing that can be read; try it by hand."
        ) from None


def _known(request: Request, root: str, offered: Offered) -> _Known:
    entries, host = ledger.read_ledger(request.ledger), host_facts().host_class
    return _Known(
        root=root,
        load=offered.load,
        host=host,
        entries=entries,
        overhead_s=ledger.overhead_s(entries, root, host),
    )


def _size(request: Request, begun: dict[str, Any] | None, offered: Offered, known: _Known) -> plan.Sizing:
    """As it was begun, or as it was asked for, or as the budget permits."""
    if request.budget_ns is None:
        return plan.Sizing(pairs=request.pairs or USUAL_PAIRS, duration_ns=None)
    if begun is not None:
        words = begun.get("replay_options")
        lengths = (
            [word for word in words if str(word).startswith("--duration=")] if type(words) is list else []
        )
        try:
            duration_ns = int(lengths[0].removeprefix("--duration=").removesuffix("ms")) * 1_000_000
        except (ValueError, IndexError):
            return plan.Sizing(pairs=begun["pairs"], duration_ns=None)
        return plan.Sizing(pairs=begun["pairs"], duration_ns=duration_ns)
    overhead_s = _USUAL_OVERHEAD_S if known.overhead_s is None else known.overhead_s
    return plan.size_for(
        request.budget_ns,
        offered.duration_ns,
        int(overhead_s * NS_PER_S),
        offered.requests,
        known.noise(),
    )


def _compared(
    request: Request, options: Options, outcome: Replayed, known: _Known, requests: Mapping[str, float]
) -> Material:
    """The comparison; made again it is the same, as what was learned since its first replay is left out."""
    began_wall_ns = min(named.run.header.started_wall_ns for named in (*outcome.baseline, *outcome.candidate))
    floors = ledger.floors(known.noise(began_wall_ns), len(outcome.baseline), requests)
    comparison = compare(outcome.baseline, outcome.candidate, replace(options, paired=True), floors=floors)
    warnings = (
        *comparison.warnings,
        *outcome.notes,
        *growing_duplicates("baseline", outcome.baseline),
        *growing_duplicates("candidate", outcome.candidate),
    )
    runs = [
        [str(request.folder / named.name) for named in side] for side in (outcome.baseline, outcome.candidate)
    ]
    words = ["hookreel", "diff", "--paired", "--baseline", *runs[0], "--candidate", *runs[1], *request.judged]
    return Material(
        comparison=replace(comparison, warnings=warnings),
        baseline=tuple(outcome.baseline),
        candidate=tuple(outcome.candidate),
        command=shlex.join(words),
    )


def _learn(request: Request, known: _Known, outcome: Replayed) -> Mapping[tuple[str, float], Noise]:
    """Write what this review saw of the noise, unless it was only loaded again; all that is known then."""
    if outcome.overheads_s:
        entry = Entry(
            capture=known.root,
            load=known.load,
            host=known.host,
            made_wall_ns=time.time_ns(),
            overhead_s=median(outcome.overheads_s),
            seen=ledger.observe(outcome.baseline, outcome.candidate),
        )
        ledger.add_entry(request.ledger, entry)
    return replace(known, entries=ledger.read_ledger(request.ledger)).noise()


def command_words(text: str | None) -> tuple[str, ...]:
    """
    The words of a command, which no shell will read.

    Raises:
        UsageError: a quote is open, or there are no words.

    """
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--before cannot be read ({error}); quote it as a shell would want it.") from None
    if not words:
        raise UsageError("--before names no command; leave it out or name one.")
    return words
