from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.model import Exchange, Failure, FailureReason, Request, Response
from recorder import overlay

EXCHANGE = Exchange(
    seq=0,
    offset_ns=5,
    request_end_ns=6,
    connection=0,
    request=Request(
        method=b"GET", scheme=b"http", authority=b"a", target=b"/", http_version=b"HTTP/1.1", headers=()
    ),
    outcome=Response(
        status=200, reason=b"OK", http_version=b"HTTP/1.1", headers=(), offset_ns=7, end_ns=8, body=b"x"
    ),
)


def test_equal_exchanges_need_nothing() -> None:
    """Only the start stands in an overlay when nothing was lost."""
    assert overlay.difference(EXCHANGE, EXCHANGE, started_wall_ns=3) == {"started_wall_ns": 3}


def test_fields_come_back_through_json() -> None:
    """What was lost comes back, with times on a clock of another start."""
    exact = replace(
        EXCHANGE,
        request_end_ns=60,
        request=replace(EXCHANGE.request, headers=((b"\xff", b"\x00"),), body=b"\xfe"),
        outcome=replace(EXCHANGE.outcome, end_ns=None, trailers=((b"a", b"b"),)),
    )
    stored = json.loads(json.dumps(overlay.difference(EXCHANGE, exact, started_wall_ns=100)))

    def moved(exchange: Exchange) -> Exchange:
        outcome = exchange.outcome
        assert isinstance(outcome, Response)
        end_ns = None if outcome.end_ns is None else outcome.end_ns + 40
        return replace(
            exchange,
            offset_ns=exchange.offset_ns + 40,
            request_end_ns=exchange.request_end_ns + 40,
            outcome=replace(outcome, offset_ns=outcome.offset_ns + 40, end_ns=end_ns),
        )

    assert overlay.apply(moved(EXCHANGE), stored, started_wall_ns=60) == moved(exact)


def test_an_outcome_of_the_other_kind_comes_back() -> None:
    """A failure is restored over a response, and a response over a failure."""
    failed = replace(EXCHANGE, outcome=Failure(reason=FailureReason.TIMEOUT, offset_ns=9, detail="d"))
    for plain, exact in ((EXCHANGE, failed), (failed, EXCHANGE)):
        stored = json.loads(json.dumps(overlay.difference(plain, exact, started_wall_ns=0)))
        assert overlay.apply(plain, stored, started_wall_ns=0) == exact


def test_what_was_changed_since_wins() -> None:
    """A field whose plain value is no longer the one of the export keeps its new value."""
    exact = replace(EXCHANGE, request=replace(EXCHANGE.request, target=b"/exact", body=b"exact"))
    stored = overlay.difference(EXCHANGE, exact, started_wall_ns=0)
    edited = replace(EXCHANGE, request=replace(EXCHANGE.request, target=b"/edited"))
    restored = overlay.apply(edited, stored, started_wall_ns=0).request
    assert (restored.target, restored.body) == (b"/edited", b"exact")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PARTS = st.dictionaries(
    st.sampled_from(["started_wall_ns", "exchange", "request", "outcome", "failure", "response"]),
    JSON_VALUES
    | st.integers()
    | st.dictionaries(
        st.sampled_from(["offset_ns", "body", "headers", "signing", "reason", "stream", "truncated_bytes"]),
        JSON_VALUES | st.tuples(st.integers(), JSON_VALUES).map(list),
    ),
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(JSON_VALUES | PARTS)
def test_any_json_is_an_overlay_or_a_value_error(value: Any) -> None:
    """Whatever stands where an overlay should, it is applied or refused with ValueError."""
    try:
        changed = overlay.apply(EXCHANGE, value, started_wall_ns=0)
    except ValueError:
        return
    assert isinstance(changed, Exchange)
    assert overlay.started_wall_ns_of(value) is not None


@pytest.mark.parametrize("detail", ["\ud800", 5, None, ["d"]])
def test_a_detail_that_is_no_text_is_refused(detail: Any) -> None:
    """JSON has halves of characters, which a capture does not."""
    failure = {"reason": "timeout", "offset_ns": 9, "detail": detail}
    with pytest.raises(ValueError, match="damaged"):
        overlay.apply(EXCHANGE, {"started_wall_ns": 0, "failure": failure}, started_wall_ns=0)


def test_errors_hold_no_traffic() -> None:
    """The error for a damaged overlay quotes nothing of it."""
    with pytest.raises(ValueError, match=r"^the overlay is damaged$"):
        overlay.apply(EXCHANGE, {"started_wall_ns": 0, "request": {"body": [1, "s3cret"]}}, started_wall_ns=0)
