"""Signatures: recognised, removed, made again so that official verifiers accept them."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import UsageError
from captures.model import Headers, HmacTemplate, SignatureScheme, SigningRecipe
from captures.signatures import blank_signature, is_signature, is_timed, recognise, sign, verify

SECRET = b"whsec_" + base64.b64encode(b"0123456789abcdef01234567")
ZERO = b"0" * 64
REQUESTS: dict[SignatureScheme, Headers] = {
    SignatureScheme.GITHUB: (
        (b"X-Hub-Signature", b"sha1=" + b"0" * 40),
        (b"X-Hub-Signature-256", b"sha256=" + ZERO),
    ),
    SignatureScheme.STRIPE: ((b"Stripe-Signature", b"t=1,v1=" + ZERO),),
    SignatureScheme.SLACK: ((b"X-Slack-Request-Timestamp", b"1"), (b"X-Slack-Signature", b"v0=" + ZERO)),
    SignatureScheme.STANDARD_WEBHOOKS: (
        (b"webhook-id", b"msg_1"),
        (b"webhook-timestamp", b"1"),
        (b"webhook-signature", b"v1,AAAA"),
    ),
    SignatureScheme.TWILIO: ((b"X-Twilio-Signature", b"A" * 27 + b"="),),
    SignatureScheme.SHOPIFY: ((b"X-Shopify-Hmac-Sha256", b"A" * 43 + b"="),),
    SignatureScheme.HMAC: (
        (b"X-Time", b"1700000000"),
        (b"X-Acme-Signature", b"sha512=" + b"0" * 128),
    ),
}
ACME = SigningRecipe(
    scheme=SignatureScheme.HMAC,
    header=b"x-acme-signature",
    template=HmacTemplate(
        algorithm="sha512",
        encoding="hex",
        prefix=b"sha512=",
        signed=b"{timestamp}.{url}.{body}",
        timestamp_header=b"x-time",
    ),
)


def signed(scheme: SignatureScheme, body: bytes, now_s: int) -> tuple[SigningRecipe, Headers]:
    recipe = recognise(REQUESTS[scheme], (ACME,))
    assert recipe is not None
    url = b"http://x.test/" + body.hex().encode()
    values = sign(recipe, secret=SECRET, headers=REQUESTS[scheme], body=body, now_s=now_s, url=url)
    return recipe, tuple((name, values.get(name.lower(), value)) for name, value in REQUESTS[scheme])


@given(st.sampled_from(SignatureScheme), st.binary(max_size=50), st.integers(10**9, 2 * 10**9))
def test_what_is_signed_verifies_and_what_is_tampered_does_not(scheme, body, now_s) -> None:
    """Each scheme accepts its own signature and refuses another body, secret or time."""
    recipe, headers = signed(scheme, body, now_s)
    assert recipe.scheme is scheme
    url = b"http://x.test/" + body.hex().encode()
    assert verify(recipe, secret=SECRET, headers=headers, body=body, now_s=now_s, url=url)
    if scheme is SignatureScheme.TWILIO:
        assert not verify(recipe, secret=SECRET, headers=headers, body=body, now_s=now_s, url=url + b"0")
    else:
        assert not verify(recipe, secret=SECRET, headers=headers, body=body + b"!", now_s=now_s, url=url)
    other = b"whsec_" + base64.b64encode(b"another")
    assert not verify(recipe, secret=other, headers=headers, body=body, now_s=now_s, url=url)
    assert not verify(recipe, secret=SECRET, headers=REQUESTS[scheme], body=body, now_s=now_s, url=url)
    if is_timed(recipe):
        assert not verify(recipe, secret=SECRET, headers=headers, body=body, now_s=now_s + 301, url=url)


def test_githubs_documented_example() -> None:
    """The value from GitHub's documentation of validating deliveries."""
    recipe = SigningRecipe(scheme=SignatureScheme.GITHUB, header=b"X-Hub-Signature-256")
    headers = ((b"X-Hub-Signature-256", b""),)
    values = sign(
        recipe, secret=b"It's a Secret to Everybody", headers=headers, body=b"Hello, World!", now_s=0
    )
    expected = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert values == {b"x-hub-signature-256": expected}


def test_the_old_sha1_signature_is_renewed_too() -> None:
    """A request that carries both GitHub signatures gets both."""
    _, headers = signed(SignatureScheme.GITHUB, b"body", 0)
    expected = b"sha1=" + hmac.new(SECRET, b"body", hashlib.sha1).hexdigest().encode()
    assert dict(headers)[b"X-Hub-Signature"] == expected


def test_a_headers_shape_must_fit() -> None:
    """A header with a known name and another shape is no signature."""
    assert recognise(((b"X-Signature", b"hand-written by Ann"),)) is None
    assert not is_signature(b"X-Signature", b"hand-written by Ann")
    assert is_signature(b"X-Hub-Signature", b"sha1=" + b"0" * 40)
    assert recognise(((b"Host", b"x"),)) is None
    assert recognise(((b"x-signature", b"sha256=" + ZERO),)) is not None


@pytest.mark.parametrize("scheme", list(SignatureScheme))
def test_a_blank_signature_keeps_its_shape_and_nothing_else(scheme: SignatureScheme) -> None:
    """Length, prefix and timestamp stay; no byte of the digest does."""
    _, headers = signed(scheme, b"body", 1_700_000_000)
    blank = tuple((name, blank_signature(value)) for name, value in headers)
    assert [len(value) for _, value in blank] == [len(value) for _, value in headers]
    assert recognise(blank, (ACME,)) == recognise(headers, (ACME,))
    for (_, old), (_, new) in zip(headers, blank, strict=True):
        digest = old.split(b"=")[-1] if b"v1," not in old else old.split(b",")[-1]
        assert digest not in new or len(digest) < 20
    assert blank_signature(b"t=5,v1=" + b"a" * 64 + b",v0=" + b"b" * 64) == b"t=5,v1=" + ZERO + b",v0=" + ZERO


def test_a_secret_that_does_not_fit_is_a_usage_error() -> None:
    """The message names the scheme and not the value."""
    recipe = SigningRecipe(scheme=SignatureScheme.STANDARD_WEBHOOKS, header=b"webhook-signature")
    with pytest.raises(UsageError) as caught:
        sign(recipe, secret=b"not*base64", headers=(), body=b"", now_s=0)
    assert "not*base64" not in str(caught.value)


@pytest.mark.parametrize("space", [b"", b" ", b"\t"])
def test_a_digest_before_blank_space_is_removed(space: bytes) -> None:
    """What is recognised with blank space behind it is blanked with it, too."""
    value = base64.b64encode(b"q" * 32) + space
    assert is_signature(b"X-Shopify-Hmac-Sha256", value)
    assert blank_signature(value) == b"A" * 43 + b"=" + space


def test_a_recipe_says_what_its_signatures_look_like() -> None:
    """Of the header of a recipe only values of its shape are signatures."""
    assert is_signature(b"X-Acme-Signature", b"sha512=" + b"ab" * 64, ACME)
    assert not is_signature(b"X-Acme-Signature", b"sha512=" + b"ab" * 64)
    assert not is_signature(b"X-Acme-Signature", b"jane.doe@acme-corp.com", ACME)
