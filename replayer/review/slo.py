"""Objectives for the candidate: what share of requests may fail or be late, and how sure that is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

from captures.errors import UsageError
from captures.units import parse_duration_ns, parse_share
from replayer.results import Outcome, Run

_CONFIDENCE = 0.95
_MOST_NEEDED = 10**9
_OBJECTIVE = re.compile(r"(?:(?P<errors>errors)|p(?P<percent>\d{1,2}(?:\.\d+)?))\s*<=?\s*(?P<limit>\S+)")
_SERVER_ERROR = 500


class Proof(StrEnum):
    """MET and MISSED are sure at 95 %; with NOT PROVEN the true share may lie on either side."""

    MET = "MET"
    MISSED = "MISSED"
    NOT_PROVEN = "NOT PROVEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """
    ``text`` as it was asked for; at most ``allowed`` of the requests may be bad (0.001 is 0.1 %).

    A request is bad when it failed, was answered 5xx, or took longer than ``limit_ns`` from its due
    time; None for errors alone.
    """

    text: str
    allowed: float
    limit_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveResult:
    """
    What the candidate's runs say about an objective.

    ``low`` and ``high`` are one-sided 95 % Clopper-Pearson bounds of the share of bad requests.
    ``needed`` is how many requests would prove it if none, or the same share, were bad; None when
    no number would.
    """

    objective: Objective
    requests: int
    bad: int
    low: float
    high: float
    proof: Proof
    needed: int | None = None

    @property
    def share(self) -> float:
        """The share that was bad."""
        return self.bad / self.requests if self.requests else 0.0


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """
    Objectives of ``"p99<1s,errors<0.1%"``.

    Raises:
        UsageError: a part cannot be read, or permits nothing at all.

    """
    return tuple(_parse(part.strip()) for part in text.split(","))


def _parse(text: str) -> Objective:
    match = _OBJECTIVE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no objective; write them like p99<1s,errors<0.1%.")
    if match["errors"]:
        allowed, limit_ns = parse_share(match["limit"]), None
    else:
        # Rounded, since 1 - 0.999 is a little more than a thousandth in binary.
        allowed, limit_ns = round(1 - float(match["percent"]) / 100, 12), parse_duration_ns(match["limit"])
    if not 0 < allowed < 1 or limit_ns == 0:
        raise UsageError(f"{text!r} cannot be proven by any number of requests; permit some share or time.")
    return Objective(text=text, allowed=allowed, limit_ns=limit_ns)


def judge_objectives(runs: Sequence[Run], objectives: Sequence[Objective]) -> tuple[ObjectiveResult, ...]:
    """
    Each objective over the requests of all ``runs`` together.

    The bounds are exact for independent requests. Requests of one stall are not independent, so a
    share close to its limit wants more runs, whatever the bound says.
    """
    return tuple(_judge(runs, objective) for objective in objectives)


def _judge(runs: Sequence[Run], objective: Objective) -> ObjectiveResult:
    requests = sum(len(run.rows) for run in runs)
    bad = sum(_bad(run, objective) for run in runs)
    low, high = bounds(bad, requests)
    if high <= objective.allowed:
        proof = Proof.MET
    else:
        proof = Proof.MISSED if low > objective.allowed else Proof.NOT_PROVEN
    return ObjectiveResult(
        objective=objective,
        requests=requests,
        bad=bad,
        low=low,
        high=high,
        proof=proof,
        needed=requests_needed(bad, requests, objective.allowed) if proof is Proof.NOT_PROVEN else None,
    )


def _bad(run: Run, objective: Objective) -> int:
    rows = run.rows
    bad = (rows.outcome != Outcome.COMPLETED) | (rows.status >= _SERVER_ERROR)
    if objective.limit_ns is not None:
        bad |= rows.done_ns - rows.due_ns > objective.limit_ns
    return int(np.count_nonzero(bad))


def bounds(bad: int, requests: int) -> tuple[float, float]:
    """One-sided 95 % lower and upper Clopper-Pearson bounds of a share (Biometrika 26, 1934)."""
    low = float(stats.beta.ppf(1 - _CONFIDENCE, bad, requests - bad + 1)) if bad else 0.0
    high = float(stats.beta.ppf(_CONFIDENCE, bad + 1, requests - bad)) if bad < requests else 1.0
    return low, high


def requests_needed(bad: int, requests: int, allowed: float) -> int | None:
    """The fewest requests that prove ``allowed`` at the share seen; None when that share is not below it."""
    share = bad / requests if requests else 0.0
    if share >= allowed:
        return None
    low, high = 1, _MOST_NEEDED
    if bounds(int(share * high), high)[1] > allowed:
        return None
    while low < high:
        middle = (low + high) // 2
        if bounds(round(share * middle), middle)[1] <= allowed:
            high = middle
        else:
            low = middle + 1
    return low
