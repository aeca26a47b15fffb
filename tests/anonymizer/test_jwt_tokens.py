"""Stand-ins for tokens are tokens, whatever their header and claims hold."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from anonymizer import jwt_tokens
from anonymizer.jwt_tokens import TEST_KEY, rebuild
from captures.keys import Prf

PRF = Prf(b"a key for tests, 32 bytes long..")
CLAIMS = b'{"sub":"jane"}'


def token(header: bytes, signature: bytes = b"c2lnbmF0dXJlIG9mIGl0") -> bytes:
    parts = [base64.urlsafe_b64encode(text).rstrip(b"=") for text in (header, CLAIMS)]
    return b".".join((*parts, signature))


def test_a_stand_in_is_signed_by_the_key_for_tests() -> None:
    """Of an HMAC algorithm the new signature is right under the published key."""
    new = rebuild(PRF, token(b'{"alg":"HS256"}'), lambda _text: [])
    message, _, signature = new.rpartition(b".")
    assert message == token(b'{"alg":"HS256"}').rpartition(b".")[0]
    assert jwt_tokens.decode(signature) == hmac.new(TEST_KEY, message, hashlib.sha256).digest()


@pytest.mark.parametrize("header", [b'{"a":' + b"[" * 100_000, b'{"alg":"RS256"}', b'{"alg":["x"]}', b'{"a'])
def test_another_signature_becomes_one_of_its_length(header: bytes) -> None:
    """Also where the header is no JSON that can be read: nested without end, or cut."""
    old = token(header)
    new = rebuild(PRF, old, lambda _text: [])
    assert len(new) == len(old)
    assert new.rpartition(b".")[2] != old.rpartition(b".")[2]
