"""
How often the review is wrong, and what it finds: simulated runs with everything known.

    python -m benchmarks.review_campaign [--reports 400] [--seed 1] [--only alarms]

A run is a schedule of Poisson sends per endpoint. Response times are lognormal around each
endpoint's median, drift together within a run (AR(1), shared by all endpoints of the process) and
differ from run to run by a normal term on the log scale.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats
from tabulate import tabulate

from replayer.results import Limits, Outcome, Run, RunHeader, RunRows
from replayer.review.compare import compare
from replayer.review.sides import NamedRun
from replayer.review.verdict import Comparison, Options, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """
    What a simulated release and its machine are like.

    ``medians_ms`` is the median response time by endpoint; ``run_sd`` and ``endpoint_run_sd`` the
    log sd between runs, shared by all endpoints and of each; ``unlike`` how much the latter varies
    between endpoints (1: by a factor of e); ``drift_sd`` that of the shared AR(1)
    within a run; ``service_sd`` that of single requests. ``factor`` multiplies an endpoint's times,
    ``extra_ms`` adds to them, ``tail`` has a share of the slowest and by what they are multiplied alone.
    ``statuses`` maps an endpoint to (status, share, time in ms) instead.
    """

    medians_ms: dict[str, float]
    requests: int = 1_000
    run_sd: float = 0.0
    endpoint_run_sd: float = 0.03
    unlike: float = 0.0
    drift_sd: float = 0.10
    service_sd: float = 0.35
    factor: dict[str, float] = field(default_factory=dict)
    extra_ms: dict[str, float] = field(default_factory=dict)
    tail: dict[str, tuple[float, float]] = field(default_factory=dict)
    statuses: dict[str, tuple[int, float, float]] = field(default_factory=dict)


def world(endpoints: int = 30, **changes: object) -> World:
    """Endpoints with medians spread from 12 to 120 ms."""
    medians = np.geomspace(12, 120, endpoints)
    named = {f"GET /api/e{at:02d}/{{id}}": float(median) for at, median in enumerate(medians)}
    return World(medians_ms=named, **changes)


def simulate(world: World, seed: int, *, schedule: str = "schedule", started_s: int = 0) -> Run:
    """One run of the world; the same seed gives the same run."""
    rng = np.random.default_rng(seed)
    labels = tuple(world.medians_ms)
    count = world.requests * len(labels)
    due_ns = np.sort(rng.integers(0, 60 * 10**9, count))
    endpoint = rng.permutation(np.repeat(np.arange(len(labels)), world.requests))
    times_ms = np.array(list(world.medians_ms.values()))[endpoint]
    log = rng.normal(0, world.service_sd, count) + _drift(rng, count, len(labels)) * world.drift_sd
    log += rng.normal(0, world.run_sd) + rng.normal(0, _run_sds(world))[endpoint]
    times_ms = times_ms * np.exp(log)
    status = np.full(count, 200)
    for at, label in enumerate(labels):
        here = np.flatnonzero(endpoint == at)
        times_ms[here] = times_ms[here] * world.factor.get(label, 1.0) + world.extra_ms.get(label, 0.0)
        if label in world.tail:
            share, factor = world.tail[label]
            slowest = here[times_ms[here] >= np.quantile(times_ms[here], 1 - share)]
            times_ms[slowest] *= factor
        if label in world.statuses:
            code, share, quick_ms = world.statuses[label]
            hit = here[rng.random(len(here)) < share]
            status[hit], times_ms[hit] = code, quick_ms * np.exp(rng.normal(0, 0.2, len(hit)))
    return make_run(
        labels,
        endpoint,
        due_ns,
        times_ms * 1e6,
        status,
        run_id=f"{seed:032x}",
        schedule=schedule,
        started_s=started_s,
    )


def _run_sds(world: World) -> np.ndarray:
    """What each endpoint varies by between runs: alike, or some far more than others."""
    count = len(world.medians_ms)
    places = np.random.default_rng(7).permutation(count)  # so that it has nothing to do with the median
    return world.endpoint_run_sd * np.exp(world.unlike * stats.norm.ppf((places + 0.5) / count))


def _drift(rng: np.random.Generator, count: int, memory: int) -> np.ndarray:
    """A stationary AR(1) of sd 1 that remembers about ten requests per endpoint."""
    from scipy.signal import lfilter

    keep = float(np.exp(-1 / (10 * memory)))
    noise = rng.normal(0, np.sqrt(1 - keep**2), count)
    noise[0] /= np.sqrt(1 - keep**2)
    return lfilter([1.0], [1.0, -keep], noise)


def make_run(
    labels: tuple[str, ...],
    endpoint: np.ndarray,
    due_ns: np.ndarray,
    response_ns: np.ndarray,
    status: np.ndarray,
    *,
    run_id: str,
    schedule: str = "schedule",
    started_s: int = 0,
    outcome: np.ndarray | None = None,
) -> Run:
    """A run from columns of shape (n,)."""
    count = len(due_ns)
    due = np.asarray(due_ns, dtype=np.int64)
    done = due + np.asarray(response_ns).astype(np.int64)
    header = RunHeader(
        run_id=run_id,
        capture_id="c" * 32,
        target="http://127.0.0.1:3000",
        speed="10x",
        load="time compressed 10x",
        started_wall_ns=started_s * 10**9,
        tool="hookreel",
        schedule_hash=schedule,
        endpoints=labels,
        limits=Limits(),
    )
    zeros = np.zeros(count, dtype=np.uint32)
    rows = RunRows(
        seq=np.arange(count, dtype=np.int64),
        endpoint=np.asarray(endpoint, dtype=np.uint32),
        connection=zeros,
        due_ns=due,
        sent_ns=due + 50_000,
        first_byte_ns=done - 1_000,
        done_ns=done,
        status=np.asarray(status, dtype=np.uint16),
        recorded_status=np.asarray(status, dtype=np.uint16),
        instance=zeros,
        waited_ns=zeros.astype(np.int64),
        outcome=np.full(count, Outcome.COMPLETED, dtype=np.uint8) if outcome is None else outcome,
        response_bytes=zeros,
    )
    return Run(header=header, rows=rows)


def side(world: World, runs: int, seed: int, *, started_s: int = 0) -> list[NamedRun]:
    """``runs`` runs of one build, seeded apart, two minutes between starts."""
    return [
        NamedRun(
            name=f"{seed}-{at}.run", run=simulate(world, seed * 1_000 + at, started_s=started_s + at * 120)
        )
        for at in range(runs)
    ]


def review(
    before: World, after: World, runs: tuple[int, int], seed: int, options: Options | None = None
) -> Comparison:
    """A comparison of fresh interleaved runs of two worlds."""
    baseline = side(before, runs[0], seed * 2 + 1)
    candidate = side(after, runs[1], seed * 2 + 2, started_s=60)
    return compare(baseline, candidate, options)


CALLS = (Verdict.SLOWER, Verdict.FASTER, Verdict.BEHAVES_DIFFERENTLY)


def called(comparison: Comparison) -> set[str]:
    """Labels of the endpoints for which a change is claimed."""
    return {endpoint.endpoint for endpoint in comparison.endpoints if endpoint.verdict in CALLS}


def upper_bound(hits: int, tries: int) -> float:
    """95 % one-sided Clopper-Pearson upper bound."""
    return float(stats.beta.ppf(0.95, hits + 1, tries - hits)) if hits < tries else 1.0


def false_alarms(
    name: str, quiet: World, runs: tuple[int, int], reports: int, seed: int, **options: object
) -> list:
    """Identical builds: how many reports claim anything."""
    print(f"identical builds: {name} ...", file=sys.stderr)
    alarms = endpoints = same = 0
    for at in range(reports):
        comparison = review(quiet, quiet, runs, seed * 100_000 + at, Options(**options))
        alarms += bool(called(comparison))
        endpoints += len(called(comparison))
        same += sum(endpoint.verdict is Verdict.SAME for endpoint in comparison.endpoints)
    total = reports * len(quiet.medians_ms)
    bound = f"{upper_bound(alarms, reports):.1%}"
    row = [
        name,
        reports,
        f"{alarms / reports:.1%}",
        bound,
        f"{endpoints / total:.2%}",
        f"{same / total:.0%}",
    ]
    print(f"  {row[2:]}", file=sys.stderr)  # a campaign may be stopped before its table
    return row


def power(
    name: str, quiet: World, factor: float, runs: tuple[int, int], reports: int, seed: int, **options: object
) -> list:
    """
    One endpoint of many changed: how often it is named, alone, and how often another too.

    The share of the right one alone is of the reports that name anything.
    """
    print(f"one endpoint changed: {name} ...", file=sys.stderr)
    label = list(quiet.medians_ms)[len(quiet.medians_ms) // 2]
    changed = replace(quiet, factor={label: factor})
    hits = alone = any_named = others = looked = 0
    for at in range(reports):
        comparison = review(quiet, changed, runs, seed * 100_000 + at, Options(**options))
        found = called(comparison)
        hits += label in found
        any_named += bool(found)
        alone += found == {label}
        others += bool(found - {label})
        looked += any(endpoint.suspected for endpoint in comparison.endpoints)
    right = f"{alone / any_named:.1%}" if any_named else "-"
    row = [name, reports, f"{hits / reports:.1%}", right, *(f"{n / reports:.1%}" for n in (others, looked))]
    print(f"  {row[2:]}", file=sys.stderr)
    return row


def calibration(
    quiet: World, runs: tuple[int, int], reports: int, seed: int, quantile: float = 0.5, **options: object
) -> list:
    """
    Plant what one review says it would have seen, and find how often the next one misses it.

    Of the median all times change; of a tail only the slowest twice as many as lie beyond its quantile,
    as a change of all times is found by the median long before.
    """
    print(f"smallest change: p{quantile * 100:g}, {options} ...", file=sys.stderr)
    label = list(quiet.medians_ms)[len(quiet.medians_ms) // 2]

    def judged(comparison: Comparison):
        endpoint = next(e for e in comparison.endpoints if e.endpoint == label)
        return next(q for q in endpoint.quantiles if q.quantile == quantile)

    stated, missed = [], 0
    for at in range(reports):
        said = judged(review(quiet, quiet, runs, seed * 100_000 + at, Options(**options)))
        if quantile > 0.5:
            changed = replace(quiet, tail={label: (2 * (1 - quantile), 1 + said.mde)})
        else:
            changed = replace(quiet, factor={label: 1 + said.mde})
        again = review(quiet, changed, runs, (seed + 50) * 100_000 + at, Options(**options))
        stated.append(said.mde)
        missed += judged(again).verdict is not Verdict.SLOWER
    low, high = (
        float(stats.beta.ppf(level, missed + more, reports - missed + 1 - more))
        for level, more in ((0.025, 0), (0.975, 1))
    )
    kind = "paired" if options.get("paired") else "unpaired"
    return [
        f"p{quantile * 100:g}, {runs[0]} v {runs[1]} {kind}",
        reports,
        f"{float(np.median(stated)):.1%}",
        f"{missed / reports:.1%}",
        f"{low:.1%} to {high:.1%}",
    ]


def million(seed: int) -> list:
    """Time and memory of one million requests against one million."""
    import resource

    big = world(30, requests=1_000_000 // 30 + 1)
    runs = [NamedRun(name=f"{at}.run", run=simulate(big, seed + at)) for at in range(2)]
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    compare(runs[:1], runs[1:])
    took_s = time.perf_counter() - began
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return [
        len(runs[0].run.rows),
        f"{took_s:.1f} s",
        f"{before_kib / 1024:.0f} MiB",
        f"{peak_kib / 1024:.0f} MiB",
    ]


SMALL = World(
    medians_ms={f"GET /s{at}": 2.0 + at for at in range(8)},
    requests=150,
    run_sd=0.05,
    endpoint_run_sd=0.06,
)


def alarm_rows(quiet: World, reports: int, seed: int) -> list[list]:
    """Identical builds."""
    return [
        false_alarms("8 pairs, 30 endpoints", quiet, (8, 8), reports, seed, paired=True),
        false_alarms("8 v 8, 30 endpoints", quiet, (8, 8), reports, seed + 1),
        false_alarms(
            "8 pairs, some far noisier", replace(quiet, unlike=0.7), (8, 8), reports, seed, paired=True
        ),
        false_alarms(
            "8 pairs, runs differ as a whole", replace(quiet, run_sd=0.04), (8, 8), reports, seed, paired=True
        ),
        false_alarms("3 v 3, 30 endpoints", quiet, (3, 3), reports, seed + 2),
        false_alarms("2 v 1, 8 quick endpoints", SMALL, (2, 1), reports, seed + 3),
        false_alarms("1 v 1, 30 endpoints", quiet, (1, 1), reports, seed + 4),
    ]


def power_rows(quiet: World, reports: int, seed: int) -> list[list]:
    """Changed builds."""
    pairs = (8, 8)
    return [
        power("+10 %, 8 pairs", quiet, 1.10, pairs, reports, seed + 5, paired=True),
        power("+20 %, 8 pairs", quiet, 1.20, pairs, reports, seed + 6, paired=True),
        power("-20 %, 8 pairs", quiet, 0.80, pairs, reports, seed + 7, paired=True),
        power(
            "+10 %, 8 pairs, runs differ as a whole",
            replace(quiet, run_sd=0.04),
            1.10,
            pairs,
            reports,
            seed + 5,
            paired=True,
        ),
        power("+10 %, 8 v 8 unpaired", quiet, 1.10, pairs, reports, seed + 5),
        power("x6, 2 v 1, 8 quick endpoints", SMALL, 6.0, (2, 1), reports, seed + 8),
        power("x2, 1 v 1", quiet, 2.0, (1, 1), reports, seed + 9),
    ]


def calibration_rows(quiet: World, reports: int, seed: int) -> list[list]:
    """The smallest change that would have been seen."""
    return [
        calibration(quiet, (8, 8), reports, seed + 10, 0.5, paired=True),
        calibration(quiet, (8, 8), reports, seed + 11, 0.95, paired=True),
        calibration(quiet, (8, 8), reports, seed + 12, 0.5),
    ]


PARTS = {
    "alarms": (
        alarm_rows,
        ["identical builds", "reports", "any alarm", "95 % bound", "endpoints", "SAME"],
    ),
    "power": (
        power_rows,
        ["one endpoint changed", "reports", "named", "it alone", "another too", "another to look at"],
    ),
    "calibration": (
        calibration_rows,
        ["smallest change", "reports", "stated (median)", "missed at it (20 % meant)", "95 % interval"],
    ),
    "million": (
        lambda _quiet, _reports, seed: [million(seed)],
        ["requests a side", "compare", "RSS before", "RSS peak"],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reports", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--requests", type=int, default=300, help="per endpoint and run")
    parser.add_argument("--only", choices=PARTS, action="append", help="repeats; default: every part")
    asked = parser.parse_args()
    quiet = world(30, requests=asked.requests)
    for name in asked.only or PARTS:
        rows_of, head = PARTS[name]
        print(tabulate(rows_of(quiet, asked.reports, asked.seed), headers=head), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
