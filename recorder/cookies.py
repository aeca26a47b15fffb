"""Cookies that a response sets, as spans like those of a request's credentials."""

from __future__ import annotations

import re
from collections.abc import Iterator

from captures.credentials import Credential, CredentialKind
from captures.model import Headers

_SET_COOKIE = re.compile(rb"\s*([^=;\s][^=;]*?)\s*=\s*([^;]*?)\s*(?:;|$)")


def set_cookies(headers: Headers) -> Iterator[Credential]:
    """Each cookie with a value that Set-Cookie headers give, named as the client will send it."""
    for index, (name, value) in enumerate(headers):
        if name.lower() != b"set-cookie":
            continue
        match = _SET_COOKIE.match(value)
        if match is None or not match[2]:
            continue
        start, stop = match.span(2)
        yield Credential(
            kind=CredentialKind.COOKIE,
            name=match[1].decode("latin-1").lower(),
            header=index,
            start=start,
            stop=stop,
            value=match[2],
        )
