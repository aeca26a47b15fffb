"""The review as JUnit XML: a test case per endpoint and objective, for pages that show such results."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from captures.text import clean
from replayer.review.report import wording
from replayer.review.report.headline import headline
from replayer.review.slo import Proof
from replayer.review.verdict import Comparison, EndpointResult, Verdict

_FAILURES = (Verdict.BEHAVES_DIFFERENTLY, Verdict.SLOWER)


def render(comparison: Comparison) -> str:
    """
    One XML document with a final newline.

    SLOWER, BEHAVES DIFFERENTLY and MISSED objectives are failures, INCONCLUSIVE and NOT PROVEN are
    skipped, and an INVALID comparison is one test case with an error, so that no green suite
    stands for it.
    """
    verdicts = [endpoint.verdict for endpoint in comparison.endpoints]
    proofs = [result.proof for result in comparison.objectives]
    cases = [*map(_case, comparison.endpoints), *_objectives(comparison)]
    failures = sum(one in _FAILURES for one in verdicts) + proofs.count(Proof.MISSED)
    skipped = verdicts.count(Verdict.INCONCLUSIVE) + proofs.count(Proof.NOT_PROVEN)
    errors = 0
    if comparison.verdict is Verdict.INVALID:
        errors = 1
        reason = "; ".join(wording.refusals(comparison))
        cases = [
            f'  <testcase classname="hookreel diff" name="validity" time="0">\n'
            f'    <error message="{_text(reason)}" type="INVALID"/>\n  </testcase>'
        ]
    counts = f'tests="{len(cases)}" failures="{failures}" errors="{errors}" skipped="{skipped}" time="0"'
    said = "\n".join([headline(comparison), *comparison.warnings, *wording.how_sure(comparison)])
    return "\n".join(
        (
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<testsuites name="hookreel diff" {counts}>',
            f'<testsuite name="hookreel diff" {counts}>',
            *cases,
            f"  <system-out>{_text(said)}</system-out>",
            "</testsuite>",
            "</testsuites>\n",
        )
    )


def _case(endpoint: EndpointResult) -> str:
    head = f'  <testcase classname="hookreel diff" name="{_text(endpoint.endpoint)}" time="0"'
    said = wording.what_changed(endpoint)
    notes = "\n".join(wording.notes_of(endpoint))
    if endpoint.verdict in _FAILURES:
        failure = f'<failure message="{_text(said)}" type="{endpoint.verdict}">{_text(notes)}</failure>'
        return f"{head}>\n    {failure}\n  </testcase>"
    if endpoint.verdict is Verdict.INCONCLUSIVE:
        said = f"INCONCLUSIVE: {said}"
        return f'{head}>\n    <skipped message="{_text(said)}"/>\n  </testcase>'
    out = "\n".join(filter(None, (f"{endpoint.verdict}: {said}", notes)))
    return f"{head}>\n    <system-out>{_text(out)}</system-out>\n  </testcase>"


def _objectives(comparison: Comparison) -> Iterator[str]:
    """A case for each objective, by the words in which it was asked for."""
    for result, line in zip(comparison.objectives, wording.objective_lines(comparison), strict=True):
        name, said = _text(result.objective.text), _text(line)
        inside = {
            Proof.MISSED: f'<failure message="{said}" type="MISSED"/>',
            Proof.NOT_PROVEN: f'<skipped message="{said}"/>',
            Proof.MET: f"<system-out>{said}</system-out>",
        }[result.proof]
        head = f'  <testcase classname="hookreel diff objectives" name="{name}" time="0">'
        yield f"{head}\n    {inside}\n  </testcase>"


def _text(text: str) -> str:
    """Printable characters only, all of which XML 1.0 may hold, and escaped; line breaks stay."""
    return escape(clean(text, keep="\n"))
