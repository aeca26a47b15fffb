"""What a review claims, and what it must never claim."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from captures.errors import UsageError
from replayer.results import Outcome, Run, RunRows
from replayer.review.compare import compare
from replayer.review.noise_rules import Rule
from replayer.review.report import json as json_report
from replayer.review.report.headline import headline
from replayer.review.sides import NamedRun
from replayer.review.slo import parse_objectives
from replayer.review.verdict import Evidence, Options, Verdict


@pytest.fixture(scope="module")
def quiet(campaign):
    """Six endpoints of 12 to 120 ms, 3 % between runs."""
    return campaign.world(6, requests=300)


@pytest.fixture(scope="module")
def quick(campaign):
    """Eight endpoints of 2 to 9 ms in one noisy process, as in the demo."""
    medians = {f"GET /s{at}": 2.0 + at for at in range(8)}
    return campaign.World(medians_ms=medians, requests=150, run_sd=0.05, endpoint_run_sd=0.06)


def _with_header(named, **changes):
    return NamedRun(
        name=named.name, run=Run(header=replace(named.run.header, **changes), rows=named.run.rows)
    )


def test_identical_builds_raise_few_alarms(campaign, quiet):
    """Of 60 reports on identical builds, five runs a side, at most 5 % raise an alarm (7 of 60 bound)."""
    alarms = sum(bool(campaign.called(campaign.review(quiet, quiet, (5, 5), seed))) for seed in range(60))
    assert alarms <= 7  # P(more | 5 %) < 2 %, and the seeds are fixed


def test_identical_single_runs_raise_no_alarm(campaign, quick):
    """Forty reports of two runs against one of the same noisy build claim nothing."""
    assert not any(campaign.called(campaign.review(quick, quick, (2, 1), seed)) for seed in range(40))


def test_a_shared_slowdown_of_one_short_run_names_nobody(campaign, quick):
    """A busy neighbour that slows every endpoint of the only candidate run by half is not a release."""
    slow = replace(quick, factor=dict.fromkeys(quick.medians_ms, 1.5))
    assert not any(campaign.called(campaign.review(quick, slow, (2, 1), seed)) for seed in range(10))


def test_a_planted_delay_is_named_alone_from_two_runs_against_one(campaign, quick, endpoint_of):
    """25 ms more on a 5 ms endpoint is SLOWER in 10 of 10, and nothing else is named."""
    slow = replace(quick, extra_ms={"GET /s3": 25.0})
    for seed in range(10):
        comparison = campaign.review(quick, slow, (2, 1), 500 + seed)
        assert comparison.verdict is Verdict.SLOWER
        assert comparison.evidence is Evidence.BOOTSTRAP
        assert campaign.called(comparison) == {"GET /s3"}
        assert 4 < endpoint_of(comparison, "GET /s3").deciding.ratio < 8


def test_twenty_percent_is_found_with_eight_runs_a_side(campaign, quiet, endpoint_of):
    """+20 % on one endpoint is SLOWER on that endpoint, worst first."""
    label = list(quiet.medians_ms)[3]
    slow = replace(quiet, factor={label: 1.2})
    for seed in range(5):
        comparison = campaign.review(quiet, slow, (8, 8), 100 + seed)
        assert comparison.verdict is Verdict.SLOWER
        assert comparison.endpoints[0].endpoint == label
        low, high = endpoint_of(comparison, label).deciding.ci
        assert low < 1.25
        assert high > 1.15


def test_pairs_cancel_what_both_runs_of_a_pair_share(campaign, quiet):
    """With --paired a drift that hits both runs of a pair, each endpoint its own way, leaves the interval."""
    before, after = [], []
    for at in range(6):
        machine = replace(
            quiet, factor={label: 1 + 0.2 * ((at + own) % 6) for own, label in enumerate(quiet.medians_ms)}
        )
        before += [campaign.side(machine, 1, 300 + at, started_s=at * 100)[0]]
        after += [campaign.side(machine, 1, 400 + at, started_s=at * 100 + 50)[0]]
    unpaired, paired = (compare(before, after, Options(paired=paired)) for paired in (False, True))
    widths = [
        np.mean([q.ci[1] / q.ci[0] for e in comparison.endpoints for q in e.quantiles])
        for comparison in (unpaired, paired)
    ]
    assert widths[1] - 1 < (widths[0] - 1) / 2


def test_swapping_the_sides_mirrors_the_answer(campaign, quiet):
    """SLOWER becomes FASTER, ratios become their inverse, and what is SAME stays so."""
    label = list(quiet.medians_ms)[2]
    before = campaign.side(quiet, 5, 11)
    after = campaign.side(replace(quiet, factor={label: 1.4}), 5, 12, started_s=60)
    there, back = compare(before, after), compare(after, before)
    mirror = {Verdict.SLOWER: Verdict.FASTER}
    found = {endpoint.endpoint: endpoint for endpoint in back.endpoints}
    assert there.verdict is Verdict.SLOWER
    assert back.verdict is Verdict.FASTER
    for endpoint in there.endpoints:
        other = found[endpoint.endpoint]
        assert other.verdict is mirror.get(endpoint.verdict, endpoint.verdict)
        for ours, theirs in zip(endpoint.quantiles, other.quantiles, strict=True):
            assert theirs.ratio == pytest.approx(1 / ours.ratio)
            assert theirs.p_adjusted == pytest.approx(ours.p_adjusted)


@pytest.mark.parametrize("runs", [1, 4])
def test_the_order_of_rows_and_files_does_not_matter(campaign, quick, runs):
    """Shuffled rows and runs give the same report, byte for byte, as does asking twice."""
    before, after = campaign.side(quick, runs, 21), campaign.side(quick, runs, 22, started_s=60)
    rng = np.random.default_rng(1)

    def shuffled(named):
        order = rng.permutation(len(named.run.rows))
        columns = {name: getattr(named.run.rows, name)[order] for name in named.run.rows.__slots__}
        return NamedRun(name=named.name, run=replace(named.run, rows=replace(named.run.rows, **columns)))

    expected = json_report.render(compare(before, after))
    assert json_report.render(compare(before, after)) == expected
    assert (
        json_report.render(compare([shuffled(n) for n in before][::-1], list(map(shuffled, after))))
        == expected
    )


@pytest.mark.parametrize("runs", [(2, 1), (5, 5)])
@pytest.mark.parametrize("share", [0.03, 0.3, 1.0])
@pytest.mark.parametrize("status", [429, 503])
def test_quick_refusals_are_never_faster(campaign, quiet, runs, share, status, endpoint_of):
    """A candidate that refuses some or all requests at once, and is quicker for it, is not FASTER."""
    label = next(iter(quiet.medians_ms))
    shed = replace(quiet, statuses={label: (status, share, 0.5)}, factor={label: 0.5})
    endpoint = endpoint_of(campaign.review(quiet, shed, runs, 31), label)
    assert (
        endpoint.verdict is Verdict.BEHAVES_DIFFERENTLY
        if share > 0.1
        else endpoint.verdict is not Verdict.FASTER
    )


def test_quicker_errors_on_both_sides_are_never_faster(campaign, quiet, endpoint_of):
    """When both sides answer 503 only, a quicker 503 is no progress."""
    label = next(iter(quiet.medians_ms))
    before = replace(quiet, statuses={label: (503, 1.0, 30.0)})
    after = replace(quiet, statuses={label: (503, 1.0, 3.0)})
    endpoint = endpoint_of(campaign.review(before, after, (5, 5), 32), label)
    assert endpoint.outcome == "5xx"
    assert endpoint.verdict is Verdict.INCONCLUSIVE
    assert "never FASTER" in endpoint.warnings[0]


def test_a_burst_of_errors_is_the_verdict_and_comes_first(campaign, quiet):
    """503s outrank a slower endpoint: first in the list and the verdict of the whole."""
    failing, slow = list(quiet.medians_ms)[4], list(quiet.medians_ms)[1]
    after = replace(quiet, statuses={failing: (503, 0.1, 1.0)}, factor={slow: 3.0})
    comparison = campaign.review(quiet, after, (4, 4), 33)
    assert comparison.verdict is Verdict.BEHAVES_DIFFERENTLY
    assert [endpoint.endpoint for endpoint in comparison.endpoints[:2]] == [failing, slow]
    assert comparison.endpoints[1].verdict is Verdict.SLOWER
    assert "503" in comparison.endpoints[0].statuses.changed


def test_a_rule_takes_statuses_for_no_difference(campaign, quiet, endpoint_of):
    """200 became 201 everywhere: no difference where a rule says so, and one for every other endpoint."""
    label = list(quiet.medians_ms)[2]
    before = campaign.side(quiet, 3, 35)
    after = campaign.side(
        replace(quiet, statuses={label: (201, 1.0, quiet.medians_ms[label])}), 3, 36, started_s=60
    )
    assert compare(before, after).verdict is Verdict.BEHAVES_DIFFERENTLY
    rule = Rule(path="status", endpoint=label, ignore=True)
    comparison = compare(before, after, Options(rules=(rule,)))
    endpoint = endpoint_of(comparison, label)
    assert endpoint.verdict is not Verdict.BEHAVES_DIFFERENTLY
    assert not endpoint.statuses.different
    assert endpoint.statuses.candidate == {"answered": 900}
    assert "every status changed" not in headline(comparison)
    assert [place.reason for place in endpoint.answers.masked] == ["a rule says so"]
    other = compare(before, after, Options(rules=(replace(rule, endpoint="GET /other"),)))
    assert endpoint_of(other, label).verdict is Verdict.BEHAVES_DIFFERENTLY


def test_a_rule_on_statuses_hides_no_failures_and_no_quick_refusals(campaign, quiet, endpoint_of):
    """Requests without an answer are a difference all the same; fewer good answers are still not FASTER."""
    label = next(iter(quiet.medians_ms))
    options = Options(rules=(Rule(path="status", ignore=True),))
    before, after = campaign.side(quiet, 3, 41), campaign.side(quiet, 3, 42, started_s=60)
    failing = []
    for named in after:
        outcome = named.run.rows.outcome.copy()
        outcome[np.flatnonzero(named.run.rows.endpoint == 0)[::4]] = Outcome.TIMEOUT
        run = replace(named.run, rows=replace(named.run.rows, outcome=outcome))
        failing.append(NamedRun(name=named.name, run=run))
    found = endpoint_of(compare(before, failing, options), label)
    assert found.verdict is Verdict.BEHAVES_DIFFERENTLY
    assert found.statuses.candidate == {"answered": 675, "timeout": 225}
    shed = replace(quiet, statuses={label: (429, 0.3, 0.5)}, factor={label: 0.5})
    quick = endpoint_of(campaign.review(quiet, shed, (5, 5), 31, options), label)
    assert quick.verdict is Verdict.INCONCLUSIVE


def test_dropped_requests_are_a_difference(campaign, quiet, endpoint_of):
    """Exchanges the candidate did not send change its mix."""
    before, after = campaign.side(quiet, 1, 41), campaign.side(quiet, 1, 42)
    outcome = after[0].run.rows.outcome.copy()
    outcome[np.flatnonzero(after[0].run.rows.endpoint == 0)[::4]] = Outcome.DROPPED
    run = replace(after[0].run, rows=replace(after[0].run.rows, outcome=outcome))
    comparison = compare(before, [NamedRun(name="b.run", run=run)])
    endpoint = endpoint_of(comparison, next(iter(quiet.medians_ms)))
    assert endpoint.verdict is Verdict.BEHAVES_DIFFERENTLY
    assert endpoint.statuses.candidate["dropped"] == 75
    assert comparison.candidate[0].dropped == 75


def test_same_needs_equivalence_not_silence(campaign):
    """The same pair is SAME with little noise, INCONCLUSIVE with much: silence is not evidence."""
    calm = campaign.world(3, requests=600, endpoint_run_sd=0.005, drift_sd=0.02, service_sd=0.1)
    noisy = replace(calm, endpoint_run_sd=0.15)
    assert campaign.review(calm, calm, (8, 8), 51).verdict is Verdict.SAME
    comparison = campaign.review(noisy, noisy, (8, 8), 51)
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert all(endpoint.deciding.mde > 0.1 for endpoint in comparison.endpoints)


def test_a_change_within_the_absolute_floor_is_no_change(campaign):
    """+20 % of 2 ms is sure and does not matter: SAME, not SLOWER."""
    calm = campaign.World(
        medians_ms={"GET /a": 2.0, "GET /b": 3.0}, requests=400, endpoint_run_sd=0.01, service_sd=0.1
    )
    comparison = campaign.review(calm, replace(calm, factor={"GET /a": 1.2}), (8, 8), 52)
    assert {endpoint.endpoint: str(endpoint.verdict) for endpoint in comparison.endpoints}["GET /a"] == "SAME"


def test_more_runs_see_smaller_changes(campaign, quiet):
    """The smallest change that would have been seen shrinks with runs, and from one run on."""
    means = []
    for runs in (1, 3, 8, 16):
        comparison = campaign.review(quiet, quiet, (runs, runs), 61)
        means.append(np.mean([q.mde for e in comparison.endpoints for q in e.quantiles if q.quantile == 0.5]))
    assert means[1] > means[2] > means[3]
    assert means[0] > means[2]


def _flat(campaign, times_ms, run_id, label="GET /x", **columns):
    count = len(times_ms)
    due = np.arange(count) * 10_000_000
    run = campaign.make_run(
        (label,),
        np.zeros(count),
        due,
        np.asarray(times_ms) * 1e6,
        np.full(count, 200),
        run_id=run_id,
        **columns,
    )
    return NamedRun(name=f"{run_id}.run", run=run)


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize(
    ("times_ms", "advice"),
    [
        (np.linspace(5, 6, 19), "19 answers"),
        (np.full(50, 5.0), "equal"),
        (np.zeros(50), "before they were due"),
        (np.linspace(-1, 5, 50), "before they were due"),
    ],
)
def test_what_cannot_be_computed_is_inconclusive_with_advice(campaign, runs, times_ms, advice):
    """Too few, constant, zero or negative times never crash and never claim, whatever the other side."""
    bad = [_flat(campaign, times_ms, f"b{at}") for at in range(runs)]
    rng = np.random.default_rng(1)
    good = [_flat(campaign, rng.lognormal(1, 0.3, 60), f"g{at}") for at in range(runs)]
    for comparison in (compare(bad, good), compare(good, bad)):
        assert comparison.verdict is Verdict.INCONCLUSIVE
        assert advice in comparison.endpoints[0].advice


def test_runs_that_agree_to_the_last_digit_are_inconclusive(campaign):
    """Copies of the same rows under other names show no chance to test against."""
    times = np.random.default_rng(1).lognormal(1, 0.3, 60)
    sides = [[_flat(campaign, times, f"{side}{at}") for at in range(3)] for side in "ab"]
    comparison = compare(*sides)
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "last digit" in comparison.endpoints[0].advice


def test_an_endpoint_of_one_side_is_reported_without_a_claim(campaign, endpoint_of):
    """What only one side has is listed and says so."""
    times = np.random.default_rng(1).lognormal(1, 0.3, 60)
    comparison = compare([_flat(campaign, times, "a")], [_flat(campaign, times, "b", label="GET /y")])
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "Only the baseline" in endpoint_of(comparison, "GET /x").advice
    assert "Only the candidate" in endpoint_of(comparison, "GET /y").advice


def test_strict_asks_for_an_answer_on_every_endpoint(campaign, quiet):
    """One FASTER endpoint beside one that cannot be judged is no pass; where all are known it is."""
    label, *_, last = quiet.medians_ms
    fast = replace(quiet, factor={label: 0.5})
    comparison = campaign.review(quiet, fast, (8, 8), 1_000)
    assert comparison.verdict is Verdict.FASTER
    known = replace(
        comparison,
        endpoints=tuple(one for one in comparison.endpoints if one.verdict is not Verdict.INCONCLUSIVE),
    )
    unsure = next(one for one in comparison.endpoints if one.endpoint == last)
    unknown = replace(known, endpoints=(*known.endpoints, replace(unsure, verdict=Verdict.INCONCLUSIVE)))
    assert (known.exit_code(strict=True), unknown.exit_code(strict=True)) == (0, 5)
    assert unknown.exit_code() == 0
    slower = replace(unknown, verdict=Verdict.SLOWER)
    assert slower.exit_code(strict=True) == 3


def test_a_tail_is_judged_only_with_enough_requests(campaign, quiet):
    """p95 needs 200 requests a side and p99 1,000 a run."""
    for requests, expected in ((150, {0.5}), (300, {0.5, 0.95}), (1_000, {0.5, 0.95, 0.99})):
        few = replace(quiet, requests=requests)
        comparison = campaign.review(few, few, (1, 1), 71)
        assert {q.quantile for e in comparison.endpoints for q in e.quantiles} == expected


def test_invalid_runs_are_not_compared(campaign, quiet):
    """One invalid or interrupted run makes the comparison INVALID, with its reason and without a claim."""
    before, after = campaign.side(quiet, 2, 81), campaign.side(quiet, 1, 82)
    for change in ({"invalid_reasons": ("Send lag p99 was 4 ms.",)}, {"interrupted": True}):
        wanted = Options(objectives=parse_objectives("p50<1h"))
        comparison = compare([before[0], _with_header(before[1], **change)], after, wanted)
        assert comparison.verdict is Verdict.INVALID
        assert not comparison.endpoints
        assert not comparison.objectives
        assert comparison.baseline[1].invalid_reasons
    empty = replace(
        after[0].run.rows, **{name: getattr(after[0].run.rows, name)[:0] for name in RunRows.__slots__}
    )
    nothing = NamedRun(name="empty.run", run=replace(after[0].run, rows=empty))
    assert compare(before, [nothing]).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"speed": "1x"}, "at 1x"),
        ({"schedule_hash": "other", "capture_id": "d" * 32}, "another capture"),
        ({"schedule_hash": "other"}, "another schedule"),
    ],
)
def test_unlike_runs_are_refused_unless_told(campaign, quiet, change, words):
    """Another capture, schedule or speed is a usage error that says so, or a warning when allowed."""
    before, after = campaign.side(quiet, 1, 91), campaign.side(quiet, 1, 92)
    unlike = [_with_header(after[0], **change)]
    with pytest.raises(UsageError, match=words):
        compare(before, unlike)
    comparison = compare(before, unlike, Options(allow_mismatch=True))
    assert words in comparison.warnings[0]


def test_a_derived_capture_with_the_same_schedule_may_be_compared(campaign, quiet):
    """Runs of a capture and of its anonymized copy share the schedule hash and are alike."""
    before, after = campaign.side(quiet, 1, 91), campaign.side(quiet, 1, 92)
    assert not compare(before, [_with_header(after[0], capture_id="d" * 32)]).warnings


def test_a_run_counts_once(campaign, quiet):
    """The same run twice on a side is refused; on both sides it is warned about and claims nothing."""
    one = campaign.side(quiet, 1, 93)
    with pytest.raises(UsageError, match="same run"):
        compare([*one, *one], campaign.side(quiet, 1, 94))
    comparison = compare(one, one)
    assert "both sides" in comparison.warnings[0]
    assert not campaign.called(comparison)


def test_sides_must_fit_what_is_asked(campaign, quiet):
    """Empty sides and unequal pairs are usage errors; too few pairs are said to be unpaired."""
    two, one = campaign.side(quiet, 2, 95), campaign.side(quiet, 1, 96)
    with pytest.raises(UsageError, match="at least one run"):
        compare(two, [])
    with pytest.raises(UsageError, match="as many runs"):
        compare(two, one, Options(paired=True))
    few = compare(two[:1], one, Options(paired=True))
    assert "unpaired" in few.warnings[0]
    assert few.options.paired is False


def test_sides_replayed_one_after_the_other_are_warned_about(campaign, quiet):
    """A drift of the machine would look like a change, so the report says so."""
    before, after = campaign.side(quiet, 3, 97), campaign.side(quiet, 3, 98, started_s=10_000)
    assert "interleave" in compare(before, after).warnings[0]
    assert not campaign.review(quiet, quiet, (3, 3), 97).warnings
