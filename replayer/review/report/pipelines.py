"""The review where a pipeline shows it: workflow commands of GitHub, a code quality report of GitLab."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

from captures.text import clean
from replayer.review.report import wording
from replayer.review.report.headline import headline
from replayer.review.slo import Proof
from replayer.review.verdict import Comparison, Verdict

_MOST = 10  # GitHub shows no more of a kind from one step
_LONGEST = 1_000
_SEVERITIES = {
    Verdict.BEHAVES_DIFFERENTLY: "critical",
    Verdict.SLOWER: "major",
    Verdict.INCONCLUSIVE: "info",
    Verdict.INVALID: "blocker",
    Proof.MISSED: "major",
    Proof.NOT_PROVEN: "info",
}


class _Finding(NamedTuple):
    """An endpoint's verdict or an objective's proof; ``name`` is the endpoint's in full, empty for all."""

    outcome: Verdict | Proof
    name: str
    shown: str
    message: str


def workflow_commands(comparison: Comparison) -> str:
    """
    A line per finding that GitHub turns into an annotation; empty when nothing was found.

    Missed objectives, slower and different endpoints are errors, faster ones notices; objectives that
    are not proven and INCONCLUSIVE as the whole verdict are warnings. What does not fit into the ten
    that are shown of a kind is counted in its last.
    """
    objectives, endpoints = _objectives(comparison), _endpoints(comparison)
    return "".join(
        line
        for level, findings, outcomes in (
            ("error", _whole(comparison), (Verdict.INVALID,)),
            ("error", objectives + endpoints, (Proof.MISSED, Verdict.BEHAVES_DIFFERENTLY, Verdict.SLOWER)),
            ("notice", endpoints, (Verdict.FASTER,)),
            ("warning", _whole(comparison) + objectives, (Verdict.INCONCLUSIVE, Proof.NOT_PROVEN)),
        )
        for line in _commands(level, [one for one in findings if one.outcome in outcomes])
    )


def code_quality(comparison: Comparison) -> str:
    """
    GitLab's code quality report: an issue for each endpoint and objective that is not fine.

    An issue needs a file; the candidate's first run stands there. Fingerprints depend on the endpoint
    or objective and the verdict alone, so that the merge request widget says what is new.
    """
    invalid = comparison.verdict is Verdict.INVALID
    findings = _whole(comparison) if invalid else _endpoints(comparison) + _objectives(comparison)
    report = [
        {
            "description": wording.shortened(_joined(one.outcome, one.shown, one.message), _LONGEST),
            "check_name": f"hookreel diff {one.outcome}",
            "fingerprint": hashlib.sha256(
                f"{one.outcome}\0{one.name}".encode("utf-8", "backslashreplace")
            ).hexdigest(),
            "severity": _SEVERITIES[one.outcome],
            "location": {"path": clean(comparison.candidate[0].name), "lines": {"begin": 1}},
        }
        for one in findings
        if one.outcome in _SEVERITIES
    ]
    return json.dumps(report, indent=2) + "\n"


def _joined(*parts: str) -> str:
    return ": ".join(part for part in parts if part)


def _whole(comparison: Comparison) -> list[_Finding]:
    said = headline(comparison).removeprefix(f"{comparison.verdict}: ")
    return [_Finding(comparison.verdict, "", "", said)]


def _endpoints(comparison: Comparison) -> list[_Finding]:
    return [
        _Finding(one.verdict, one.endpoint, wording.label_of(one), clean(wording.what_changed(one)))
        for one in comparison.endpoints
    ]


def _objectives(comparison: Comparison) -> list[_Finding]:
    return [
        _Finding(one.proof, one.objective.text, clean(one.objective.text), wording.objective_facts(one))
        for one in comparison.objectives
    ]


def _commands(level: str, findings: Sequence[_Finding]) -> list[str]:
    more = len(findings) - _MOST
    shown = findings[: _MOST - 1] if more > 0 else findings
    lines = [_command(level, _joined(one.outcome, one.shown), one.message) for one in shown]
    if more > 0:
        lines.append(_command(level, "hookreel diff", f"and {more + 1} more; see the report"))
    return lines


def _command(level: str, title: str, message: str) -> str:
    name = _escape(wording.shortened(title, 200)).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{_escape(wording.shortened(message, _LONGEST))}\n"


def _escape(text: str) -> str:
    """What is cleaned has no line breaks; a percent sign would be read as an escape."""
    return clean(text).replace("%", "%25")
