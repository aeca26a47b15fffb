"""A recorder's readiness and counters over HTTP, for probes and Prometheus."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TypeAlias

from captures.errors import UsageError
from captures.model import Counters
from captures.units import NS_PER_S
from recorder.account import Account
from recorder.latency import LatencyHistogram
from recorder.modes import ListenAddress, parse_listen
from recorder.sink import Sink

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus text format
HEAD_BYTES = 8 * 1024
REQUEST_TIMEOUT_S = 5.0
MAX_CLIENTS = 16  # a probe and a scraper; whoever holds more open is turned away
_READ_ERRORS = (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """
    A recorder at one moment.

    ``account`` is the account as it stands, with what has no outcome yet in flight.
    ``accepting`` is False once a drain has begun. ``queued_bytes`` wait for the writer, of
    ``queue_limit_bytes`` at most. ``added`` is the proxy's own added time per exchange.
    """

    account: Account
    accepting: bool
    queued_bytes: int
    queue_limit_bytes: int
    added: LatencyHistogram | None = None


def snapshot_of(
    sink: Sink, *, connections: int, accepting: bool, added: LatencyHistogram | None = None
) -> Snapshot:
    """A sink as it stands while it runs; ``connections`` are those that carried a request."""
    # Each number is written by one side, so this may mix moments a few microseconds apart, which
    # a scrape every few seconds cannot see.
    return Snapshot(
        account=sink.account(connections=connections),
        accepting=accepting,
        queued_bytes=sink.queued_bytes,
        queue_limit_bytes=sink.queue_limit_bytes,
        added=added,
    )


def total(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Several workers as one: counts and queues add up, and each must accept for all to."""
    accounts = [snapshot.account for snapshot in snapshots]
    added = LatencyHistogram()
    for snapshot in snapshots:
        if snapshot.added is not None:
            added.merge(snapshot.added)
    names = [field.name for field in fields(Counters)]
    return Snapshot(
        account=Account(
            counters=Counters(
                **{name: sum(getattr(account.counters, name) for account in accounts) for name in names}
            ),
            connections=sum(account.connections for account in accounts),
            messages=sum(account.messages for account in accounts),
            messages_dropped=sum(account.messages_dropped for account in accounts),
            withheld_uses=sum(account.withheld_uses for account in accounts),
            cut_by=next((account.cut_by for account in accounts if account.cut_by), ""),
        ),
        accepting=bool(snapshots) and all(snapshot.accepting for snapshot in snapshots),
        queued_bytes=sum(snapshot.queued_bytes for snapshot in snapshots),
        queue_limit_bytes=sum(snapshot.queue_limit_bytes for snapshot in snapshots),
        added=added if any(snapshot.added is not None for snapshot in snapshots) else None,
    )


TakeSnapshot: TypeAlias = Callable[[], Snapshot]


def parse_metrics_address(text: str) -> ListenAddress:
    """
    The address of ``"9464"`` (on loopback) or ``"HOST:PORT"``.

    Raises:
        UsageError: anything else.

    """
    try:
        return parse_listen(f"127.0.0.1:{text}" if text.isdecimal() else text)
    except UsageError:
        raise UsageError(
            f"{text!r} is no address for --metrics; write it like 9464 (this machine only) or 10.0.0.5:9464."
        ) from None


