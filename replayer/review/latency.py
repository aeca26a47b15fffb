"""Response times of one endpoint on both sides: what is measured, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass, field

import numpy as np

from replayer.quantiles import BEYOND
from replayer.review.quantile_estimates import Floats, harrell_davis, seed_of, within_run
from replayer.review.runlevel import Effect, paired, welch
from replayer.review.sides import EndpointSample
from replayer.review.verdict import QUANTILES, Options, QuantileResult, Verdict

MIN_RUNS = 3  # with fewer runs on a side their spread cannot be estimated
MIN_REQUESTS = 2 * BEYOND  # a run, for any quantile
_MIN_PER_RUN = {0.5: MIN_REQUESTS, 0.95: 50, 0.99: 1_000}

# One run shows nothing of how the next would differ: a restart settles elsewhere, a neighbour
# wakes up. Until that has been measured it is assumed, as the sd of a log quantile between runs.
# Tails vary more: 42 replays of one build, 2.5 s each on two busy cores, had 0.14 in p50 and 0.32
# in p95, most of it shared by all endpoints and so seen by ``shared_sds``, the rest 0.05 and 0.15.
ASSUMED_RUN_SD = {0.5: 0.10, 0.95: 0.20, 0.99: 0.30}
_ASSUMED_DF = 8.0  # the assumption is taken for no better than an sd seen in nine runs

_MIN_OTHERS = 3
_MAX_SHARED = 0.5  # a shared move beyond about 3x is not put down to the machine
_MAD_TO_SD = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """
    One quantile of one endpoint in every run.

    Log quantiles of ns, shapes (R,) and (S,); ``within`` is the variance of the difference of
    their means that comes from inside the runs (0 where runs are tested against each other).
    """

    quantile: float
    baseline: Floats
    candidate: Floats
    within: float = 0.0
    drifting: bool = False

    @property
    def log_ratio(self) -> float:
        """Candidate - baseline."""
        return float(self.candidate.mean() - self.baseline.mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointTimes:
    """
    What could be measured of an endpoint, or in ``advice`` why nothing could.

    ``measured`` holds the quantiles with enough requests to judge. ``shifts`` has the log ratio of
    every quantile all the same: too vague for a verdict, good enough to see all endpoints move.
    """

    status_class: int = 0
    measured: tuple[Measured, ...] = ()
    shifts: dict[float, float] = field(default_factory=dict)
    advice: str = ""


def few_runs(baseline: Sized, candidate: Sized) -> bool:
    """Whether a side has too few runs to test between runs."""
    return min(len(baseline), len(candidate)) < MIN_RUNS


def measure(
    baseline: Sequence[EndpointSample], candidate: Sequence[EndpointSample], seeds: Sequence[str]
) -> EndpointTimes:
    """
    Quantiles of like outcomes per run; a sample per run on each side.

    Compared are the answers of one status class, the one that both sides gave most. ``seeds``
    has one text per run, baseline runs first, for the resampling that too few runs need.
    """
    samples = [*baseline, *candidate]
    if unusable := sum(sample.unusable for sample in samples):
        return EndpointTimes(
            advice=f"{unusable} answers were done before they were due; replay again, the clock was wrong."
        )
    status_class = _common_class(baseline, candidate)
    times = [sample.times_ns.get(status_class, np.empty(0)) for sample in samples]
    fewest = min(len(part) for part in times)
    if fewest < MIN_REQUESTS:
        return EndpointTimes(
            advice=f"A run holds only {fewest} answers of a kind to compare and {MIN_REQUESTS} are needed;"
            " record or replay for longer."
        )
    if any(float(np.ptp(part)) == 0 for part in times):
        return EndpointTimes(
            status_class=status_class,
            advice="All response times of a run are equal, so chance cannot be judged; check the clock.",
        )
    ordered = [np.sort(part) for part in times]
    logs = {quantile: np.log([harrell_davis(part, quantile) for part in ordered]) for quantile in QUANTILES}
    quantiles = [quantile for quantile in QUANTILES if _enough(quantile, times, len(baseline))]
    within, drifting = _within(times, quantiles, seeds, len(baseline))
    return EndpointTimes(
        status_class=status_class,
        measured=tuple(
            Measured(
                quantile=quantile,
                baseline=logs[quantile][: len(baseline)],
                candidate=logs[quantile][len(baseline) :],
                within=within[at],
                drifting=drifting,
            )
            for at, quantile in enumerate(quantiles)
        ),
        shifts={
            quantile: float(log[len(baseline) :].mean() - log[: len(baseline)].mean())
            for quantile, log in logs.items()
        },
    )


def _common_class(baseline: Sequence[EndpointSample], candidate: Sequence[EndpointSample]) -> int:
    """The status class with most answers on the side that has fewer of it; the lowest among equals."""
    classes = sorted({key for sample in (*baseline, *candidate) for key in sample.times_ns})

    def common(status_class: int) -> int:
        return min(
            sum(len(sample.times_ns.get(status_class, ())) for sample in side)
            for side in (baseline, candidate)
        )

    return max(classes, key=common, default=0)


def _enough(quantile: float, times: Sequence[Floats], baseline_runs: int) -> bool:
    sides = (times[:baseline_runs], times[baseline_runs:])
    # Requests of a side beyond the quantile, so that p95 needs 200 of them.
    beyond = min(sum(len(part) for part in side) for side in sides) * (1 - quantile)
    return beyond >= BEYOND - 1e-9 and min(len(part) for part in times) >= _MIN_PER_RUN[quantile]


def _within(
    times: Sequence[Floats], quantiles: Sequence[float], seeds: Sequence[str], baseline_runs: int
) -> tuple[list[float], bool]:
    """Variance from inside the runs per quantile, where runs are too few to show it themselves."""
    runs = (baseline_runs, len(times) - baseline_runs)
    if min(runs) >= MIN_RUNS:
        return [0.0] * len(quantiles), False
    parts = [within_run(part, quantiles, seed_of(seed)) for part, seed in zip(times, seeds, strict=True)]
    weights = [1 / runs[at >= baseline_runs] ** 2 for at in range(len(parts))]
    totals = [
        math.fsum(weight * part.variances[at] for weight, part in zip(weights, parts, strict=True))
        for at in range(len(quantiles))
    ]
    return totals, any(part.drifting for part in parts)


def effect_of(measured: Measured, shared_sd: float, options: Options, seed: str) -> Effect | None:
    """The effect with its standard error; None where nothing varies and chance cannot be judged."""
    if not few_runs(measured.baseline, measured.candidate):
        test = paired if options.paired else welch
        return test(measured.baseline, measured.candidate, seed_of(seed))
    runs = [len(measured.baseline), len(measured.candidate)]
    df = float(sum(runs) - 2)
    scatter = sum(
        float(((side - side.mean()) ** 2).sum()) for side in (measured.baseline, measured.candidate)
    )
    shown = math.sqrt(scatter / df) if df else 0.0
    between = max(ASSUMED_RUN_SD[measured.quantile], shown) ** 2 * sum(1 / count for count in runs)
    variance = max(between, shared_sd**2) + measured.within
    return Effect(log_ratio=measured.log_ratio, se=math.sqrt(variance), df=_ASSUMED_DF + df)


def residuals_of(measured: Measured, options: Options) -> Floats:
    """What runs, or pairs of them, differ from their mean by; shape (R + S,), or (R,) of pairs."""
    if options.paired:
        pairs = measured.candidate - measured.baseline
        return np.asarray(pairs - pairs.mean(), dtype=np.float64)
    sides = (measured.baseline, measured.candidate)
    return np.concatenate([side - side.mean() for side in sides])


def shared_sds(log_ratios: Sequence[float]) -> list[float]:
    """
    For each endpoint, how far the others moved: their median |log ratio| as an sd.

    Most releases change few endpoints, so what the middle one does in a single pair of runs is
    mostly the machine: a busy neighbour slows all of them together. 0 with fewer than three others.
    """
    sizes = np.abs(np.asarray(log_ratios, dtype=np.float64))
    if len(sizes) <= _MIN_OTHERS:
        return [0.0] * len(sizes)
    return [min(_MAX_SHARED, _MAD_TO_SD * float(np.median(np.delete(sizes, at)))) for at in range(len(sizes))]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changed:
    """
    One quantile with what it changed by.

    ``absolute`` is candidate against baseline; ``own`` is the same without what moved all endpoints
    together, or ``absolute`` again where nothing was taken off.
    """

    measured: Measured
    absolute: Effect
    own: Effect

    @property
    def one_way(self) -> bool:
        """Whether it changed in the same direction with and without what moved all."""
        return self.own.log_ratio * self.absolute.log_ratio > 0


def judge(
    tested: Changed, p_adjusted: float, options: Options, *, passes: bool, level: float, known: float = 0.0
) -> QuantileResult:
    """
    One quantile's verdict.

    SLOWER and FASTER need a test that ``passes`` and a change beyond the effect floor: the margin, the
    absolute floor and ``known``, the |log ratio| that identical builds stayed below in earlier reviews,
    whichever is largest. (What the runs themselves show of noise, the test asks for already.) SAME
    needs the 90 % interval (two one-sided tests at 5 %) of the whole change inside the larger of margin
    and absolute floor. ``level`` is the level at which a lone change among all tests would be found.
    """
    measured, effect = tested.measured, tested.own
    before, after = math.exp(float(measured.baseline.mean())), math.exp(float(measured.candidate.mean()))
    matters = math.log1p(max(options.margin, options.floor_ns / min(before, after)))
    low, high = tested.absolute.interval(0.90)
    claimed = passes and tested.one_way and abs(effect.log_ratio) >= matters
    held_back = claimed and abs(effect.log_ratio) < known
    if claimed and not held_back:
        verdict = Verdict.SLOWER if effect.log_ratio > 0 else Verdict.FASTER
    elif -matters <= low and high <= matters:
        verdict = Verdict.SAME
    else:
        verdict = Verdict.INCONCLUSIVE
    interval = effect.interval(0.95)
    return QuantileResult(
        quantile=measured.quantile,
        verdict=verdict,
        baseline_ns=before,
        candidate_ns=after,
        ratio=math.exp(effect.log_ratio),
        ci=(_exp(interval[0]), _exp(interval[1])),
        p=effect.p,
        p_adjusted=p_adjusted,
        mde=_exp(effect.detectable(level, max(matters, known))) - 1,
        noise=_exp(max(effect.noise, known)) - 1,
        held_back=held_back,
        fragile=effect.fragile or measured.drifting,
        baseline_runs_ns=tuple(np.exp(measured.baseline).tolist()),
        candidate_runs_ns=tuple(np.exp(measured.candidate).tolist()),
    )


def _exp(value: float) -> float:
    """``exp`` that stays finite, since JSON has no infinity."""
    return math.exp(min(value, 700.0))
