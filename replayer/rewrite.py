"""
A captured request as it is sent: what belongs to the recorded hop goes, the rest stays.

The named rewrites are: Host, credentials, hop-by-hop headers, Expect, framing
(Content-Length, Transfer-Encoding), and for HTTP/2 captures that go over HTTP/1.1 the Host made from
the authority and the joined cookie crumbs. Header order, case and duplicates are kept otherwise.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from captures.credentials import Credential, find_credentials, replace_values
from captures.http1 import HTTP_1, header_tokens
from captures.model import Headers, Request
from replayer.credentials import Keyring
from replayer.handshake import KEY_BYTES, handshake_headers, is_handshake
from replayer.http2_wire import HTTP_2

_HOP_BY_HOP = frozenset(
    {
        b"keep-alive", b"proxy-connection", b"proxy-authorization", b"proxy-authenticate",
        b"te", b"upgrade", b"http2-settings", b"expect",
    }
)  # fmt: skip
MARK_HEADER = b"X-Hookreel-Run"
"""Tells replayed requests apart where that is asked for; its value is the run's id."""

_NEVER_NAMED = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"close"})
_HOSTS_MAX = 1000  # what comes later would only make a large number larger
_NOT_IN_HTTP_2 = frozenset({b"host", b"connection", b"transfer-encoding"})
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """
    What was done to one request; ``mapped`` and ``unmapped`` hold a fingerprint for each use.

    ``http2`` says that it was captured over HTTP/2 (or 3), ``over_http2`` that it goes over it.
    ``signed`` is the scheme of a new signature, ``unsigned`` that of one whose secret is not
    known; ``minted`` says that it carries tokens that are signed anew. ``unsendable`` says why it cannot
    be sent at all, and is empty otherwise.
    """

    http2: bool = False
    over_http2: bool = False
    truncated: bool = False
    stream: bool = False
    socket: bool = False
    mapped: tuple[str, ...] = ()
    unmapped: tuple[str, ...] = ()
    signed: str = ""
    unsigned: str = ""
    minted: bool = False
    unsendable: str = ""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was done to the requests; counts of requests unless the name says otherwise."""

    requests: int = 0
    http2: int = 0
    over_http2: int = 0
    truncated: int = 0
    streams: int = 0
    sockets: int = 0
    mapped: Counter[str] = field(default_factory=Counter)  # uses of each credential, by fingerprint
    unmapped: Counter[str] = field(default_factory=Counter)
    minted: int = 0
    signed: Counter[str] = field(default_factory=Counter)  # by scheme
    unsigned: Counter[str] = field(default_factory=Counter)

    def add(self, deeds: Deeds, times: int = 1) -> None:
        """Count ``times`` requests to which the same was done."""
        self.requests += times
        self.http2 += times * deeds.http2
        self.over_http2 += times * deeds.over_http2
        self.truncated += times * deeds.truncated
        self.streams += times * deeds.stream
        self.sockets += times * deeds.socket
        self.minted += times * deeds.minted
        for fingerprint in deeds.mapped:
            self.mapped[fingerprint] += times
        for fingerprint in deeds.unmapped:
            self.unmapped[fingerprint] += times
        if deeds.signed:
            self.signed[deeds.signed] += times
        if deeds.unsigned:
            self.unsigned[deeds.unsigned] += times

    def merge(self, other: Tally) -> None:
        """Count what another process did, too."""
        for name in Tally.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Rewriter:
    """
    Turns captured requests into those that are sent, and says what it did.

    ``host`` is the Host header's value, None to send the recorded one, ``scheme`` that of the
    target's URL. ``salt`` is the capture's ``fingerprint_salt``. ``draw`` gives random bytes, for
    the keys of WebSocket handshakes.
    """

    def __init__(
        self,
        *,
        host: bytes | None,
        keyring: Keyring,
        salt: bytes,
        scheme: bytes,
        mark: bytes = b"",
        draw: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._host = host
        self._mark = ((MARK_HEADER, mark),) if mark else ()
        self._scheme = scheme
        self._draw = draw
        self._keyring = keyring
        self._salt = salt
        self.hosts: set[bytes] = set()
        """Whom the requests were recorded for: authorities, lower case, at most ``_HOSTS_MAX``."""

    def __call__(self, request: Request, *, over_http2: bool = False, copy: int = 0) -> tuple[Request, Deeds]:
        """The request that ``copy`` sends, over HTTP/2 or HTTP/1.1 (or 1.0 if it was recorded so)."""
        if len(self.hosts) < _HOSTS_MAX:
            self.hosts.add(request.authority.lower())
        becomes_http1 = not over_http2 and request.http_version not in HTTP_1
        headers = _join_cookies(request.headers) if becomes_http1 else request.headers
        if is_handshake(request):
            headers = handshake_headers(headers, self._draw(KEY_BYTES))
        else:
            headers = _without_hop(headers)
        headers, mapped, unmapped = self._with_credentials(headers, copy)
        if over_http2:
            rewritten = self._for_http2(headers, request)
        else:
            headers = _with_framing(headers, request)
            rewritten = replace(
                request,
                target=request.target or b"/",
                http_version=b"HTTP/1.1" if becomes_http1 else request.http_version,
                headers=(*self._with_host(headers, request), *self._mark),
            )
        return rewritten, Deeds(
            http2=captured_over_http2(request),
            over_http2=over_http2,
            truncated=request.truncated_bytes > 0,
            mapped=mapped,
            unmapped=unmapped,
        )

    def _for_http2(self, headers: Headers, request: Request) -> Request:
        """The authority stands for Host, and the frames of HTTP/2 for what frames a body in HTTP/1."""
        hosts = (value for name, value in headers if name.lower() == b"host")
        length = b"%d" % len(request.body)
        kept = [
            (name, length if name.lower() == b"content-length" else value)
            for name, value in headers
            if name.lower() not in _NOT_IN_HTTP_2
        ]
        if b"trailers" in header_tokens(request.headers, b"te"):  # gRPC servers ask for it
            kept.append((b"te", b"trailers"))
        return replace(
            request,
            scheme=self._scheme,
            authority=self._host or request.authority or next(hosts, b""),
            target=request.target or b"/",
            http_version=HTTP_2,
            headers=(*kept, *self._mark),
        )

    def url(self, rewritten: Request) -> bytes:
        """The URL of a request to send as its receiver sees it, which some signatures cover."""
        hosts = (value for name, value in rewritten.headers if name.lower() == b"host")
        return self._scheme + b"://" + next(hosts, rewritten.authority).strip() + rewritten.target

    def _with_host(self, headers: Headers, request: Request) -> Headers:
        if not any(name.lower() == b"host" for name, _ in headers):
            if self._host is None and not request.authority:
                return headers
            return ((b"Host", self._host or request.authority), *headers)
        if self._host is None:
            return headers
        return tuple((name, self._host if name.lower() == b"host" else value) for name, value in headers)

    def _with_credentials(
        self, headers: Headers, copy: int
    ) -> tuple[Headers, tuple[str, ...], tuple[str, ...]]:
        """Headers with target values, and the fingerprints of what was and was not mapped."""
        mapped, unmapped = [], []
        values: list[tuple[Credential, bytes]] = []
        for credential in find_credentials(headers):
            fingerprint = credential.fingerprint(self._salt)
            value = self._keyring.value(fingerprint, credential, copy)
            if value is None:
                unmapped.append(fingerprint)
            else:
                mapped.append(fingerprint)
                values.append((credential, value))
        return replace_values(headers, values) if values else headers, tuple(mapped), tuple(unmapped)


def captured_over_http2(request: Request) -> bool:
    """Whether a request came over HTTP/2 or its successor; other unknown versions are made up."""
    return request.http_version.startswith((b"HTTP/2", b"HTTP/3"))


def _without_hop(headers: Headers) -> Headers:
    """
    Headers without those that belong to one hop (RFC 9110 section 7.6.1).

    ``Connection: close`` and ``keep-alive`` stay: they say how the recorded client used its
    connection, and a replay uses connections the same way.
    """
    named = {token for token in header_tokens(headers, b"connection") if token not in _NEVER_NAMED}
    kept = []
    for name, value in headers:
        lower_name = name.lower()
        if lower_name in _HOP_BY_HOP or lower_name in named:
            continue
        if lower_name == b"connection" and value.strip().lower() not in {b"close", b"keep-alive"}:
            if b"close" in header_tokens(((name, value),), b"connection"):
                kept.append((name, b"close"))
            continue
        kept.append((name, value))
    return tuple(kept)


def _with_framing(headers: Headers, request: Request) -> Headers:
    """
    Headers that frame the captured body, whose transfer coding was removed.

    Chunks become a Content-Length at the same place; only trailers need chunks again.
    """
    if request.trailers:
        framing = (b"Transfer-Encoding", b"chunked")
    else:
        framing = (b"Content-Length", b"%d" % len(request.body))
    framed: list[tuple[bytes, bytes]] = []
    placed = False
    for name, value in headers:
        lower_name = name.lower()
        if lower_name not in {b"content-length", b"transfer-encoding"}:
            framed.append((name, value))
        elif lower_name == framing[0].lower():
            same = value.strip() == framing[1]
            if not placed or same:  # a repeated, equal length is sent as it was
                framed.append((name, value if same else framing[1]))
            placed = True
        elif not any(other.lower() == framing[0].lower() for other, _ in headers):
            if not placed:
                framed.append(framing)
            placed = True
    over_http2 = request.http_version not in HTTP_1
    if not placed and (request.body or request.trailers or (over_http2 and request.method in _WITH_BODY)):
        framed.append(framing)
    return tuple(framed)


def _join_cookies(headers: Headers) -> Headers:
    """HTTP/2 may split Cookie into crumbs; HTTP/1.1 wants one header (RFC 9113 section 8.2.3)."""
    crumbs = [value for name, value in headers if name.lower() == b"cookie"]
    if len(crumbs) < 2:
        return headers
    joined: list[tuple[bytes, bytes]] = []
    placed = False
    for name, value in headers:
        if name.lower() != b"cookie":
            joined.append((name, value))
        elif not placed:
            joined.append((name, b"; ".join(crumbs)))
            placed = True
    return tuple(joined)
