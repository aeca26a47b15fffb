"""What one document teaches about others: which numbers pass, and what differs in what is learned."""

from __future__ import annotations

import pytest

from anonymizer.detectors.base import Kind
from anonymizer.document import Labels, Outcome
from anonymizer.lessons import Lesson, number_passes
from anonymizer.literals import Literals
from anonymizer.policy import Policy
from anonymizer.pseudonyms import PseudonymTable
from captures.bodies.edits import Edit
from captures.keys import Prf


def literals() -> Literals:
    prf = Prf(b"a key for tests, 32 bytes long..")
    table = PseudonymTable(prf, Policy())
    table.add(Kind.PHONE, b"4155552671")
    table.freeze()
    return Literals(table, Policy())


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        (b"12", True),
        (b"4155552670", True),
        (b"4155552671", False),
        (b"4155552670123", False),
        (b"0155552670", False),
        (b"-155552670.5", False),
    ],
)
def test_numbers_pass_that_are_plain_and_not_known(text: bytes, *, passes: bool) -> None:
    """A long number passes where it has at most twelve digits and is nobody's phone or card."""
    assert number_passes(text, literals()) is passes


def test_a_lesson_has_holes_for_what_may_differ() -> None:
    """Numbers and slots come from the new document, numbers that tell and replaced strings do not."""
    data = b'{"a\\\\b":"octocat","n":12,"lat":1.25,"note":"x \\"7\\""}'
    rest = b'{":",":12,":1.25,":"}'
    asked: list[tuple[bytes, ...]] = []

    def outcomes(texts: tuple[bytes, ...]) -> list[Outcome]:
        asked.append(texts)
        return [(text.upper(), ("word",)) for text in texts]

    def told(labels: tuple[Labels, ...]) -> None:
        assert labels == (("word",),)

    same: list[Outcome] = [(text, ()) for text in (b"a\\\\b", b"someone", b"n", b"lat", b"note", b"")]
    lesson = Lesson(
        data=data,
        forms=[None, {}, None, None, None, {}],
        telling=frozenset({1}),
        outcomes=same,
        edits=[Edit(rest.index(b"1.25"), rest.index(b"1.25") + 4, b"7.75")],
        slots=frozenset({5}),
    )
    template = lesson.template(literals(), told, outcomes)  # type: ignore[arg-type]
    other = data.replace(b":12,", b":34,").replace(b'x \\"7', b'x \\"9')
    found = template.filled(other, literals())
    assert found is not None
    assert found[0] == b'{"a\\\\b":"someone","n":34,"lat":7.75,"note":"X \\"9\\""}'
    assert asked == [(b'x \\"9\\"',)]
    assert template.filled(data.replace(b"1.25", b"1.26"), literals()) is None
    assert template.filled(data.replace(b'"x ', b'"" '), literals()) is None
    assert len(asked) == 1
