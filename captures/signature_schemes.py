"""
Webhook signature schemes, one pair of functions each: what a sender writes, what a receiver checks.

Sources: GitHub "Validating webhook deliveries" (X-Hub-Signature-256 = sha256= and hex
HMAC-SHA256 of the body, X-Hub-Signature the same with SHA-1), Stripe "Verify webhook
signatures manually" (t=,v1= hex HMAC-SHA256 of ``t.body``), Slack "Verifying requests"
(v0= hex HMAC-SHA256 of ``v0:t:body``), the Standard Webhooks specification (v1, base64
HMAC-SHA256 of ``id.t.body``, v1a, Ed25519 of the same; Svix uses its own header names), Twilio
"Webhooks security" (base64 HMAC-SHA1 of the URL and the sorted form, or of a URL that holds the
body's SHA-256; SHA-256 where X-Twilio-Webhooks-Signature-Settings says so), Shopify "Verify
webhook deliveries" (base64 HMAC-SHA256 of the body).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, parse_qsl

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from captures.errors import UsageError
from captures.model import HmacTemplate, SignatureScheme

TOLERANCE_S = 300
_MS_DIGITS = 13  # a recorded timestamp this long counts milliseconds
_STRIPE_VALUE = re.compile(rb"t=\d{1,12}(?:,v[01]=[0-9a-fA-F]{64})+")
_PLACEHOLDER = re.compile(rb"\{(body|timestamp|url|header:([A-Za-z0-9_-]+))\}")
_SEED_BYTES = 32


class Signable(NamedTuple):
    """
    What a scheme signs, without a secret and a time.

    ``header`` carries the signature; it and the names in ``headers`` are lower case. ``url`` is
    the request's whole URL as its receiver sees it.
    """

    header: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    url: bytes
    template: HmacTemplate | None


class Scheme(NamedTuple):
    """``sign`` gives header values by lower-case name; ``timed`` says whether they hold the time."""

    sign: Callable[[Signable, bytes, int], dict[bytes, bytes]]
    verify: Callable[[Signable, bytes, int], bool]
    timed: bool


def _hex_hmac(secret: bytes, message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret, message, algorithm).hexdigest().encode()


def _base64_hmac(secret: bytes, message: bytes, algorithm: str = "sha256") -> bytes:
    return base64.b64encode(hmac.digest(secret, message, algorithm))


def _unix_seconds(text: bytes) -> int | None:
    return int(text) if re.fullmatch(rb"\d{1,12}", text) else None


def _sign_github(request: Signable, secret: bytes, _now_s: int) -> dict[bytes, bytes]:
    signed = {request.header: b"sha256=" + _hex_hmac(secret, request.body)}
    if b"x-hub-signature" in request.headers:
        signed[b"x-hub-signature"] = b"sha1=" + _hex_hmac(secret, request.body, "sha1")
    return signed


def _verify_github(request: Signable, secret: bytes, _now_s: int) -> bool:
    expected = b"sha256=" + _hex_hmac(secret, request.body)
    return hmac.compare_digest(request.headers.get(request.header, b""), expected)


def _sign_stripe(request: Signable, secret: bytes, now_s: int) -> dict[bytes, bytes]:
    return {request.header: b"t=%d,v1=%s" % (now_s, _hex_hmac(secret, b"%d.%s" % (now_s, request.body)))}


def _verify_stripe(request: Signable, secret: bytes, now_s: int) -> bool:
    value = request.headers.get(request.header, b"")
    if not _STRIPE_VALUE.fullmatch(value):
        return False
    parts = [part.split(b"=", 1) for part in value.split(b",")]
    sent_s = next(int(digits) for key, digits in parts if key == b"t")
    expected = _hex_hmac(secret, b"%d.%s" % (sent_s, request.body))
    matches = any(key == b"v1" and hmac.compare_digest(digest, expected) for key, digest in parts)
    return matches and abs(now_s - sent_s) <= TOLERANCE_S


def _sign_slack(request: Signable, secret: bytes, now_s: int) -> dict[bytes, bytes]:
    signed = {request.header: b"v0=" + _hex_hmac(secret, b"v0:%d:%s" % (now_s, request.body))}
    if b"x-slack-request-timestamp" in request.headers:
        signed[b"x-slack-request-timestamp"] = b"%d" % now_s
    return signed


def _verify_slack(request: Signable, secret: bytes, now_s: int) -> bool:
    sent_s = _unix_seconds(request.headers.get(b"x-slack-request-timestamp", b""))
    if sent_s is None or abs(now_s - sent_s) > TOLERANCE_S:
        return False
    expected = b"v0=" + _hex_hmac(secret, b"v0:%d:%s" % (sent_s, request.body))
    return hmac.compare_digest(request.headers.get(request.header, b""), expected)


def _standard_key(secret: bytes, prefix: bytes) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(prefix), validate=True)
    except binascii.Error:
        raise UsageError(
            "A standard-webhooks secret is base64, with or without whsec_ (or whsk_) before it; "
            "check the value."
        ) from None


def _ed25519_key(secret: bytes) -> Ed25519PrivateKey:
    if secret.startswith(b"whpk_"):
        raise UsageError("A standard-webhooks secret of whpk_ is a public key and signs nothing; give whsk_.")
    key = _standard_key(secret, b"whsk_")
    if len(key) not in {_SEED_BYTES, 2 * _SEED_BYTES}:  # the longer form has the public key behind the seed
        raise UsageError("A standard-webhooks secret of whsk_ holds 32 or 64 bytes; check the value.")
    return Ed25519PrivateKey.from_private_bytes(key[:_SEED_BYTES])


def _sign_standard(request: Signable, secret: bytes, now_s: int) -> dict[bytes, bytes]:
    prefix = request.header.removesuffix(b"signature")
    message = b"%s.%d.%s" % (request.headers.get(prefix + b"id", b""), now_s, request.body)
    if secret.startswith((b"whsk_", b"whpk_")):
        value = b"v1a," + base64.b64encode(_ed25519_key(secret).sign(message))
    else:
        value = b"v1," + _base64_hmac(_standard_key(secret, b"whsec_"), message)
    signed = {request.header: value}
    if prefix + b"timestamp" in request.headers:
        signed[prefix + b"timestamp"] = b"%d" % now_s
    return signed


def _verify_standard(request: Signable, secret: bytes, now_s: int) -> bool:
    prefix = request.header.removesuffix(b"signature")
    sent_s = _unix_seconds(request.headers.get(prefix + b"timestamp", b""))
    if sent_s is None or abs(now_s - sent_s) > TOLERANCE_S:
        return False
    message = b"%s.%d.%s" % (request.headers.get(prefix + b"id", b""), sent_s, request.body)
    parts = request.headers.get(request.header, b"").split(b" ")
    if not secret.startswith((b"whsk_", b"whpk_")):
        expected = b"v1," + _base64_hmac(_standard_key(secret, b"whsec_"), message)
        return any(hmac.compare_digest(part, expected) for part in parts)
    if secret.startswith(b"whpk_"):
        public = Ed25519PublicKey.from_public_bytes(_standard_key(secret, b"whpk_"))
    else:
        public = _ed25519_key(secret).public_key()
    return any(_is_ed25519(public, part, message) for part in parts)


def _is_ed25519(public: Ed25519PublicKey, part: bytes, message: bytes) -> bool:
    if not part.startswith(b"v1a,"):
        return False
    try:
        public.verify(base64.b64decode(part[4:], validate=True), message)
    except (InvalidSignature, binascii.Error):
        return False
    return True


def _twilio(request: Signable, secret: bytes) -> bytes:
    message = request.url
    kind = request.headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower()
    if kind == b"application/x-www-form-urlencoded":
        names: dict[str, set[str]] = {}
        text = request.body.decode("utf-8", "replace")
        for name, value in parse_qsl(text, keep_blank_values=True):
            names.setdefault(name, set()).add(value)
        message += "".join(name + value for name in sorted(names) for value in sorted(names[name])).encode()
    settings = request.headers.get(b"x-twilio-webhooks-signature-settings", b"").upper()
    return _base64_hmac(secret, message, "sha256" if b"ALGORITHM=HMAC_SHA256" in settings else "sha1")


def _sign_twilio(request: Signable, secret: bytes, _now_s: int) -> dict[bytes, bytes]:
    return {request.header: _twilio(request, secret)}


def _verify_twilio(request: Signable, secret: bytes, _now_s: int) -> bool:
    query = request.url.partition(b"?")[2].decode("latin-1")
    stated = parse_qs(query).get("bodySHA256")
    if stated and stated[0].lower() != hashlib.sha256(request.body).hexdigest():
        return False
    return hmac.compare_digest(request.headers.get(request.header, b""), _twilio(request, secret))


def _sign_shopify(request: Signable, secret: bytes, _now_s: int) -> dict[bytes, bytes]:
    return {request.header: _base64_hmac(secret, request.body)}


def _verify_shopify(request: Signable, secret: bytes, _now_s: int) -> bool:
    return hmac.compare_digest(request.headers.get(request.header, b""), _base64_hmac(secret, request.body))


def _template(request: Signable) -> HmacTemplate:
    if request.template is None:
        raise UsageError("A signature of scheme hmac has no template; anonymize the original capture again.")
    return request.template


def _filled(text: bytes, request: Signable, stamp: bytes) -> bytes:
    def value(match: re.Match[bytes]) -> bytes:
        if match[2] is not None:
            return request.headers.get(match[2].lower(), b"")
        return {b"body": request.body, b"timestamp": stamp, b"url": request.url}[match[1]]

    return _PLACEHOLDER.sub(value, text)


def _template_value(template: HmacTemplate, request: Signable, secret: bytes, stamp: bytes) -> bytes:
    made = _hex_hmac if template.encoding == "hex" else _base64_hmac
    digest = made(secret, _filled(template.signed, request, stamp), template.algorithm)
    return template.prefix.replace(b"{timestamp}", stamp) + digest


def _sign_template(request: Signable, secret: bytes, now_s: int) -> dict[bytes, bytes]:
    template = _template(request)
    stamped = template.timestamp_header.lower()
    recorded = request.headers.get(stamped, b"")
    stamp = b"%d" % (now_s * 1000 if len(recorded) >= _MS_DIGITS else now_s)
    signed = {request.header: _template_value(template, request, secret, stamp)}
    if stamped in request.headers:
        signed[stamped] = stamp
    return signed


def _verify_template(request: Signable, secret: bytes, now_s: int) -> bool:
    template = _template(request)
    value = request.headers.get(request.header, b"")
    stamp = request.headers.get(template.timestamp_header.lower(), b"")
    if b"{timestamp}" in template.prefix:
        shape = re.escape(template.prefix).replace(re.escape(b"{timestamp}"), rb"(\d+)")
        match = re.match(shape, value)
        stamp = match[1] if match else b""
    if template.timed:
        sent_s = _unix_seconds(stamp[:-3] if len(stamp) >= _MS_DIGITS else stamp)
        if sent_s is None or abs(now_s - sent_s) > TOLERANCE_S:
            return False
    return hmac.compare_digest(value, _template_value(template, request, secret, stamp))


SCHEMES: Mapping[SignatureScheme, Scheme] = {
    SignatureScheme.GITHUB: Scheme(_sign_github, _verify_github, timed=False),
    SignatureScheme.STRIPE: Scheme(_sign_stripe, _verify_stripe, timed=True),
    SignatureScheme.SLACK: Scheme(_sign_slack, _verify_slack, timed=True),
    SignatureScheme.STANDARD_WEBHOOKS: Scheme(_sign_standard, _verify_standard, timed=True),
    SignatureScheme.TWILIO: Scheme(_sign_twilio, _verify_twilio, timed=False),
    SignatureScheme.SHOPIFY: Scheme(_sign_shopify, _verify_shopify, timed=False),
    SignatureScheme.HMAC: Scheme(_sign_template, _verify_template, timed=True),
}
