"""
The capture format beside mitmproxy flow files, HAR and GoReplay text, on the same exchanges.

    taskset -c 1 python -m benchmarks.format [--exchanges 20000] [--due 10000000]

Rates are exchanges per CPU second of this process, best of three; bytes are file sizes.
Corpus: the webhook bodies of ../shared/data, each sent again with fresh ids up to the count.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import msgpack
import numpy as np
from mitmproxy import http, io
from mitmproxy.addons.savehar import SaveHar
from mitmproxy.test import tflow
from tabulate import tabulate

from captures.codec import pack_header
from captures.columns import pack_columns
from captures.frames import CAPTURE_MAGIC, BlockPacker, BlockType, pack_file_header, pack_trailer
from captures.index import COLUMN_TYPES, INDEX_ROWS
from captures.migrate import CAPTURE_VERSION
from captures.model import Counters, Exchange, Request, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

DATA = Path(__file__).parents[2] / "shared" / "data" / "github_webhooks.jsonl"
SEPARATOR = "\n🐵🙈🙉\n".encode()


def _fresh_id(step: int, match: re.Match[bytes]) -> bytes:
    return b'"id":%d' % (int(match[1]) + step)


def corpus(count: int) -> Iterator[Exchange]:
    """``count`` signed webhook deliveries, 1 ms apart, on 16 connections."""
    payloads = [json.loads(line) for line in DATA.read_text().splitlines()]
    bodies = [
        (entry["event"].encode(), json.dumps(entry["payload"], separators=(",", ":")).encode())
        for entry in payloads
    ]
    for seq in range(count):
        event, body = bodies[seq % len(bodies)]
        if seq >= len(bodies):  # ids differ between deliveries, as they do in real traffic
            body = re.sub(rb'"id":(\d{4,})', partial(_fresh_id, seq * 7919), body)
        digest = hashlib.sha256(body).hexdigest().encode()
        offset_ns = seq * 1_000_000 + seq * 7919 % 100_000
        yield Exchange(
            seq=seq,
            offset_ns=offset_ns,
            request_end_ns=offset_ns + 20_000,
            connection=seq % 16,
            request=Request(
                method=b"POST",
                scheme=b"http",
                authority=b"127.0.0.1:8080",
                target=b"/api/hooks/acme-github",
                http_version=b"HTTP/1.1",
                headers=(
                    (b"Host", b"127.0.0.1:8080"),
                    (b"User-Agent", b"GitHub-Hookshot/044aadd"),
                    (b"Accept", b"*/*"),
                    (b"X-GitHub-Event", event),
                    (b"X-GitHub-Delivery", digest[:8] + b"-72d3-11e3-81ab-" + digest[8:20]),
                    (b"Content-Type", b"application/json"),
                    (b"X-Hub-Signature-256", b"sha256=" + digest),
                    (b"Content-Length", b"%d" % len(body)),
                ),
                body=body,
            ),
            outcome=Response(
                status=202,
                reason=b"Accepted",
                http_version=b"HTTP/1.1",
                headers=((b"Content-Type", b"application/json"), (b"Content-Length", b"46")),
                body=b'{"run":"%s"}' % digest[:36],
                offset_ns=offset_ns + 2_000_000,
                end_ns=offset_ns + 2_100_000,
            ),
        )


def best(work: Callable[[], int], rounds: int = 3) -> float:
    """Items per CPU second, best of ``rounds``."""
    rates = []
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        items = work()
        rates.append(items / (time.process_time() - start))
    return max(rates)


def as_flow(exchange: Exchange) -> http.HTTPFlow:
    """The same exchange as mitmproxy holds it."""
    request, response = exchange.request, exchange.outcome
    assert isinstance(response, Response)
    flow = tflow.tflow()
    flow.request = http.Request(
        "127.0.0.1", 8080, request.method, request.scheme, b"", request.target, request.http_version,
        http.Headers(request.headers), request.body, None,
        exchange.offset_ns / 1e9, exchange.request_end_ns / 1e9,
    )  # fmt: skip
    flow.response = http.Response(
        response.http_version, response.status, response.reason, http.Headers(response.headers),
        response.body, None, response.offset_ns / 1e9, (response.end_ns or 0) / 1e9,
    )  # fmt: skip
    return flow


def measure_reel(path: Path, exchanges: list[Exchange]) -> list[object]:
    """Write, read lazily and read whole."""

    def write() -> int:
        path.unlink(missing_ok=True)
        with CaptureWriter.create(path, new_header(source="benchmark", started_wall_ns=0)) as writer:
            for exchange in exchanges:
                writer.write(exchange)
        return len(exchanges)

    def rows() -> int:
        with CaptureReader.open(path) as reader:
            return sum(1 for _ in reader.rows())

    def whole() -> int:
        with CaptureReader.open(path) as reader:
            return sum(1 for _ in reader.exchanges())

    rates = [best(write), best(rows), best(whole)]
    return ["hookreel .reel", *rates, path.stat().st_size]


def measure_mitmproxy(path: Path, flows: list[http.HTTPFlow]) -> list[object]:
    """Mitmproxy's own writer and reader."""

    def write() -> int:
        with path.open("wb") as file:
            writer = io.FlowWriter(file)
            for flow in flows:
                writer.add(flow)
        return len(flows)

    def read() -> int:
        with path.open("rb") as file:
            return sum(1 for _ in io.FlowReader(file).stream())

    return ["mitmproxy flows", best(write), None, best(read), path.stat().st_size]


