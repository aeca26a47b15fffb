"""The analysis: what counts as minted, and what chance, echoes and order rule out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from captures.model import Exchange, Response
from replayer.chain import Chains, find_chains

Make = Callable[..., Exchange]
MS = 1_000_000
ID = "run_4f81a9c2d3e0b7"


@pytest.fixture
def call(exchange: Make) -> Callable[..., Exchange]:
    """An exchange whose JSON answer is given; it takes 2 ms."""

    def make(
        seq: int, target: str, answer: object = None, *, at_ms: int | None = None, **more: object
    ) -> Exchange:
        offset_ns = (seq * 10 if at_ms is None else at_ms) * MS
        one = exchange(seq, offset_ns=offset_ns, target=target.encode(), **more)
        assert isinstance(one.outcome, Response)
        body = b"" if answer is None else json.dumps(answer).encode()
        return replace(one, outcome=replace(one.outcome, body=body, end_ns=offset_ns + 2 * MS))

    return make


def links(chains: Chains) -> list[tuple[int, int, str, list[str]]]:
    return [
        (seq, link.parent, link.place, [spot.place for spot in link.spots])
        for seq, found in sorted(chains.links.items())
        for link in found
    ]


def analyse(*exchanges: Exchange) -> list[tuple[int, int, str, list[str]]]:
    return links(find_chains(exchanges, lambda one: one.request.method.decode()))


def test_an_id_is_followed(call: Callable[..., Exchange]) -> None:
    """From the first answer that shows it to every later place."""
    found = analyse(
        call(0, "/runs", {"run": {"id": ID}}),
        call(1, f"/runs/{ID}", {"id": ID, "state": "queued"}),
        call(2, f"/logs?run={ID}"),
    )
    assert found == [(1, 0, "body.run.id", ["path.2"]), (2, 0, "body.run.id", ["query.run"])]


def test_what_the_client_said_first_is_its_own(call: Callable[..., Exchange]) -> None:
    """An echo of a request's value mints nothing, whoever said it."""
    assert analyse(
        call(0, f"/runs/{ID}", {"id": ID}), call(1, f"/runs/{ID}"), call(2, f"/runs/{ID}", connection=5)
    ) == []  # fmt: skip


def test_an_answer_that_came_too_late_is_no_parent(call: Callable[..., Exchange]) -> None:
    """A request that was under way before the answer was whole cannot have taken anything from it."""
    assert analyse(call(0, "/runs", {"id": ID}), call(1, f"/runs/{ID}", at_ms=1)) == []


def test_short_numbers_count_only_between_ids(call: Callable[..., Exchange]) -> None:
    """An id of 42 is taken to a path; a count of 42 is not taken to a page."""
    assert analyse(call(0, "/runs", {"id": 42}), call(1, "/runs/42")) == [(1, 0, "body.id", ["path.2"])]
    assert analyse(call(0, "/runs", {"count": 42}), call(1, "/runs?page=42")) == []
    assert analyse(call(0, "/runs", {"count": 42}), call(1, "/runs/42")) == []


@pytest.mark.parametrize(
    "value",
    ["2026-11-23", "2026-11-23T10:00:00Z", "1.25", "v1.2.3", "http://h.test/x1y2z3", "a1@b.test", "queued"],
)
def test_plain_data_is_not_minted(call: Callable[..., Exchange], value: str) -> None:
    """Dates, measures, versions, addresses and words come back for other reasons."""
    assert analyse(call(0, "/a", {"id": value}), call(1, f"/b?id={value}")) == []


def test_a_client_goes_by_the_answer_on_its_own_connection(call: Callable[..., Exchange]) -> None:
    """Two clients get the same ETag: each is tied to its own answer, not to the other's."""
    tagged = [replace(call(number, "/page", connection=number)) for number in range(2)]
    tagged = [
        replace(one, outcome=replace(one.outcome, headers=((b"ETag", b'"9f2c81aa00b7"'),))) for one in tagged
    ]
    again = [
        call(2 + number, "/page", connection=number, headers=((b"If-None-Match", b'"9f2c81aa00b7"'),))
        for number in range(2)
    ]
    assert analyse(*tagged, *again) == [
        (2, 0, "header.etag", ["header.etag"]),
        (3, 1, "header.etag", ["header.etag"]),
    ]


def test_a_look_comes_after_the_change(call: Callable[..., Exchange]) -> None:
    """A request about a minted thing waits for the last one that may have changed it; no look for a look."""
    found = analyse(
        call(0, "/orders", {"id": ID}, method=b"POST"),
        call(1, f"/orders/{ID}", method=b"PUT"),
        call(2, f"/orders/{ID}"),
        call(3, f"/orders/{ID}"),
    )
    minting = (0, "body.id", ["path.2"])
    assert found == [(1, *minting), (2, *minting), (2, 1, "", []), (3, *minting), (3, 1, "", [])]


def test_one_chance_meeting_is_no_rule(call: Callable[..., Exchange]) -> None:
    """A single value that most requests to the place do not carry is left alone."""
    others = [call(2 + number, f"/find?id=x{number}y{number}z{number}w") for number in range(5)]
    assert analyse(call(0, "/runs", {"id": ID}), call(1, f"/find?id={ID}"), *others) == []


def test_streams_and_failures_mint_nothing(call: Callable[..., Exchange]) -> None:
    """What has no end within the chain cannot be waited for."""
    stream = call(0, "/events", {"id": ID})
    assert isinstance(stream.outcome, Response)
    stream = replace(stream, outcome=replace(stream.outcome, stream=True))
    assert analyse(stream, call(1, f"/runs/{ID}")) == []
