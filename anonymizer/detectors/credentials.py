"""Credentials in headers: request headers, Set-Cookie, and headers whose name says secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from captures.credentials import CredentialKind, find_credentials
from captures.model import Headers
from captures.signatures import SIGNATURE_HEADERS

_SECRET_HEADER = re.compile(
    rb"(?:^|-)(?:token|secret|signature(?:-\d+)?|api-?key|auth|hmac(?:-sha256)?|credentials?|session|"
    rb"session-?id|password|passcode|csrf|xsrf|authorization|cookie)$",
    re.IGNORECASE,
)
_SET_COOKIE = re.compile(rb"\s*[^=;]*=\s*([^;]*?)\s*(?:;|$)")
# Preferences that applications read: a changed value would change behaviour, and none names a person.
_PREFERENCE = re.compile(
    r"(?:^|[_-])(?:lang|language|locale|i18n|theme|tz|timezone|color[_-]mode|currency|consent|dnt)$"
)
_PLAIN = re.compile(rb"[A-Za-z]{1,12}(?:[_/-][A-Za-z]{2,12})?|[01]")


class SecretSpan(NamedTuple):
    """A credential in the header at index ``header``: the bytes ``start:stop`` of its value."""

    header: int
    start: int
    stop: int
    basic: bool


def find(headers: Headers) -> Iterator[SecretSpan]:
    """Every credential in ``headers`` of a request or a response; signatures are none."""
    seen: set[int] = set()
    for credential in find_credentials(headers):
        seen.add(credential.header)
        if credential.kind is CredentialKind.COOKIE and _is_preference(credential.name, credential.value):
            continue
        basic = credential.kind is CredentialKind.BASIC
        yield SecretSpan(credential.header, credential.start, credential.stop, basic)
    for index, (name, value) in enumerate(headers):
        lower_name = name.lower()
        if index in seen or lower_name in SIGNATURE_HEADERS or lower_name == b"cookie" or not value:
            continue
        if lower_name == b"set-cookie":
            match = _SET_COOKIE.match(value)
            cookie = value.split(b"=", 1)[0].strip().decode("latin-1").lower()
            if match and match[1] and not _is_preference(cookie, match[1]):
                yield SecretSpan(index, *match.span(1), basic=False)
        elif _SECRET_HEADER.search(lower_name):
            yield SecretSpan(index, 0, len(value), basic=False)


def _is_preference(name: str, value: bytes) -> bool:
    return _PREFERENCE.search(name) is not None and _PLAIN.fullmatch(value) is not None
