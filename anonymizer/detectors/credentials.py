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
    rb"session-?id|password|passcode|csrf|xsrf|authorization|cookie2?)$",
    re.IGNORECASE,
)
_SET_COOKIE = re.compile(rb"\s*[^=;]*=\s*([^;]*?)\s*(?:;|$)")
# Preferences that applications read: a changed value would change behaviour, and none names a person.
_PREFERENCE = re.compile(
    r"(?:^|[_-])(?:lang|language|locale|i18n|theme|tz|timezone|color[_-]mode|currency|consent|dnt)$"
)
_PLAIN = re.compile(rb"[A-Za-z]{1,12}(?:[_/-][A-Za-z]{2,12})?|[01]")
# Parameters as Digest, OAuth, AWS4 and Hawk write them (RFC 9110, section 11.4).
_PARAMETER = re.compile(rb'([A-Za-z][A-Za-z0-9_-]+)=(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^\s,="][^\s,"]*))')
_PARAMETERS = re.compile(
    rb'(?:[A-Za-z][A-Za-z0-9_-]+=(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s,="][^\s,"]*)(?:[\s,]+|$))+', re.DOTALL
)
# What these say is about the scheme or the request; a key id in a credential is found by its shape.
_OPEN_PARAMETERS = frozenset(
    {
        b"algorithm", b"charset", b"created", b"credential", b"expires", b"headers", b"nc", b"oauth_callback",
        b"oauth_signature_method", b"oauth_timestamp", b"oauth_version", b"qop", b"realm", b"scope",
        b"signedheaders", b"stale", b"ts", b"uri", b"userhash", b"version",
    }
)  # fmt: skip
_USER_PARAMETERS = frozenset({b"username", b"user", b"login"})


class SecretSpan(NamedTuple):
    """
    A credential in the header at index ``header``: the bytes ``start:stop`` of its value.

    ``basic`` says that it is base64 of a user name and a password, ``user`` that it is a user name.
    """

    header: int
    start: int
    stop: int
    basic: bool
    user: bool = False


def find(headers: Headers) -> Iterator[SecretSpan]:
    """Every credential in ``headers`` of a request or a response; signatures are none."""
    seen: set[int] = set()
    for credential in find_credentials(headers):
        seen.add(credential.header)
        if credential.kind is CredentialKind.COOKIE and _is_preference(credential.name, credential.value):
            continue
        start, stop = credential.start, credential.stop
        value = headers[credential.header][1]
        if credential.kind is CredentialKind.COOKIE:
            yield SecretSpan(credential.header, *_unquoted(value, start, stop), basic=False)
        elif credential.kind is CredentialKind.BEARER and _PARAMETERS.fullmatch(value, start, stop):
            yield from _parameters(credential.header, value, start, stop)
        else:
            yield SecretSpan(credential.header, start, stop, credential.kind is CredentialKind.BASIC)
    for index, (name, value) in enumerate(headers):
        lower_name = name.lower()
        if index in seen or lower_name in SIGNATURE_HEADERS or lower_name == b"cookie" or not value:
            continue
        if lower_name == b"set-cookie":
            match = _SET_COOKIE.match(value)
            cookie = value.split(b"=", 1)[0].strip().decode("latin-1").lower()
            if match and match[1] and not _is_preference(cookie, match[1]):
                yield SecretSpan(index, *_unquoted(value, *match.span(1)), basic=False)
        elif _SECRET_HEADER.search(lower_name):
            yield SecretSpan(index, 0, len(value), basic=False)


def _unquoted(value: bytes, start: int, stop: int) -> tuple[int, int]:
    """The span without the double quotes around a cookie's value (RFC 6265), which are no part of it."""
    if stop - start > 2 and value[start : start + 1] == value[stop - 1 : stop] == b'"':
        return start + 1, stop - 1
    return start, stop


def _parameters(header: int, value: bytes, start: int, stop: int) -> Iterator[SecretSpan]:
    for match in _PARAMETER.finditer(value, start, stop):
        name = match[1].lower()
        first, last = match.span(2 if match[2] is not None else 3)
        if name not in _OPEN_PARAMETERS and last > first:
            yield SecretSpan(header, first, last, basic=False, user=name in _USER_PARAMETERS)


def _is_preference(name: str, value: bytes) -> bool:
    return _PREFERENCE.search(name) is not None and _PLAIN.fullmatch(value) is not None
