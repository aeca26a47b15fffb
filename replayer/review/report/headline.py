"""The verdict in one line."""

from __future__ import annotations

from collections import Counter

from captures.text import counted
from replayer.review.report.wording import label_of, refusals, what_changed
from replayer.review.slo import Proof
from replayer.review.verdict import Comparison, StatusMix, Verdict


def headline(comparison: Comparison) -> str:
    """The verdict in one line: what, where, how much, and how the other endpoints fared."""
    if comparison.verdict is Verdict.INVALID:
        return f"INVALID: {'; '.join(refusals(comparison))}"
    counts = Counter(endpoint.verdict for endpoint in comparison.endpoints)
    same = [endpoint for endpoint in comparison.endpoints if endpoint.verdict is comparison.verdict]
    if comparison.verdict in (Verdict.SAME, Verdict.INCONCLUSIVE):
        total = len(comparison.endpoints)
        return (
            f"{comparison.verdict}: {counted(total, 'endpoint')}: {_tally(counts)}{_missed(comparison)}"
            f"{_all_changed(comparison)}"
        )
    first, *more = same
    counts[comparison.verdict] -= 1
    others = len(comparison.endpoints) - 1
    rest = f"; {counted(others, 'other endpoint')}: {_tally(counts)}" if others else ""
    also = f" and {len(more)} more" if more else ""
    too = _slower_too(comparison) + _missed(comparison)
    changed = _perhaps(comparison) + _all_changed(comparison)
    return f"{comparison.verdict}: {label_of(first)} {what_changed(first)}{also}{too}{rest}{changed}"


def _slower_too(comparison: Comparison) -> str:
    """The worst SLOWER endpoint where another verdict comes first."""
    slower = [endpoint for endpoint in comparison.endpoints if endpoint.verdict is Verdict.SLOWER]
    if not slower or comparison.verdict is Verdict.SLOWER:
        return ""
    first, *more = slower
    also = f" and {len(more)} more" if more else ""
    return f"; SLOWER: {label_of(first)} {what_changed(first)}{also}"


def _missed(comparison: Comparison) -> str:
    """The objectives that were not kept, as they end with another exit code than the verdict."""
    missed = [one.objective.text for one in comparison.objectives if one.proof is Proof.MISSED]
    return f"; MISSED: {', '.join(missed)}" if missed else ""


def _perhaps(comparison: Comparison) -> str:
    """The endpoints that seem to have changed and are not named."""
    found = [endpoint for endpoint in comparison.endpoints if endpoint.suspected is not None]
    if not found:
        return ""
    first, *more = found
    also = f" and {len(more)} more" if more else ""
    return f"; perhaps {first.suspected}: {label_of(first)}{also}"


def _all_changed(comparison: Comparison) -> str:
    """
    Endpoints that share no status with their baseline, and are not called different.

    They had too few requests for that; but a reader of one line must not miss them.
    """
    found = [
        endpoint
        for endpoint in comparison.endpoints
        if not endpoint.statuses.different and _nothing_alike(endpoint.statuses)
    ]
    if not found:
        return ""
    first, *more = found
    statuses = [", ".join(sorted(side)) for side in (first.statuses.baseline, first.statuses.candidate)]
    also = f" and {len(more)} more" if more else ""
    return (
        f"; every status changed on {label_of(first)} ({statuses[0]} -> {statuses[1]}){also},"
        " with too few requests to be sure"
    )


def _nothing_alike(mix: StatusMix) -> bool:
    return bool(mix.baseline and mix.candidate) and not mix.baseline.keys() & mix.candidate.keys()


def _tally(counts: Counter[Verdict]) -> str:
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]) or "none"
