"""Two sides of runs in, one comparison out: what changed, where, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from replayer.review.answers import Part
from replayer.review.behaviour import BEHAVIOUR_ALPHA, MixTest, compare_mix, sheds
from replayer.review.claims import Claims, claims_of
from replayer.review.latency import ASSUMED_RUN_SD, EndpointTimes, few_runs, measure
from replayer.review.multiplicity import over_endpoints
from replayer.review.noise import compare_answers, is_ignored, kept_warnings, with_answers
from replayer.review.noise_rules import Rule
from replayer.review.sides import (
    EndpointSample,
    NamedRun,
    by_start,
    check_comparable,
    run_summary,
    split_by_endpoint,
    without_statuses,
)
from replayer.review.slo import judge_objectives
from replayer.review.together import Key
from replayer.review.verdict import (
    Comparison,
    EndpointResult,
    Evidence,
    Options,
    QuantileResult,
    RunSummary,
    StatusMix,
    Verdict,
)

_HARM = (Verdict.BEHAVES_DIFFERENTLY, Verdict.SLOWER, Verdict.INCONCLUSIVE, Verdict.SAME, Verdict.FASTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Endpoint:
    """
    An endpoint on its way to a result.

    ``mix`` is of what counts: of failures alone, where a rule says that statuses do not. ``statuses``
    is of all.
    """

    label: str
    missing: str  # the side that never saw it, or nothing
    mix: MixTest
    statuses: MixTest
    times: EndpointTimes


def compare(
    baseline: Sequence[NamedRun],
    candidate: Sequence[NamedRun],
    options: Options | None = None,
    *,
    check_alike: bool = True,
    floors: Mapping[Key, float] | None = None,
) -> Comparison:
    """
    Review ``candidate`` against ``baseline``; the same runs always give the same comparison.

    A side with an invalid run gives the verdict INVALID, no endpoints and no objectives. Raises UsageError
    when the runs must not be compared (see ``check_comparable``); without ``check_alike`` the caller
    has looked at what they offered and where, and has warned of it. ``floors`` are those of ``claims_of``.
    """
    options = options or Options()
    warnings = check_comparable(baseline, candidate, options, check_alike=check_alike)
    sides = (by_start(baseline), by_start(candidate))
    summaries = [tuple(run_summary(named) for named in side) for side in sides]
    few = few_runs(*sides)
    if few and options.paired:
        warnings.append("--paired needs three pairs or more; the runs were compared unpaired.")
        options = replace(options, paired=False)
    frame = Comparison(
        verdict=Verdict.INVALID,
        evidence=Evidence.BOOTSTRAP if few else Evidence.RUNS,
        options=options,
        baseline=summaries[0],
        candidate=summaries[1],
        assumed_run_sd=dict(ASSUMED_RUN_SD) if few else {},
        warnings=(
            *warnings,
            *_saturation_warnings(*summaries),
            *kept_warnings([named.run for side in sides for named in side]),
        ),
    )
    if any(summary.invalid_reasons for side in summaries for summary in side):
        return frame
    endpoints = _endpoints(*sides, options.rules)
    overloaded = any(summary.saturated for side in summaries for summary in side)
    claims = claims_of(
        {endpoint.label: endpoint.times for endpoint in endpoints}, options, few=few, floors=floors
    )
    mixes = over_endpoints([endpoint.mix.p for endpoint in endpoints])
    results = [_result(endpoint, claims, mix_p) for endpoint, mix_p in zip(endpoints, mixes, strict=True)]
    if overloaded:
        results = [_saturated(result) for result in results]
    before, after = ([named.run for named in side] for side in sides)
    answers = compare_answers(before, after, options.rules)
    results = [with_answers(result, answers.get(result.endpoint)) for result in results]
    return replace(
        frame,
        verdict=_overall([result.verdict for result in results]),
        endpoints=tuple(sorted(results, key=_harm)),
        objectives=judge_objectives(after, options.objectives),
        tests=claims.tests,
        shared_shift=claims.shared_shift,
        shared_taken_off=claims.taken_off,
    )


def _endpoints(
    baseline: Sequence[NamedRun], candidate: Sequence[NamedRun], rules: Sequence[Rule]
) -> list[_Endpoint]:
    runs = [*baseline, *candidate]
    samples = [split_by_endpoint(named.run) for named in runs]
    found = []
    for label in sorted({label for sample in samples for label in sample}):
        each = [sample.get(label, EndpointSample()) for sample in samples]
        before, after = each[: len(baseline)], each[len(baseline) :]
        missing = "" if any(s.requests for s in before) else "baseline"
        missing = missing if any(s.requests for s in after) else "candidate"
        seeds = [f"{named.run.header.schedule_hash}\0{label}" for named in runs]
        statuses = mix = compare_mix(before, after)
        if is_ignored(rules, label, Part.STATUS, ""):
            mix = compare_mix(*([without_statuses(one) for one in side] for side in (before, after)))
        found.append(
            _Endpoint(
                label=label,
                missing=missing,
                mix=mix,
                statuses=statuses,
                times=EndpointTimes(
                    advice=f"Only the {'candidate' if missing == 'baseline' else 'baseline'} has it."
                )
                if missing
                else measure(before, after, seeds),
            )
        )
    return found


def _result(endpoint: _Endpoint, claims: Claims, mix_p: float) -> EndpointResult:
    mix, times, quantiles = endpoint.mix, endpoint.times, claims.quantiles[endpoint.label]
    different = not endpoint.missing and mix_p <= BEHAVIOUR_ALPHA
    statuses = StatusMix(
        baseline=mix.baseline,
        candidate=mix.candidate,
        p=mix.p,
        p_adjusted=mix_p,
        different=different,
        changed=mix.changed(BEHAVIOUR_ALPHA) if different else (),
        dispersion=mix.dispersion,
    )
    verdict, warnings = _latency_verdict(endpoint, quantiles)
    suspected = claims.suspected.get(endpoint.label)
    if different:
        verdict = Verdict.BEHAVES_DIFFERENTLY
    advice = times.advice
    if not advice and times.measured and not quantiles:
        advice = "The runs of each side agree to the last digit, so chance cannot be judged; check the clock."
    return EndpointResult(
        endpoint=endpoint.label,
        verdict=verdict,
        outcome=f"{times.status_class}xx" if times.status_class else "",
        statuses=statuses,
        baseline_requests=sum(mix.baseline.values()),
        candidate_requests=sum(mix.candidate.values()),
        quantiles=quantiles,
        deciding=_deciding(quantiles, verdict, suspected),
        suspected=suspected.verdict if suspected and verdict is Verdict.INCONCLUSIVE else None,
        warnings=(*warnings, *_mix_warnings(mix, different=different or bool(endpoint.missing))),
        advice=advice,
    )


def _deciding(
    quantiles: tuple[QuantileResult, ...], verdict: Verdict, suspected: QuantileResult | None
) -> QuantileResult | None:
    """The quantile that stands for the verdict, or for the suspicion."""
    if suspected is not None:
        return next(one for one in quantiles if one.quantile == suspected.quantile)
    return next((one for one in quantiles if one.verdict is verdict), quantiles[0] if quantiles else None)


def _saturated(result: EndpointResult) -> EndpointResult:
    """The result without a claim about response times: those of a growing queue say how long it grew."""
    unclear = tuple(replace(quantile, verdict=Verdict.INCONCLUSIVE) for quantile in result.quantiles)
    behaves = result.verdict is Verdict.BEHAVES_DIFFERENTLY
    return replace(
        result,
        verdict=result.verdict if behaves else Verdict.INCONCLUSIVE,
        quantiles=unclear,
        deciding=unclear[0] if unclear else None,
        suspected=None,
        advice=result.advice
        or "A target was saturated, so its response times are no property of the release.",
    )


def _saturation_warnings(baseline: Sequence[RunSummary], candidate: Sequence[RunSummary]) -> tuple[str, ...]:
    fell = [[run for run in side if run.saturated] for side in (baseline, candidate)]
    warnings = [f"{run.name}: {run.saturated}" for side in fell for run in side]
    if fell[1] and not fell[0]:
        warnings.append(
            "Only the candidate fell behind at this load: it can do less than the baseline, which is a"
            " finding of its own."
        )
    return tuple(warnings)


def _latency_verdict(endpoint: _Endpoint, quantiles: tuple[QuantileResult, ...]) -> tuple[Verdict, list[str]]:
    seen = {result.verdict for result in quantiles}
    warnings = []
    if any(measured.drifting for measured in endpoint.times.measured):
        warnings.append(
            "Response times drifted within a run, so the interval is too narrow; replay for longer."
        )
    if any(result.held_back for result in quantiles):
        warnings.append(
            "A change beyond chance is not named, as identical builds differed by as much in earlier"
            " reviews; add pairs."
        )
    if Verdict.SLOWER in seen:
        if Verdict.FASTER in seen:
            warnings.append("Another quantile is FASTER; look at both.")
        return Verdict.SLOWER, warnings
    if Verdict.FASTER in seen:
        if endpoint.times.status_class not in (1, 2, 3):
            return Verdict.INCONCLUSIVE, [*warnings, "Quicker error answers are never FASTER."]
        if sheds(endpoint.statuses, endpoint.times.status_class):
            warnings.append(
                f"The candidate gave fewer {endpoint.times.status_class}xx answers, and what remains"
                " may be the easy part, so it is not called FASTER."
            )
            return Verdict.INCONCLUSIVE, warnings
        return Verdict.FASTER, warnings
    return (Verdict.SAME if seen == {Verdict.SAME} else Verdict.INCONCLUSIVE), warnings


def _mix_warnings(mix: MixTest, *, different: bool) -> list[str]:
    if different:
        return []
    warnings = []
    shares = [
        {name: count / max(1, sum(side.values())) for name, count in side.items()}
        for side in (mix.baseline, mix.candidate)
    ]
    unlike = [
        f"{name} {mix.baseline.get(name, 0)} -> {mix.candidate.get(name, 0)}"
        for name in mix.by_status
        if abs(shares[0].get(name, 0.0) - shares[1].get(name, 0.0)) > 1e-9
    ]
    if unlike:
        warnings.append(
            f"Statuses differ, no more than chance or another run may explain: {', '.join(unlike)}."
        )
    if mix.dispersion > 3:
        warnings.append(
            "Statuses vary between runs of one side far more than chance allows; look at each run."
        )
    return warnings


def _overall(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst that is sure; SAME only when every endpoint is."""
    seen = Counter(verdicts)
    for verdict in (Verdict.BEHAVES_DIFFERENTLY, Verdict.SLOWER, Verdict.FASTER):
        if seen[verdict]:
            return verdict
    return Verdict.SAME if verdicts and set(seen) == {Verdict.SAME} else Verdict.INCONCLUSIVE


def _harm(result: EndpointResult) -> tuple[int, bool, float, str]:
    ratio = result.deciding.ratio if result.deciding else 1.0
    return _HARM.index(result.verdict), result.suspected is None, -ratio, result.endpoint
