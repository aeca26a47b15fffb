"""
Answers a target's own outbound calls from a recording, so that a replay has no effects outside.

A call is answered by what was recorded for the same method, host and target; where there is no
such exchange, by one of the same endpoint (``GET /v1/charges/{id}``) of that host. Several
answers to one call come in their recorded order, and begin again after the last.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from captures.endpoints import shape_label
from captures.model import Exchange, Failure, Headers, Response
from captures.reader import CaptureReader
from captures.units import NS_PER_S

UNKNOWN_STATUS = 501
_HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
        b"upgrade", b"content-length",
    }
)  # fmt: skip
_UNKNOWN_MAX = 1_000  # different unknown calls that are told apart
_OTHER = "OTHER"
_UPGRADED = 101
_DEFAULT_PORTS = {"http": b":80", "https": b":443"}

Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class _Answers:
    """The exchanges that may answer a call, by their number in send order, and whose turn it is."""

    places: list[int] = field(default_factory=list)
    turn: int = 0

    def next(self) -> int:
        place = self.places[self.turn]
        self.turn = (self.turn + 1) % len(self.places)
        return place


@dataclass(slots=True, kw_only=True)
class OutboundCounts:
    """What was asked: answered as recorded, by a like endpoint, and not known (by method, host, endpoint)."""

    exact: int = 0
    alike: int = 0
    unknown: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All calls."""
        return self.exact + self.alike + self.unknown.total()


class OutboundAnswers:
    """
    Finds and gives answers. ``with_latency`` makes each take as long as it was recorded.

    Only the index is in memory; bodies are read from the capture when they are asked for.
    """

    def __init__(
        self, reader: CaptureReader, *, with_latency: bool = True, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._reader = reader
        self._with_latency = with_latency
        self._sleep = sleep
        self._exact: dict[tuple[bytes, bytes, bytes], _Answers] = {}
        self._alike: dict[tuple[bytes, str], _Answers] = {}
        self.counts = OutboundCounts()
        self.hosts: set[str] = set()
        """Whom the recorded calls went to."""
        for place, exchange in enumerate(reader.exchanges()):
            self._learn(place, exchange)

    def __len__(self) -> int:
        """Recorded exchanges that can answer a call."""
        return sum(len(answers.places) for answers in self._alike.values())

    def _learn(self, place: int, exchange: Exchange) -> None:
        outcome = exchange.outcome
        if isinstance(outcome, Response) and (
            outcome.stream or outcome.end_ns is None or outcome.status == 101
        ):
            return
        request = exchange.request
        host = _host(request.authority, request.scheme.decode("latin-1"))
        self.hosts.add(host.decode("latin-1"))
        self._exact.setdefault((request.method, host, request.target), _Answers()).places.append(place)
        label = shape_label(request.method, request.target)
        self._alike.setdefault((host, label), _Answers()).places.append(place)

    def find(self, method: bytes, authority: bytes, target: bytes, scheme: str) -> Exchange | None:
        """The exchange that answers a call, counted; None when none does."""
        host, label = _host(authority, scheme), shape_label(method, target)
        answers = self._exact.get((method, host, target))
        if answers is not None:
            self.counts.exact += 1
        else:
            answers = self._alike.get((host, label))
            if answers is None:
                self._count_unknown(method, host, label)
                return None
            self.counts.alike += 1
        return self._exchange(answers.next())

    def _exchange(self, place: int) -> Exchange:
        index = self._reader.index
        offset_ns, seq = int(index.offset_ns[place]), int(index.seq[place])
        window = self._reader.exchanges(start_ns=offset_ns, stop_ns=offset_ns + 1)
        return next(exchange for exchange in window if exchange.seq == seq)

    def _count_unknown(self, method: bytes, host: bytes, label: str) -> None:
        path = label.partition(" ")[2]
        name = f"{method.decode('latin-1')} {host.decode('latin-1')}{path}"
        unknown = self.counts.unknown
        unknown[name if name in unknown or len(unknown) < _UNKNOWN_MAX else _OTHER] += 1

    def distrusted(self, host: str) -> None:
        """Count a call over https whose caller did not take the certificate for ``host``."""
        self._count_unknown(
            b"CONNECT", host.encode("latin-1", "replace"), "CONNECT  (it does not trust the CA)"
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one call; what is not known gets 501."""
        await request.read()
        target = request.raw_path.encode("utf-8", "surrogateescape")
        scheme = request.scheme
        if not target.startswith(b"/") and b"://" in target:  # a proxy is asked in absolute form
            asked, _, rest = target.partition(b"://")
            scheme = asked.decode("latin-1")
            target = b"/" + rest.partition(b"/")[2]
        authority = request.headers.get("Host", "").encode("latin-1", "replace")
        exchange = self.find(request.method.encode(), authority, target, scheme)
        if exchange is None:
            return web.Response(status=UNKNOWN_STATUS, text="The recording has no answer to this call.\n")
        outcome = exchange.outcome
        if self._with_latency:
            end_ns = outcome.offset_ns if isinstance(outcome, Failure) else outcome.end_ns
            await self._sleep(max(0, (end_ns or 0) - exchange.offset_ns) / NS_PER_S)
        if isinstance(outcome, Failure):
            if request.transport is not None:
                request.transport.abort()  # it failed then, and fails now
            return web.Response(status=502)
        return _response(outcome)


def _response(outcome: Response) -> web.Response:
    response = web.Response(
        status=outcome.status, reason=outcome.reason.decode("latin-1") or None, body=outcome.body
    )
    response.headers.popall("Content-Type", None)
    for name, value in _kept(outcome.headers):
        response.headers.add(name.decode("latin-1"), value.decode("latin-1"))
    return response


def _kept(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP)


def _host(authority: bytes, scheme: str) -> bytes:
    """An authority without the scheme's usual port, lower case."""
    return authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme, b"\0"))
