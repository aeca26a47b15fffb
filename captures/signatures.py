"""Signed webhooks: recognise the scheme, take the signature out, sign a request again, verify."""

from __future__ import annotations

import re
from collections.abc import Sequence

from captures.model import Headers, HmacTemplate, SignatureScheme, SigningRecipe
from captures.signature_schemes import SCHEMES, Signable

_GITHUB_VALUE = re.compile(rb"sha256=[0-9a-fA-F]{64}")
_STRIPE_VALUE = re.compile(rb"t=\d{1,12}(?:,v[01]=[0-9a-fA-F]{64})+")
_SLACK_VALUE = re.compile(rb"v0=[0-9a-fA-F]{64}")
_STANDARD_VALUE = re.compile(rb"v1a?,[A-Za-z0-9+/=]+(?: v1a?,[A-Za-z0-9+/=]+)*")
_TWILIO_VALUE = re.compile(rb"[A-Za-z0-9+/]{27}=|[A-Za-z0-9+/]{43}=")
_SHOPIFY_VALUE = re.compile(rb"[A-Za-z0-9+/]{43}=")
_OLD_GITHUB_VALUE = re.compile(rb"sha1=[0-9a-fA-F]{40}")
# the digest at the end of a value, as all of it or behind its version
_DIGEST = re.compile(
    rb"[0-9a-fA-F]{40,}|(?<=v1,)[A-Za-z0-9+/]+|(?<=v1a,)[A-Za-z0-9+/]+|[A-Za-z0-9+/]{27,}(?==*\s*$)"
)
_BASE64_SHAPE = {
    "sha1": rb"[A-Za-z0-9+/]{27}=",
    "sha256": rb"[A-Za-z0-9+/]{43}=",
    "sha512": rb"[A-Za-z0-9+/]{86}==",
}
_HEX_DIGITS = {"sha1": 40, "sha256": 64, "sha512": 128}

_RECOGNISED: tuple[tuple[bytes, re.Pattern[bytes], SignatureScheme], ...] = (
    (b"x-hub-signature-256", _GITHUB_VALUE, SignatureScheme.GITHUB),
    (b"stripe-signature", _STRIPE_VALUE, SignatureScheme.STRIPE),
    (b"x-slack-signature", _SLACK_VALUE, SignatureScheme.SLACK),
    (b"webhook-signature", _STANDARD_VALUE, SignatureScheme.STANDARD_WEBHOOKS),
    (b"svix-signature", _STANDARD_VALUE, SignatureScheme.STANDARD_WEBHOOKS),
    (b"x-twilio-signature", _TWILIO_VALUE, SignatureScheme.TWILIO),
    (b"x-shopify-hmac-sha256", _SHOPIFY_VALUE, SignatureScheme.SHOPIFY),
    (b"x-signature", _GITHUB_VALUE, SignatureScheme.GITHUB),
)
_SHAPES = {name: shape for name, shape, _ in _RECOGNISED} | {b"x-hub-signature": _OLD_GITHUB_VALUE}

SIGNATURE_HEADERS = frozenset(_SHAPES)
"""Lower-case names of every header that may carry a signature value."""


def recognise(headers: Headers, recipes: Sequence[SigningRecipe] = ()) -> SigningRecipe | None:
    """The recipe of the first signature in ``headers``: one of ``recipes``, then a known one, or None."""
    present = {name.lower(): (name, value) for name, value in reversed(headers)}
    for recipe in recipes:
        name, value = present.get(recipe.header.lower(), (b"", b""))
        if name and recipe.template is not None and _template_shape(recipe.template).fullmatch(value.strip()):
            return SigningRecipe(scheme=recipe.scheme, header=name, template=recipe.template)
    for lower_name, shape, scheme in _RECOGNISED:
        if lower_name in present:
            name, value = present[lower_name]
            if shape.fullmatch(value.strip()):
                return SigningRecipe(scheme=scheme, header=name)
    return None


def is_signature(name: bytes, value: bytes, recipe: SigningRecipe | None = None) -> bool:
    """Whether the header ``name: value`` is a signature of ``recipe`` or of a known scheme."""
    shape = _SHAPES.get(name.lower())
    if recipe is not None and recipe.template is not None and recipe.header.lower() == name.lower():
        shape = _template_shape(recipe.template)
    return shape is not None and shape.fullmatch(value.strip()) is not None


def blank_signature(value: bytes) -> bytes:
    """``value`` of the same length and shape with nothing left of the signature."""
    return _DIGEST.sub(_blank, value)


def _blank(match: re.Match[bytes]) -> bytes:
    return (b"0" if re.fullmatch(rb"[0-9a-fA-F]+", match[0]) else b"A") * len(match[0])


def _template_shape(template: HmacTemplate) -> re.Pattern[bytes]:
    prefix = re.escape(template.prefix).replace(re.escape(b"{timestamp}"), rb"\d{1,13}")
    if template.encoding == "hex":
        return re.compile(prefix + rb"[0-9a-fA-F]{%d}" % _HEX_DIGITS[template.algorithm])
    return re.compile(prefix + _BASE64_SHAPE[template.algorithm])


def sign(
    recipe: SigningRecipe, *, secret: bytes, headers: Headers, body: bytes, now_s: int, url: bytes = b""
) -> dict[bytes, bytes]:
    """
    The header values that make the request valid at Unix time ``now_s``.

    ``url`` is the whole URL as the receiver sees it, which Twilio signs. Keys are lower-case
    names; each replaces the value of the header of that name. Headers that are not in
    ``headers`` are never returned, so a request only ever keeps its shape.

    Raises:
        UsageError: the secret does not fit the scheme.

    """
    return SCHEMES[recipe.scheme].sign(_signable(recipe, headers, body, url), secret, now_s)


def verify(
    recipe: SigningRecipe, *, secret: bytes, headers: Headers, body: bytes, now_s: int, url: bytes = b""
) -> bool:
    """Whether a target that holds ``secret`` would accept the request at Unix time ``now_s``."""
    return SCHEMES[recipe.scheme].verify(_signable(recipe, headers, body, url), secret, now_s)


def is_timed(recipe: SigningRecipe) -> bool:
    """Whether the signature covers the time of sending, so that it is made only then."""
    if recipe.template is not None:
        return recipe.template.timed
    return SCHEMES[recipe.scheme].timed


def _signable(recipe: SigningRecipe, headers: Headers, body: bytes, url: bytes) -> Signable:
    by_name = {name.lower(): value for name, value in reversed(headers)}
    return Signable(recipe.header.lower(), by_name, body, url, recipe.template)
