"""Runs taken apart: who answered what, and when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from captures.errors import UsageError
from replayer.host import HostFacts
from replayer.results import NEVER_NS, Outcome
from replayer.review.sides import NamedRun, by_start, check_comparable, run_summary, split_by_endpoint
from replayer.review.verdict import Options


@pytest.fixture
def mixed(campaign):
    """Seven exchanges of two endpoints with every kind of end, in no order."""
    status = np.array([200, 200, 404, 0, 0, 200, 200])
    outcome = np.array([0, 0, 0, Outcome.DROPPED, Outcome.TIMEOUT, 0, 99], dtype=np.uint8)
    return campaign.make_run(
        ("GET /a", "GET /b", "GET /never"),
        np.array([0, 1, 0, 0, 0, 0, 1]),
        np.array([30, 20, 10, 40, 50, 5, 60]),
        np.array([3, 2, 1, 9, 9, 7, 9]),
        status,
        run_id="a" * 32,
        outcome=outcome,
    )


def test_outcomes_are_counted_by_status_or_by_what_went_wrong(mixed):
    """Statuses of whole answers, names of failures, and failures of a newer hookreel by number."""
    samples = split_by_endpoint(mixed)
    assert samples["GET /a"].outcomes == {"200": 2, "404": 1, "dropped": 1, "timeout": 1}
    assert samples["GET /b"].outcomes == {"200": 1, "outcome-99": 1}
    assert samples["GET /a"].requests == 5
    assert "GET /never" not in samples


def test_times_are_from_the_due_time_by_status_class_in_due_order(mixed):
    """Response time is done - due; dropped and failed exchanges have none."""
    times = split_by_endpoint(mixed)["GET /a"].times_ns
    assert {key: value.tolist() for key, value in times.items()} == {2: [7.0, 3.0], 4: [1.0]}


def test_answers_without_a_usable_time_are_counted_apart(mixed):
    """A completed row whose clock readings make no sense is neither used nor forgotten."""
    done = mixed.rows.done_ns.copy()
    done[0] = NEVER_NS
    sample = split_by_endpoint(replace(mixed, rows=replace(mixed.rows, done_ns=done)))["GET /a"]
    assert sample.unusable == 1
    assert sample.times_ns[2].tolist() == [7.0]


def test_a_summary_counts_what_did_not_complete(mixed):
    """Failed and dropped exchanges stand in the summary of their run."""
    summary = run_summary(NamedRun(name="a.run", run=mixed))
    assert (summary.requests, summary.failed, summary.dropped) == (7, 2, 1)


def test_machines_of_unlike_classes_are_not_compared(mixed):
    """Refused until it is allowed, and then warned of; a run that does not say is like any other."""
    small = HostFacts(cpu_model="AMD EPYC", cores=2, kernel="Linux 6.18.3", python="3.13.5")
    runs = [
        NamedRun(
            name=f"{at}.run", run=replace(mixed, header=replace(mixed.header, run_id=f"{at:032x}", host=h))
        )
        for at, h in enumerate((small, replace(small, cores=64), replace(small, kernel="Linux 6.18.9"), None))
    ]
    with pytest.raises(UsageError, match=r"1\.run was sent by .* x 64.* on one machine.*--allow-mismatch"):
        check_comparable(runs[:1], runs[1:2], Options())
    assert "x 64" in check_comparable(runs[:1], runs[1:2], Options(allow_mismatch=True))[0]
    assert check_comparable(runs[:1], runs[2:], Options()) == []


def test_another_capture_at_another_speed_is_told_of_both(mixed):
    """The speed alone changes the schedule, so a capture must not pass for unlike in speed only."""
    runs = [
        NamedRun(
            name=f"{at}.run",
            run=replace(
                mixed,
                header=replace(
                    mixed.header,
                    run_id=f"{at:032x}",
                    speed=f"{at}x",
                    schedule_hash=str(at),
                    capture_id=capture,
                ),
            ),
        )
        for at, capture in enumerate(("c" * 32, "c" * 32, "d" * 32), 1)
    ]
    allowed = Options(allow_mismatch=True)
    assert len(check_comparable(runs[:1], runs[1:2], allowed)) == 1
    speed, capture = check_comparable(runs[:1], runs[2:], allowed)
    assert "at 3x and 1.run at 1x" in speed
    assert "another capture than 1.run" in capture


def test_runs_are_ordered_by_when_they_were_made(campaign):
    """The order of arguments does not decide which runs make a pair."""
    side = campaign.side(campaign.world(1, requests=5), 3, 1)
    assert by_start(side[::-1]) == side
