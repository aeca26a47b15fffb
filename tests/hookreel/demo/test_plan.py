from __future__ import annotations

from collections import Counter

from hookreel.demo.plan import POLL_AFTER_S, Action, plan_traffic

PLAN = plan_traffic(seed=11, duration_s=25)
FOLLOWING = {Action.POLL, Action.FOREIGN, Action.LOGS, Action.REDELIVERY}


def test_the_same_seed_gives_the_same_traffic():
    """A plan repeats byte for byte with its seed and differs with another."""
    assert plan_traffic(seed=11, duration_s=25) == PLAN
    assert plan_traffic(seed=12, duration_s=25) != PLAN


def test_a_run_is_asked_for_well_after_its_delivery():
    """Whatever names an earlier delivery comes more than a second after it was sent."""
    sent_at_s = {
        call.delivery: call.at_s
        for call in PLAN.calls
        if call.action in {Action.WEBHOOK, Action.UNSIGNED} and call.delivery is not None
    }
    asked = [call for call in PLAN.calls if call.action in FOLLOWING]
    assert len(asked) > 200
    assert all(call.at_s - sent_at_s[call.delivery] >= POLL_AFTER_S - 1e-9 for call in asked)


def test_nobody_asks_for_a_run_that_was_refused():
    """A webhook that was sent without a signature starts no run, so none is polled."""
    refused = {call.delivery for call in PLAN.calls if call.action is Action.UNSIGNED}
    assert refused
    assert not any(call.delivery in refused for call in PLAN.calls if call.action in FOLLOWING)


def test_every_action_and_both_tenants_take_part():
    """25 seconds hold every action, both tenants, several connections and a burst."""
    actions = Counter(call.action for call in PLAN.calls)
    assert set(actions) == set(Action)
    assert 900 < len(PLAN.calls) < 1500
    assert len({call.client for call in PLAN.calls}) > 15
    assert {call.tenant for call in PLAN.calls} == {"acme", "globex"}
    seconds = Counter(int(call.at_s) for call in PLAN.calls)
    assert max(seconds[15], seconds[16]) > 60 > seconds[5]


def test_a_call_asks_with_the_right_tenant():
    """A poll comes from the tenant that owns the run, a foreign call from the other one."""
    for call in PLAN.calls:
        if call.action in FOLLOWING:
            same = PLAN.deliveries[call.delivery].tenant == call.tenant
            assert same is (call.action is not Action.FOREIGN)


def test_delivery_ids_are_unique():
    """No two deliveries share an id, so each starts a run of its own."""
    assert len({delivery.delivery_id for delivery in PLAN.deliveries}) == len(PLAN.deliveries)
