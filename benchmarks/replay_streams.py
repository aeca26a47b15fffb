"""
What open WebSockets cost a replay: ``python -m benchmarks.replay_streams [--sessions 10000]``.

1. Many at once: so many sessions are opened within 10 s, say something at once and after 10 s, and stay
   open together. Peak memory of the sender, time to open, message send lag.
2. The exact sender beside them: HTTP requests at a steady Poisson rate without and with 1,000 open
   sessions that receive so many messages a second in total. Send lag of the HTTP requests.

The target is a small server in another process. The best of the repeats by lag p99 is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import uvloop
from tabulate import tabulate

from captures.model import Exchange, Message, MessageKind, Request, Response
from captures.units import MIB, NS_PER_MS, NS_PER_S, format_duration
from captures.writer import CaptureWriter, new_header
from replayer.fidelity import lag_ns
from replayer.quantiles import Quantiles, quantiles
from replayer.results import read_run
from replayer.schedule import UPGRADED

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE)
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TEXT = b'{"event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}'
FRAME = b"\x81" + bytes([len(TEXT)]) + TEXT
JOIN = b'{"topic":"realtime:public","event":"phx_join","payload":{"config":{}},"ref":"1","join_ref":"1"}'
ASKS = (
    (b"Host", b"benchmark.test"),
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
)


class Server(asyncio.Protocol):
    """Answers requests, upgrades, and each frame, which it takes for small and whole."""

    open: set[asyncio.Transport] = set()  # noqa: RUF012  of the whole process
    upgraded = False

    def connection_made(self, transport):  # noqa: D102  asyncio calls it
        self.transport = transport

    def data_received(self, data):  # noqa: D102  asyncio calls it
        if self.upgraded:
            if data[0] == 0x88:
                self.transport.write(b"\x88\x02\x03\xe8")
                self.transport.close()
            else:
                self.transport.write(FRAME)
            return
        found = KEY.search(data)
        if found is None:
            self.transport.write(REPLY * data.count(b"\r\n\r\n"))
            return
        accept = base64.b64encode(hashlib.sha1(found[1] + MAGIC).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.upgraded = True
        self.open.add(self.transport)

    def connection_lost(self, _error):  # noqa: D102  asyncio calls it
        self.open.discard(self.transport)


async def serve(pushes: int) -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while True:
        await asyncio.sleep(1 / pushes if pushes else 1)
        if pushes and Server.open:
            random.choice(tuple(Server.open)).write(FRAME)


def exchange(seq: int, offset_ns: int, connection: int, length_ns: int | None) -> Exchange:
    stream = length_ns is not None
    return Exchange(
        seq=seq,
        offset_ns=offset_ns,
        request_end_ns=offset_ns,
        connection=connection,
        request=Request(
            method=b"GET",
            scheme=b"http",
            authority=b"benchmark.test",
            target=b"/socket" if stream else b"/api/health",
            http_version=b"HTTP/1.1",
            headers=ASKS if stream else ASKS[:1],
        ),
        outcome=Response(
            status=UPGRADED if stream else 200,
            reason=b"OK",
            http_version=b"HTTP/1.1",
            headers=(),
            offset_ns=offset_ns + NS_PER_MS,
            end_ns=offset_ns + (length_ns or 2 * NS_PER_MS),
            stream=stream,
        ),
    )


def make_capture(
    path: Path, sessions: int, opening_s: float, length_s: float, rate: int, rate_s: float
) -> None:
    """Sessions that open evenly and end together, and HTTP at ``rate`` while all are open."""
    length_ns = int(length_s * NS_PER_S)
    opened = [(int(number * opening_s * NS_PER_S / sessions), number) for number in range(sessions)]
    arrivals = np.cumsum(np.random.default_rng(1).exponential(1.0, int(rate * rate_s)))
    begin_ns = int((opening_s + 0.5) * NS_PER_S)
    asked = (begin_ns + arrivals * (rate_s * NS_PER_S / arrivals[-1])).astype(np.int64) if rate else ()
    with CaptureWriter.create(path, new_header(source="benchmark", started_wall_ns=0)) as writer:
        for offset_ns, number in opened:
            writer.write(exchange(number, offset_ns, number, length_ns - offset_ns))
            for at_ns in (50 * NS_PER_MS, 10 * NS_PER_S):
                writer.write_message(
                    Message(
                        exchange=number,
                        offset_ns=offset_ns + at_ns,
                        from_client=True,
                        kind=MessageKind.TEXT,
                        payload=JOIN,
                    )
                )
        for number, offset_ns in enumerate(asked):
            writer.write(exchange(sessions + number, int(offset_ns), sessions + number % 32, None))


def replay(folder: Path, pushes: int, **shape: float) -> tuple[Path, int, dict]:
    """Replay such a capture from a process of its own: the run, its peak memory in bytes, the report."""
    capture = folder / f"{len(list(folder.iterdir()))}.reel"
    make_capture(capture, **shape)  # type: ignore[arg-type]
    run = capture.with_suffix(".run")
    command = [sys.executable, __file__, "--serve", str(pushes)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        command = [
            sys.executable,
            "-m",
            "hookreel",
            "replay",
            str(capture),
            "--target",
            url,
            "--json",
            "-o",
            str(run),
        ]
        with (folder / "report.json").open("w") as report:
            sender = subprocess.Popen(command, stdout=report, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(sender.pid, 0)
        if os.waitstatus_to_exitcode(status) not in (0, 4):
            raise SystemExit("The replay failed.")
    finally:
        server.kill()
        server.wait()
    return run, usage.ru_maxrss * 1024, json.loads((folder / "report.json").read_text())


def many(folder: Path, sessions: int) -> None:
    run, peak_bytes, report = replay(
        folder, 0, sessions=sessions, opening_s=10, length_s=22, rate=0, rate_s=0
    )
    rows, streams = read_run(run).rows, report["streams"]
    opening = quantiles(rows.done_ns - rows.sent_ns)
    opened = int((rows.status == UPGRADED).sum())
    lag = streams["message_lag_ns"]
    print(
        f"{opened:,} of {sessions:,} sessions open at once: {peak_bytes / MIB:.0f} MiB at most; opened in "
        f"p50 {format_duration(opening.p50)}, p99 {format_duration(opening.p99)}, the last one "
        f"{format_duration(int(rows.done_ns.max()))} after the start; {streams['messages_sent']:,} messages, "
        f"lag p50 {format_duration(lag['p50'])}, p99 {format_duration(lag['p99'])}, "
        f"{streams['messages_received']:,} received; valid: {report['valid']} {report['invalid_reasons']}"
    )


def beside(folder: Path, sessions: int, pushes: int, rate: int, seconds: int) -> Quantiles:
    run, _, _ = replay(
        folder, pushes, sessions=sessions, opening_s=4, length_s=seconds + 6, rate=rate, rate_s=seconds
    )
    loaded = read_run(run)
    rows = loaded.rows
    return quantiles(lag_ns(rows)[(rows.recorded_status != UPGRADED)[rows.sent_ns >= 0]])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1_000, help="HTTP requests/s beside the sessions")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["many", "beside"])
    parser.add_argument("--serve", type=int, metavar="PUSHES", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if asked.serve is not None:
        uvloop.run(serve(asked.serve))
    with tempfile.TemporaryDirectory() as folder:
        if asked.only != "beside":
            many(Path(folder), asked.sessions)
        if asked.only == "many":
            return
        lines = []
        for sessions, pushes in ((0, 0), (1_000, 10), (1_000, 1_000)):
            found = (
                beside(Path(folder), sessions, pushes, asked.rate, asked.seconds)
                for _ in range(asked.repeats)
            )
            best = min(found, key=lambda one: one.p99)
            times = (format_duration(value) for value in (best.p50, best.p99, best.p999, best.max))
            lines.append([f"{sessions:,}", pushes, f"{best.count:,}", *times])
        headers = ["open sessions", "messages/s", "requests", "lag p50", "p99", "p99.9", "max"]
        print(tabulate(lines, headers=headers))


if __name__ == "__main__":
    main()
