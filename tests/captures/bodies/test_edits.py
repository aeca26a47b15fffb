"""Edits, and the way back from decoded text."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies.edits import Edit, Unescaped, splice, without_overlaps

PERCENT = re.compile(rb"%([0-9A-F]{2})")


def unescaped(raw: bytes) -> Unescaped:
    return Unescaped(raw, PERCENT, lambda match: bytes.fromhex(match[1].decode()))


def test_edits_are_made_at_their_places() -> None:
    """Insertions, deletions and replacements leave all other bytes alone."""
    edits = [Edit(4, 4, b"+"), Edit(0, 1, b"A"), Edit(5, 6, b"")]
    assert splice(b"abcdef", edits) == b"Abcd+e"
    assert Edit(1, 2, b"x", "y").moved(3) == Edit(4, 5, b"x", "y")


@pytest.mark.parametrize("edits", [[Edit(0, 2, b""), Edit(1, 3, b"")], [Edit(5, 9, b"")], [Edit(2, 1, b"")]])
def test_impossible_edits_are_refused(edits: list[Edit]) -> None:
    """Overlapping edits and ones outside of the data are errors, never silent."""
    with pytest.raises(ValueError, match="overlaps"):
        splice(b"abcdef", edits)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)).map(lambda e: Edit(e[0], e[0] + e[1], b""))))
def test_overlaps_are_settled(edits: list[Edit]) -> None:
    """What stays does not overlap, each edit left out overlaps one that is no shorter, and all of it goes."""
    chosen = without_overlaps(edits)
    assert all(one.stop <= other.start for one, other in pairwise(chosen))
    for edit in edits:
        if edit not in chosen:
            assert any(
                other.start < edit.stop
                and edit.start < other.stop
                and other.stop - other.start >= edit.stop - edit.start
                for other in chosen
            )
    covered = {place for edit in chosen for place in range(edit.start, edit.stop)}
    assert covered == {place for edit in edits for place in range(edit.start, edit.stop)}
    for edit in chosen:
        assert edit in edits or edit.new == b"x" * (edit.stop - edit.start)


@given(st.lists(st.sampled_from([b"a", b"bc", b"%41", b"%C3%A9"]), max_size=12), st.data())
def test_spans_lead_back_to_raw_bytes(parts: list[bytes], data: st.DataObject) -> None:
    """A span of whole characters in the text is the same span of raw pieces."""
    texts = [bytes.fromhex(part.replace(b"%", b"").decode()) if b"%" in part else part for part in parts]
    start = data.draw(st.integers(0, len(parts)))
    stop = data.draw(st.integers(start, len(parts)))
    result = unescaped(b"".join(parts))
    assert result.text == b"".join(texts)
    assert result.changed == any(b"%" in part for part in parts)
    if stop > start:
        text_span = len(b"".join(texts[:start])), len(b"".join(texts[:stop]))
        raw_span = len(b"".join(parts[:start])), len(b"".join(parts[:stop]))
        assert result.raw_span(*text_span) == raw_span


def test_edits_lead_back_too() -> None:
    """An edit of the text becomes one of the raw bytes, spelled as the caller escapes."""
    edits = unescaped(b"x%41y").raw_edits([Edit(1, 2, b"B", "why")], lambda new, raw: raw + new)
    assert edits == [Edit(1, 4, b"%41B", "why")]
