"""
Which answers changed: candidate against baseline, and what the baseline does to itself.

Answers to the same recorded request are compared in pairs. Pairs within the baseline show what
differs by itself (timestamps, ids, tokens); only what the candidate does more often counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cache
from itertools import pairwise

from scipy import stats

from captures.text import counted
from replayer.results import Run
from replayer.review.answers import AnswerChange, Change, EndpointAnswers, MaskedPlace, Part
from replayer.review.bodies import Leniency
from replayer.review.noise_pairs import Place, Tally, tally_answers
from replayer.review.noise_rules import Rule
from replayer.review.verdict import EndpointResult, Verdict

_MOST_PLACES = 50  # of one endpoint that are listed
_NOISY = 0.1  # a place that differs more often within the baseline is not compared
_ALPHA = 0.01  # as for statuses: this verdict outranks the others
_MOSTLY = 0.5
_ENOUGH_RUNS = 3
_ORDER_OF_PARTS = (Part.STATUS, Part.HEADER, Part.BODY)
_KEYS_DIFFER = (
    "Kept answers were anonymized under different keys, so equal values differ in them;"
    " replay with one --key-file."
)


def compare_answers(
    baseline: Sequence[Run], candidate: Sequence[Run], rules: Sequence[Rule] = ()
) -> dict[str, EndpointAnswers]:
    """
    The answers by endpoint label, where any request was answered on both sides.

    The runs of a side are joined with one another in their order, and each of the candidate's
    with one of the baseline's, by recorded request and pass through the capture.
    """
    leniencies = _Leniencies(rules)
    noise = tally_answers(list(pairwise(baseline)), leniencies.of)
    leniencies.learn(noise)
    pairs = [(baseline[at % len(baseline)], run) for at, run in enumerate(candidate)]
    found = tally_answers(pairs, leniencies.of)
    tests = sum(len(tally.places) for tally in found.values())
    firm = min(len(baseline), len(candidate)) >= _ENOUGH_RUNS
    return {
        label: _judge(label, tally, noise.get(label, Tally()), tests=tests, firm=firm, rules=rules)
        for label, tally in found.items()
    }


def kept_warnings(runs: Sequence[Run]) -> list[str]:
    """What a reader must know about the answers that runs kept."""
    facts = [run.header.kept for run in runs if run.header.kept is not None]
    keys = {one.anonymized.key_fingerprint for one in facts if one.anonymized is not None and one.kept}
    missing = sum(one.over_budget + one.lost for one in facts)
    warnings = [_KEYS_DIFFER] if len(keys) > 1 else []
    if missing:
        warnings.append(f"{counted(missing, 'answer')} were to be kept and are not; raise --keep-budget.")
    return warnings


def with_answers(result: EndpointResult, answers: EndpointAnswers | None) -> EndpointResult:
    """The result with its answers compared; it BEHAVES DIFFERENTLY where they changed beyond doubt."""
    if answers is None or not answers.different:
        return replace(result, answers=answers)
    return replace(result, answers=answers, verdict=Verdict.BEHAVES_DIFFERENTLY, suspected=None)


def is_ignored(rules: Sequence[Rule], label: str, part: Part, path: str) -> bool:
    """Whether a rule says that this place of an endpoint's answers is no difference."""
    return any(rule.ignore and rule.about(label) and rule.covers(part, path) for rule in rules)


