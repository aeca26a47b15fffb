from __future__ import annotations

import asyncio
import hashlib
import hmac
import time

import pytest

from captures.model import SignatureScheme
from hookreel.demo.plan import plan_traffic
from hookreel.demo.traffic import Traffic, signed_headers, unsigned_headers

PLAN = plan_traffic(seed=5, duration_s=10)


def signed(scheme: SignatureScheme, secret: bytes) -> tuple[dict[str, str], bytes]:
    delivery = next(delivery for delivery in PLAN.deliveries if delivery.scheme is scheme)
    headers = signed_headers(delivery, secret, int(time.time()))
    return {name.decode(): value.decode() for name, value in headers}, delivery.body


def test_stripes_own_library_accepts_the_stripe_webhooks():
    """stripe.Webhook takes what is sent and refuses it under another secret."""
    stripe = pytest.importorskip("stripe")
    headers, body = signed(SignatureScheme.STRIPE, b"whsec_test")
    signature = headers["Stripe-Signature"]
    event = stripe.Webhook.construct_event(body, signature, "whsec_test")
    assert event["object"] == "event"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, signature, "whsec_other")


def test_slacks_own_library_accepts_the_slack_webhooks():
    """slack_sdk's verifier takes what is sent and refuses a changed body."""
    signature = pytest.importorskip("slack_sdk.signature")
    headers, body = signed(SignatureScheme.SLACK, b"slack-secret")
    verifier = signature.SignatureVerifier("slack-secret")
    assert verifier.is_valid_request(body, headers)
    assert not verifier.is_valid_request(body + b" ", headers)


def test_github_webhooks_carry_both_digests():
    """Both GitHub headers are the HMAC of exactly the body that is sent."""
    headers, body = signed(SignatureScheme.GITHUB, b"github-secret")
    digest = hmac.new(b"github-secret", body, hashlib.sha256).hexdigest()
    assert headers["X-Hub-Signature-256"] == f"sha256={digest}"
    assert headers["X-Hub-Signature"] == f"sha1={hmac.new(b'github-secret', body, 'sha1').hexdigest()}"


def test_an_unsigned_delivery_has_no_signature_header():
    """Without a signature no header is left empty."""
    for delivery in PLAN.deliveries:
        headers = unsigned_headers(delivery)
        assert all(value for _, value in headers)
        assert not any(b"signature" in name.lower() for name, _ in headers)


def test_every_call_is_answered_as_it_should_be(with_target, tenants):
    """The whole traffic of some seconds against a live target gives no unexpected answer."""
    plan = plan_traffic(seed=2, duration_s=4, rate_rps=60)
    begun: list[int] = []

    async def scenario(client):
        url = str(client.make_url("")).rstrip("/")
        async with Traffic(url, tenants) as traffic:
            report = await traffic.send(plan, begun.append)
        assert report.unexpected == ()
        assert report.sent == len(plan.calls) == begun[-1]
        assert sum(report.statuses.values()) == report.sent
        assert set(report.statuses) == {200, 202, 401, 404}

    with_target(scenario)


def test_a_dead_target_is_counted_and_never_raised(tenants):
    """When nobody listens every call is reported as unexpected and the traffic still ends."""
    plan = plan_traffic(seed=2, duration_s=0.2, rate_rps=60)

    async def main():
        async with Traffic("http://127.0.0.1:9", tenants) as traffic:
            return await traffic.send(plan, lambda _begun: None)

    report = asyncio.run(main())
    assert len(report.unexpected) == len(plan.calls)
    assert report.statuses == {}
