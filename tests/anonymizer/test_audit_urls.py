"""URLs compared segment by segment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.audit_urls import PLAIN_URL, changed_segments

SEGMENTS = st.lists(st.sampled_from([b"quentin-77", b"someone-01", b"repos", b"", b"quentin"]), max_size=5)


@given(paths=st.lists(st.tuples(SEGMENTS, SEGMENTS), max_size=5))
def test_all_urls_together_differ_in_what_each_differs_in(paths):
    """What is told of many URLs at once is what a comparison one by one tells, each pair once."""
    urls = [tuple(b"/".join((b"https://api.test", *side)) for side in path) for path in paths]
    expected: list[tuple[bytes, bytes]] | None = []
    for before, after in paths:
        if len(before) != len(after) or any(len(a) < 6 for a, b in zip(before, after, strict=True) if a != b):
            expected = None
            break
        expected += [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    found = changed_segments(urls, 6)
    assert found == (None if expected is None else list(dict.fromkeys(expected)))


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (b"https://api.github.com/repos/octocat", True),
        (b"http://localhost:8080/", True),
        (b"https://a.test/?q=1", False),
        (b"https://a.test/x%20y", False),
        (b"https://user@a.test/", False),
        (b"https://a.test/#top", False),
        (b"see https://a.test/", False),
    ],
)
def test_a_plain_url_has_segments_alone(text, plain):
    """A query, a fragment, an escape or a user makes a URL one that words are taken from."""
    assert (PLAIN_URL.fullmatch(text) is not None) == plain
