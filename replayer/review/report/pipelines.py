"""The review where a pipeline shows it: workflow commands of GitHub, a code quality report of GitLab."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from captures.text import clean
from replayer.review.report import wording
from replayer.review.report.headline import headline
from replayer.review.verdict import Comparison, EndpointResult, Verdict

_MOST = 10  # GitHub shows no more of a kind from one step
_LONGEST = 1_000
_SEVERITIES = {
    Verdict.BEHAVES_DIFFERENTLY: "critical",
    Verdict.SLOWER: "major",
    Verdict.INCONCLUSIVE: "info",
    Verdict.INVALID: "blocker",
}


def workflow_commands(comparison: Comparison) -> str:
    """
    A line per finding that GitHub turns into an annotation; empty when nothing was found.

    Slower and different endpoints are errors, faster ones notices; INCONCLUSIVE as the whole
    verdict is one warning. What does not fit into the ten that are shown is counted in the last.
    """
    if comparison.verdict is Verdict.INVALID:
        return _command("error", "INVALID", headline(comparison))
    harmed = [one for one in comparison.endpoints if one.verdict.exit_code]
    faster = [one for one in comparison.endpoints if one.verdict is Verdict.FASTER]
    lines = [*_commands("error", harmed), *_commands("notice", faster)]
    if comparison.verdict is Verdict.INCONCLUSIVE:
        lines.append(_command("warning", "INCONCLUSIVE", headline(comparison)))
    return "".join(lines)


def code_quality(comparison: Comparison) -> str:
    """
    GitLab's code quality report: an issue for each endpoint that is not fine.

    An issue needs a file; the candidate's first run stands there. Fingerprints depend on the endpoint
    and the verdict alone, so that the merge request widget says what is new.
    """
    path = clean(comparison.candidate[0].name)
    issues = [
        (one.endpoint, one.verdict, f"{one.verdict}: {clean(one.endpoint)} {wording.what_changed(one)}")
        for one in comparison.endpoints
        if one.verdict in _SEVERITIES
    ]
    if comparison.verdict is Verdict.INVALID:
        issues = [("", comparison.verdict, headline(comparison))]
    report = [
        {
            "description": clean(said)[:_LONGEST],
            "check_name": f"hookreel diff {verdict}",
            "fingerprint": hashlib.sha256(
                f"{verdict}\0{label}".encode("utf-8", "backslashreplace")
            ).hexdigest(),
            "severity": _SEVERITIES[verdict],
            "location": {"path": path, "lines": {"begin": 1}},
        }
        for label, verdict, said in issues
    ]
    return json.dumps(report, indent=2) + "\n"


def _commands(level: str, endpoints: Sequence[EndpointResult]) -> list[str]:
    more = len(endpoints) - _MOST
    shown = endpoints[: _MOST - 1] if more > 0 else endpoints
    lines = [
        _command(level, f"{one.verdict}: {clean(one.endpoint)}", wording.what_changed(one)) for one in shown
    ]
    if more > 0:
        lines.append(_command(level, "hookreel diff", f"and {more + 1} more endpoints; see the report"))
    return lines


def _command(level: str, title: str, message: str) -> str:
    name = _escape(title[:200]).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{_escape(message[:_LONGEST])}\n"


def _escape(text: str) -> str:
    """What is cleaned has no line breaks; a percent sign would be read as an escape."""
    return clean(text).replace("%", "%25")
