"""The filter that tells which originals may be there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.audit_filter import Filter
from anonymizer.audit_sieve import Sought
from anonymizer.encodings import patterns_of

VALUES = st.one_of(
    st.binary(min_size=5, max_size=40),
    st.text(min_size=5, max_size=24).map(lambda text: text.encode("utf-8", "replace")),
    st.from_regex(r"[A-Za-z]{2,9}[ ._-][a-z]{1,9}@[a-z]{3,9}\.com", fullmatch=True).map(str.encode),
    st.from_regex(r"\+[1-9][0-9]{2}[ -][0-9]{3}[ -]?[0-9]{4}", fullmatch=True).map(str.encode),
    st.from_regex(r"[A-Za-z0-9]{20,40}", fullmatch=True).map(str.encode),
).filter(lambda value: len(value) >= 5)


@settings(max_examples=50)
@given(
    values=st.lists(VALUES, min_size=1, max_size=4),
    before=st.binary(max_size=20),
    after=st.binary(max_size=20),
    data=st.data(),
)
def test_every_spelling_of_the_table_is_seen(values, before, after, data):
    """No spelling of any encoding escapes the filter, wherever it stands in the bytes."""
    originals = Filter(list(enumerate(values)), [])
    number = data.draw(st.integers(0, len(values) - 1))
    spellings = [text for text, _ in patterns_of(values[number])]
    text = data.draw(st.sampled_from(spellings))
    assert number in {owner for _, owner in originals.find(before + text + after)}


@pytest.mark.parametrize(
    "value",
    [b"Jan\xc3\xa9 D\xc5\x93+7/?~?~?@Corp-Nine.test", b"x7-Kq", b"+1 (415) 555-2671", b"please", b"q" * 300],
)
def test_values_of_every_kind_are_seen_in_all_their_spellings(value):
    """Short, long, spaced and accented values are seen in each of their spellings."""
    originals = Filter([(3, value)], [])
    for text, encoding in patterns_of(value):
        assert {owner for _, owner in originals.find(b"x" + text)} == {3}, encoding.name


def test_a_field_is_seen_hashed_only():
    """What stood around an original is looked for by its digests."""
    field = b"Quentin of Corp-Nine"
    fields = Filter([], [(5, field)])
    for text, _ in Sought({}, {5: field}).patterns(5):
        assert {owner for _, owner in fields.find(b"=" + text + b"=")} == {5}
    assert list(fields.find(field)) == []


def test_what_is_not_there_is_seldom_seen():
    """Of a thousand values none is seen in other text."""
    originals = Filter(
        [(number, b"someone-%d@corp-%d.test" % (number, number)) for number in range(1_000)], []
    )
    assert list(originals.find(b"nobody of them stands in these few words " * 100)) == []
