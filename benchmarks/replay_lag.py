"""
How exactly a capture is replayed: ``python benchmarks/replay_lag.py [--seconds 60] [--repeats 3]``.

For each rate a capture with Poisson arrivals is made, replayed at 10x against a small server in
another process, and measured: duration against the schedule, send lag, early sends, drift of
the lag over the run, requests per CPU second. The best of the repeats by lag p99 is printed (a
neighbour on the machine can only make it worse), with the share of time that other virtual
machines took.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import uvloop
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1]))

from captures.model import Exchange, Request, Response
from captures.reader import CaptureReader
from captures.units import NS_PER_S, format_duration
from captures.writer import CaptureWriter, new_header
from replayer.fidelity import lag_ns
from replayer.load import Load
from replayer.options import ReplayOptions
from replayer.quantiles import quantiles
from replayer.replay import Replayed, replay
from replayer.results import Outcome
from replayer.targets import parse_target

SPEED = 10
BODY = b'{"ok":true}'
REPLY = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"


class Server(asyncio.Protocol):
    """Answers each request of known length at once."""

    def connection_made(self, transport):  # noqa: D102  asyncio calls it
        self.transport = transport
        self.rest = b""

    def data_received(self, data):  # noqa: D102  asyncio calls it
        *whole, self.rest = (self.rest + data).split(BODY)
        if whole:
            self.transport.write(REPLY * len(whole))


async def serve():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def make_capture(path: Path, rate: float, seconds: float, connections: int) -> None:
    random = np.random.default_rng(int(rate))
    arrivals = np.cumsum(random.exponential(1.0, int(rate * seconds)))
    offsets = (arrivals * (seconds * NS_PER_S / arrivals[-1])).astype(np.int64)
    offsets -= offsets[0]
    chosen = random.integers(0, connections, len(offsets)).tolist()
    with CaptureWriter.create(path, new_header(source="benchmark", started_wall_ns=time.time_ns())) as writer:
        for seq, (offset_ns, connection) in enumerate(zip(offsets.tolist(), chosen, strict=True)):
            writer.write(
                Exchange(
                    seq=seq,
                    offset_ns=offset_ns,
                    request_end_ns=offset_ns,
                    connection=connection,
                    request=Request(
                        method=b"POST",
                        scheme=b"http",
                        authority=b"benchmark.test",
                        target=b"/api/hooks/%d" % (seq % 10),
                        http_version=b"HTTP/1.1",
                        headers=(
                            (b"Host", b"benchmark.test"),
                            (b"User-Agent", b"benchmark/1"),
                            (b"Content-Type", b"application/json"),
                            (b"Content-Length", b"%d" % len(BODY)),
                        ),
                        body=BODY,
                    ),
                    outcome=Response(
                        status=202,
                        reason=b"Accepted",
                        http_version=b"HTTP/1.1",
                        headers=(),
                        offset_ns=offset_ns + 1000,
                        end_ns=offset_ns + 2000,
                    ),
                )
            )


def steal_share(before: list[int], after: list[int]) -> float:
    passed = [new - old for old, new in zip(before, after, strict=True)]
    return passed[7] / max(1, sum(passed[:8]))


def cpu_ticks() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


def drift_ppm(replayed: Replayed) -> float:
    """Slope of the median lag per tenth of the run, in millionths: a clock that runs off shows here."""
    rows = replayed.run.rows
    tenths = np.array_split(np.arange(len(rows)), 10)
    lag = rows.sent_ns - rows.due_ns
    middle = [float(np.median(rows.due_ns[tenth])) for tenth in tenths]
    return float(np.polyfit(middle, [float(np.median(lag[tenth])) for tenth in tenths], 1)[0] * 1e6)


def measure(path: Path, port: int) -> tuple[Replayed, float, float]:
    options = ReplayOptions(
        target=parse_target(f"http://127.0.0.1:{port}"),
        load=Load(multiplier=Fraction(SPEED)),
        tls=None,
        timeout_ns=30 * NS_PER_S,
    )
    ticks, usage = cpu_ticks(), resource.getrusage(resource.RUSAGE_SELF)
    with CaptureReader.open(path) as reader:
        replayed = replay(reader, options)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime - usage.ru_utime - usage.ru_stime
    return replayed, cpu_s, steal_share(ticks, cpu_ticks())


def line(rate: float, seconds: float, replayed: Replayed, cpu_s: float, steal: float) -> list[str]:
    rows = replayed.run.rows
    lags = quantiles(lag_ns(rows))
    taken_ns = int(np.max(rows.done_ns)) - int(rows.due_ns[0])
    asked_ns = int(seconds * NS_PER_S) // SPEED
    return [
        f"{rate * SPEED:,.0f}",
        f"{len(rows):,}",
        f"{taken_ns / NS_PER_S:.3f} s ({taken_ns / asked_ns - 1:+.2%})",
        *(format_duration(value) for value in (lags.p50, lags.p99, lags.p999, lags.max)),
        str(int((lag_ns(rows) < 0).sum())),
        str(int((rows.outcome != Outcome.COMPLETED).sum())),
        f"{drift_ppm(replayed):+.1f}",
        f"{len(rows) / cpu_s:,.0f}",
        f"{steal:.1%}",
        "yes" if replayed.run.valid else "no",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of each capture")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many is printed")
    parser.add_argument("--rates", default="100,500,1000,2000", help="recorded requests a second")
    parser.add_argument("--connections", type=int, default=50, help="recorded connections")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve())
        return
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline())
        table = []
        with tempfile.TemporaryDirectory() as folder:
            for rate in map(float, arguments.rates.split(",")):
                path = Path(folder) / f"{rate:.0f}.reel"
                make_capture(path, rate, arguments.seconds, arguments.connections)
                runs = [measure(path, port) for _ in range(arguments.repeats)]
                best = min(runs, key=lambda run: quantiles(lag_ns(run[0].run.rows)).p99)
                table.append(line(rate, arguments.seconds, *best))
    finally:
        server.terminate()
        server.wait()
    print(f"{arguments.seconds:.0f} s of capture at {SPEED}x, best of {arguments.repeats} by lag p99:\n")
    headers = ["req/s", "requests", "duration", "lag p50", "p99", "p99.9", "max", "early", "not completed"]
    headers += ["drift ppm", "req/CPU s", "steal", "valid"]
    print(tabulate(table, headers=headers, disable_numparse=True))


if __name__ == "__main__":
    main()
