"""The runs of a comparison: which may be compared, and what each holds per endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from captures.errors import HookreelError, UsageError
from replayer.results import Int64s, Outcome, Run, UInt16s
from replayer.review.quantile_estimates import Floats
from replayer.review.saturation import saturation
from replayer.review.verdict import Options, RunSummary

_ANSWERED = "answered"


class InvalidRunError(HookreelError):
    """A run did not keep its schedule, so nothing can be concluded from it."""

    exit_code = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRun:
    """A run and the name a report calls it by, usually its file."""

    name: str
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EndpointSample:
    """
    What one run saw of one endpoint.

    ``outcomes`` counts by status or by what went wrong instead. ``times_ns`` holds response
    times (done - due) by status class (2 for 2xx), each of shape (n,) in due order.
    ``unusable`` counts answers whose clock readings make no sense (done not after due).
    ``series`` numbers what became of each request in due order, shape (n,): number i is the
    i-th key of ``outcomes``; empty where the order is not known.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    times_ns: dict[int, Floats] = field(default_factory=dict)
    unusable: int = 0
    series: UInt16s = field(default_factory=lambda: np.empty(0, np.uint16))

    @property
    def requests(self) -> int:
        """Exchanges that were due, whatever became of them."""
        return sum(self.outcomes.values())

    def is_outcome(self, name: str) -> Floats:
        """1.0 for each request that came to ``name``, 0.0 for the others, in due order."""
        number = list(self.outcomes).index(name) if name in self.outcomes else -1
        return np.asarray(self.series == number, dtype=np.float64)


def run_summary(named: NamedRun) -> RunSummary:
    """The lines of a report that say which run this is."""
    rows, header = named.run.rows, named.run.header
    dropped = int(np.count_nonzero(rows.outcome == Outcome.DROPPED))
    completed = int(np.count_nonzero(rows.outcome == Outcome.COMPLETED))
    fell_behind = saturation(named.run)
    return RunSummary(
        name=named.name,
        run_id=header.run_id,
        target=header.target,
        speed=header.speed,
        requests=len(rows),
        failed=len(rows) - completed - dropped,
        dropped=dropped,
        invalid_reasons=reasons_against(named.run),
        notes=header.notes,
        saturated=fell_behind.text if fell_behind else "",
        host_class=header.host.host_class if header.host else "",
    )


def reasons_against(run: Run) -> tuple[str, ...]:
    """Why this run proves nothing; empty for a good one."""
    reasons = run.header.invalid_reasons
    if run.header.interrupted and not reasons:
        reasons = ("It was interrupted before its end.",)
    if not len(run.rows) and not reasons:
        reasons = ("It holds no exchange.",)
    return reasons


def check_comparable(
    baseline: Sequence[NamedRun],
    candidate: Sequence[NamedRun],
    options: Options,
    *,
    check_alike: bool = True,
) -> list[str]:
    """
    Refuse what must not be compared; return warnings about what may, with care.

    Raises UsageError for a side without runs, a run given twice, unequal sides with ``paired``
    and, unless ``options.allow_mismatch`` or without ``check_alike``, for runs that did not offer the same
    schedule, or were sent by machines of different classes.
    """
    if not baseline or not candidate:
        raise UsageError("A comparison needs at least one run on each side; name a baseline and a candidate.")
    if options.paired and len(baseline) != len(candidate):
        raise UsageError(
            f"--paired needs as many runs on both sides, not {len(baseline)} and {len(candidate)};"
            " leave it out to compare unpaired."
        )
    for side in (baseline, candidate):
        names: dict[str, str] = {}
        for named in side:
            run_id = named.run.header.run_id
            if run_id in names:
                raise UsageError(
                    f"{named.name} and {names[run_id]} are the same run; name each run once on a side."
                )
            names[run_id] = named.name
    unlike = _mismatches(baseline, candidate, options) if check_alike else []
    return [*unlike, *_order_warnings(baseline, candidate, options)]


def _mismatches(baseline: Sequence[NamedRun], candidate: Sequence[NamedRun], options: Options) -> list[str]:
    first, *others = [*baseline, *candidate]
    warnings = []
    for named in others:
        for what, advice in _unlike(first, named):
            if not options.allow_mismatch:
                raise UsageError(
                    f"{named.name} {what}; {advice}, or pass --allow-mismatch to compare unlike runs."
                )
            warnings.append(f"Unlike runs: {named.name} {what}; a difference may come from that alone.")
    return warnings


