"""A small part of the campaign in benchmarks/, with fixed seeds: false alarms, power, the right endpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replayer.review.verdict import Options, Verdict

_PAIRED = Options(paired=True)


@pytest.fixture(scope="module")
def thirty(campaign):
    """Thirty endpoints of 12 to 120 ms, 3 % between runs."""
    return campaign.world(30, requests=120)


@pytest.mark.parametrize(
    "changes",
    [{}, {"unlike": 0.7}, {"run_sd": 0.05}],
    ids=["alike", "some far noisier", "runs differ as a whole"],
)
def test_identical_builds_raise_an_alarm_in_at_most_one_report_of_ten(campaign, thirty, changes):
    """Of 20 reports of 8 pairs and 30 endpoints; the campaign holds 5 % over 400."""
    quiet = replace(thirty, **changes)
    alarms = [
        bool(campaign.called(campaign.review(quiet, quiet, (8, 8), 700 + at, _PAIRED))) for at in range(20)
    ]
    assert sum(alarms) <= 2


@pytest.mark.parametrize(("factor", "verdict"), [(1.25, Verdict.SLOWER), (0.75, Verdict.FASTER)])
def test_a_change_of_one_endpoint_of_thirty_is_found_and_named(campaign, thirty, factor, verdict):
    """In 8 of 8 reports the verdict is that endpoint's."""
    label = list(thirty.medians_ms)[15]
    changed = replace(thirty, factor={label: factor})
    for at in range(8):
        comparison = campaign.review(thirty, changed, (8, 8), 800 + at, _PAIRED)
        assert comparison.verdict is verdict
        first = next(one for one in comparison.endpoints if one.verdict is verdict)
        assert first.endpoint == label


def test_ten_percent_is_found_more_often_than_not(campaign, thirty):
    """With 1,000 requests a run, in at least 5 of 6 reports; 3 % of noise between runs, 8 pairs."""
    full = replace(thirty, requests=1_000)
    label = list(full.medians_ms)[15]
    changed = replace(full, factor={label: 1.10})
    found = [
        label in campaign.called(campaign.review(full, changed, (8, 8), 900 + at, _PAIRED)) for at in range(6)
    ]
    assert sum(found) >= 5
