"""Literals of GraphQL documents: those of the reference lexer, at offsets, with their arguments."""

from __future__ import annotations

import pytest
from graphql import Lexer, Source, TokenKind
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies.graphql import GraphqlRole, looks_like_graphql, scan

DOCUMENT = b"""
# by Ann
query Find($email: String = "jane@corp.com", $n: Int = 5) {
  user(email: "jane.doe@corp.com", phone: 14155550100, tags: ["a\\"b", "c"]) { name }
  note(input: {first_name: "Jane", bio: \"\"\"She said \\\"\"\" twice\"\"\"}) @skip(if: true) { id }
}
"""
PIECES = st.lists(
    st.sampled_from(
        [
            "query Q ",
            "{",
            "}",
            "(",
            ")",
            "name",
            ": ",
            '"text"',
            '"a\\"b"',
            '"""block"""',
            "12.5",
            "-3",
            "# c\n",
            "$v",
        ]
    ),
    max_size=20,
)


def by_the_lexer(text: str) -> list[tuple[str, int, int]]:
    """Literals and comments as graphql-core finds them."""
    lexer = Lexer(Source(text))
    wanted = {TokenKind.STRING, TokenKind.BLOCK_STRING, TokenKind.INT, TokenKind.FLOAT, TokenKind.COMMENT}
    found = []
    token = lexer.token
    while token.kind is not TokenKind.EOF:
        token = lexer.read_next_token(token.end)
        if token.kind in wanted:
            found.append((token.kind.value, token.start, token.end))
    return found


@given(PIECES)
def test_the_reference_lexer_finds_the_same(pieces: list[str]) -> None:
    """Every literal and comment of graphql-core is a leaf, less its quotes, and there are no others."""
    text = " ".join(pieces)
    quotes = {GraphqlRole.BLOCK: 3, GraphqlRole.STRING: 1, GraphqlRole.COMMENT: 1, GraphqlRole.NUMBER: 0}
    found = []
    for leaf in scan(text.encode()).leaves:
        wide = quotes[leaf.role]
        after = 0 if leaf.role is GraphqlRole.COMMENT else wide
        found.append((leaf.start - wide, leaf.stop + after))
    assert found == [(start, stop) for _, start, stop in by_the_lexer(text)]


def test_a_literal_knows_its_argument() -> None:
    """Arguments, variables and fields of inputs name the literals they are given."""
    document = scan(DOCUMENT)
    found = [(DOCUMENT[leaf.start : leaf.stop], leaf.key) for leaf in document.leaves]
    assert found == [
        (b" by Ann", b""),
        (b"jane@corp.com", b"email"),
        (b"5", b"n"),
        (b"jane.doe@corp.com", b"email"),
        (b"14155550100", b"phone"),
        (b'a\\"b', b"tags"),
        (b"c", b"tags"),
        (b"Jane", b"first_name"),
        (b'She said \\""" twice', b"bio"),
    ]
    (jane,) = [leaf for leaf in document.leaves if leaf.key == b"first_name"]
    assert document.names[jane.holder] == {b"first_name", b"bio"}


@given(st.binary(max_size=80))
def test_anything_is_taken(data: bytes) -> None:
    """Whatever the bytes are, leaves stand in order inside of them."""
    position = 0
    for leaf in scan(b'query { a(b: "' + data).leaves:
        assert position <= leaf.start <= leaf.stop <= len(data) + 14
        position = leaf.stop


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (DOCUMENT, True),
        (b"{ viewer { login } }", True),
        (b"{ user(id: 1) { login } }", True),
        (b"mutation ($a: String!) { b }", True),
        (b"fragment F on User { id }", True),
        (b'{"query": 1}', False),
        (b"{}", False),
        (b"query for something", False),
        (b"see (this)", False),
    ],
)
def test_documents_are_told_by_their_start(data: bytes, expected: bool) -> None:
    """An operation, a fragment or a bare selection is GraphQL; JSON and prose are not."""
    assert looks_like_graphql(data) is expected
