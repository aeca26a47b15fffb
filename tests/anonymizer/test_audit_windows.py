"""Looking for very many texts at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anonymizer.audit_windows import ROW_BYTES, Rows, Windows

LETTERS = st.binary(min_size=5, max_size=40) | st.text("ab", min_size=5, max_size=16).map(str.encode)


@given(
    texts=st.lists(LETTERS, max_size=8),
    pieces=st.lists(st.binary(max_size=20) | st.integers(0, 7) | st.text("ab", max_size=9), max_size=20),
)
def test_windows_find_what_a_plain_search_finds(texts, pieces):
    """Every place of every text's head is found, at the edges and overlapping too, and nothing else."""
    data = b"".join(
        piece.encode()
        if isinstance(piece, str)
        else piece
        if isinstance(piece, bytes)
        else b"".join(texts[piece : piece + 1])
        for piece in pieces
    )
    expected = set()
    for number, text in enumerate(texts):
        place = data.find(text[:ROW_BYTES])
        while place >= 0:
            expected.add((place, number))
            place = data.find(text[:ROW_BYTES], place + 1)
    found = Windows(Rows.of(texts, list(range(len(texts))))).find(data)
    assert sorted(found) == sorted(expected)


def test_windows_that_many_texts_share_are_all_compared():
    """Texts that begin alike are told apart, however many they are and however often they stand there."""
    texts = [b"they all begin like this: %05d" % number for number in range(3_000)]
    found = Windows(Rows.of(texts, list(range(3_000)))).find(b" ".join(texts[:200]) + b" they all begin")
    assert [owner for _, owner in sorted(found)] == list(range(200))


def test_bytes_are_translated_to_the_spelling_of_the_texts():
    """A table says how the bytes are read, for instance in lower case."""
    windows = Windows(Rows.of([b"quentin"], [7]), bytes(range(256)).lower())
    assert windows.find(b"by QuenTin") == [(3, 7)]


def test_without_texts_nothing_is_found():
    """No rows, and no bytes, are no mistake."""
    assert Windows(Rows.of([], [])).find(b"anything") == []
    assert Windows(Rows.of([b"quentin"], [0])).find(b"") == []
