"""The page of a capture: whole, safe to open, readable without anything else."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from captures.model import Counters, Provenance
from captures.reader import CaptureReader
from hookreel.account import CaptureAccount, EndpointAccount, account_of
from hookreel.info_html import MOST_ENDPOINTS, page_of
from hookreel.timeline import MessageSteps, Traffic

EVIL = '<script>alert(1)</script>"><img src=http://evil.example/x onerror=alert(1)>\x1b[31m\u202e'


@pytest.fixture
def account(capture: Path) -> CaptureAccount:
    """The account of the small capture."""
    with CaptureReader.open(capture) as reader:
        return account_of(reader)


class Page(HTMLParser):
    """Every tag with its attributes, and whether all were closed in order."""

    VOID = frozenset({"meta", "br", "rect", "line", "path"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_well_formed_and_shows_the_account(account: CaptureAccount) -> None:
    """All tags are closed in order; counts, endpoints and streams are there."""
    page = Page(page_of("small.reel", account))
    text = " ".join(page.text)
    assert page.open == []
    assert "small.reel" in text
    assert "Seen: 4 exchanges" in text
    assert "GET /api/runs/{id}" in text
    assert "HTTP/1.1 in the clear" in text
    assert "not anonymized" in text
    assert "github" in text
    assert "s3cr3t" not in text


def test_nothing_is_loaded_and_nothing_runs(account: CaptureAccount) -> None:
    """No script, no style attribute, no address of anything; the policy allows the one style sheet."""
    text = page_of("small.reel", account)
    page = Page(text)
    assert {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "a", "form", "object"} == set()
    for _, attributes in page.tags:
        assert not {"style", "src", "href", "action"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policies = [
        attributes["content"]
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == [
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]


def test_names_from_traffic_stay_text(account: CaptureAccount) -> None:
    """Whatever a path, source or file is called, it adds no tag and no control character."""
    evil = replace(
        account,
        header=replace(
            account.header, source=EVIL, tool=EVIL, anonymized=Provenance(policy=EVIL, key_fingerprint="k")
        ),
        endpoints=(replace(account.endpoints[0], endpoint=EVIL),),
        problems=(EVIL,),
        protocols={EVIL: 1},
        busiest=(replace(account.busiest[0], http_version=EVIL, scheme=EVIL),),
        credentials={EVIL: 1},
        signing={EVIL: 1},
    )  # fmt: skip
    text = page_of(EVIL, evil)
    before = {tag for tag, _ in Page(page_of("x", account)).tags}
    assert {tag for tag, _ in Page(text).tags} - before <= {"ul", "li"}
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_charts_say_in_words_what_they_show(account: CaptureAccount) -> None:
    """Each chart is an image with a label, and each column has its numbers for the pointer."""
    page = Page(page_of("small.reel", account))
    charts = [attributes for tag, attributes in page.tags if attributes.get("class") == "chart"]
    assert len(charts) == 3
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert "1 failed" in charts[0]["aria-label"]
    assert any("below 400" in text for text in page.text)
    numbers = [value for _, attributes in page.tags for value in attributes.values() if value]
    assert "nan" not in " ".join(numbers)


def test_many_endpoints_are_cut_with_a_word(account: CaptureAccount) -> None:
    """A page stays of a size that opens; what is left out is counted."""
    one = EndpointAccount(
        endpoint="GET /x", exchanges=1, statuses={200: 1}, request_bytes=0, response_bytes=0
    )
    many = tuple(replace(one, endpoint=f"GET /{number}") for number in range(MOST_ENDPOINTS + 7))
    text = page_of("many", replace(account, endpoints=many, signing={}))
    assert text.count("GET /") == MOST_ENDPOINTS
    assert "7 more" in text


def test_an_empty_capture_has_a_page(account: CaptureAccount) -> None:
    """No exchange: account and origin, no charts."""
    nothing = np.empty(0, np.int64)
    empty = replace(
        account,
        exchanges=0, connections=0, duration_ns=0, counters=Counters(), service_time_ns={}, endpoints=(),
        protocols={}, busiest=(), credentials={}, signing={},
        traffic=Traffic(
            span_ns=0, offset_ns=nothing, status=nothing.astype(np.uint16), service_ns=nothing,
            messages=MessageSteps(first_ns=0, span_ns=0),
        ),
    )  # fmt: skip
    text = page_of("empty.reel", empty)
    assert Page(text).open == []
    assert '<svg class="chart"' not in text
    assert "Seen: 0 exchanges" in text


def test_lost_exchanges_are_said_first(account: CaptureAccount) -> None:
    """A loss stands in the head, not only in a table."""
    lost = replace(account, counters=Counters(seen=9, written=4, dropped=5))
    head = page_of("x", lost).split("<section>")[0]
    assert "5 exchanges lost" in head
