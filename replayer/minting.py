"""
Tokens (JWT, RFC 7519) that are signed anew with the target's key, for the time at which they are sent.

A recorded token has expired by the time of a replay, and a stand-in has a signature that nobody
accepts. With the key of its issuer its times are moved from when it was used to when it is due,
so that it is as old, and lives as long, as it did in the capture. A token is made once and used again
until it would have expired where the recorded one had not.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from captures.bodies.edits import Edit, splice
from captures.bodies.json import LeafRole, scan
from captures.errors import UsageError
from captures.model import Request
from replayer.shown import by_sizes

ANY_ISSUER = "*"
_TOKEN = re.compile(rb"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+", re.ASCII)
_TIMES = frozenset({b"iat", b"exp", b"nbf", b"auth_time", b"updated_at"})
_SECONDS = re.compile(rb"(\d{1,12})((?:\.\d+)?)")
_TIMES_END_S = 10**12  # later is no time that anybody means
_REMEMBERED_MAX = 20_000
_CLOCK_SKEW_S = 60  # an issuer's clock may be ahead
_FITTING = {
    "HS": "secret",
    "RS": "private RSA key",
    "PS": "private RSA key",
    "ES": "private EC key of its curve",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MintingKey:
    """What signs tokens: the bytes of a secret, or a private key in PEM form."""

    key: bytes = field(repr=False)

    @property
    def is_pem(self) -> bool:
        """Whether this is a private key rather than a secret."""
        return self.key.lstrip().startswith(b"-----BEGIN")


def checked_key(key: bytes, where: str) -> MintingKey:
    """
    A key whose form is right; ``where`` names the place it comes from.

    Raises:
        UsageError: it is in PEM form and no private key without a passphrase.

    """
    made = MintingKey(key=key)
    if made.is_pem:
        try:
            load_pem_private_key(key, password=None)
        except (ValueError, TypeError, binascii.Error):
            raise UsageError(
                f"{where} is no private key that can be read; give it in PEM form, without a passphrase."
            ) from None
    return made


class _Parsed(NamedTuple):
    """A token: its header as it is written, its claims as text, its algorithm and its issuer."""

    header: bytes
    claims: bytes
    algorithm: str
    issuer: str
    times: dict[bytes, int]

    def __repr__(self) -> str:
        """Sizes alone."""
        return by_sizes(self)


class _Made(NamedTuple):
    token: bytes
    dies_s: int | None  # Unix time; None for never

    def __repr__(self) -> str:
        """Sizes alone."""
        return by_sizes(self)


class Minter:
    """
    Signs the tokens of requests anew; ``keys`` are by issuer, ``*`` for every other one.

    Tokens among ``kept`` (those that were given for the target) stay. ``wanted`` may be asked in another
    thread than that which calls it.
    """

    def __init__(self, keys: Mapping[str, MintingKey], kept: Collection[bytes] = ()) -> None:
        self._keys = keys
        self._kept = frozenset(kept)
        self._parsed: dict[bytes, _Parsed | tuple[()]] = {}  # empty for no token that has a key here
        self._made: dict[bytes, _Made] = {}
        self._signers: dict[tuple[bytes, str], Any] = {}

    def wanted(self, request: Request) -> bool:
        """
        Whether ``request`` has a token that is to be signed anew.

        Raises:
            UsageError: the key does not fit its algorithm.

        """
        found = False
        for data in (request.target, request.body, *(value for _, value in request.headers)):
            if b"eyJ" in data:
                for token in _TOKEN.findall(data):
                    parsed = self._parse(token)
                    if parsed is not None:
                        self._signer(parsed)
                        found = True
        return found

    def __call__(self, request: Request, *, now_s: int, used_s: int, refused: bool) -> Request:
        """
        ``request`` with tokens for Unix time ``now_s`` and the right Content-Length.

        It was recorded at ``used_s``, and was ``refused`` (401 or 403) or not.
        """

        def fresh(match: re.Match[bytes]) -> bytes:
            return self._token(match[0], now_s, used_s, refused=refused)

        minted = partial(_TOKEN.sub, fresh)
        body = minted(request.body) if b"eyJ" in request.body else request.body
        headers = tuple(
            (name, minted(value) if b"eyJ" in value else value) for name, value in request.headers
        )
        if len(body) != len(request.body):
            length = b"%d" % len(body)
            headers = tuple(
                (name, length if name.lower() == b"content-length" else value) for name, value in headers
            )
        return replace(request, target=minted(request.target), headers=headers, body=body)

    def _token(self, token: bytes, now_s: int, used_s: int, *, refused: bool) -> bytes:
        parsed = self._parse(token)
        if parsed is None:
            return token
        known = self._made.get(token)
        dies_s = parsed.times.get(b"exp")
        if known is not None and (known.dies_s is None or now_s < known.dies_s or used_s >= (dies_s or 0)):
            return known.token
        moved_s = now_s - _anchor(parsed.times, used_s, refused=refused)
        try:
            signed = self._signed(parsed, moved_s)
        except UsageError:  # it is of the target, in this run: those of the capture were tried before it
            return token
        made = _Made(signed, None if dies_s is None else dies_s + moved_s)
        _remember(self._made, token, made)
        return made.token

    def _signed(self, parsed: _Parsed, moved_s: int) -> bytes:
        edits: list[Edit] = []
        for leaf in scan(parsed.claims):
            if leaf.role is LeafRole.NUMBER and not leaf.path and leaf.key in _TIMES:
                time = _SECONDS.fullmatch(parsed.claims[leaf.start : leaf.stop])
                if time is not None:
                    edits.append(Edit(leaf.start, leaf.stop, b"%d%b" % (int(time[1]) + moved_s, time[2])))
        message = parsed.header + b"." + _encoded(splice(parsed.claims, edits))
        algorithm, key = self._signer(parsed)
        return message + b"." + _encoded(algorithm.sign(message, key))

    def _signer(self, parsed: _Parsed) -> Any:
        """The algorithm and the key, ready to sign."""
        minting = self._keys.get(parsed.issuer) or self._keys[ANY_ISSUER]
        known = self._signers.get((minting.key, parsed.algorithm))
        if known is not None:
            return known
        family = parsed.algorithm[:2]
        algorithm = jwt.get_algorithm_by_name(parsed.algorithm)
        try:
            key = None if (family == "HS") is minting.is_pem else algorithm.prepare_key(minting.key)
            algorithm.sign(b"", key)
        except (jwt.exceptions.InvalidKeyError, TypeError, ValueError, AttributeError):
            fitting = _FITTING.get(family, "private Ed25519 or Ed448 key")
            raise UsageError(
                f"A token is signed by {parsed.algorithm} and its key under [jwt] is none for that; "
                f"give a {fitting}."
            ) from None
        self._signers[minting.key, parsed.algorithm] = algorithm, key
        return algorithm, key

    def _parse(self, token: bytes) -> _Parsed | None:
        """What ``token`` says, None when it is no token that has a key here."""
        known = self._parsed.get(token)
        if known is not None:
            return known or None
        parsed = None if token in self._kept else _parsed(token)
        if parsed is not None and parsed.issuer not in self._keys and ANY_ISSUER not in self._keys:
            parsed = None
        _remember(self._parsed, token, parsed or ())
        return parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Minting:
    """
    How the tokens of one request are signed anew.

    It was recorded at Unix time ``used_s``, and was ``refused`` (401 or 403) or not.
    """

    minter: Minter = field(repr=False)
    used_s: int
    refused: bool

    def __call__(self, request: Request, now_s: int) -> Request:
        """``request`` with tokens for Unix time ``now_s``."""
        return self.minter(request, now_s=now_s, used_s=self.used_s, refused=self.refused)


def _remember(known: dict[bytes, Any], token: bytes, value: Any) -> None:
    if len(known) >= _REMEMBERED_MAX:
        known.clear()
    known[token] = value


def _parsed(token: bytes) -> _Parsed | None:
    header, claims, _ = token.split(b".")
    try:
        text = _decoded(claims)
        head, body = json.loads(_decoded(header)), json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(head, dict) or not isinstance(body, dict):
        return None
    algorithm = head.get("alg")
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        return None
    times: dict[bytes, Any] = {name: body.get(name.decode()) for name in _TIMES}
    return _Parsed(
        header=header,
        claims=text,
        algorithm=algorithm,
        issuer=str(body.get("iss", "")),
        times={name: int(value) for name, value in times.items() if _is_time(value)},
    )


_ALGORITHMS = frozenset(jwt.algorithms.get_default_algorithms()) - {"none"}


def _is_time(value: Any) -> bool:
    return type(value) in {int, float} and 0 <= value < _TIMES_END_S


def _anchor(times: Mapping[bytes, int], used_s: int, *, refused: bool) -> int:
    """
    The moment of the token's time that becomes now: when it was used, if it was valid then.

    One that was not, and was accepted all the same, comes from elsewhere in time; it is new now.
    """
    begins_s = times.get(b"nbf", times.get(b"iat", used_s))
    valid = begins_s - _CLOCK_SKEW_S <= used_s < times.get(b"exp", used_s + 1)
    return used_s if valid or refused else times.get(b"iat", times.get(b"nbf", used_s))


def _decoded(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
