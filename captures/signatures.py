"""
Webhook signature schemes: recognise one, sign a request again, verify.

Sources: GitHub "Validating webhook deliveries" (X-Hub-Signature-256 = sha256= and hex
HMAC-SHA256 of the body, X-Hub-Signature the same with SHA-1), Stripe "Verify webhook
signatures manually" (t=,v1= hex HMAC-SHA256 of ``t.body``), Slack "Verifying requests"
(v0= hex HMAC-SHA256 of ``v0:t:body``), the Standard Webhooks specification (v1, base64
HMAC-SHA256 of ``id.t.body``; Svix uses the same with its own header names). MeshHook takes
GitHub's value in X-Signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from captures.errors import UsageError
from captures.model import Headers, SignatureScheme, SigningRecipe

TOLERANCE_S = 300

_GITHUB_VALUE = re.compile(rb"sha256=[0-9a-fA-F]{64}")
_STRIPE_VALUE = re.compile(rb"t=\d{1,12}(?:,v[01]=[0-9a-fA-F]{64})+")
_SLACK_VALUE = re.compile(rb"v0=[0-9a-fA-F]{64}")
_STANDARD_VALUE = re.compile(rb"v1a?,[A-Za-z0-9+/=]+(?: v1a?,[A-Za-z0-9+/=]+)*")
_HEX = re.compile(rb"[0-9a-fA-F]{40,}")
_STANDARD_PART = re.compile(rb"(v1a?,)[A-Za-z0-9+/=]+")

_RECOGNISED: tuple[tuple[bytes, re.Pattern[bytes], SignatureScheme], ...] = (
    (b"x-hub-signature-256", _GITHUB_VALUE, SignatureScheme.GITHUB),
    (b"stripe-signature", _STRIPE_VALUE, SignatureScheme.STRIPE),
    (b"x-slack-signature", _SLACK_VALUE, SignatureScheme.SLACK),
    (b"webhook-signature", _STANDARD_VALUE, SignatureScheme.STANDARD_WEBHOOKS),
    (b"svix-signature", _STANDARD_VALUE, SignatureScheme.STANDARD_WEBHOOKS),
    (b"x-signature", _GITHUB_VALUE, SignatureScheme.GITHUB),
)

SIGNATURE_HEADERS = frozenset(name for name, _, _ in _RECOGNISED) | {b"x-hub-signature"}
"""Lower-case names of every header that may carry a signature value."""


def recognise(headers: Headers) -> SigningRecipe | None:
    """The recipe of the first known signature in ``headers``, or None."""
    present = {name.lower(): (name, value) for name, value in reversed(headers)}
    for lower_name, shape, scheme in _RECOGNISED:
        if lower_name in present:
            name, value = present[lower_name]
            if shape.fullmatch(value.strip()):
                return SigningRecipe(scheme=scheme, header=name)
    return None


def without_signature(headers: Headers) -> Headers:
    """The same headers with every signature's digits replaced by zeros, all shapes kept."""
    return tuple(
        (name, blank_signature(value)) if name.lower() in SIGNATURE_HEADERS else (name, value)
        for name, value in headers
    )


def blank_signature(value: bytes) -> bytes:
    """``value`` of the same length and shape with nothing left of the signature."""
    zeroed = _HEX.sub(lambda match: b"0" * len(match[0]), value)
    return _STANDARD_PART.sub(lambda match: match[1] + b"A" * (len(match[0]) - len(match[1])), zeroed)


def sign(
    recipe: SigningRecipe, *, secret: bytes, headers: Headers, body: bytes, now_s: int
) -> dict[bytes, bytes]:
    """
    The header values that make the request valid at Unix time ``now_s``.

    Keys are lower-case names; each replaces the value of the header of that name. Headers
    that are not in ``headers`` are never returned, so a request only ever keeps its shape.

    Raises:
        UsageError: the secret does not fit the scheme.

    """
    return _SCHEMES[recipe.scheme].sign(recipe.header.lower(), secret, _lower(headers), body, now_s)


def verify(recipe: SigningRecipe, *, secret: bytes, headers: Headers, body: bytes, now_s: int) -> bool:
    """Whether a target that holds ``secret`` would accept the request at Unix time ``now_s``."""
    return _SCHEMES[recipe.scheme].verify(recipe.header.lower(), secret, _lower(headers), body, now_s)


@dataclass(frozen=True, slots=True)
class _Scheme:
    sign: Callable[[bytes, bytes, Mapping[bytes, bytes], bytes, int], dict[bytes, bytes]]
    verify: Callable[[bytes, bytes, Mapping[bytes, bytes], bytes, int], bool]


def _lower(headers: Headers) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in reversed(headers)}


def _hex_hmac(secret: bytes, message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret, message, algorithm).hexdigest().encode()


