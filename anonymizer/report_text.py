"""The report as text for people."""

from __future__ import annotations

from tabulate import tabulate

from anonymizer.report import Report, confidence
from captures.text import clean
from captures.units import format_size


def summary(report: Report) -> str:
    """What was replaced, as a few lines and a table by kind."""
    fields = {
        kind: len({path for other, _, path in report.replaced if other == kind}) for kind in report.kinds()
    }
    rows = [[kind, count, fields[kind]] for kind, count in report.kinds().items()]
    lines = [
        f"Exchanges: {report.exchanges}, messages: {report.messages}, "
        f"distinct values: {report.distinct_values}",
        f"Signatures to make again: {report.signatures}",
        f"Bodies that could not be read and were replaced: {sum(report.undecodable.values())}",
        audit_sentence(report),
    ]
    if rows:
        lines.append(tabulate(rows, headers=["kind", "replaced", "fields"]))
    return "\n".join(lines)


def full_text(report: Report) -> str:
    """The summary, and all fields with their counts."""
    parts = [f"Policy {clean(report.policy)}, key {report.key_fingerprint}", summary(report)]
    rows = [
        [kind, clean(endpoint), clean(path), count, confidence(kind, path)]
        for (kind, endpoint, path), count in sorted(report.replaced.items())
    ]
    if rows:
        headers = ["kind", "endpoint", "field", "replaced", "known by"]
        parts += ["", tabulate(rows, headers=headers, disable_numparse=True)]
    unread = [
        [clean(endpoint), clean(path), count]
        for (endpoint, path), count in sorted(report.undecodable.items())
    ]
    if unread:
        parts += ["", tabulate(unread, headers=["endpoint", "field that could not be read", "replaced"])]
    return "\n".join(parts) + "\n"


def audit_sentence(report: Report) -> str:
    """What the audit came to."""
    audit = report.audit
    if audit is None:
        return "Audit: not run"
    kept = f", {audit.kept} kept by the policy" if audit.kept else ""
    return (
        f"Audit: passed; {format_size(audit.searched_bytes)} searched for {audit.originals} originals in "
        f"{audit.patterns} spellings, {audit.unsearched} too short to be searched{kept}"
    )
