"""The sentences that the text and the Markdown report share."""

from __future__ import annotations

from collections import Counter

from captures.text import clean
from captures.units import format_duration
from replayer.review.answers import AnswerChange, EndpointAnswers, Part
from replayer.review.behaviour import ASSUMED_SHARE_SD
from replayer.review.slo import ObjectiveResult
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
from replayer.summary import few_sends

_MOST_CLAUSES = 3
_LONGEST_NAME = 120  # characters of an endpoint or a JSON path in a sentence


def shortened(text: str, most: int) -> str:
    """At most ``most`` characters, cut in the middle: the start says what it is about, the end what to do."""
    end = (most - 3) // 2
    return text if len(text) <= most else f"{text[: most - 3 - end]}...{text[-end:]}"


def label_of(endpoint: EndpointResult) -> str:
    """The endpoint as a reader recognises it: printable, and not too long."""
    return clean(shortened(endpoint.endpoint, _LONGEST_NAME))


def what_changed(endpoint: EndpointResult) -> str:
    """What stands for the endpoint's verdict: a changed status, or a quantile before and after."""
    if endpoint.statuses.different:
        return "; ".join(_status_changes(endpoint.statuses)[:2])
    if endpoint.answers is not None and endpoint.answers.different:
        return _answer_changes(endpoint.answers)
    if endpoint.deciding is None:
        return endpoint.advice
    result = endpoint.deciding
    sure = f"95 % CI {interval(result)}{', fragile' if result.fragile else ''}"
    return (
        f"{quantile_name(result.quantile)} {format_duration(result.baseline_ns)} ->"
        f" {format_duration(result.candidate_ns)} ({times(result.ratio)}, {sure})"
    )


def _status_changes(mix: StatusMix) -> list[str]:
    """What came more often, the most first; what came less often only when nothing came more."""
    totals = [max(1, sum(side.values())) for side in (mix.baseline, mix.candidate)]
    shares = {
        name: (mix.baseline.get(name, 0) / totals[0], mix.candidate.get(name, 0) / totals[1])
        for name in mix.changed
    }
    ordered = sorted(shares, key=lambda name: (shares[name][0] - shares[name][1], name))
    more = [name for name in ordered if shares[name][1] > shares[name][0]]
    return [
        f"{'answers' if name.isdigit() else 'ends as'} {name} {share(shares[name][1])} of the time"
        f" (baseline {share(shares[name][0])})"
        for name in more or ordered
    ]


def _answer_changes(answers: EndpointAnswers) -> str:
    """The places that changed beyond doubt, the most frequent first."""
    clauses = [change_clause(change) for change in answers.changes if change.sure]
    more = len(clauses) - _MOST_CLAUSES
    return "; ".join([*clauses[:_MOST_CLAUSES], *([f"{more} more places"] if more > 0 else [])])


def change_clause(change: AnswerChange) -> str:
    """``body $.total changed type in 40 of 40 answers``."""
    place = place_of(change.part, change.path)
    return f"{place} {change.change} in {change.changed:,} of {change.compared:,} answers"


def place_of(part: Part, path: str) -> str:
    """``body $.total``, ``header etag``, ``status``."""
    return f"{part} {clean(shortened(path, _LONGEST_NAME))}" if path else str(part)


def answers_line(comparison: Comparison) -> str:
    """How many answers were compared with one another; empty when none could be."""
    found = [endpoint.answers for endpoint in comparison.endpoints if endpoint.answers is not None]
    if not found:
        return ""
    pairs, bodies = sum(one.pairs for one in found), sum(one.bodies for one in found)
    places = sum(one.different for one in found)
    noise = sum(one.noise_pairs for one in found)
    learned = (
        f"what differs by itself was learned from {noise:,} pairs within the baseline"
        if noise
        else "what differs by itself is not known, as the baseline answered no request twice"
    )
    return (
        f"{pairs:,} pairs of answers to the same request were compared, {bodies:,} with their bodies;"
        f" {learned}. A place of them changed beyond doubt on {places:,} endpoint{_s(places)}."
    )


def refusals(comparison: Comparison) -> list[str]:
    """A line per invalid run: its name and why."""
    return [
        f"{clean(run.name)} proves nothing: {' '.join(map(clean, _why_invalid(run)))}"
        for run in (*comparison.baseline, *comparison.candidate)
        if run.invalid_reasons
    ]


def _why_invalid(run: RunSummary) -> tuple[str, ...]:
    return (*run.invalid_reasons, *few_sends(run.requests - run.dropped))


def run_state(run: RunSummary) -> str:
    """Whether a run may be believed: ``INVALID``, ``SATURATED`` or ``valid``."""
    return "INVALID" if run.invalid_reasons else "SATURATED" if run.saturated else "valid"


