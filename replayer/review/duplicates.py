"""Do replays leave traces in the target: answers that say it has seen the request before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from replayer.results import Outcome, Run
from replayer.review.sides import NamedRun

_CREATED = (201, 202)
_ALREADY = (208, 409)  # Already Reported, Conflict
_SURE = 0.01
_MATTERS = 0.01


def duplicates(run: Run) -> int:
    """
    Answers that say that the target had this request before, where the recording got no such answer.

    208 and 409 say so; so does a plain 200 to what was created or accepted (201, 202) when it was recorded.
    """
    rows = run.rows
    already = np.isin(rows.status, _ALREADY) | (
        (rows.status == 200) & np.isin(rows.recorded_status, _CREATED)
    )
    return int(
        np.count_nonzero(
            (rows.outcome == Outcome.COMPLETED) & already & (rows.status != rows.recorded_status)
        )
    )


def growing_duplicates(name: str, side: Sequence[NamedRun]) -> list[str]:
    """A warning when the last replay of a side met more of what earlier ones had left than the first did."""
    if len(side) < 2:
        return []
    first, last = side[0].run, side[-1].run
    found = [(duplicates(run), len(run.rows)) for run in (first, last)]
    shares = [count / max(1, total) for count, total in found]
    table = [[count, total - count] for count, total in found]
    if shares[1] - shares[0] < _MATTERS or stats.fisher_exact(table)[1] > _SURE:
        return []
    return [
        f"Duplicate answers of the {name} grew from {shares[0]:.1%} in the first replay to {shares[1]:.1%} in"
        " the last: replays leave state behind in the target. Restore it before each with --before."
    ]
