"""The local endpoint: readiness, Prometheus text, and clients that behave badly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from captures.codec import exchange_row
from captures.errors import UsageError
from captures.model import Counters
from recorder import metrics
from recorder.account import Account
from recorder.latency import LatencyHistogram
from recorder.metrics import (
    MetricsPage,
    Snapshot,
    parse_metrics_address,
    resident_bytes,
    serve_metrics,
    snapshot_of,
    total,
)
from recorder.modes import ListenAddress
from recorder.sink import Sink
from tests.recorder.memory import MemoryWriter, exchange

LOOPBACK = ListenAddress(host="127.0.0.1", port=0)


def snapshot(*, accepting: bool = True, cut_by: str = "", **counts: int) -> Snapshot:
    account = Account(
        counters=Counters(**counts),
        connections=3,
        messages=7,
        messages_dropped=1,
        withheld_uses=4,
        cut_by=cut_by,
    )
    added = LatencyHistogram()
    for duration_ns in (300_000, 500_000, 40_000_000):
        added.add(duration_ns)
    return Snapshot(
        account=account, accepting=accepting, queued_bytes=2048, queue_limit_bytes=4096, added=added
    )


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    answer = await ask(port, f"{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def served(state: Snapshot, use: Callable[[int], Awaitable[object]]) -> object:
    """Serves ``state`` while ``use`` runs with the port."""

    async def run() -> object:
        server = await serve_metrics(LOOPBACK, lambda: state)
        try:
            return await use(server.port)
        finally:
            await server.close()

    return asyncio.run(run())


def samples(text: str) -> dict[str, float]:
    """The page's samples, after checking that each belongs to a metric with help and type."""
    kinds, found = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            name, value = line.rsplit(" ", 1)
            assert name not in found
            found[name] = float(value)
    for name in found:
        base = name.split("{")[0]
        metric = base if base in kinds else base.rsplit("_", 1)[0]
        assert f"# HELP {metric} " in text
        assert (kinds[metric] == "counter") == metric.endswith("_total")
    return found


@pytest.mark.parametrize(
    ("state", "status", "said"),
    [
        (snapshot(), 200, "ready\n"),
        (snapshot(cut_by="The disk is full."), 200, "ready, not recording\n"),
        (snapshot(accepting=False), 503, "draining\n"),
    ],
)
def test_ready_says_whether_traffic_is_accepted(state: Snapshot, status: int, said: str) -> None:
    """A full disk leaves it ready, since traffic passes; a drain does not."""
    assert served(state, lambda port: get(port, "/ready")) == (status, said)


def test_metrics_have_the_whole_account() -> None:
    """Every counter, the queue, the added latency and the process, in Prometheus' own conventions."""
    state = snapshot(seen=10, written=5, sampled_out=2, truncated=1, dropped=1, in_flight=2)
    status, text = served(state, lambda port: get(port, "/metrics?x=1"))
    found = samples(text)
    assert status == 200
    assert found["hookreel_exchanges_seen_total"] == 10
    assert found["hookreel_exchanges_written_total"] == 5
    assert found["hookreel_exchanges_sampled_out_total"] == 2
    assert found["hookreel_exchanges_dropped_total"] == 1
    assert found["hookreel_exchanges_truncated_total"] == 1
    assert found["hookreel_exchanges_in_flight"] == 2
    assert found["hookreel_connections_total"] == 3
    assert (found["hookreel_messages_total"], found["hookreel_messages_dropped_total"]) == (7, 1)
    assert found["hookreel_credentials_withheld_total"] == 4
    assert (found["hookreel_queue_bytes"], found["hookreel_queue_limit_bytes"]) == (2048, 4096)
    assert (found["hookreel_recording"], found["hookreel_accepting"]) == (1, 1)
    assert found["hookreel_added_latency_seconds_count"] == 3
    assert found["hookreel_added_latency_seconds_sum"] == pytest.approx(0.0408)
    assert found['hookreel_added_latency_seconds_bucket{le="+Inf"}'] == 3
    assert found["process_resident_memory_bytes"] > 2**20
    assert found["process_cpu_seconds_total"] > 0


def test_buckets_grow_to_the_count() -> None:
    """Prometheus needs cumulative buckets with edges in ascending order."""
    found = samples(MetricsPage().text(snapshot()))
    buckets = [(name.split('"')[1], value) for name, value in found.items() if "_bucket" in name]
    edges = [float(edge) for edge, _ in buckets]
    assert edges == sorted(edges)
    counts = [value for _, value in buckets]
    assert counts == sorted(counts)
    assert counts[-1] == 3


def test_counters_never_fall() -> None:
    """When a failed disk turns written exchanges into dropped ones, no counter looks like a restart."""
    page = MetricsPage()
    before = samples(page.text(snapshot(seen=9, written=9)))
    after = samples(page.text(snapshot(seen=10, written=4, dropped=6, cut_by="full")))
    assert all(after[name] >= before[name] for name in before if name.startswith("hookreel_exchanges_"))
    assert after["hookreel_exchanges_dropped_total"] == 6
    assert after["hookreel_recording"] == 0