def _unlike(first: NamedRun, named: NamedRun) -> Iterator[tuple[str, str]]:
    """In what a run differs from the first so that they are no fair comparison, and what to do about it."""
    ours, theirs = first.run.header, named.run.header
    alike = "replay the same capture at the same speed on both sides"
    if theirs.speed != ours.speed:
        yield f"was replayed at {theirs.speed} and {first.name} at {ours.speed}", alike
        if theirs.capture_id != ours.capture_id:  # the hashes of one schedule at two speeds differ, too
            yield f"replays another capture than {first.name}, or a copy of it", alike
    # The hash covers the capture's origin, so ids of derived captures may differ.
    elif theirs.schedule_hash != ours.schedule_hash and theirs.capture_id != ours.capture_id:
        yield f"replays another capture than {first.name}", alike
    elif theirs.schedule_hash != ours.schedule_hash:
        yield f"offered another schedule than {first.name}", alike
    classes = [header.host.host_class for header in (theirs, ours) if header.host]
    if len(set(classes)) > 1:
        yield (
            f"was sent by a machine of another class ({classes[0]}) than {first.name} ({classes[1]})",
            "replay both sides on one machine",
        )


def _order_warnings(
    baseline: Sequence[NamedRun], candidate: Sequence[NamedRun], options: Options
) -> list[str]:
    warnings = []
    ids = {named.run.header.run_id for named in baseline}
    warnings += [
        f"{named.name} stands on both sides; a run cannot differ from itself."
        for named in candidate
        if named.run.header.run_id in ids
    ]
    before = [named.run.header.started_wall_ns for named in baseline]
    after = [named.run.header.started_wall_ns for named in candidate]
    apart = max(before) < min(after) or max(after) < min(before)
    if apart and len(before) >= 2 and len(after) >= 2:
        warnings.append(
            "All runs of one side came before those of the other, so a drift of the machine"
            " would look like a change; interleave them (A B B A) next time."
        )
        if options.paired:
            warnings.append("--paired was given, but the runs were not interleaved.")
    return warnings


def by_start(side: Sequence[NamedRun]) -> list[NamedRun]:
    """Runs in the order they were made, so that the order of arguments does not matter."""
    return sorted(side, key=lambda named: (named.run.header.started_wall_ns, named.run.header.run_id))


def split_by_endpoint(run: Run) -> dict[str, EndpointSample]:
    """A sample per endpoint label that has rows; the order of the rows does not matter."""
    rows = run.rows
    order = np.lexsort((rows.seq, rows.due_ns, rows.endpoint))
    endpoint = rows.endpoint[order]
    outcome, status = rows.outcome[order], rows.status[order]
    times = (rows.done_ns - rows.due_ns)[order]
    numbers, starts = np.unique(endpoint, return_index=True)
    stops = [*starts[1:].tolist(), len(endpoint)]
    samples = {}
    for number, start, stop in zip(numbers.tolist(), starts.tolist(), stops, strict=True):
        part = slice(start, stop)
        samples[run.header.endpoints[number]] = _sample(outcome[part], status[part], times[part])
    return samples


def without_statuses(sample: EndpointSample) -> EndpointSample:
    """The sample with all whole answers taken for one outcome, whatever their status; failures stay apart."""
    names = [_ANSWERED if name.isdigit() else name for name in sample.outcomes]
    merged = dict.fromkeys(names, 0)
    for name, count in zip(names, sample.outcomes.values(), strict=True):
        merged[name] += count
    order = list(merged)
    numbers = np.array([order.index(name) for name in names], np.uint16)
    return replace(sample, outcomes=merged, series=numbers[sample.series])


def _sample(outcome: np.ndarray, status: np.ndarray, times: Int64s) -> EndpointSample:
    completed = outcome == Outcome.COMPLETED
    counts: dict[str, int] = {}
    series = np.zeros(len(outcome), np.uint16)
    for values, chosen, name_of in (
        (status, completed, str),
        (outcome, ~completed, _outcome_name),
    ):
        found, numbers, numbered = np.unique(values[chosen], return_inverse=True, return_counts=True)
        series[chosen] = len(counts) + numbers
        counts |= {
            name_of(value): count for value, count in zip(found.tolist(), numbered.tolist(), strict=True)
        }
    usable = completed & (times > 0)
    classes = status // 100
    return EndpointSample(
        outcomes=counts,
        times_ns={
            int(value): times[usable & (classes == value)].astype(np.float64)
            for value in np.unique(classes[usable])
        },
        unusable=int(np.count_nonzero(completed & ~usable)),
        series=series,
    )


def _outcome_name(value: int) -> str:
    try:
        return Outcome(value).name.lower().replace("_", "-")
    except ValueError:  # a newer hookreel may know more ways to fail
        return f"outcome-{value}"
