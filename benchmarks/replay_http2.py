"""
HTTP/2 replay against nginx: requests per CPU second on one connection, and send lag at a steady rate.

    python -m benchmarks.replay_http2 [--seconds 10]

nginx answers "ok" in plain text HTTP/2 (prior knowledge) on core 1, the replay runs on core 0. For the
first number 50,000 exchanges of one connection are due at once, so that they go out as fast as the
target's stream limit (1,000, spares beyond it) and this side's processor permit; CPU time is that of the
whole replaying process between the call and its return, compilation included. Then 1,000 and 5,000
requests/s are offered. Needs nginx, openssl and taskset.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from fractions import Fraction
from pathlib import Path

from benchmarks._target import SENDER_CORE, nginx
from captures.model import Exchange, Request, Response
from captures.reader import CaptureReader
from captures.units import NS_PER_S
from captures.writer import CaptureWriter, new_header
from replayer.load import Load
from replayer.options import ReplayOptions, UseChains
from replayer.replay import replay
from replayer.summary import summarise
from replayer.targets import parse_target

AT_ONCE = 50_000


def capture(path: Path, count: int, rate: int | None) -> Path:
    """``count`` exchanges of one connection at ``rate`` a second, or all at once."""
    with CaptureWriter.create(path, new_header(source="benchmark", started_wall_ns=time.time_ns())) as writer:
        for number in range(count):
            offset_ns = 0 if rate is None else number * NS_PER_S // rate
            request = Request(
                method=b"GET",
                scheme=b"http",
                authority=b"api.test",
                target=b"/items/%d" % (number % 100),
                http_version=b"HTTP/2.0",
                headers=((b"user-agent", b"bench/1"), (b"accept", b"*/*"), (b"x-request", b"%d" % number)),
            )
            response = Response(
                status=200,
                reason=b"",
                http_version=b"HTTP/2.0",
                headers=(),
                offset_ns=offset_ns + 1000,
                end_ns=offset_ns + 2000,
            )
            writer.write(
                Exchange(
                    seq=number,
                    offset_ns=offset_ns,
                    request_end_ns=offset_ns,
                    connection=0,
                    request=request,
                    outcome=response,
                )
            )
    return path


def cpu_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def run(path: Path, port: int) -> None:
    options = ReplayOptions(
        target=parse_target(f"http://127.0.0.1:{port}"),
        load=Load(multiplier=Fraction(1)),
        tls=None,
        timeout_ns=60 * NS_PER_S,
        chains=UseChains.NEVER,
    )
    with CaptureReader.open(path) as reader:
        before, started = cpu_s(resource.RUSAGE_SELF), time.monotonic()
        replayed = replay(reader, options)
        used, wall = cpu_s(resource.RUSAGE_SELF) - before, time.monotonic() - started
    summary = summarise(replayed.run)
    lag = summary.send_lag.numbers()
    print(
        f"{summary.completed}/{len(replayed.run.rows)} completed over {replayed.http_versions}, "
        f"{replayed.spare_connections} spares; {summary.completed / used:,.0f} requests per CPU second, "
        f"{summary.completed / wall:,.0f} a second; "
        f"send lag p50 {lag['p50'] / 1000:.0f} us, p99 {lag['p99'] / 1000:.0f} us, "
        f"max {lag['max'] / 1000:.0f} us; valid: {replayed.run.valid}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    seconds = parser.parse_args().seconds
    os.sched_setaffinity(0, {int(SENDER_CORE)})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with nginx(folder) as target:
            port = target.http2
            print(f"{AT_ONCE} at once:")
            run(capture(folder / "burst.reel", AT_ONCE, None), port)
            for rate in (1_000, 5_000):
                print(f"{rate} requests/s for {seconds} s:")
                run(capture(folder / f"{rate}.reel", rate * seconds, rate), port)


if __name__ == "__main__":
    main()