def test_without_added_time_there_is_no_histogram() -> None:
    """What is not measured is not shown as 0."""
    assert "added_latency" not in MetricsPage().text(replace(snapshot(), added=None))


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("GET /", 404), ("GET /metricsx", 404), ("POST /metrics", 405), ("DELETE /ready", 405), ("BROKEN", 405)],
)
def test_other_requests_are_refused(request_line: str, status: int) -> None:
    """Nothing but reading the two pages is possible."""
    answer = served(snapshot(), lambda port: ask(port, f"{request_line} HTTP/1.1\r\n\r\n".encode()))
    assert int(answer.split()[1]) == status


def test_head_has_no_body() -> None:
    """A prober that uses HEAD gets the status and the length alone."""
    assert served(snapshot(), lambda port: get(port, "/ready", "HEAD")) == (200, "")


def test_a_large_request_is_cut_off() -> None:
    """Nobody fills the recorder's memory through this port."""
    huge = b"GET /ready HTTP/1.1\r\nX: " + b"x" * (metrics.HEAD_BYTES * 4) + b"\r\n\r\n"

    async def use(port: int) -> bytes:
        try:
            return await ask(port, huge)
        except ConnectionError:
            return b""

    assert served(snapshot(), use) == b""


def test_silent_clients_do_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes are answered beside clients that say nothing, which are closed in the end."""
    monkeypatch.setattr(metrics, "REQUEST_TIMEOUT_S", 0.2)

    async def use(port: int) -> tuple[tuple[int, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await get(port, "/ready")
        try:
            rest = await reader.read()
        except ConnectionError:
            rest = b""
        writer.transport.abort()
        return answer, rest

    assert served(snapshot(), use) == ((200, "ready\n"), b"")


def test_too_many_connections_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that are held open are bounded, and the ones inside still get their answer."""
    monkeypatch.setattr(metrics, "MAX_CLIENTS", 1)

    async def use(port: int) -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            outside = await ask(port, b"GET /ready HTTP/1.1\r\n\r\n")
        except ConnectionError:
            outside = b""
        writer.write(b"GET /ready HTTP/1.1\r\n\r\n")
        inside = await reader.read()
        writer.close()
        await writer.wait_closed()
        return outside, inside.rpartition(b"\r\n")[2]

    assert served(snapshot(), use) == (b"", b"ready\n")


def test_closing_ends_open_connections() -> None:
    """A client that is connected does not delay the end of a recording."""

    async def run() -> bytes:
        server = await serve_metrics(LOOPBACK, snapshot)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await get(server.port, "/ready")  # by now the one above is accepted too
        await server.close()
        await server.close()
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()

    assert asyncio.run(run()) == b""


def test_a_taken_port_is_a_usage_error() -> None:
    """The sentence names the address and the option."""

    async def run() -> None:
        server = await serve_metrics(LOOPBACK, snapshot)
        try:
            await serve_metrics(ListenAddress(host="127.0.0.1", port=server.port), snapshot)
        finally:
            await server.close()

    with pytest.raises(UsageError, match=r"127\.0\.0\.1:\d+ .*--metrics"):
        asyncio.run(run())


def test_addresses_are_on_loopback_unless_a_host_is_named() -> None:
    """A number alone is a port of this machine; the rest is as for --listen."""
    assert parse_metrics_address("9464") == ListenAddress(host="127.0.0.1", port=9464)
    assert parse_metrics_address("0.0.0.0:9464") == ListenAddress(host="0.0.0.0", port=9464)
    assert parse_metrics_address("[::1]:0").host == "::1"


@pytest.mark.parametrize("text", ["", "70000", "host", ":80", "10.0.0.5"])
def test_bad_addresses_are_usage_errors(text: str) -> None:
    """The sentence shows how it is written."""
    with pytest.raises(UsageError, match="--metrics"):
        parse_metrics_address(text)


def test_resident_memory_follows_what_is_used() -> None:
    """It is a plausible number of bytes for a Python process."""
    assert 2**22 < resident_bytes() < 2**36


def test_a_running_sink_is_seen_as_it_stands() -> None:
    """What waits is in flight and in the queue; once it is written it is neither."""
    gate = threading.Event()
    sink = Sink(lambda: MemoryWriter(lambda _row: gate.wait(10)), note=lambda _text: None)
    sink.start()
    sink.saw()
    sink.saw()
    sink.offer(exchange_row(exchange(0, body=b"x" * 1000)))
    before = snapshot_of(sink, connections=1, accepting=True)
    assert (before.account.counters.seen, before.account.counters.written) == (2, 0)
    assert before.account.counters.in_flight == 2
    assert before.account.connections == 1
    gate.set()
    sink.close(in_flight=1, connections=1)
    after = snapshot_of(sink, connections=1, accepting=False)
    assert (after.account.counters.written, after.account.counters.in_flight) == (1, 1)
    assert after.queued_bytes == 0
    assert not after.accepting


def test_workers_are_served_as_one() -> None:
    """Counts add up; one that drains or cannot write any more shows for all."""
    both = total([snapshot(seen=5, written=4), snapshot(seen=7, dropped=1, cut_by="full", accepting=False)])
    assert (both.account.counters.seen, both.account.counters.written) == (12, 4)
    assert both.account.counters.dropped == 1
    assert both.account.messages == 14
    assert both.account.cut_by == "full"
    assert not both.accepting
    assert both.queue_limit_bytes == 8192
    assert both.added is not None
    assert both.added.count == 6
    nobody = total([])
    assert not nobody.accepting
    assert nobody.added is None
