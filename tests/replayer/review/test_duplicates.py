"""Traces that replays leave in a target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from replayer.results import Run
from replayer.review.duplicates import duplicates, growing_duplicates
from replayer.review.sides import NamedRun


@pytest.fixture
def answered(campaign):
    """A run whose first requests are answered with a status other than the recorded one."""

    def make(count, status, recorded=202, total=400):
        seen = np.full(total, recorded)
        seen[:count] = status
        run = campaign.make_run(
            ("POST /hooks",),
            np.zeros(total),
            np.arange(total) * 1e6,
            np.full(total, 1e6),
            seen,
            run_id="0" * 32,
        )
        rows = replace(run.rows, recorded_status=np.full(total, recorded, dtype=np.uint16))
        return NamedRun(name="r", run=Run(header=run.header, rows=rows))

    return make


def test_conflicts_and_plain_answers_to_created_things_are_duplicates(answered):
    """409, 208 and 200 instead of 202 say that the request was seen before; other changes do not."""
    assert duplicates(answered(30, 409).run) == 30
    assert duplicates(answered(30, 208).run) == 30
    assert duplicates(answered(30, 200).run) == 30
    assert duplicates(answered(30, 500).run) == 0
    assert duplicates(answered(30, 409, recorded=409).run) == 0
    assert duplicates(answered(400, 200, recorded=200).run) == 0


def test_a_growing_share_is_reported_with_what_to_do(answered):
    """From none to a third: state was not restored."""
    warnings = growing_duplicates("baseline", [answered(0, 409), answered(60, 409), answered(130, 409)])
    assert len(warnings) == 1
    assert "0.0%" in warnings[0]
    assert "32.5%" in warnings[0]
    assert "--before" in warnings[0]


def test_a_share_that_stays_is_not_reported(answered):
    """A target that always answers a tenth as duplicates restores its state well."""
    assert growing_duplicates("baseline", [answered(40, 409), answered(43, 409)]) == []
    assert growing_duplicates("baseline", [answered(40, 409)]) == []
