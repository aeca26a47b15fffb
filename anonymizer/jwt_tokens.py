"""Stand-ins for JSON Web Tokens: same header, claims with stand-ins in them, another signature."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable

from anonymizer.detectors.jwts import JWT
from anonymizer.generators import secret
from captures.bodies.edits import Edit, splice
from captures.keys import Prf

TEST_KEY = b"hookreel-test-key-hookreel-test-key-hookreel-test-key-hookreel-test-key-"
"""Signs HS256, HS384 and HS512 stand-ins. It is public: a target that takes them is a test target."""

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def parts(raw: bytes) -> tuple[bytes, bytes] | None:
    """Header and claims as JSON text, or None when ``raw`` only looks like a token."""
    match = JWT.fullmatch(raw)
    if match is None:
        return None
    header, claims = decode(match[1]), decode(match[2])
    return None if header is None or claims is None else (header, claims)


def rebuild(prf: Prf, raw: bytes, edits_of: Callable[[bytes], list[Edit]]) -> bytes:
    """
    The stand-in for the token ``raw``; ``edits_of`` gives the edits of a JSON text.

    A signature that is not HMAC becomes bytes of the same length which no key verifies.
    """
    texts = parts(raw)
    if texts is None:
        return secret(prf, raw)
    message = b".".join(_encode(splice(text, edits_of(text))) for text in texts)
    signature = raw.rpartition(b".")[2]
    if not signature:
        return message + b"."
    made_by = _HASHES.get(_algorithm(texts[0]))
    if made_by is not None:
        new = _encode(hmac.new(TEST_KEY, message, made_by).digest())
    else:
        new = secret(prf, raw)[-len(signature) :]
    return message + b"." + new


def _algorithm(header: bytes) -> str:
    try:
        return str(json.loads(header).get("alg"))
    except (ValueError, AttributeError, RecursionError):
        return ""


def decode(part: bytes) -> bytes | None:
    """The bytes that base64url without padding stands for, or None."""
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
