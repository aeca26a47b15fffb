"""Tokens signed anew: a target that holds the other half of the key takes them, for the right time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from captures.errors import UsageError
from captures.model import Exchange, Request
from replayer.credentials import Keyring, build_keyring
from replayer.minting import Minter, MintingKey, checked_key

Make = Callable[..., Exchange]
USED_S = 1_700_000_000
DUE_S = 1_900_000_000
SECRET = (
    b"a secret with a hundred bytes or so, as long as the longest hash needs it for its signature to be one"
)
CLAIMS = {"iss": "club", "sub": "41", "iat": USED_S - 100, "nbf": USED_S - 90, "exp": USED_S + 500, "n": 5}


def pem(key: Any, **more: Any) -> bytes:
    encryption = more.get("encryption", NoEncryption())
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def public(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


RSA, EC, OKP = (
    rsa.generate_private_key(65_537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
    ed25519.Ed25519PrivateKey.generate(),
)


def token(claims: dict[str, Any] | None = None, algorithm: str = "HS256", **header: Any) -> bytes:
    """A token whose signature nobody would take."""
    parts = ({"alg": algorithm, "typ": "JWT", **header}, CLAIMS if claims is None else claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join((*texts, b"c3RhbmQtaW4"))


def ask(exchange: Make, raw: bytes, body: bytes = b"") -> Request:
    headers = ((b"Authorization", b"Bearer " + raw), (b"Content-Length", b"%d" % len(body)))
    return exchange(0, target=b"/x?access_token=" + raw, headers=headers, body=body).request


def minted(minter: Minter, request: Request, now_s: int = DUE_S, used_s: int = USED_S, **more: Any) -> bytes:
    made = minter(request, now_s=now_s, used_s=used_s, refused=more.get("refused", False))
    raw = made.headers[0][1].removeprefix(b"Bearer ")
    assert made.target == b"/x?access_token=" + raw
    return raw


@pytest.mark.parametrize(
    ("algorithm", "key", "verifying"),
    [
        ("HS256", SECRET, SECRET),
        ("HS512", SECRET, SECRET),
        ("RS256", pem(RSA), public(RSA)),
        ("PS256", pem(RSA), public(RSA)),
        ("ES256", pem(EC), public(EC)),
        ("EdDSA", pem(OKP), public(OKP)),
    ],
)
def test_a_target_takes_the_token(exchange: Make, algorithm: str, key: bytes, verifying: bytes) -> None:
    """Signature, times and lifetimes fit; header and other claims are as recorded."""
    minter = Minter({"club": checked_key(key, "the key")})
    request = ask(exchange, token(algorithm=algorithm, kid="k1"))
    assert minter.wanted(request)
    raw = minted(minter, request)
    claims = jwt.decode(
        raw,
        verifying,
        algorithms=[algorithm],
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    moved = DUE_S - USED_S
    assert claims == {
        **CLAIMS,
        "iat": CLAIMS["iat"] + moved,
        "nbf": CLAIMS["nbf"] + moved,
        "exp": DUE_S + 500,
    }
    assert jwt.get_unverified_header(raw) == {"alg": algorithm, "typ": "JWT", "kid": "k1"}


@pytest.mark.parametrize(
    ("algorithm", "key", "advice"),
    [
        ("RS256", SECRET, "private RSA key"),
        ("HS256", pem(RSA), "give a secret"),
        ("RS256", pem(EC), "private RSA key"),
        ("ES256", pem(RSA), "private EC key"),
        ("ES512", pem(EC), "private EC key of its curve"),
        ("EdDSA", pem(EC), "private Ed25519"),
    ],
)
def test_a_key_of_another_kind_is_one_sentence(
    exchange: Make, algorithm: str, key: bytes, advice: str
) -> None:
    """It is found while requests are compiled, and names algorithm and cure but no key."""
    minter = Minter({"*": MintingKey(key=key)})
    with pytest.raises(UsageError, match=f"signed by {algorithm} .*{advice}") as caught:
        minter.wanted(ask(exchange, token(algorithm=algorithm)))
    assert SECRET.decode() not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    [public(RSA), pem(RSA, encryption=BestAvailableEncryption(b"x")), b"-----BEGIN PRIVATE KEY-----\nAA\n"],
)
def test_a_key_that_cannot_sign_is_refused_when_it_is_read(key: bytes) -> None:
    """Public, locked and broken keys are no private ones."""
    with pytest.raises(UsageError, match=r"^The key of x is no private key that can be read; "):
        checked_key(key, "The key of x")


def test_a_token_is_used_again_until_it_would_have_expired(exchange: Make) -> None:
    """Later requests carry the same one; at half the speed a second one is made, as the first is dead."""
    minter = Minter({"*": MintingKey(key=SECRET)})
    request = ask(exchange, token())
    first = minted(minter, request)
    assert minted(minter, request, now_s=DUE_S + 400, used_s=USED_S + 200) == first
    second = minted(minter, request, now_s=DUE_S + 800, used_s=USED_S + 400)
    expires = jwt.decode(second, options={"verify_signature": False})["exp"]
    assert expires == DUE_S + 800 + 100


def test_an_expired_token_stays_expired_if_it_was_refused(exchange: Make) -> None:
    """A test of an expired session is one again; a token of another time is new."""
    request = ask(exchange, token())
    used_s = USED_S + 1000
    dead = minted(Minter({"*": MintingKey(key=SECRET)}), request, used_s=used_s, refused=True)
    assert jwt.decode(dead, options={"verify_signature": False})["exp"] == DUE_S - 500
    alive = minted(Minter({"*": MintingKey(key=SECRET)}), request, used_s=used_s)
    claims = jwt.decode(alive, options={"verify_signature": False})
    assert (claims["iat"], claims["exp"]) == (DUE_S, DUE_S + 600)


def test_times_with_fractions_move_too(exchange: Make) -> None:
    """Some issuers write them so; an endless one is no time."""
    raw = minted(
        Minter({"*": MintingKey(key=SECRET)}),
        ask(
            exchange,
            token({"iat": USED_S - 0.25, "exp": USED_S + 9, "nbf": float("1e99"), "x": [{"exp": 1}]}),
        ),
    )
    claims = jwt.decode(raw, options={"verify_signature": False})
    assert claims == {"iat": DUE_S - 0.25, "exp": DUE_S + 9, "nbf": 1e99, "x": [{"exp": 1}]}


@pytest.mark.parametrize(
    "raw",
    [
        token({**CLAIMS, "iss": "stranger"}),
        token(algorithm="none"),
        token(algorithm="XX1"),
        b"eyJhbGciOiJIUzI1NiJ9.eyJub3Bl.c2ln",
        b"eyJbXQ.eyJbXQ.c2ln",
    ],
)
def test_other_tokens_stay(exchange: Make, raw: bytes) -> None:
    """Of another issuer, unsigned, of an unknown algorithm, or no token at all."""
    minter = Minter({"club": MintingKey(key=SECRET)})
    request = ask(exchange, raw)
    assert not minter.wanted(request)
    assert minted(minter, request) == raw


def test_a_token_that_was_given_for_the_target_stays(exchange: Make) -> None:
    """What the credentials file maps wins."""
    given = token()
    keyring = Keyring(credentials={"bearer:0": given}, minting={"*": MintingKey(key=SECRET)})
    assert not keyring.minter().wanted(ask(exchange, given))
    assert SECRET in keyring.values()


def test_a_token_that_the_target_mints_by_another_algorithm_stays(exchange: Make) -> None:
    """The key does not fit it, and a replay that runs does not end over it."""
    raw = token(algorithm="RS256")
    assert minted(Minter({"club": MintingKey(key=SECRET)}), ask(exchange, raw)) == raw


def test_a_body_keeps_its_length_header_right(exchange: Make) -> None:
    """A signature of another length moves Content-Length."""
    raw = token()
    request = ask(exchange, raw, body=b'{"token": "%b", "more": 1}' % raw)
    made = Minter({"*": MintingKey(key=SECRET)})(request, now_s=DUE_S, used_s=USED_S, refused=False)
    assert len(made.body) != len(request.body)
    assert made.headers[1] == (b"Content-Length", b"%d" % len(made.body))
    json.loads(made.body)


def test_keys_come_from_the_credentials_file(tmp_path: Path) -> None:
    """Text, the environment or a file beside it that others cannot read."""
    key_file = tmp_path / "signing.pem"
    key_file.write_bytes(pem(EC))
    key_file.chmod(0o600)
    path = tmp_path / "credentials.toml"
    path.write_text('[jwt]\n"*" = "plain"\na = { env = "KEY" }\nb = { file = "signing.pem" }\n')
    path.chmod(0o600)
    ring = build_keyring(file=path, secrets=(), environment={"KEY": "from outside"})
    assert {name: key.key for name, key in ring.minting.items()} == {
        "*": b"plain", "a": b"from outside", "b": pem(EC),
    }  # fmt: skip
    assert "plain" not in repr(ring)
    key_file.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        build_keyring(file=path, secrets=(), environment={"KEY": "x"})
    key_file.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        build_keyring(file=path, secrets=(), environment={"KEY": "x"})


def test_a_replay_sends_tokens_that_hold_now(
    serve: Callable[..., Any], exchange: Make, send: Callable[..., Any]
) -> None:
    """An expired recorded token is valid when it is sent, also where a signature covers it."""
    server = serve()
    exchanges = [
        exchange(number, headers=((b"Host", b"h"), (b"Authorization", b"Bearer " + token())))
        for number in range(3)
    ]
    replayed = send(exchanges, server.url, keyring=Keyring(minting={"club": MintingKey(key=SECRET)}))
    sent = {dict(one.request.headers)[b"Authorization"].removeprefix(b"Bearer ") for one in server.seen}
    assert len(sent) == 1
    claims = jwt.decode(sent.pop(), SECRET, algorithms=["HS256"])  # raises if it is expired
    assert claims["exp"] - claims["iat"] == 600
    assert any("3 requests carried tokens signed anew" in note for note in replayed.run.header.notes)
