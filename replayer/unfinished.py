"""Requests that are finished just before they are due: signed for the moment, with what was minted since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from captures.http1_render import render_request
from captures.model import Request, SigningRecipe
from captures.signatures import sign
from replayer.http2_wire import HTTP_2, pack_request
from replayer.minting import Minting
from replayer.rewrite import Rewriter


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedRequest:
    """A request whose signature, or tokens in it, hold for the time at which it is sent."""

    request: Request = field(repr=False)
    rewriter: Rewriter = field(repr=False)
    recipe: SigningRecipe | None
    secret: bytes | None = field(repr=False)
    minting: Minting | None

    def wire(self, now_s: int) -> bytes:
        """The request's bytes, signed for Unix time ``now_s``."""
        request = self.request if self.minting is None else self.minting(self.request, now_s)
        if self.recipe is None or self.secret is None:
            return render(request)
        fresh = sign(
            self.recipe,
            secret=self.secret,
            headers=request.headers,
            body=request.body,
            now_s=now_s,
            url=self.rewriter.url(request),
        )
        headers = tuple((name, fresh.get(name.lower(), value)) for name, value in request.headers)
        return render(replace(request, headers=headers))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedRequest:
    """A request that is finished once the responses it needs are there."""

    request: Request = field(repr=False)  # not rewritten: that is where its spots are
    unsigned: UnsignedRequest
    http2: bool = False
    copy: int = 0

    def wire(self, now_s: int, finish: Callable[[Request], Request]) -> bytes:
        """The request's bytes with fresh values, which fit in it, signed for Unix time ``now_s``."""
        request, _ = self.unsigned.rewriter(finish(self.request), over_http2=self.http2, copy=self.copy)
        return replace(self.unsigned, request=request).wire(now_s)


def render(request: Request) -> bytes:
    """The bytes of ``request``: for a socket, or packed for HTTP/2."""
    if request.http_version == HTTP_2:
        return pack_request(request)
    return render_request(
        request.method,
        request.target,
        request.headers,
        request.body,
        http_version=request.http_version,
        trailers=request.trailers,
    )