def measure_har(path: Path, flows: list[http.HTTPFlow]) -> list[object]:
    """HAR as mitmproxy saves it, read by json."""

    def write() -> int:
        path.write_text(json.dumps(SaveHar().make_har(flows)))
        return len(flows)

    def read() -> int:
        return len(json.loads(path.read_bytes())["log"]["entries"])

    return ["HAR (SaveHar, json)", best(write), None, best(read), path.stat().st_size]


def measure_goreplay(path: Path, exchanges: list[Exchange]) -> list[object]:
    """GoReplay's text: requests and responses as raw HTTP between separators."""

    def write() -> int:
        with path.open("wb") as file:
            for exchange in exchanges:
                request, response = exchange.request, exchange.outcome
                assert isinstance(response, Response)
                head = b"1 %024x %d 0\n%s %s %s\r\n" % (
                    exchange.seq, exchange.offset_ns, request.method, request.target, request.http_version
                )  # fmt: skip
                fields = b"".join(b"%s: %s\r\n" % pair for pair in request.headers)
                file.write(head + fields + b"\r\n" + request.body + SEPARATOR)
                head = b"2 %024x %d 0\n%s %d %s\r\n" % (
                    exchange.seq, response.offset_ns, response.http_version, response.status, response.reason
                )  # fmt: skip
                fields = b"".join(b"%s: %s\r\n" % pair for pair in response.headers)
                file.write(head + fields + b"\r\n" + response.body + SEPARATOR)
        return len(exchanges)

    def read() -> int:
        count = 0
        for record in path.read_bytes().split(SEPARATOR)[:-1]:
            meta, message = record.split(b"\n", 1)
            head, _, _ = message.partition(b"\r\n\r\n")
            _ = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
            count += meta.startswith(b"1")
        return count

    return ["GoReplay text", best(write), None, best(read), path.stat().st_size]


