"""How many tests share one promise, and what may be named beside what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayer.review.multiplicity import BESIDE_ALPHA, level_of, over_endpoints, to_name, within_endpoint

SHARES = st.floats(0, 1)


@given(SHARES, SHARES, SHARES)
def test_no_quantile_is_surer_for_standing_beside_others(p50, p95, p99):
    """Adjusted values are never below the plain ones, never above 1, and keep their order."""
    ps = {0.5: p50, 0.95: p95, 0.99: p99}
    adjusted = within_endpoint(ps)
    assert all(ps[quantile] <= adjusted[quantile] + 1e-12 <= 1 + 2e-12 for quantile in ps)
    by_p = sorted(ps, key=lambda quantile: ps[quantile])
    found = [adjusted[quantile] for quantile in by_p]
    assert found == sorted(found)


def test_a_change_in_every_quantile_costs_nothing_and_one_in_a_tail_the_most():
    """Simes: equal values stay as they are, a lone one is divided by its share of the weight."""
    assert within_endpoint({0.5: 0.01, 0.95: 0.01, 0.99: 0.01}) == pytest.approx(
        {0.5: 0.01, 0.95: 0.01, 0.99: 0.01}
    )
    lone = {
        quantile: within_endpoint({0.5: 1, 0.95: 1, 0.99: 1, quantile: 0.001})[quantile]
        for quantile in (0.5, 0.95, 0.99)
    }
    assert lone == pytest.approx({0.5: 0.001 * 7 / 4, 0.95: 0.001 * 7 / 2, 0.99: 0.007})
    assert within_endpoint({0.5: 0.03}) == {0.5: 0.03}


def test_a_level_is_that_at_which_a_lone_change_passes():
    """What the level says of one quantile of one endpoint, both adjustments do."""
    level = level_of(0.95, (0.5, 0.95), 0.05, 30)
    for p, passes in ((level * 0.999, True), (level * 1.001, False)):
        endpoint = min(within_endpoint({0.5: 1.0, 0.95: p}).values())
        assert (over_endpoints([endpoint, *[1.0] * 29])[0] <= 0.05) is passes


def test_the_surest_is_named_and_others_only_beyond_doubt():
    """One in two hundred reports may name an unchanged endpoint beside; the rest is not named."""
    ps = {"sure": 1e-6, "also": BESIDE_ALPHA / 29 * 0.9, "perhaps": 0.002} | {
        f"e{at}": 0.5 for at in range(27)
    }
    assert to_name(ps, frozenset({"sure", "also", "perhaps"})) == {"sure", "also"}
    assert to_name(ps, frozenset({"perhaps"})) == {"perhaps"}
    assert to_name(ps, frozenset()) == frozenset()
    assert to_name({}, frozenset()) == frozenset()


def test_a_release_that_changed_many_endpoints_is_named_with_all_of_them():
    """Holm's test asks less of each that follows a sure one."""
    ps = {f"e{at}": 1e-5 for at in range(30)}
    assert to_name(ps, frozenset(ps)) == set(ps)