def runs_line(comparison: Comparison) -> str:
    """All runs in one sentence: how many may be believed, and what they were sent to."""
    sides = (("baseline", comparison.baseline), ("candidate", comparison.candidate))
    states = Counter(run_state(run) for _, runs in sides for run in runs)
    said = (
        "all valid" if set(states) == {"valid"} else ", ".join(f"{n} {state}" for state, n in states.items())
    )
    where = "; ".join(
        f"{len(runs)} of the {side} against {', '.join(sorted({clean(run.target) for run in runs}))}"
        for side, runs in sides
    )
    return f"{states.total()} runs, {said}: {where}."


def run_line(run: RunSummary) -> str:
    """One run in the validity box."""
    bad = "".join(
        f", {count} {what}" for count, what in ((run.failed, "failed"), (run.dropped, "dropped")) if count
    )
    return (
        f"{clean(run.name)}: {run_state(run)}, {run.requests:,} exchanges{bad},"
        f" {clean(run.speed)} against {clean(run.target)}"
    )


def how_sure(comparison: Comparison) -> list[str]:
    """What the verdicts rest on, in sentences; empty for INVALID."""
    if comparison.verdict is Verdict.INVALID:
        return []
    runs = f"{len(comparison.baseline)} against {len(comparison.candidate)} runs"
    lines = []
    if comparison.evidence is Evidence.BOOTSTRAP:
        spread = ", ".join(f"{quantile_name(q)} {sd:.0%}" for q, sd in comparison.assumed_run_sd.items())
        lines.append(
            f"Weaker evidence: {runs}. What happens inside a run comes from a block bootstrap; how"
            f" runs differ cannot be seen from so few and is assumed (sd between runs: {spread}, or more"
            f" where the runs show more; of a status's share {ASSUMED_SHARE_SD:.0%} of it, at most 7 points)."
        )
    else:
        kind = "paired" if comparison.options.paired else "unpaired"
        lines.append(
            f"Tests between runs ({kind}, {runs}); requests of one run are never counted as repeats."
        )
    margin = percent_exact(comparison.options.margin)
    floor = format_duration(comparison.options.floor_ns)
    lines.append(
        f"A change is called from {margin} and {floor} on, beyond the noise, at 5 % over all"
        f" {comparison.tests} tests together (Simes, Benjamini-Hochberg), beside the surest at 0.5 % (Holm);"
        " SAME rules such a change out."
    )
    lines.append(_coverage(comparison))
    answers = answers_line(comparison)
    lines += [answers] if answers else []
    if any(q.fragile for endpoint in comparison.endpoints for q in endpoint.quantiles):
        lines.append("Fragile: a check that makes fewer assumptions disagrees; repeat before acting on it.")
    if comparison.shared_taken_off and comparison.shared_shift is not None:
        lines.append(
            "Runs differ from one another in all endpoints together, as machines do; ratios and intervals"
            f" are without that. The middle endpoint moved by {times(comparison.shared_shift)}, which is"
            " not proven to be the release."
        )
    elif comparison.shared_shift is not None and not 0.8 < comparison.shared_shift < 1.25:
        lines.append(
            f"The middle endpoint moved by {times(comparison.shared_shift)}: either everything changed or"
            " the machine did; interleaved runs tell the two apart."
        )
    return lines


def _coverage(comparison: Comparison) -> str:
    total = len(comparison.endpoints)
    judged = Counter(q.quantile for endpoint in comparison.endpoints for q in endpoint.quantiles)
    parts = [f"{quantile_name(q)} on {judged[q]}" for q in (0.5, 0.95, 0.99)]
    return (
        f"Of {total} endpoint{_s(total)}, {', '.join(parts)} had enough requests to judge"
        " (p50 20 a run, p95 200 a side, p99 1,000 a run)."
    )


def objective_lines(comparison: Comparison) -> list[str]:
    """A line per objective: whether it is proven, and by what."""
    return [
        f"{result.proof}: {result.objective.text}; {objective_facts(result)}"
        for result in comparison.objectives
    ]


def objective_facts(result: ObjectiveResult) -> str:
    """What proves or disproves an objective, and how many requests more would prove it."""
    return (
        f"{result.bad:,} of {result.requests:,} requests were"
        f" beyond it ({percent_exact(result.share)}; 95 % sure of at least {result.low * 100:.3g} % and at"
        f" most {result.high * 100:.3g} %, {percent_exact(result.objective.allowed)} permitted)"
        f"{_needed(result)}."
    )


def _needed(result: ObjectiveResult) -> str:
    if result.needed is None:
        return ""
    return f"; {result.needed:,} requests with the same share would prove it"


