"""A sample of whole sessions: an exchange is in when its session is."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

from captures.credentials import Credential, CredentialKind, find_credentials
from captures.errors import UsageError
from captures.model import Exchange, Response
from recorder.cookies import set_cookies

REMEMBERED = 100_000  # sessions and connections that are known at once; about 20 MB
# A shorter cookie ("theme=dark", "lang=en") is a setting that many sessions share.
_SESSION_COOKIE_BYTES = 16
# A name that brought so many others with it stands for no session: every user has it.
_SHARED_BY = 16
_HASH_BYTES = 8
_SHARE = re.compile(r"(?P<percent>\d{1,3}(?:\.\d{1,6})?)%|(?P<over>\d{1,9})/(?P<under>\d{1,9})")
# An API key often stands for an application, not for a user, so it comes last.
_STRENGTH = {
    CredentialKind.BEARER: 0,
    CredentialKind.COOKIE: 1,
    CredentialKind.BASIC: 2,
    CredentialKind.API_KEY: 3,
}
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def parse_share(text: str) -> Fraction:
    """
    The exact share of ``"10%"``, ``"0.5%"`` or ``"1/8"``; above 0 and at most 1.

    Raises:
        UsageError: it is neither.

    """
    match = _SHARE.fullmatch(text.strip())
    share = Fraction(0)
    if match is not None and match["percent"]:
        share = Fraction(match["percent"]) / 100
    elif match is not None and int(match["under"]):
        share = Fraction(int(match["over"]), int(match["under"]))
    if not 0 < share <= 1:
        raise UsageError(f"{text!r} is no share of the sessions; write it like 10%, 0.5% or 1/8.")
    return share


class _Recent(Generic[_Key, _Value]):
    """A map that forgets what was not used for longest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[_Key, _Value] = OrderedDict()

    def get(self, key: _Key) -> _Value | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: _Key, value: _Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)


@dataclass(slots=True)
class _Session:
    """
    Whether what carries this name is in.

    ``adopted`` counts names that first came in a request beside this one.
    """

    chosen: bool
    adopted: int = 0

    @property
    def shared(self) -> bool:
        return self.adopted >= _SHARED_BY


@dataclass(frozen=True, slots=True)
class _Link:
    """Whether what comes on a connection is in, and whether a session was seen on it."""

    chosen: bool
    has_session: bool


class SessionSampler:
    """
    Chooses ``share`` of the sessions by a keyed hash of what identifies them.

    A session is a token (Authorization), a cookie or an API key, and without any of them the
    connection. What a session gets later (a cookie set by a response, the first credential on a
    connection that had none) belongs to it. A name that turns out to be everybody's (the same
    cookie or token beside ever new ones) is no longer looked at. The choice is the same wherever
    ``key`` is.
    """

    def __init__(self, share: Fraction, key: bytes, *, remembered: int = REMEMBERED) -> None:
        self._share = share
        self._key = key
        self._sessions: _Recent[bytes, _Session] = _Recent(remembered)
        self._links: _Recent[int, _Link] = _Recent(remembered)

    def wants(self, exchange: Exchange) -> bool:
        """Whether the session of ``exchange`` is in the sample; ask in the order exchanges end."""
        names = [self._name(credential) for credential in _session_credentials(exchange)]
        known = [self._sessions.get(name) for name in names]
        link = self._links.get(exchange.connection)
        telling = next((session for session in known if session is not None and not session.shared), None)
        if telling is not None:
            chosen = telling.chosen
            telling.adopted += known.count(None)
        else:
            fresh = [name for name, session in zip(names, known, strict=True) if session is None]
            chosen = self._decide(fresh or names, link, exchange.connection)
        outcome = exchange.outcome
        given = set_cookies(outcome.headers) if isinstance(outcome, Response) else ()
        names += [self._name(cookie) for cookie in given if _is_session_cookie(cookie)]
        for name in names:
            if self._sessions.get(name) is None:
                self._sessions.put(name, _Session(chosen))
        if link is None:
            self._links.put(exchange.connection, _Link(chosen, bool(names)))
        elif names and not link.has_session:
            self._links.put(exchange.connection, _Link(link.chosen, has_session=True))
        return chosen

    def _decide(self, names: list[bytes], link: _Link | None, connection: int) -> bool:
        """For a session that is seen for the first time."""
        if names and (link is None or link.has_session):  # pooled connections carry many sessions
            return self._draw(names[0])
        if link is not None:
            return link.chosen
        return self._draw(b"connection %d" % connection)

    def _draw(self, name: bytes) -> bool:
        digest = hashlib.blake2b(name, digest_size=_HASH_BYTES, key=self._key, person=b"sample").digest()
        return int.from_bytes(digest, "big") < self._share * (1 << 8 * _HASH_BYTES)

    def _name(self, credential: Credential) -> bytes:
        value = b"\0".join((credential.kind.encode(), credential.name.encode("latin-1"), credential.value))
        return hashlib.blake2b(value, digest_size=16, key=self._key, person=b"session").digest()


def _session_credentials(exchange: Exchange) -> list[Credential]:
    """What may identify the session of a request, the most telling first."""
    found: Iterator[Credential] = find_credentials(exchange.request.headers)
    return sorted(
        (item for item in found if item.kind is not CredentialKind.COOKIE or _is_session_cookie(item)),
        key=lambda item: _STRENGTH[item.kind],
    )


def _is_session_cookie(cookie: Credential) -> bool:
    return len(cookie.value) >= _SESSION_COOKIE_BYTES
