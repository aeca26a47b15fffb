"""Requests whose bodies have a content coding: opened to be read and changed, and closed again."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from captures.bodies import coding
from captures.model import Request


class Opened(NamedTuple):
    """A request with its body as it is meant, and the content coding that was undone."""

    request: Request
    coding: bytes

    def closed(self, request: Request) -> Request:
        """``request``, made of this one, with its body in the coding again."""
        return replace(request, body=coding.encode(request.body, self.coding)) if self.coding else request


def opened(request: Request) -> Opened:
    """``request`` without its content coding; where that does not decode, as it is and with an empty one."""
    if not request.body:
        return Opened(request, b"")
    named = b",".join([value for name, value in request.headers if name.lower() == b"content-encoding"])
    if not coding.codings(named):
        return Opened(request, b"")
    try:
        plain = coding.decode(request.body, named)
        coding.encode(b"", named)
    except coding.CodingError:
        return Opened(request, b"")
    return Opened(replace(request, body=plain), named)
