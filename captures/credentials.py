"""Where a request carries credentials, as byte spans that can be fingerprinted and replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from captures.keys import credential_fingerprint
from captures.model import Headers


class CredentialKind(StrEnum):
    """What a credential is; the words that a credentials file uses."""

    BEARER = "bearer"
    BASIC = "basic"
    COOKIE = "cookie"
    API_KEY = "api-key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """
    One credential in one header: ``header`` is its index, ``start:stop`` the bytes of its value.

    ``value`` is the raw bytes there: for Basic the base64 text, for a cookie the value alone.
    ``name`` is the cookie's or the header's name in lower case, empty for bearer and basic.
    """

    kind: CredentialKind
    name: str
    header: int
    start: int
    stop: int
    value: bytes = field(repr=False)

    def fingerprint(self, salt: bytes) -> str:
        """``kind:hex`` (or ``kind:name:hex``), the name of this credential in a credentials file."""
        digits = credential_fingerprint(salt, self.kind, self.value)
        return ":".join(part for part in (self.kind, self.name, digits) if part)


API_KEY_HEADERS = frozenset(
    {
        b"apikey", b"api-key", b"x-api-key", b"x-apikey", b"x-auth-token", b"x-access-token",
        b"x-csrf-token", b"x-xsrf-token", b"x-gitlab-token", b"x-goog-api-key", b"x-amz-security-token",
        b"ocp-apim-subscription-key", b"x-vault-token", b"x-shopify-access-token", b"x-functions-key",
        b"private-token", b"x-token",
    }
)  # fmt: skip
"""Lower-case names of headers whose whole value is a secret."""

_AUTHORIZATION = re.compile(rb"\s*([A-Za-z][A-Za-z0-9_-]*)\s+(\S.*?)\s*", re.DOTALL)
_COOKIE_PAIR = re.compile(rb"([^=;\s][^=;]*?)\s*=\s*([^;]*?)\s*(?:;|$)")


def find_credentials(headers: Headers) -> Iterator[Credential]:
    """Every credential of a request's ``headers``, in wire order."""
    for index, (name, value) in enumerate(headers):
        lower_name = name.lower()
        if lower_name in {b"authorization", b"proxy-authorization"}:
            yield from _authorization(index, value)
        elif lower_name == b"cookie":
            yield from _cookies(index, value)
        elif lower_name in API_KEY_HEADERS and value:
            yield Credential(
                kind=CredentialKind.API_KEY,
                name=lower_name.decode("latin-1"),
                header=index,
                start=0,
                stop=len(value),
                value=value,
            )


def _authorization(index: int, value: bytes) -> Iterator[Credential]:
    match = _AUTHORIZATION.fullmatch(value)
    if match is None:  # a bare value without a scheme
        start, stop = len(value) - len(value.lstrip()), len(value.rstrip())
        kind = CredentialKind.BEARER
    else:
        start, stop = match.span(2)
        kind = CredentialKind.BASIC if match[1].lower() == b"basic" else CredentialKind.BEARER
    if stop > start:
        yield Credential(kind=kind, name="", header=index, start=start, stop=stop, value=value[start:stop])


def _cookies(index: int, value: bytes) -> Iterator[Credential]:
    for match in _COOKIE_PAIR.finditer(value):
        start, stop = match.span(2)
        if stop > start:
            yield Credential(
                kind=CredentialKind.COOKIE,
                name=match[1].decode("latin-1").lower(),
                header=index,
                start=start,
                stop=stop,
                value=match[2],
            )
