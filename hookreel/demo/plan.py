"""What the demo's clients will do and when: webhooks, polls, lists, live logs. Pure and seeded."""

from __future__ import annotations

import bisect
import json
import random
import uuid
from dataclasses import dataclass
from enum import StrEnum

from captures.model import SignatureScheme
from hookreel.demo.payloads import github_body, slack_body, stripe_body
from hookreel.demo.people import FakePerson, fake_people
from hookreel.demo.tenants import SCHEMES, TENANT_NAMES

POLL_AFTER_S = 1.2  # a replay at 10x still leaves 0.1 s between a delivery and its poll
PEOPLE = 60
_SCHEDULED_RPS = 44
_BURST_AT = 0.6  # of the whole duration; it doubles the rate for a tenth of it
_EVENTS = {
    SignatureScheme.GITHUB: ("push", "pull_request", "issues"),
    SignatureScheme.STRIPE: ("charge.succeeded", "customer.updated", "invoice.paid"),
    SignatureScheme.SLACK: ("message", "app_mention", "team_join"),
}
_CREATED_S = 1_767_225_600  # events say they were made on 1 January 2026, so that bodies repeat


class Action(StrEnum):
    """What a client does in one call."""

    WEBHOOK = "webhook"
    REDELIVERY = "redelivery"  # a webhook that was sent before
    POLL = "poll"
    LIST = "list"
    STATS = "stats"
    HEALTH = "health"
    LOGS = "logs"
    UNSIGNED = "unsigned"  # a webhook without its signature
    ANONYMOUS = "anonymous"  # an API call without a token
    FOREIGN = "foreign"  # another tenant's run
    UNKNOWN = "unknown"  # a run that never was


EXPECTED_STATUS = {
    Action.WEBHOOK: 202,
    Action.REDELIVERY: 202,
    Action.UNSIGNED: 401,
    Action.ANONYMOUS: 401,
    Action.FOREIGN: 404,
    Action.UNKNOWN: 404,
}
"""The status each action is answered with; 200 for those that are not here."""

