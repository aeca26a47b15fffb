"""Signatures against the official packages of those who send them: accepted, and refused when tampered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
import stripe
import svix.webhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook, WebhookVerificationError
from twilio.request_validator import RequestValidator

from captures.errors import UsageError
from captures.model import Headers, HmacTemplate, SignatureScheme, SigningRecipe
from captures.signatures import is_timed, recognise, sign, verify

PAYLOADS = Path(__file__).parents[3] / "shared" / "data" / "github_webhooks.jsonl"
SECRET = b"whsec_" + base64.b64encode(b"0123456789abcdef01234567")
URL = b"https://hooks.test:8443/api/hooks/twilio?bodySHA256="
FORM = (b"Content-Type", b"application/x-www-form-urlencoded; charset=UTF-8")
ED25519 = Ed25519PrivateKey.from_private_bytes(b"a seed for tests, 32 bytes long.")
ZERO = b"0" * 64


def bodies() -> list[bytes]:
    """Bodies of GitHub's webhooks where they are at hand, and made-up ones of several kinds."""
    made = [
        b'{"a": 1.10, "b": "\xc3\xa9"}',
        b"{}",
        b'["x", 12345678901234567890]',
        json.dumps({"pad": "y" * 70_000}).encode(),
    ]
    if PAYLOADS.exists():
        made += [
            json.dumps(json.loads(line)["payload"]).encode() for line in PAYLOADS.read_text().splitlines()
        ]
    return made


def signed(headers: Headers, body: bytes, *, secret: bytes = SECRET, url: bytes = b"") -> dict[str, str]:
    """The headers with the signature of now."""
    recipe = recognise(headers)
    assert recipe is not None
    now_s = int(time.time())
    fresh = sign(recipe, secret=secret, headers=headers, body=body, now_s=now_s, url=url)
    final = tuple((name, fresh.get(name.lower(), value)) for name, value in headers)
    assert verify(recipe, secret=secret, headers=final, body=body, now_s=now_s, url=url)
    assert not verify(recipe, secret=secret, headers=final, body=body, now_s=now_s, url=url + b"x") or (
        recipe.scheme is not SignatureScheme.TWILIO
    )
    return {name.decode(): value.decode() for name, value in final}


def by_stripe(body: bytes) -> Callable[[bytes], bool]:
    value = signed(((b"Stripe-Signature", b"t=1,v1=" + ZERO),), body)["Stripe-Signature"]

    def check(text: bytes) -> bool:
        try:
            return stripe.WebhookSignature.verify_header(text.decode(), value, SECRET.decode(), tolerance=300)
        except stripe.SignatureVerificationError:
            return False

    return check


def by_slack(body: bytes) -> Callable[[bytes], bool]:
    headers = ((b"X-Slack-Request-Timestamp", b"1"), (b"X-Slack-Signature", b"v0=" + ZERO))
    values = signed(headers, body)
    return lambda text: SignatureVerifier(SECRET.decode()).is_valid_request(text, values)


def by_webhook_package(prefix: bytes, package: type) -> Callable[[bytes], Callable[[bytes], bool]]:
    def made(body: bytes) -> Callable[[bytes], bool]:
        values = signed(
            (
                (prefix + b"-Id", b"msg_1"),
                (prefix + b"-Timestamp", b"1"),
                (prefix + b"-Signature", b"v1,AAAA"),
            ),
            body,
        )

        def check(text: bytes) -> bool:
            try:
                package(SECRET.decode()).verify(text, values)
            except WebhookVerificationError:
                return False
            return True

        return check

    return made


def by_twilio(body: bytes) -> Callable[[bytes], bool]:
    url = URL + hashlib.sha256(body).hexdigest().encode()
    headers = ((b"Content-Type", b"application/json"), (b"X-Twilio-Signature", b"A" * 27 + b"="))
    value = signed(headers, body, url=url)["X-Twilio-Signature"]
    return lambda text: RequestValidator(SECRET.decode()).validate(url.decode(), text.decode(), value)


def by_shopify(body: bytes) -> Callable[[bytes], bool]:
    value = signed(((b"X-Shopify-Hmac-Sha256", b"A" * 43 + b"="),), body)["X-Shopify-Hmac-Sha256"]
    return lambda text: base64.b64encode(hmac.digest(SECRET, text, "sha256")).decode() == value


def by_github(body: bytes) -> Callable[[bytes], bool]:
    value = signed(((b"X-Hub-Signature-256", b"sha256=" + ZERO),), body)["X-Hub-Signature-256"]
    return lambda text: "sha256=" + hmac.new(SECRET, text, "sha256").hexdigest() == value


