"""Documents that differ in what passes alone are filled in; all others are left to a closer look."""

from __future__ import annotations

import hashlib
import re

import pytest

from anonymizer import templates
from anonymizer.detectors.base import Kind
from anonymizer.document import HEX_BYTES
from anonymizer.literals import Literals
from anonymizer.policy import Policy
from anonymizer.pseudonyms import PseudonymTable
from anonymizer.templates import Hole, Span, Template, Templates, alike
from captures.keys import Prf

PRF = Prf(b"a key for tests, 32 bytes long..")
SHA = b"6113728f27ae82c7b1a177c8d03f9e96e0adf246"
DATA = b'{"a":"octocat","n":12,"at":"2019-05-15T15:20:18Z","url":"https://x.io/12/%b","t":1234567890}' % SHA
HOLES = re.compile(rb"(?<=:)\d+|/12(?=/)|/%b|\"2019[^\"]*" % SHA)
STRINGS = re.compile(rb'"(?:2019|https)[^"]*')


def known(*values: tuple[Kind, bytes]) -> Literals:
    table = PseudonymTable(PRF, Policy())
    for kind, value in values:
        table.add(kind, value)
    table.freeze()
    return Literals(table, Policy())


def template(literals: Literals | None = None, data: bytes = DATA) -> Template:
    spans = [
        Span(*match.span(), Hole.HASH if len(match[0]) in HEX_BYTES else Hole.NUMBER)
        for match in HOLES.finditer(data)
    ]
    windows = [match.span() for match in STRINGS.finditer(data)]
    new = HOLES.sub(b"\x02", data).replace(b"octocat", b"someone")
    return Template(data, spans, windows, new, literals, lambda _: None, lambda _: [])


OTHER = (
    DATA.replace(SHA, SHA[::-1])
    .replace(b":12,", b":70,")
    .replace(b"/12/", b"/99/")
    .replace(b"05-15", b"06-16")
    .replace(b"1234567890", b"9876543210")
)


def test_what_passes_is_filled_in() -> None:
    """Numbers, times and hashes come out where they stood, the rest as it came out before."""
    assert alike(OTHER) == alike(DATA)
    assert template(known()).filled(OTHER, known()) == (OTHER.replace(b"octocat", b"someone"), None)
    assert template().filled(OTHER, None) == (OTHER, None)


@pytest.mark.parametrize(
    "other",
    [
        DATA.replace(b"octocat", b"octofat"),
        DATA.replace(b"/12/", b"/1a/"),
        DATA.replace(b"/12/", b"/02/"),
        DATA.replace(b"/12/", b"/123/"),
        DATA.replace(b":12,", b":1f,"),
        DATA.replace(b"2019-", b"201e-"),
        DATA.replace(b"1234567890", b"0234567890"),
        DATA.replace(SHA, SHA.upper()),
        DATA.replace(SHA, b"jane.doe@corp.io,abc".hex().encode()),
        DATA[:-1],
        DATA + b" ",
        b"",
    ],
)
def test_whatever_else_differs_has_no_answer(other: bytes) -> None:
    """Another word, another class, a leading zero or text in hex is none of a template's business."""
    assert template().filled(other, None) is None


@pytest.mark.parametrize(
    ("kind", "value", "other"),
    [
        (Kind.USERNAME, b"octocat-1", DATA.replace(SHA, hashlib.sha1(b"octocat-1").hexdigest().encode())),
        (Kind.PHONE, b"4155552671", DATA.replace(b"1234567890", b"4155552671")),
        (Kind.USERNAME, b"facade77", DATA.replace(SHA, b"facade77" + SHA[8:])),
        (Kind.USERNAME, b"x.io/99", DATA.replace(b"/12/", b"/99/")),
    ],
)
def test_a_known_value_in_a_hole_has_no_answer(kind: Kind, value: bytes, other: bytes) -> None:
    """A value that is known by itself, by its hash or with what is beside it is looked at more closely."""
    literals = known((kind, value))
    learned = template(literals)
    assert learned.filled(OTHER.replace(b"/99/", b"/98/"), literals) is not None
    assert learned.filled(other, literals) is None


def test_a_document_is_worth_learning_when_it_comes_again() -> None:
    """The first one is not, and the pass after this one knows which ones came again."""
    repeated: set[int] = set()
    first = Templates(repeated)
    assert [first.wants(number, 9) for number in (1, 2, 1, 1)] == [False, False, True, True]
    second = Templates(repeated)
    assert [second.wants(number, 9) for number in (1, 2)] == [True, False]
    assert not second.wants(1, 2**30)


def test_the_least_used_templates_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for two the one that was asked for last stays beside the new one."""
    monkeypatch.setattr(templates, "_MAX_BYTES", 2 * template().size_bytes)
    kept = Templates(set())
    for number in (1, 2):
        kept.put(number, template())
    assert kept.get(1) is not None
    kept.put(3, template())
    assert [kept.get(number) is not None for number in (1, 2, 3)] == [True, False, True]
