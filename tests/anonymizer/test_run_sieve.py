"""One scan tells which runs of letters stand for a text."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonymizer.run_sieve import heads_of_runs, texts_in_runs
from anonymizer.runs import BASE64, SEGMENT, holds_text

DULL = b"https://api.github.com/repos/octocat/Hello-World/issues{/number} "


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.binary(min_size=6, max_size=40) | st.text(min_size=6, max_size=20).map(str.encode), max_size=4
    )
)
def test_a_run_is_told_where_it_stands_for_a_text(contents: list[bytes]) -> None:
    """What a look at each run by itself finds is found at once, whatever bytes the runs stand for."""
    runs = [base64.urlsafe_b64encode(content).rstrip(b"=") for content in contents]
    joined = b"\x01".join([DULL, *runs])
    places = texts_in_runs(joined)
    told = {joined.count(b"\x01", 0, place - 1) for place in places}
    expected = {at for at, run in enumerate(runs, 1) if BASE64.fullmatch(run) and holds_text(run)}
    assert expected <= told
    assert all(any(map(holds_text, (runs[at - 1], *SEGMENT.findall(runs[at - 1])))) for at in told)


@pytest.mark.parametrize("head", [b"", b"see ", b"https://x.io/a/", b'{"a":"'])
def test_runs_are_told_wherever_they_stand(head: bytes) -> None:
    """At the start, after a sign and as a part of a path, in base64, base32 and base85."""
    text = b"jane.doe and others"
    for run in (base64.b64encode(text), base64.b85encode(text), base64.b32encode(text[:10])):
        joined = DULL + head + run + b" " + DULL
        places = texts_in_runs(joined)
        assert places
        assert all(len(DULL) < place <= len(DULL + head + run) for place in places)
    assert texts_in_runs(DULL * 3) == []


def test_heads_are_found_at_the_beginnings_of_long_runs() -> None:
    """A run that begins like a hash is told, a short one and one in the middle are not."""
    heads = frozenset({b"ab+/", b"cd-_"})
    assert heads_of_runs(b"x cd-_0123456789abcdef y", heads) == [3]
    assert heads_of_runs(b"x cd-_01 y xcd-_0123456789abcdef", heads) == []