ORACLES = {
    "stripe": by_stripe,
    "slack_sdk": by_slack,
    "standardwebhooks": by_webhook_package(b"webhook", Webhook),
    "svix": by_webhook_package(b"svix", svix.webhooks.Webhook),
    "twilio": by_twilio,
    "shopify's own recipe": by_shopify,
    "github's own recipe": by_github,
}


@pytest.mark.parametrize("name", list(ORACLES))
def test_official_packages_accept_all_and_refuse_what_was_tampered_with(name: str) -> None:
    """Every body signed by us passes its sender's package, and none does with a byte more or changed."""
    for body in bodies():
        check = ORACLES[name](body)
        assert check(body)
        assert not check(body + b" ")
        assert not check(body[:-1] + b"]" * (body[-1:] != b"]") + b"}" * (body[-1:] == b"]"))


@given(
    st.lists(
        st.tuples(st.text(max_size=8), st.text(max_size=20)), max_size=6, unique_by=lambda pair: pair[0]
    ),
    st.sampled_from([None, "HMAC_SHA1", "HMAC_SHA256"]),
)
def test_twilios_package_accepts_forms(pairs: list[tuple[str, str]], algorithm: str | None) -> None:
    """A form of any letters is signed with its URL by either algorithm; another host's URL is not."""
    body = urlencode(pairs).encode()
    headers: Headers = (FORM, (b"X-Twilio-Signature", b"A" * 27 + b"="))
    if algorithm is not None:
        headers += ((b"X-Twilio-Webhooks-Signature-Settings", b"key=k,algorithm=" + algorithm.encode()),)
    value = signed(headers, body, url=URL[:-12])["X-Twilio-Signature"]
    validator = RequestValidator(SECRET.decode())
    params = dict(parse_qsl(body.decode(), keep_blank_values=True))
    expected = validator.compute_signature(URL[:-12].decode(), params, algorithm)
    assert value == expected
    assert value != validator.compute_signature("https://other.test/api/hooks/twilio?", params, algorithm)


def test_twilio_refuses_a_body_that_its_url_does_not_state() -> None:
    """A signature over a URL with bodySHA256 says nothing of another body."""
    recipe = SigningRecipe(scheme=SignatureScheme.TWILIO, header=b"X-Twilio-Signature")
    url = URL + hashlib.sha256(b"{}").hexdigest().encode()
    fresh = sign(recipe, secret=SECRET, headers=(), body=b"{}", now_s=0, url=url)
    headers = tuple(fresh.items())
    assert verify(recipe, secret=SECRET, headers=headers, body=b"{}", now_s=0, url=url)
    assert not verify(recipe, secret=SECRET, headers=headers, body=b"[]", now_s=0, url=url)


@pytest.mark.parametrize("long", [False, True])
def test_ed25519_signatures_verify_with_the_public_key(long: bool) -> None:
    """A whsk_ secret signs v1a over id, time and body, as the specification says; whpk_ verifies only."""
    public = ED25519.public_key().public_bytes_raw()
    secret = b"whsk_" + base64.b64encode(ED25519.private_bytes_raw() + (public if long else b""))
    headers = ((b"webhook-id", b"msg_1"), (b"webhook-timestamp", b"1"), (b"webhook-signature", b"v1a,AAAA"))
    recipe = recognise(headers)
    assert recipe is not None
    for body in bodies():
        fresh = sign(recipe, secret=secret, headers=headers, body=body, now_s=77)
        value = fresh[b"webhook-signature"]
        ED25519.public_key().verify(base64.b64decode(value[4:]), b"msg_1.77." + body)
        with pytest.raises(InvalidSignature):
            ED25519.public_key().verify(base64.b64decode(value[4:]), b"msg_1.77." + body + b" ")
        final = tuple((name, fresh.get(name, old)) for name, old in headers)
        for key in (secret, b"whpk_" + base64.b64encode(public)):
            assert verify(recipe, secret=key, headers=final, body=body, now_s=80)
            assert not verify(recipe, secret=key, headers=final, body=body + b" ", now_s=80)
            assert not verify(recipe, secret=key, headers=final, body=body, now_s=400)


@pytest.mark.parametrize("secret", [b"whsk_AAAA", b"whpk_" + base64.b64encode(b"x" * 32), b"whsk_!"])
def test_keys_that_cannot_sign_are_a_usage_error(secret: bytes) -> None:
    """A key of another length, a public key and no base64 at all are refused without being quoted."""
    recipe = SigningRecipe(scheme=SignatureScheme.STANDARD_WEBHOOKS, header=b"webhook-signature")
    with pytest.raises(UsageError) as caught:
        sign(recipe, secret=secret, headers=(), body=b"", now_s=0)
    assert secret.decode() not in str(caught.value)