def what_next(comparison: Comparison, *, markdown: bool = False) -> list[str]:
    """What to do now, most useful first."""
    code = "`" if markdown else ""
    verdict, steps = comparison.verdict, []
    if verdict is Verdict.INVALID:
        return ["Replay again on a quieter machine, or at a lower speed, until the run is valid."]
    if verdict is Verdict.BEHAVES_DIFFERENTLY:
        steps.append("Look at the changed answers first; response times of different answers say nothing.")
    if any(endpoint.verdict is Verdict.SLOWER for endpoint in comparison.endpoints):
        steps.append("Profile the endpoints named SLOWER, or replay once more to confirm.")
    if comparison.evidence is Evidence.BOOTSTRAP:
        steps.append(
            "For firm evidence replay at least 3 times a side, better 8, interleaved, and compare with"
            f" {code}hookreel diff --paired --baseline A.run ... --candidate B.run ...{code}."
        )
    elif any(
        endpoint.verdict is Verdict.INCONCLUSIVE and endpoint.quantiles for endpoint in comparison.endpoints
    ):
        steps.append("Add runs on both sides to see smaller changes: four times as many halve 'would see'.")
    if any(endpoint.advice for endpoint in comparison.endpoints):
        steps.append("Endpoints without a figure say in their note what they lack.")
    return steps or ["Nothing: no change that matters was found, and the runs were good enough to see one."]


def notes_of(endpoint: EndpointResult) -> list[str]:
    """What a reader of this endpoint's row must know."""
    fragile = endpoint.deciding is not None and endpoint.deciding.fragile
    advice = [endpoint.advice] if endpoint.advice else []
    answers = endpoint.answers
    different = endpoint.statuses.different or (answers is not None and answers.different)
    changed = [_sentence(what_changed(endpoint))] if different else []
    if answers is not None:
        changed += [f"Not sure: {change_clause(change)}." for change in answers.changes if not change.sure][
            :3
        ]
    if endpoint.suspected is not None and endpoint.deciding is not None:
        quantile, ratio = quantile_name(endpoint.deciding.quantile), times(endpoint.deciding.ratio)
        changed.append(
            f"Perhaps {endpoint.suspected} ({quantile} {ratio}), not sure enough to be named beside what is;"
            " look at it, or add runs."
        )
    return [*changed, *advice, *endpoint.warnings, *(["Fragile."] if fragile else [])]


def verdict_cell(endpoint: EndpointResult, options: Options) -> str:
    """
    The verdict; of SAME also within which time, where that is wider than the margin.

    Below 20 ms the absolute floor of 1 ms rules, so that a ratio of 1.5x may well be SAME.
    """
    if endpoint.suspected is not None:
        return f"{endpoint.verdict} (perhaps {endpoint.suspected})"
    by_floor = [result.baseline_ns * options.margin < options.floor_ns for result in endpoint.quantiles]
    if endpoint.verdict is not Verdict.SAME or not any(by_floor):
        return str(endpoint.verdict)
    or_margin = "" if all(by_floor) else f" or {percent_exact(options.margin)}"
    return f"{endpoint.verdict} (within {format_duration(options.floor_ns)}{or_margin})"


def quantile_cell(endpoint: EndpointResult, quantile: float) -> str:
    """``5.20 ms -> 31.0 ms``, or ``-`` where there were too few requests."""
    for result in endpoint.quantiles:
        if result.quantile == quantile:
            return f"{format_duration(result.baseline_ns)} -> {format_duration(result.candidate_ns)}"
    return "-"


def change_cells(endpoint: EndpointResult) -> tuple[str, str, str]:
    """Ratio, its interval and what the next comparison would see; ``-`` where unknown."""
    if endpoint.deciding is None:
        return "-", "-", "-"
    result = endpoint.deciding
    return (
        f"{quantile_name(result.quantile)} {times(result.ratio)}",
        interval(result),
        f"+{percent(result.mde)}",
    )


def requests_cell(endpoint: EndpointResult) -> str:
    """Exchanges on both sides."""
    return f"{endpoint.baseline_requests:,} / {endpoint.candidate_requests:,}"


def quantile_name(quantile: float) -> str:
    """``p95`` of 0.95."""
    return f"p{quantile * 100:g}"


def interval(result: QuantileResult) -> str:
    """The 95 % confidence interval of a ratio: ``5.1x-6.8x``."""
    return f"{times(result.ci[0])}-{times(result.ci[1])}"


def times(ratio: float) -> str:
    """A ratio with the digits that matter: ``1.03x``, ``5.9x``, ``31x``."""
    if ratio >= 1e6:
        return ">1e6x"
    return f"{ratio:.2f}x" if ratio < 2 else f"{ratio:.1f}x" if ratio < 10 else f"{ratio:,.0f}x"


def percent(value: float) -> str:
    """A share of change as whole percent: ``12 %``."""
    return ">1e6 %" if value >= 1e4 else f"{value * 100:,.0f} %"


def percent_exact(value: float) -> str:
    """A percentage as it was asked for: ``5 %``, ``2.5 %``."""
    return f"{value * 100:.4g} %"


def share(value: float) -> str:
    """A share of requests: ``0 %``, ``0.13 %``, ``12 %``."""
    return f"{value * 100:.2g} %" if 0 < value < 0.1 else f"{value * 100:.0f} %"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _s(count: int) -> str:
    return "" if count == 1 else "s"