class MetricsServer:
    """
    Answers ``GET /ready`` and ``GET /metrics`` in the proxy's own event loop.

    An answer costs well below a millisecond and one small write; a client that is slow, sends
    too much or holds too many connections is closed, so that nobody gets in the traffic's way.
    """

    def __init__(self, take: TakeSnapshot) -> None:
        self.port = 0
        """Where it listens, once it does."""
        self._take = take
        self._clients: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._page = MetricsPage()

    async def start(self, address: ListenAddress) -> None:
        """
        Listens.

        Raises:
            UsageError: the port is in use or the host is not this machine's.

        """
        try:
            self._server = await asyncio.start_server(
                self._serve, address.host, address.port, limit=HEAD_BYTES
            )
        except OSError as error:
            number = error.errno or 0  # below 0 when it comes from looking the name up
            reason = os.strerror(number) if number > 0 else "the name is not known"
            raise UsageError(
                f"The metrics cannot be served on {address.host}:{address.port} ({reason}); "
                "choose another address with --metrics."
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stops listening and closes what is open."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._clients):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            writer.transport.abort()
            return
        self._clients.add(writer)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except _READ_ERRORS:
            writer.transport.abort()
        finally:
            self._clients.discard(writer)

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in {b"GET", b"HEAD"}:
            return _response(405, "Method Not Allowed", "GET /ready or GET /metrics\n", allow=True)
        whole = method == b"GET"
        if path == b"/ready":
            snapshot = self._take()
            if not snapshot.accepting:
                return _response(503, "Service Unavailable", "draining\n", with_body=whole)
            # Traffic passes although nothing is recorded any more, so a balancer must not go elsewhere.
            state = "ready, not recording\n" if snapshot.account.cut_by else "ready\n"
            return _response(200, "OK", state, with_body=whole)
        if path == b"/metrics":
            return _response(200, "OK", self._page.text(self._take()), with_body=whole)
        return _response(404, "Not Found", "GET /ready or GET /metrics\n", with_body=whole)


async def serve_metrics(address: ListenAddress, take: TakeSnapshot) -> MetricsServer:
    """
    Serve what ``take`` gives until the handle is closed; to be called in the proxy's event loop.

    Raises:
        UsageError: the address cannot be listened on.

    """
    server = MetricsServer(take)
    await server.start(address)
    return server


class MetricsPage:
    """Snapshots as Prometheus text; one per process, since counters must never fall."""

    def __init__(self) -> None:
        self._written = 0
        self._started_s = time.time()

    def text(self, snapshot: Snapshot) -> str:
        """The whole page."""
        account = snapshot.account
        counters = account.counters
        # When a disk fails, what its open block held moves from written to dropped. A counter that
        # falls would look like a restart, so this one stays where it was; dropped has the loss.
        self._written = max(self._written, counters.written)
        lines = [
            *_metric("exchanges_seen_total", "counter", "Requests that were seen.", counters.seen),
            *_metric("exchanges_written_total", "counter", "Exchanges written.", self._written),
            *_metric(
                "exchanges_sampled_out_total",
                "counter",
                "Exchanges left out on purpose.",
                counters.sampled_out,
            ),
            *_metric("exchanges_dropped_total", "counter", "Exchanges lost.", counters.dropped),
            *_metric(
                "exchanges_truncated_total",
                "counter",
                "Written with a body that was cut.",
                counters.truncated,
            ),
            *_metric("exchanges_in_flight", "gauge", "Seen and without an outcome.", counters.in_flight),
            *_metric(
                "connections_total", "counter", "Client connections with a request.", account.connections
            ),
            *_metric("messages_total", "counter", "WebSocket messages and SSE events.", account.messages),
            *_metric("messages_dropped_total", "counter", "Stream messages lost.", account.messages_dropped),
            *_metric(
                "credentials_withheld_total", "counter", "Uses of withheld ones.", account.withheld_uses
            ),
            *_metric("queue_bytes", "gauge", "What waits for the writer.", snapshot.queued_bytes),
            *_metric(
                "queue_limit_bytes", "gauge", "Above this exchanges are dropped.", snapshot.queue_limit_bytes
            ),
            *_metric("recording", "gauge", "0 when the file takes no more.", int(not account.cut_by)),
            *_metric("accepting", "gauge", "0 once a drain has begun.", int(snapshot.accepting)),
        ]
        if snapshot.added is not None:
            lines += _histogram(snapshot.added)
        return "\n".join([*lines, *self._process(), ""])

    def _process(self) -> list[str]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return [
            *_metric(
                "process_cpu_seconds_total", "counter", "CPU time.", used.ru_utime + used.ru_stime, prefix=""
            ),
            *_metric("process_resident_memory_bytes", "gauge", "Memory in use.", resident_bytes(), prefix=""),
            *_metric(
                "process_start_time_seconds", "gauge", "Unix time of the start.", self._started_s, prefix=""
            ),
        ]


def resident_bytes() -> int:
    """Memory this process has in use; where /proc is absent, the most it ever had."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/statm", "rb") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _metric(name: str, kind: str, text: str, value: float, *, prefix: str = "hookreel_") -> list[str]:
    return [
        f"# HELP {prefix}{name} {text}",
        f"# TYPE {prefix}{name} {kind}",
        f"{prefix}{name} {value!r}",
    ]


def _histogram(added: LatencyHistogram) -> list[str]:
    name = "hookreel_added_latency_seconds"
    lines = [
        f"# HELP {name} The proxy's own added time per exchange.",
        f"# TYPE {name} histogram",
    ]
    lines += [
        f'{name}_bucket{{le="{edge_ns / NS_PER_S!r}"}} {count}' for edge_ns, count in added.cumulative()
    ]
    return [
        *lines,
        f'{name}_bucket{{le="+Inf"}} {added.count}',
        f"{name}_sum {added.sum_ns / NS_PER_S!r}",
        f"{name}_count {added.count}",
    ]


def _response(status: int, reason: str, text: str, *, with_body: bool = True, allow: bool = False) -> bytes:
    body = text.encode()
    lines = [
        f"HTTP/1.1 {status} {reason}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        *(["Allow: GET, HEAD"] if allow else []),
        "Cache-Control: no-store",
        "Connection: close",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + (body if with_body else b"")