def write_index_only(path: Path, count: int) -> None:
    """A capture with ``count`` index rows of Poisson traffic; its exchange blocks are left out."""
    rng = np.random.default_rng(1)
    offsets = np.cumsum(rng.exponential(100_000, count)).astype(np.int64)
    late = rng.random(count) < 0.2  # a fifth completes after a later one
    offsets[late] -= rng.integers(0, 5_000_000, int(late.sum()))
    columns = {
        "offset_ns": offsets,
        "seq": np.arange(count, dtype=np.int64),
        "endpoint": rng.integers(0, 30, count).astype(np.uint32),
        "connection": rng.integers(0, 200, count).astype(np.uint32),
        "status": rng.choice([200, 202, 404, 500], count, p=[0.6, 0.38, 0.01, 0.01]).astype(np.uint16),
        "request_bytes": rng.integers(200, 20_000, count).astype(np.uint32),
        "response_bytes": rng.integers(20, 400, count).astype(np.uint32),
    }
    assert list(columns) == list(COLUMN_TYPES)
    packer = BlockPacker()
    header = new_header(source="benchmark", started_wall_ns=0)
    head = pack_file_header(CAPTURE_MAGIC, CAPTURE_VERSION, bytes(16))
    position = len(head)
    positions = []
    with path.open("wb") as file:
        file.write(head)
        position += file.write(packer.pack(BlockType.META, pack_header(header)))
        for start in range(0, count, INDEX_ROWS):
            chunk = {name: column[start : start + INDEX_ROWS] for name, column in columns.items()}
            rows = len(chunk["seq"])
            labels = [f"GET /e{n}" for n in range(30)] if start == 0 else []
            payload = msgpack.packb([[[64 + start, rows]], labels, pack_columns(chunk)])
            positions.append(position)
            position += file.write(packer.pack(BlockType.INDEX, payload, rows=rows, compress=False))
        account = asdict(Counters(seen=count, written=count))
        footer = packer.pack(
            BlockType.FOOTER,
            msgpack.packb(
                {"index": positions, "messages": [], "dictionaries": [], "stream_ends": [],
                 "counters": account, "first_ns": 0, "last_end_ns": 1}
            ),
        )  # fmt: skip
        file.write(footer + pack_trailer(position, len(footer)))


def measure_due_times(path: Path, count: int) -> None:
    """How long until the due times of a very large capture are in memory, in send order."""
    write_index_only(path, count)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        with CaptureReader.open(path) as reader:
            offsets = reader.index.offset_ns
        seconds.append(time.perf_counter() - start)
        assert len(offsets) == count
        assert bool((np.diff(offsets) >= 0).all())
    size = path.stat().st_size
    index = f"index {size / count:.1f} B an exchange"
    print(f"due times of {count:,} exchanges: {min(seconds):.2f} s (wall), {index}")


def main() -> None:
    """Print the table and the two single figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--exchanges", type=int, default=20_000)
    parser.add_argument("--due", type=int, default=10_000_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        exchanges = list(corpus(chosen.exchanges))
        flows = [as_flow(exchange) for exchange in exchanges[: chosen.exchanges // 5]]
        gc.freeze()
        print(
            f"{len(exchanges)} exchanges, mean body {np.mean([len(e.request.body) for e in exchanges]):.0f} B"
        )
        rows = [
            measure_reel(base / "a.reel", exchanges),
            measure_mitmproxy(base / "a.flows", flows),
            measure_har(base / "a.har", flows),
            measure_goreplay(base / "a.gor", exchanges),
        ]
        counts = [len(exchanges), len(flows), len(flows), len(exchanges)]
        table = [[*row[:4], row[4] / n] for row, n in zip(rows, counts, strict=True)]
        print(tabulate(
            table, headers=("format", "write/s", "rows/s", "exchanges/s", "B an exchange"),
            floatfmt=",.0f", missingval="-",
        ))  # fmt: skip
        once = exchanges[:329]
        reel = measure_reel(base / "once.reel", once)[-1]
        flow = measure_mitmproxy(base / "once.flows", [as_flow(exchange) for exchange in once])[-1]
        print(f"the {len(once)} payloads once: {reel:,} B, mitmproxy {flow:,} B: 1/{flow / reel:.1f}")
        measure_due_times(base / "big.reel", chosen.due)
    print(f"machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
