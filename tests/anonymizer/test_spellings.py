"""Other spellings of a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.detectors.base import Kind
from anonymizer.spellings import Phrase, Spelling, folded, phrase_spellings, spellings


@given(st.binary() | st.text().map(str.encode))
def test_folding_moves_no_byte(text: bytes) -> None:
    """A folded text has the size of the text, and folding it again changes nothing."""
    assert len(folded(text)) == len(text)
    assert folded(folded(text)) == folded(text)


@pytest.mark.parametrize("text", ["ÀÉÎÕÜ", "ЖЕНЯ", "ΣΟΦΙΑ", "Ødegaard", "ŁUKASZ"])
def test_letters_of_other_alphabets_fold(text: str) -> None:
    """Case makes no difference outside of ASCII either."""
    assert folded(text.upper().encode()) == folded(text.lower().encode())


@pytest.mark.parametrize(
    ("kind", "raw", "new", "expected"),
    [
        (Kind.NAME, "josé", b"carl", {"jose": b"carl", "jose\u0301": b"carl"}),
        (
            Kind.NAME,
            "o'brienna",
            b"carl",
            {"obrienna": b"carl", "o\u2019brienna": b"carl", "brienna": b"carl"},
        ),
        (Kind.USERNAME, "a.be-c", b"x.yz-q", {"abec": b"xyzq", "a_be_c": b"x_yz_q"}),
        (Kind.IP, "10.1.2.3", b"10.9.8.7", {"10-1-2-3": b"10-9-8-7"}),
        (Kind.NATIONAL_ID, "L01-X00 t47", b"q99-z88 y77", {"l01x00t47": b"Q99Z88Y77"}),
        (Kind.TOKEN, "s%3Aab", b"q%3Azz", {"s:ab": b"q:zz"}),
        (
            Kind.DOMAIN,
            "acme-labs.com",
            b"qwer-labs.example.com",
            {"acme-labs": b"qwer-labs", "acme": b"qwer"},
        ),
        (Kind.DOMAIN, "bücher.de", b"qwerty.example.com", {"xn--bcher-kva.de": b"qwerty.example.com"}),
    ],
)
def test_spellings_and_their_stand_ins(kind: Kind, raw: str, new: bytes, expected: dict[str, bytes]) -> None:
    """Each other spelling comes with the stand-in spelled alike."""
    found = {spelling.text.decode(): spelling.new for spelling in spellings(kind, raw.encode(), new)}
    assert expected.items() <= found.items()


def test_subdomains_have_no_labels_but_their_own() -> None:
    """The label of a registered domain comes with it alone, those below it where they change."""
    assert list(spellings(Kind.DOMAIN, b"mail.acme-labs.com", b"mail.qwer-labs.example.com")) == []
    found = list(spellings(Kind.DOMAIN, b"zurbrugg.eu.acme.com", b"qkwertzu.eu.qwer.example.com"))
    assert found == [Spelling(b"zurbrugg", b"qkwertzu", part=True)]


def test_phrases_copy_the_case_of_each_word() -> None:
    """Every separator is tried, and each word's stand-in is in the case of that word."""
    found = dict(phrase_spellings((b"Mona", b"O'Lisa"), (b"carl", b"stone")))
    assert {b"mona o'lisa", b"mona-o-lisa", b"mona_olisa", b"monao'lisa", b"o'lisa, mona"} <= found.keys()
    assert found[b"mona-o-lisa"].spelled_as(b"MONA-O-Lisa") == b"CARL-Stone"
    assert found[b"monao'lisa"].spelled_as(b"MonaO'Lisa") == b"CarlStone"
    assert found[b"o'lisa, mona"] == Phrase((6, 4), (b"stone", b"carl"), b", ")
