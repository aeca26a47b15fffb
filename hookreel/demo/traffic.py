"""Sends a traffic plan as webhook senders and API clients would: real sockets, signed, keep-alive."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from multidict import CIMultiDict

from captures.model import Headers, SigningRecipe
from captures.signatures import sign
from hookreel.demo.plan import EXPECTED_STATUS, SIGNATURE_HEADER, Action, Call, Delivery, TrafficPlan
from hookreel.demo.tenants import Tenant

TIMEOUT_S = 15.0
UNKNOWN_RUN = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficReport:
    """What came of a plan: calls by status, and those that were answered otherwise than they should be."""

    sent: int
    statuses: dict[int, int]
    unexpected: tuple[str, ...]


def signed_headers(delivery: Delivery, secret: bytes, now_s: int) -> Headers:
    """The delivery's headers as its sender signs them at Unix time ``now_s``."""
    recipe = SigningRecipe(scheme=delivery.scheme, header=SIGNATURE_HEADER[delivery.scheme])
    values = sign(recipe, secret=secret, headers=delivery.headers, body=delivery.body, now_s=now_s)
    return tuple((name, values.get(name.lower(), value)) for name, value in delivery.headers)


def unsigned_headers(delivery: Delivery) -> Headers:
    """The delivery's headers without those that only a signature fills."""
    return tuple((name, value) for name, value in delivery.headers if value)


class Traffic:
    """
    The clients: one keep-alive pool for each name in the plan, opened as they are needed.

    ``clock_s`` is Unix time for signatures; calls are paced on the event loop's own clock.
    """

    def __init__(
        self, url: str, tenants: tuple[Tenant, ...], *, clock_s: Callable[[], float] = time.time
    ) -> None:
        self._url = url
        self._tenants = {tenant.name: tenant for tenant in tenants}
        self._clock_s = clock_s
        self._clients: dict[str, aiohttp.ClientSession] = {}
        self._accepted_runs: dict[int, asyncio.Future[str | None]] = {}
        self._statuses: Counter[int] = Counter()
        self._unexpected: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            await client.close()

    async def send(self, plan: TrafficPlan, progress: Callable[[int], None]) -> TrafficReport:
        """Make every call at its time; ``progress`` gets the number of calls begun so far."""
        loop = asyncio.get_running_loop()
        self._accepted_runs = {number: loop.create_future() for number in range(len(plan.deliveries))}
        start_s = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for begun, call in enumerate(plan.calls, 1):
                await asyncio.sleep(max(0.0, start_s + call.at_s - loop.time()))
                tasks.create_task(self._make(call, plan))
                progress(begun)
        return TrafficReport(
            sent=len(plan.calls),
            statuses=dict(sorted(self._statuses.items())),
            unexpected=tuple(self._unexpected),
        )

    async def _make(self, call: Call, plan: TrafficPlan) -> None:
        expected = EXPECTED_STATUS.get(call.action, 200)
        try:
            status = await self._dispatch(call, plan)
        except (aiohttp.ClientError, TimeoutError, KeyError, ValueError) as error:
            self._unexpected.append(f"{call.action}: {type(error).__name__}")
            return
        finally:
            if call.action is Action.WEBHOOK and not self._accepted(call).done():
                self._accepted(call).set_result(None)
        self._statuses[status] += 1
        if status != expected:
            self._unexpected.append(f"{call.action}: answered {status}, expected {expected}")

    async def _dispatch(self, call: Call, plan: TrafficPlan) -> int:
        match call.action:
            case Action.WEBHOOK | Action.REDELIVERY | Action.UNSIGNED:
                return await self._deliver(call, plan)
            case Action.HEALTH:
                return await self._get(call, "/health", token=False)
            case Action.STATS:
                return await self._get(call, "/api/stats")
            case Action.LIST:
                return await self._get(call, f"/api/runs?limit={call.limit}")
            case Action.ANONYMOUS:
                return await self._get(call, f"/api/runs?limit={call.limit}", token=False)
            case Action.UNKNOWN:
                return await self._get(call, f"/api/runs/{UNKNOWN_RUN}")
            case Action.POLL | Action.FOREIGN:
                return await self._get(call, f"/api/runs/{await self._run_of(call)}")
            case Action.LOGS:
                return await self._get(call, f"/api/runs/{await self._run_of(call)}/logs")

    async def _run_of(self, call: Call) -> str:
        run = await asyncio.shield(self._accepted(call))
        if run is None:
            raise ValueError("the delivery was not accepted")
        return run

    def _accepted(self, call: Call) -> asyncio.Future[str | None]:
        if call.delivery is None:
            raise ValueError("the call names no delivery")
        return self._accepted_runs[call.delivery]

    async def _deliver(self, call: Call, plan: TrafficPlan) -> int:
        if call.delivery is None:
            raise ValueError("the call names no delivery")
        delivery = plan.deliveries[call.delivery]
        tenant = self._tenants[delivery.tenant]
        if call.action is Action.UNSIGNED:
            headers = unsigned_headers(delivery)
        else:
            headers = signed_headers(delivery, tenant.secrets[delivery.scheme], int(self._clock_s()))
        url = f"{self._url}/api/hooks/{tenant.slug(delivery.scheme)}"
        client = self._client(call.client)
        async with client.post(url, data=delivery.body, headers=_multidict(headers)) as response:
            answer = await response.json()
            if response.status == 202 and call.action is Action.WEBHOOK:
                self._accepted(call).set_result(answer["run"])
            return response.status

    async def _get(self, call: Call, path: str, *, token: bool = True) -> int:
        agent = call.client.rsplit("-", 1)[0].removeprefix(f"{call.tenant}-")
        headers = CIMultiDict({"Accept": "application/json", "User-Agent": f"{agent}/2.4"})
        if token:
            headers["Authorization"] = f"Bearer {self._tenants[call.tenant].token}"
        if call.action is Action.LOGS:
            headers["Accept"] = "text/event-stream"
        async with self._client(call.client).get(f"{self._url}{path}", headers=headers) as response:
            await response.read()
            return response.status

    def _client(self, name: str) -> aiohttp.ClientSession:
        if name not in self._clients:
            self._clients[name] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                skip_auto_headers=("User-Agent", "Content-Type"),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._clients[name]


def _multidict(headers: Headers) -> CIMultiDict[str]:
    return CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


def send_traffic(
    url: str, tenants: tuple[Tenant, ...], plan: TrafficPlan, progress: Callable[[int], None]
) -> TrafficReport:
    """Send ``plan`` to ``url`` in an event loop of its own and report what came of it."""

    async def run() -> TrafficReport:
        async with Traffic(url, tenants) as traffic:
            return await traffic.send(plan, progress)

    return asyncio.run(run())