class _Leniencies:
    """What is no difference at each endpoint: what the rules say, and what was learned."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._noisy: dict[str, frozenset[Place]] = {}
        self._made: dict[str, Leniency] = {}

    def learn(self, noise: dict[str, Tally]) -> None:
        """Take for volatile what differs within the baseline."""
        self._noisy = {label: noisy_places(tally) for label, tally in noise.items()}
        self._made.clear()

    def of(self, label: str) -> Leniency:
        """That of one endpoint."""
        if label not in self._made:
            self._made[label] = self._make(label)
        return self._made[label]

    def _make(self, label: str) -> Leniency:
        rules = [rule for rule in self._rules if rule.about(label)]
        noisy = {
            change: {place.path for place in self._noisy.get(label, ()) if place[::2] == (Part.BODY, change)}
            for change in (Change.VALUE, Change.ORDER)
        }

        @cache
        def unordered(path: str) -> bool:
            return path in noisy[Change.ORDER] or any(
                rule.unordered and rule.covers(Part.BODY, path) for rule in rules
            )

        @cache
        def ignored(path: str) -> bool:
            return is_ignored(rules, label, Part.BODY, path)

        @cache
        def tolerance(path: str) -> tuple[float, float]:
            found = [rule.tolerance for rule in rules if rule.covers(Part.BODY, path)]
            return next((one for one in found if one is not None), (0.0, 0.0))

        return Leniency(
            volatile=noisy[Change.VALUE], unordered=unordered, ignored=ignored, tolerance=tolerance
        )


def noisy_places(tally: Tally) -> frozenset[Place]:
    """Places that differ in too many pairs within the baseline to be compared."""
    return frozenset(
        place for place, count in tally.places.items() if count > _NOISY * max(1, tally.total(place.part))
    )


def _judge(
    label: str, tally: Tally, noise: Tally, *, tests: int, firm: bool, rules: Sequence[Rule]
) -> EndpointAnswers:
    """What changed beyond what the baseline does to itself, and what was left out and why."""
    noisy = noisy_places(noise)
    masked = [_masked(place, noise) for place in sorted(noisy)]
    changes = []
    for place, count in tally.places.items():
        if is_ignored(rules, label, place.part, place.path):
            masked.append(MaskedPlace(part=place.part, path=place.path, reason="a rule says so"))
        elif _is_noise(place, noisy):
            continue
        elif place.change is Change.VALUE and place.part is not Part.STATUS and not noise.total(place.part):
            reason = "values differ, and no second run of the baseline says whether they always do"
            masked.append(MaskedPlace(part=place.part, path=place.path, reason=reason))
        else:
            changes.append(_change(place, count, tally, noise, tests=tests, firm=firm))
    listed = sorted((one for one in changes if _worth(one)), key=_rank)
    unique = list(dict.fromkeys(masked))
    return EndpointAnswers(
        pairs=tally.pairs,
        bodies=tally.bodies,
        noise_pairs=noise.pairs,
        changes=tuple(listed[:_MOST_PLACES]),
        masked=tuple(unique[:_MOST_PLACES]),
        left_out=max(0, len(listed) - _MOST_PLACES) + max(0, len(unique) - _MOST_PLACES),
    )


def _is_noise(place: Place, noisy: AbstractSet[Place]) -> bool:
    """Whether the baseline does this too; what comes and goes by itself may do either."""
    if place in noisy:
        return True
    comes = Place(place.part, place.path, Change.ADDED) in noisy
    goes = Place(place.part, place.path, Change.MISSING) in noisy
    return (comes or goes) and place.change in (Change.ADDED, Change.MISSING)


def _masked(place: Place, noise: Tally) -> MaskedPlace:
    total = noise.total(place.part)
    reason = f"{place.change} in {noise.places[place]:,} of {total:,} pairs within the baseline"
    return MaskedPlace(part=place.part, path=place.path, reason=reason)


def _change(place: Place, count: int, tally: Tally, noise: Tally, *, tests: int, firm: bool) -> AnswerChange:
    """
    One change with Fisher's exact test against the same place within the baseline, Bonferroni over all.

    Requests of one run may change together, for a reason of that run; so a rare change is sure
    only where it came in each of several runs, and a change of statuses only where most changed
    (``compare_mix`` judges how often each came).
    """
    total, noise_total = tally.total(place.part), noise.total(place.part)
    by_itself = noise.places[place]
    table = [[count, total - count], [by_itself, noise_total - by_itself]]
    p = min(1.0, tests * float(stats.fisher_exact(table, alternative="greater")[1]))
    share = count / total
    mostly = share >= _MOSTLY
    each = all(places[place] >= count / len(tally.runs) / 2 for places in tally.runs)
    sure = p <= _ALPHA and each and (mostly or (firm and place.part is not Part.STATUS))
    return AnswerChange(
        part=place.part,
        path=place.path,
        change=place.change,
        changed=count,
        compared=total,
        p=p,
        sure=sure,
        examples=tuple(tally.examples[place]),
    )


def _worth(change: AnswerChange) -> bool:
    """
    Whether a reader should see it: it is sure, or it is most answers, or chance hardly explains it.

    A status that changed now and then is left to ``compare_mix``, which knows of bursts.
    """
    if change.sure or change.changed >= _MOSTLY * change.compared:
        return True
    return change.part is not Part.STATUS and change.p <= 0.05


def _rank(change: AnswerChange) -> tuple[bool, float, int, str, str]:
    share = change.changed / change.compared
    return not change.sure, -share, _ORDER_OF_PARTS.index(change.part), change.path, change.change