def template(**fields: object) -> HmacTemplate:
    values = {"algorithm": "sha256", "encoding": "hex", "prefix": b"", "signed": b"{body}"} | fields
    return HmacTemplate(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_template_signs_what_it_names(algorithm: str, encoding: str) -> None:
    """Digest, encoding, prefix and every placeholder are as the template says, and the time is fresh."""
    made = template(
        algorithm=algorithm,
        encoding=encoding,
        prefix=b"v=",
        signed=b"{header:X-Id}|{timestamp}|{url}|{body}",
        timestamp_header=b"X-Time",
    )
    digest = hmac.digest(SECRET, b"id1|1700000000000|http://h/p|{url}", algorithm)
    blank = base64.b64encode(bytes(len(digest))) if encoding == "base64" else b"0" * (2 * len(digest))
    given_recipe = SigningRecipe(scheme=SignatureScheme.HMAC, header=b"x-acme-signature", template=made)
    headers = ((b"X-Id", b"id1"), (b"X-Time", b"1600000000000"), (b"X-Acme-Signature", b"v=" + blank))
    recipe = recognise(headers, (given_recipe,))
    assert recipe is not None
    assert recipe.header == b"X-Acme-Signature"
    assert recognise(headers) is None
    assert is_timed(recipe)
    fresh = sign(
        recipe, secret=SECRET, headers=headers, body=b"{url}", now_s=1_700_000_000, url=b"http://h/p"
    )
    written = digest.hex().encode() if encoding == "hex" else base64.b64encode(digest)
    assert fresh == {b"x-acme-signature": b"v=" + written, b"x-time": b"1700000000000"}
    final = tuple((name, fresh.get(name.lower(), value)) for name, value in headers)
    facts = {"secret": SECRET, "headers": final, "url": b"http://h/p"}
    assert verify(recipe, body=b"{url}", now_s=1_700_000_300, **facts)
    assert not verify(recipe, body=b"{url}", now_s=1_700_000_301, **facts)
    assert not verify(recipe, body=b"{url} ", now_s=1_700_000_000, **facts)


def test_a_template_may_carry_the_time_in_its_prefix() -> None:
    """A value like Stripe's, by template, passes Stripe's own package under its own header."""
    made = template(prefix=b"t={timestamp},v1=", signed=b"{timestamp}.{body}")
    recipe = SigningRecipe(scheme=SignatureScheme.HMAC, header=b"X-Like-Stripe", template=made)
    headers = ((b"X-Like-Stripe", b"t=1,v1=" + ZERO),)
    assert recognise(headers, (recipe,)) == recipe
    now_s = int(time.time())
    fresh = sign(recipe, secret=SECRET, headers=headers, body=b"{}", now_s=now_s)
    value = fresh[b"x-like-stripe"]
    assert stripe.WebhookSignature.verify_header("{}", value.decode(), SECRET.decode(), tolerance=300)
    assert verify(recipe, secret=SECRET, headers=((b"X-Like-Stripe", value),), body=b"{}", now_s=now_s)
    assert not verify(
        recipe, secret=SECRET, headers=((b"X-Like-Stripe", value),), body=b"{}", now_s=now_s + 301
    )


def test_a_template_without_time_is_not_timed() -> None:
    """A signature over the body alone can be made before the moment of sending."""
    recipe = SigningRecipe(scheme=SignatureScheme.HMAC, header=b"X-Sig", template=template())
    assert not is_timed(recipe)
    assert is_timed(SigningRecipe(scheme=SignatureScheme.STRIPE, header=b"Stripe-Signature"))
    assert not is_timed(SigningRecipe(scheme=SignatureScheme.TWILIO, header=b"X-Twilio-Signature"))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"algorithm": "md5"}, "algorithm"),
        ({"encoding": "base32"}, "encoding"),
        ({"signed": b"constant"}, "signed"),
        ({"signed": b"{body}{other}"}, "signed"),
        ({"prefix": b"{body}"}, "prefix"),
        ({"signed": b"{timestamp}.{body}"}, "timestamp_header"),
    ],
)
def test_templates_that_cannot_be_are_refused(fields: dict[str, object], named: str) -> None:
    """An unknown algorithm, encoding or placeholder, and a time that nothing carries, are no template."""
    with pytest.raises(ValueError, match=named):
        template(**fields)


def test_only_the_scheme_hmac_has_a_template() -> None:
    """A recipe of another scheme with a template, and one of hmac without, cannot be built."""
    with pytest.raises(ValueError, match="template"):
        SigningRecipe(scheme=SignatureScheme.STRIPE, header=b"x", template=template())
    with pytest.raises(ValueError, match="template"):
        SigningRecipe(scheme=SignatureScheme.HMAC, header=b"x")