# Shares of the calls; webhooks and polls are what the target is there for.
_SHARES = {
    Action.WEBHOOK: 0.44,
    Action.POLL: 0.30,
    Action.LIST: 0.10,
    Action.STATS: 0.08,
    Action.HEALTH: 0.08,
}
_POLLED = {Action.POLL, Action.LOGS, Action.FOREIGN, Action.UNKNOWN}  # what asks for one run
_RARE = {
    Action.REDELIVERY: 6,
    Action.LOGS: 8,
    Action.UNSIGNED: 4,
    Action.ANONYMOUS: 4,
    Action.FOREIGN: 3,
    Action.UNKNOWN: 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook before it is signed; ``headers`` have a place for every signature header."""

    tenant: str
    scheme: SignatureScheme
    event: str
    delivery_id: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """
    One call at ``at_s`` after the traffic's start.

    ``client`` names the connection pool it comes from. ``delivery`` counts into the plan's
    deliveries for what sends one or asks for its run. ``limit`` is a list call's.
    """

    at_s: float
    action: Action
    tenant: str
    client: str
    delivery: int | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPlan:
    """Calls in order of time, and the webhooks they send."""

    calls: tuple[Call, ...]
    deliveries: tuple[Delivery, ...]


def plan_traffic(*, seed: int, duration_s: float, rate_rps: float = _SCHEDULED_RPS) -> TrafficPlan:
    """
    About ``duration_s * rate_rps`` calls with Poisson arrivals and one burst.

    The same arguments give the same plan, byte for byte. A run is asked for at the earliest
    ``POLL_AFTER_S`` after its webhook was sent.
    """
    chance = random.Random(seed)  # noqa: S311  traffic must repeat
    return _Planner(chance, fake_people(PEOPLE, seed)).plan(duration_s, rate_rps)


class _Planner:
    def __init__(self, chance: random.Random, people: tuple[FakePerson, ...]) -> None:
        self._chance = chance
        self._people = people
        self._deliveries: list[Delivery] = []
        self._sent_at_s: list[float] = []  # by delivery, rising
        self._calls: list[Call] = []

    def plan(self, duration_s: float, rate_rps: float) -> TrafficPlan:
        times = _arrivals(self._chance, duration_s, rate_rps)
        rare = self._rare_places(times)
        for place, at_s in enumerate(times):
            action = rare.get(place) or self._chance.choices(list(_SHARES), list(_SHARES.values()))[0]
            self._add(at_s, action)
        self._calls.sort(key=lambda call: call.at_s)
        return TrafficPlan(calls=tuple(self._calls), deliveries=tuple(self._deliveries))

    def _rare_places(self, times: list[float]) -> dict[int, Action]:
        """Spread the rare actions over the calls, late enough that there are runs to name."""
        first = bisect.bisect_left(times, 2 * POLL_AFTER_S)
        places = range(first, len(times))
        wanted = [action for action, count in _RARE.items() for _ in range(count)][: len(places)]
        self._chance.shuffle(wanted)
        return dict(zip(sorted(self._chance.sample(places, len(wanted))), wanted, strict=True))

    def _add(self, at_s: float, action: Action) -> None:
        tenant = self._chance.choice(TENANT_NAMES)
        if action is Action.WEBHOOK:
            self._send_new(at_s, tenant)
        elif action is Action.LOGS:
            # The live log is opened while the rollout it belongs to is still running.
            number = self._send_new(at_s, tenant, event="deployment")
            self._call(at_s + POLL_AFTER_S, action, tenant, delivery=number)
        elif action in {Action.POLL, Action.FOREIGN, Action.REDELIVERY}:
            known = self._known_delivery(at_s)
            if known is None:
                self._call(at_s, Action.HEALTH, tenant)
                return
            owner = self._deliveries[known].tenant
            caller = _other(owner) if action is Action.FOREIGN else owner
            self._call(at_s, action, caller, delivery=known)
        elif action is Action.UNSIGNED:
            self._deliveries.append(self._new_delivery(tenant, self._chance.choice(SCHEMES), None))
            self._sent_at_s.append(at_s)
            self._call(at_s, action, tenant, delivery=len(self._deliveries) - 1)
        else:
            self._call(at_s, action, tenant)

    def _send_new(self, at_s: float, tenant: str, event: str | None = None) -> int:
        scheme = SignatureScheme.GITHUB if event else self._chance.choice(SCHEMES)
        self._deliveries.append(self._new_delivery(tenant, scheme, event))
        self._sent_at_s.append(at_s)
        number = len(self._deliveries) - 1
        self._call(at_s, Action.WEBHOOK, tenant, delivery=number)
        return number

    def _known_delivery(self, at_s: float) -> int | None:
        """A random accepted delivery that is old enough to be asked for, of the last few seconds."""
        stop = bisect.bisect_right(self._sent_at_s, at_s - POLL_AFTER_S)
        unsigned = {call.delivery for call in self._calls if call.action is Action.UNSIGNED}
        known = [number for number in range(max(0, stop - 80), stop) if number not in unsigned]
        return self._chance.choice(known) if known else None

    def _call(self, at_s: float, action: Action, tenant: str, delivery: int | None = None) -> None:
        webhook = action in {Action.WEBHOOK, Action.REDELIVERY, Action.UNSIGNED}
        if webhook and delivery is not None:
            client = f"{tenant}-{self._deliveries[delivery].scheme}-{self._chance.randrange(2)}"
        elif action is Action.HEALTH:
            client = "monitor"
        elif action in _POLLED:
            client = f"{tenant}-poller-{self._chance.randrange(4)}"
        else:
            client = f"{tenant}-console-{self._chance.randrange(2)}"
        limit = self._chance.choice([10, 20])
        self._calls.append(
            Call(at_s=at_s, action=action, tenant=tenant, client=client, delivery=delivery, limit=limit)
        )

    def _new_delivery(self, tenant: str, scheme: SignatureScheme, event: str | None) -> Delivery:
        chance = self._chance
        person = chance.choice(self._people)
        name = event or chance.choice(_EVENTS[scheme])
        if scheme is SignatureScheme.GITHUB:
            delivery_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            content = github_body(name, tenant, person, chance)
        elif scheme is SignatureScheme.STRIPE:
            delivery_id = f"evt_{chance.getrandbits(96):024x}"
            content = stripe_body(name, delivery_id, _CREATED_S, person, chance)
        else:
            delivery_id = f"Ev{chance.getrandbits(44):011X}"
            content = slack_body(name, delivery_id, _CREATED_S, person, chance)
        return Delivery(
            tenant=tenant,
            scheme=scheme,
            event=name,
            delivery_id=delivery_id,
            headers=(*_HEADERS[scheme], *_event_headers(scheme, name, delivery_id, person)),
            body=json.dumps(content, separators=(",", ":")).encode(),
        )


_HEADERS: dict[SignatureScheme, tuple[tuple[bytes, bytes], ...]] = {
    SignatureScheme.GITHUB: (
        (b"Accept", b"*/*"),
        (b"User-Agent", b"GitHub-Hookshot/044aadd"),
        (b"Content-Type", b"application/json"),
        (b"X-Hub-Signature", b""),
        (b"X-Hub-Signature-256", b""),
    ),
    SignatureScheme.STRIPE: (
        (b"Accept", b"*/*; q=0.5, application/xml"),
        (b"User-Agent", b"Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
        (b"Content-Type", b"application/json; charset=utf-8"),
        (b"Stripe-Signature", b""),
    ),
    SignatureScheme.SLACK: (
        (b"Accept", b"*/*"),
        (b"User-Agent", b"Slackbot 1.0 (+https://api.slack.com/robots)"),
        (b"Content-Type", b"application/json"),
        (b"X-Slack-Request-Timestamp", b""),
        (b"X-Slack-Signature", b""),
    ),
}
SIGNATURE_HEADER = {
    SignatureScheme.GITHUB: b"X-Hub-Signature-256",
    SignatureScheme.STRIPE: b"Stripe-Signature",
    SignatureScheme.SLACK: b"X-Slack-Signature",
}


def _event_headers(
    scheme: SignatureScheme, event: str, delivery_id: str, person: FakePerson
) -> tuple[tuple[bytes, bytes], ...]:
    if scheme is not SignatureScheme.GITHUB:
        return ()
    return (
        (b"X-GitHub-Event", event.encode()),
        (b"X-GitHub-Delivery", delivery_id.encode()),
        (b"X-GitHub-Hook-ID", b"%d" % (400_000_000 + person.number)),
    )


def _arrivals(chance: random.Random, duration_s: float, rate_rps: float) -> list[float]:
    """Times of a Poisson process whose rate doubles for a tenth of the duration."""
    times: list[float] = []
    at_s = 0.0
    while True:
        in_burst = _BURST_AT * duration_s <= at_s < (_BURST_AT + 0.1) * duration_s
        at_s += chance.expovariate(rate_rps * (2 if in_burst else 1))
        if at_s >= duration_s:
            return times
        times.append(at_s)


def _other(tenant: str) -> str:
    return next(name for name in TENANT_NAMES if name != tenant)
