"""Text as a part of a page: it is all there, it breaks out of nothing, and it keeps its order."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.text import clean
from replayer.review.report.html_text import escaped, isolated


@given(st.text(max_size=60))
def test_isolation_adds_tags_and_nothing_else(text):
    """A property over any text: without the tags it is the escaped text, and unescaped the text itself."""
    assert re.sub("</?bdi>", "", isolated(text)) == escaped(text)
    assert unescape(escaped(text)) == clean(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /plain/{id}", "GET /plain/{id}"),
        ("GET /مرحبا بالعالم/123", "GET /<bdi>مرحبا بالعالم</bdi>/123"),
        ("$.تحية[*].שם", "$.<bdi>تحية</bdi>[*].<bdi>שם</bdi>"),
        ("/注文/🚀", "/注文/🚀"),
        ("<b>שם</b>", "&lt;b&gt;<bdi>שם</bdi>&lt;/b&gt;"),
    ],
)
def test_each_run_of_words_from_right_to_left_is_isolated(text, shown):
    """Words with a blank between them are one run; what separates segments is none."""
    assert isolated(text) == shown
    assert isolated(text, tag="tspan") == shown.replace("bdi", "tspan")


def test_long_text_is_cut_in_its_middle():
    """The start and the end say what it is about."""
    assert escaped("a" * 500 + "end", 21) == "aaaaaaaaa...aaaaaaend"
    assert len(escaped("é" * 5_000)) == 120
    assert "<bdi>" in isolated("ש" * 500)
