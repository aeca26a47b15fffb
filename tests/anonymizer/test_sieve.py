"""Texts are sorted by what may be found in them."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.detectors.base import Context, Kind
from anonymizer.literals import Literals
from anonymizer.policy import Policy
from anonymizer.pseudonyms import PseudonymTable
from anonymizer.scrubber import Scrubber
from anonymizer.sieve import Sieve
from captures.keys import Prf

DULL = b"https://api.github.com/repos/octocat/Hello-World"
PRF = Prf(b"a key for tests, 32 bytes long..")
PARTS = [
    b"jane.doe@corp.io", b"@", b"git@corp.io:jane/x", b"jane@corp.io:", b"4155552671", b"+1 415 555 2671",
    b"0041 44 668 18 00", b"756.9217.0769.85", b"/12345678", b"/12345678Z", b"/123-45-6789", b"123456/7890",
    b"12/345", b"4111111111111111", b"192.168.17.4", b"fe80::1:2", b"00:1b:44:11:3a:b7", b"https://",
    b"//jane:pw@", b"x.io", b"/", b"?", b"&", b"=", b"#", b"login=", b"?login=jdoe77", b"?v=4",
    b"?v=4155552671", b"password=hunter2hunter2", b"ghp_16C7e42F292c6912E7710c838347Ae178B4a", b"%20",
    b"&amp;", b"=3D=40", b"=20", b" ", b"-", b"_", b"\n", base64.b64encode(b"jane.doe@corp.io"),
    base64.b64encode(b"jdoe77 is it"), base64.b32encode(b"jane.doe@corp.io"),
    b"jane.doe@corp.io".hex().encode(), base64.b85encode(b"jane.doe@corp.io"), b"Grwpwrgtsk", b"lower",
    b"Word", b"<name>Jane Doe</name>", b"<a login=jdoe77>", b"{user(login: jdoe77)}", b"query ",
    b"ssn 078-05-1120", b"geo:48.2,16.4", b"0b0ba8a6-77a3-4f5a-b25b-cb1e0a6d1f5e",
    b"DE89370400440532013000", b"\xe2\x80\x8b", b"born 1970-01-02",
]  # fmt: skip


@pytest.mark.parametrize(
    "value", [b"jane.doe@corp.io", b"+1 415 555 2671", b"4111111111111111", b"192.168.17.4"]
)
def test_values_are_told_by_their_shape(value: bytes) -> None:
    """What a detector may find has to be looked at, whatever stands beside it."""
    found = Sieve(None).sort([DULL, b"see " + value, DULL])
    assert found.valued == {1}
    assert not {0, 2} & found.layered


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(b"jane doe"),
        b"https://x.io/v1/" + base64.urlsafe_b64encode(b"jane.doe and others"),
        b"jane%20doe",
        b"jane &amp; doe",
        rb"jane \u00e9",
        b"jane doe, of no interest".hex().encode(),
        base64.b32encode(b"jane doe"),
    ],
)
def test_texts_inside_are_told_by_their_encodings(text: bytes) -> None:
    """A text in an encoding has to be looked at, alone and as a part of a path; others need not be."""
    found = Sieve(None).sort([DULL, text, b"", DULL])
    assert found.layered == {1}


def test_the_same_word_is_told_at_each_of_its_places() -> None:
    """What was sorted once is sorted alike the next time, and in every text that holds it."""
    sieve = Sieve(None)
    text = base64.b64encode(b"jane doe is here")
    for _ in range(2):
        assert sieve.sort([text, DULL, b"a " + text]).layered == {0, 2}
        assert sieve.sort([b"\x00\x10\x83AAAA", DULL]).layered == set()


def test_a_word_inside_a_longer_one_is_another_word() -> None:
    """What stands for a text alone tells nothing of the words that it is a part of."""
    word = base64.b64encode(b"jane.d")
    assert Sieve(None).sort([word, b"https://x.io/a" + word + b"b", b"x" + word]).layered == {0}


@pytest.mark.parametrize(
    "text",
    [
        b"<user><name>Jane Doe</name></user>",
        b" <login>jdoe77</login>",
        b"query { user(login: 7) { name } }",
        b"{ user(name: 7) { id } }",
        b"https://x.io/?login=jdoe77",
        b"jane=40corp.io",
        b"=?utf-8?q?jane?=",
        b"MRUWG23FPE======",
        b"ssh://jane@host/path",
        (b"A" * 40 + b"\n") * 2,
    ],
)
def test_documents_and_queries_in_a_text_are_told(text: bytes) -> None:
    """Markup, GraphQL, values of queries and lines of base64 are texts inside a text."""
    assert 1 in Sieve(None).sort([DULL, text, DULL]).layered


@pytest.mark.parametrize(
    "secret",
    [b"HRKU-AA" + b"aB3dE6gH" * 7 + b"xY", b"rdme_" + b"a1b2c3d4e5" * 7, b"p8e-" + b"k1l2m3n4" * 4],
    ids=["Heroku", "ReadMe", "Prefect"],
)
def test_secrets_are_told_where_their_text_ends(secret: bytes) -> None:
    """A family whose secrets end with a line or a text is told in the middle of many texts too."""
    for texts in ([DULL, secret, DULL], [secret], [DULL, DULL, b"is " + secret]):
        assert Sieve(None).sort(texts).valued == {next(at for at, text in enumerate(texts) if text != DULL)}


def test_known_values_in_other_texts_come_with_their_places() -> None:
    """Each text has the replacements of its own values, of two that overlap the longer one."""
    table = PseudonymTable(PRF, Policy())
    for kind, value in (
        (Kind.USERNAME, b"jdoe77-a"),
        (Kind.DOMAIN, b"corp-a.io"),
        (Kind.USERNAME, b"a.corp-a.io"),
    ):
        table.add(kind, value)
    table.freeze()
    texts = [DULL, b"x/jdoe77-a/jdoe77-a", DULL, b"see a.corp-a.io and corp-a.io", b"jane@corp.io jdoe77-a"]
    found = Sieve(Literals(table, Policy())).sort(texts)
    assert found.valued == {4}
    spans = {at: [(edit.start, edit.stop) for edit in edits] for at, edits in found.edits.items()}
    assert spans == {1: [(2, 10), (11, 19)], 3: [(4, 15), (20, 29)]}


def test_hashes_of_known_values_in_base64_are_told() -> None:
    """A digest of a login has to be looked at, in either alphabet."""
    table = PseudonymTable(PRF, Policy())
    table.add(Kind.USERNAME, b"jdoe77-a")
    table.freeze()
    sieve = Sieve(Literals(table, Policy()))
    for algorithm in (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512):
        digest = algorithm(b"jdoe77-a").digest()
        for text in (base64.b64encode(digest), base64.urlsafe_b64encode(digest).rstrip(b"=")):
            assert sieve.sort([DULL, b"see " + text]).layered == {1}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map(b"".join), min_size=1, max_size=5)
)
def test_nothing_is_found_in_what_needs_no_look(texts: list[bytes]) -> None:
    """What is left out for its sort holds no value of its own, and no text with one."""
    found = Sieve(None).sort(texts)
    for at, text in enumerate(texts):
        tables = [PseudonymTable(PRF, Policy()) for _ in range(2)]
        whole, sorted_out = (Scrubber(PRF, Policy(), table) for table in tables)
        whole.text(text, Context())
        sorted_out.text(text, Context(), valued=at in found.valued, layered=at in found.layered)
        assert tables[0].spellings == tables[1].spellings
