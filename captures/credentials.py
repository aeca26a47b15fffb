"""Where a request carries credentials, as byte spans that can be fingerprinted and replaced."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
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

_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9_-]*")
_SPACE = b" \t\n\r\f\v"


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


def replace_values(headers: Headers, values: Iterable[tuple[Credential, bytes]]) -> Headers:
    """``headers`` with new values in place of credentials found in them; the rest stays byte for byte."""
    by_header: defaultdict[int, list[tuple[Credential, bytes]]] = defaultdict(list)
    for credential, value in values:
        by_header[credential.header].append((credential, value))
    changed = list(headers)
    for index, replacements in by_header.items():
        name, old = headers[index]
        parts, end = [], 0
        for credential, value in sorted(replacements, key=lambda pair: pair[0].start):
            parts += [old[end : credential.start], value]
            end = credential.stop
        changed[index] = name, b"".join((*parts, old[end:]))
    return tuple(changed)


# What follows takes time in proportion to the bytes: headers come from anybody, and a pattern that
# backtracks over one of 32 kB took 18 s.


def _authorization(index: int, value: bytes) -> Iterator[Credential]:
    stop = len(value.rstrip())
    words = value[:stop].split(None, 1)
    if len(words) == 2 and _SCHEME.fullmatch(words[0]):
        kind = CredentialKind.BASIC if words[0].lower() == b"basic" else CredentialKind.BEARER
        start = stop - len(words[1])
    else:  # a bare value without a scheme
        kind, start = CredentialKind.BEARER, len(value) - len(value.lstrip())
    if stop > start:
        yield Credential(kind=kind, name="", header=index, start=start, stop=stop, value=value[start:stop])


def _cookies(index: int, value: bytes) -> Iterator[Credential]:
    end = -1
    for part in value.split(b";"):
        begin, end = end + 1, end + 1 + len(part)
        name, equals, raw = part.lstrip(_SPACE + b"=").partition(b"=")
        secret = raw.strip()
        if equals and secret:
            start = begin + len(part) - len(raw.lstrip())
            yield Credential(
                kind=CredentialKind.COOKIE,
                name=name.rstrip().decode("latin-1").lower(),
                header=index,
                start=start,
                stop=start + len(secret),
                value=secret,
            )
