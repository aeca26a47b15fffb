"""The plan of a review: the order of the replays, and what a budget buys."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import UsageError
from captures.units import NS_PER_S
from replayer.review.ledger import Noise
from replayer.review.plan import Side, floor_rows, order_of, prospect, size_for


@given(pairs=st.integers(3, 60), seed=st.integers(0, 2**40))
def test_every_pair_has_both_sides_and_neither_side_goes_first_more_often(pairs, seed):
    """Pairs stay together, and the sides that begin them differ by one at most."""
    turns = order_of(pairs, seed)
    assert [turn.pair for turn in turns] == [number for number in range(1, pairs + 1) for _ in range(2)]
    assert all(len({a.side, b.side}) == 2 for a, b in zip(turns[::2], turns[1::2], strict=True))
    first = Counter(turn.side for turn in turns[::2])
    assert abs(first[Side.BASELINE] - first[Side.CANDIDATE]) <= 1
    assert order_of(pairs, seed) == turns


def test_the_order_is_random():
    """Seeds give different orders, and no side always begins the first pair."""
    orders = {tuple(order_of(8, seed)) for seed in range(50)}
    assert len(orders) > 20
    assert {order[0].side for order in orders} == set(Side)


def test_more_pairs_see_smaller_changes_and_few_requests_are_said():
    """What will be seen shrinks with pairs; an endpoint of ten requests is no part of it."""
    requests = {"GET /a": 500, "GET /b": 100, "GET /rare": 10}
    few, many = (prospect(requests, {}, pairs) for pairs in (4, 16))
    assert many.detectable["GET /a"] < few.detectable["GET /a"]
    assert few.detectable["GET /a"] < few.detectable["GET /b"]
    assert few.unseen == ("GET /rare",)
    assert "assumed" in few.text
    assert "1 endpoint has too few requests" in few.text
    assert "No endpoint" in prospect({"GET /rare": 10}, {}, 8).text


def _noise(between, within):
    return {("GET /a", quantile): Noise(between=between, within=within, df=20) for quantile in (0.5, 0.95)}


def test_a_budget_is_never_planned_beyond():
    """Pairs, lengths and what comes on top of each replay fit."""
    for budget_s in (120, 300, 1_200):
        size = size_for(
            budget_s * NS_PER_S, 60 * NS_PER_S, 5 * NS_PER_S, {"GET /a": 1_000}, _noise(0.002, 1.0)
        )
        length_ns = size.duration_ns or 60 * NS_PER_S
        assert size.pairs >= 3
        assert 2 * size.pairs * (length_ns + 5 * NS_PER_S) <= budget_s * NS_PER_S


def test_noise_between_runs_asks_for_pairs_and_noise_inside_them_for_length():
    """The same budget becomes many short replays or fewer long ones."""
    budget = 600 * NS_PER_S, 60 * NS_PER_S, 5 * NS_PER_S, {"GET /a": 1_000}
    between = size_for(*budget, _noise(0.01, 0.0))
    inside = size_for(*budget, _noise(0.0, 2.0))
    assert between.pairs > inside.pairs
    assert (between.duration_ns or math.inf) < (inside.duration_ns or math.inf)


def test_a_budget_for_less_than_three_pairs_is_refused():
    """The least that would do is named."""
    with pytest.raises(UsageError, match="give at least"):
        size_for(20 * NS_PER_S, 60 * NS_PER_S, 5 * NS_PER_S, {"GET /a": 1_000}, {})


def test_the_table_names_noise_floor_and_pairs_for_ten_percent():
    """A quiet endpoint needs few pairs, a wild one more than can be had."""
    noise = _noise(0.0005, 0.1) | {("GET /wild", 0.5): Noise(between=2.0, within=1.0, df=9)}
    rows = floor_rows({"GET /a": 500, "GET /wild": 500, "GET /unseen": 500}, noise, 8)
    assert [row[0] for row in rows] == ["GET /a", "GET /wild"]
    assert int(rows[0][2]) < 10
    assert rows[1][2] == "> 1000"