def _sign_github(
    header: bytes, secret: bytes, headers: Mapping[bytes, bytes], body: bytes, _now_s: int
) -> dict[bytes, bytes]:
    signed = {header: b"sha256=" + _hex_hmac(secret, body)}
    if b"x-hub-signature" in headers:
        signed[b"x-hub-signature"] = b"sha1=" + _hex_hmac(secret, body, "sha1")
    return signed


def _verify_github(
    header: bytes, secret: bytes, headers: Mapping[bytes, bytes], body: bytes, _now_s: int
) -> bool:
    return hmac.compare_digest(headers.get(header, b""), b"sha256=" + _hex_hmac(secret, body))


def _sign_stripe(
    header: bytes, secret: bytes, _headers: Mapping[bytes, bytes], body: bytes, now_s: int
) -> dict[bytes, bytes]:
    return {header: b"t=%d,v1=%s" % (now_s, _hex_hmac(secret, b"%d.%s" % (now_s, body)))}


def _verify_stripe(
    header: bytes, secret: bytes, headers: Mapping[bytes, bytes], body: bytes, now_s: int
) -> bool:
    value = headers.get(header, b"")
    if not _STRIPE_VALUE.fullmatch(value):
        return False
    parts = [part.split(b"=", 1) for part in value.split(b",")]
    sent_s = next(int(digits) for key, digits in parts if key == b"t")
    expected = _hex_hmac(secret, b"%d.%s" % (sent_s, body))
    matches = any(key == b"v1" and hmac.compare_digest(digest, expected) for key, digest in parts)
    return matches and abs(now_s - sent_s) <= TOLERANCE_S


def _sign_slack(
    header: bytes, secret: bytes, headers: Mapping[bytes, bytes], body: bytes, now_s: int
) -> dict[bytes, bytes]:
    signed = {header: b"v0=" + _hex_hmac(secret, b"v0:%d:%s" % (now_s, body))}
    if b"x-slack-request-timestamp" in headers:
        signed[b"x-slack-request-timestamp"] = b"%d" % now_s
    return signed


def _verify_slack(
    header: bytes, secret: bytes, headers: Mapping[bytes, bytes], body: bytes, now_s: int
) -> bool:
    sent_s = _unix_seconds(headers.get(b"x-slack-request-timestamp", b""))
    if sent_s is None or abs(now_s - sent_s) > TOLERANCE_S:
        return False
    expected = b"v0=" + _hex_hmac(secret, b"v0:%d:%s" % (sent_s, body))
    return hmac.compare_digest(headers.get(header, b""), expected)


def _standard_key(secret: bytes) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(b"whsec_"), validate=True)
    except binascii.Error:
        raise UsageError(
            "A standard-webhooks secret is base64, with or without whsec_ before it; check the value."
        ) from None


def _standard_signature(key: bytes, identifier: bytes, sent_s: int, body: bytes) -> bytes:
    digest = hmac.new(key, b"%s.%d.%s" % (identifier, sent_s, body), hashlib.sha256).digest()
    return b"v1," + base64.b64encode(digest)


def _sign_standard(
    header: bytes, secret: bytes, headers: Mapping[bytes, bytes], body: bytes, now_s: int
) -> dict[bytes, bytes]:
    prefix = header.removesuffix(b"signature")
    identifier = headers.get(prefix + b"id", b"")
    signed = {header: _standard_signature(_standard_key(secret), identifier, now_s, body)}
    if prefix + b"timestamp" in headers:
        signed[prefix + b"timestamp"] = b"%d" % now_s
    return signed


def _verify_standard(
    header: bytes, secret: bytes, headers: Mapping[bytes, bytes], body: bytes, now_s: int
) -> bool:
    prefix = header.removesuffix(b"signature")
    sent_s = _unix_seconds(headers.get(prefix + b"timestamp", b""))
    if sent_s is None or abs(now_s - sent_s) > TOLERANCE_S:
        return False
    expected = _standard_signature(_standard_key(secret), headers.get(prefix + b"id", b""), sent_s, body)
    return any(hmac.compare_digest(part, expected) for part in headers.get(header, b"").split(b" "))


def _unix_seconds(text: bytes) -> int | None:
    return int(text) if re.fullmatch(rb"\d{1,12}", text) else None


_SCHEMES: dict[SignatureScheme, _Scheme] = {
    SignatureScheme.GITHUB: _Scheme(_sign_github, _verify_github),
    SignatureScheme.STRIPE: _Scheme(_sign_stripe, _verify_stripe),
    SignatureScheme.SLACK: _Scheme(_sign_slack, _verify_slack),
    SignatureScheme.STANDARD_WEBHOOKS: _Scheme(_sign_standard, _verify_standard),
}
