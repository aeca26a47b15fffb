"""
Replay beside other load generators, against nginx on a core of its own.

    python -m benchmarks.replay [--only PART,PART] [--seconds 5] [--repeats 3]

Every sender has one processor (hookreel with two workers: both) and sends the same request; hookreel is
the real command and writes a row per request. closed: the most requests/s (hookreel: all due at once).
open: Poisson arrivals at each of ``--rates``, best of ``--repeats`` by lag p99, since a neighbour on the
machine can only make it worse; beside it what the machine's host took (steal). drift: 60 s at 5,000/s.
workers: requests per CPU second of one at 10,000/s and of two at 20,000/s. stall: nginx stands still for
1.4 s of 20 s at 500/s; the p99 from due must be that of the arithmetic. memory: peak of a replay of
``--exchanges``; windows: of compiling as many. Needs nginx, taskset and openssl; wrk, h2load and Go for
the peers, which are reported as absent otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks._peers import ABSENT, closed_loop
from benchmarks._target import SENDER_CORE, Nginx, at_once, even, make_capture, nginx, poisson
from captures.units import NS_PER_S, format_duration

CHECKOUT = Path(__file__).parents[1]
PEERS = ("wrk", "h2load", "hey", "vegeta", "goreplay", "aiohttp")
STALL_S, STALL_RUN_S, STALL_RATE = 1.4, 20, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where the captures lie, who answers, and what was asked for."""

    folder: Path
    target: Nginx
    asked: argparse.Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What the command told, and the most memory that it had."""

    told: dict[str, Any]
    peak_mib: float

    @property
    def lag(self) -> dict[str, float]:
        """Send lag in ns by quantile."""
        return self.told["send_lag_ns"]

    @property
    def per_s(self) -> float:
        """Completed requests per second from the first due to the last completion."""
        return self.told["completed"] * NS_PER_S / self.told["duration_ns"]

    @property
    def per_cpu_s(self) -> float:
        """Completed requests per second of processor time while sending."""
        return self.told["completed"] * NS_PER_S / self.told["fidelity"]["generator"]["cpu_ns"]


def start(capture: Path, url: str, *options: str, cores: str = SENDER_CORE) -> subprocess.Popen[str]:
    """The command, sending ``capture``."""
    command = ["taskset", "-c", cores, sys.executable, "-m", "hookreel", "replay", str(capture)]
    command += ["--target", url, "--json", "--chains", "never", *options]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> Replayed:
    """What it told at its end."""
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if not text:
        raise SystemExit(f"the replay failed: {process.stderr.read()}")
    return Replayed(told=json.loads(text), peak_mib=usage.ru_maxrss / 1024)


def closed(scene: Scene) -> None:
    capture = make_capture(scene.folder / "once.reel", at_once(300_000))
    url = f"http://127.0.0.1:{scene.target.plain}"
    seconds = scene.asked.seconds
    table = []
    for name in PEERS:
        rate = closed_loop(name, f"{url}/api/hooks/7", seconds, scene.folder, scene.target.answered)
        table.append([name, *((rate.per_s, rate.per_cpu_s) if rate else (ABSENT, ABSENT))])
        if name in ("wrk", "aiohttp"):  # at the beginning and the end, as the machine is not always the same
            done = finish(start(capture, url, "--connections", "pool"))
            table.append(["hookreel", done.per_s, done.per_cpu_s])
    print(tabulate(table, headers=["closed loop", "requests/s", "per CPU second"], floatfmt=",.0f"))


def line(name: str, done: Replayed) -> list[str]:
    """A row of the open loop's table."""
    fidelity, told = done.told["fidelity"], done.told
    steal_ns, wall_ns = fidelity["generator"]["steal_ns"], fidelity["generator"]["wall_ns"]
    return [
        name,
        f"{told['completed']:,}",
        *(format_duration(int(done.lag[level])) for level in ("p50", "p99", "p999", "max")),
        str(fidelity["early_sends"]),
        str(told["dropped"] + told["failed"]),
        f"{done.per_cpu_s:,.0f}",
        f"{(steal_ns or 0) / wall_ns / (os.cpu_count() or 1):.1%}",
        "yes" if told["valid"] else "no",
    ]


COLUMNS = ["requests/s", "completed", "lag p50", "p99", "p99.9", "max", "early", "not completed", "per CPU s"]


def open_loop(scene: Scene) -> None:
    url = f"http://127.0.0.1:{scene.target.plain}"
    table = []
    for rate in map(int, scene.asked.rates.split(",")):
        capture = make_capture(scene.folder / f"{rate}.reel", poisson(rate, scene.asked.seconds))
        runs = [finish(start(capture, url)) for _ in range(scene.asked.repeats)]
        table.append(line(f"{rate:,}", min(runs, key=lambda done: done.lag["p99"])))
    print(tabulate(table, headers=[*COLUMNS, "steal", "valid"], disable_numparse=True))


def drift(scene: Scene) -> None:
    capture = make_capture(scene.folder / "minute.reel", poisson(5_000, 60))
    done = finish(start(capture, f"http://127.0.0.1:{scene.target.plain}"))
    print(tabulate([line("5,000", done)], headers=[*COLUMNS, "steal", "valid"], disable_numparse=True))
    fidelity = done.told["fidelity"]
    low, high = fidelity["drift_interval_ppm"]
    print(f"drift over 60 s: {fidelity['drift_ppm']:+.2f} ppm ({low:+.2f} to {high:+.2f})")


def tls(scene: Scene) -> None:
    trust = ("--cacert", str(scene.folder / "cert.pem"))
    url = f"https://127.0.0.1:{scene.target.secure}"
    capture = make_capture(scene.folder / "tls.reel", at_once(100_000))
    done = finish(start(capture, url, "--connections", "pool", *trust))
    print(f"TLS, 100,000 at once: {done.per_s:,.0f} requests/s, {done.per_cpu_s:,.0f} per CPU second")


def workers(scene: Scene) -> None:
    url = f"http://127.0.0.1:{scene.target.plain}"
    reached: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(scene.asked.repeats):
        for count, rates in reached.items():
            rate = 10_000 * count
            path = scene.folder / f"workers{len(rates)}-{count}.reel"
            capture = make_capture(path, poisson(rate, scene.asked.seconds))
            done = finish(start(capture, url, "--workers", str(count), cores="0,1"))
            rates.append(done.per_cpu_s)
            print(f"{rate:,} requests/s by {count}: {done.per_cpu_s:,.0f} requests per CPU second")
    print(f"two workers, best of each: {max(reached[2]) / max(reached[1]):.2f} of one")


def stall(scene: Scene) -> None:
    capture = make_capture(scene.folder / "stall.reel", even(STALL_RATE, STALL_RUN_S), connections=20)
    before = scene.target.answered()
    process = start(capture, f"http://127.0.0.1:{scene.target.plain}")
    while scene.target.answered() - before < 5 * STALL_RATE:
        time.sleep(0.1)
    scene.target.process.send_signal(signal.SIGSTOP)
    stopped_s = time.monotonic()
    time.sleep(STALL_S)
    scene.target.process.send_signal(signal.SIGCONT)
    stalled_s = time.monotonic() - stopped_s
    done = finish(process)
    analytic_ns = (stalled_s - 0.01 * STALL_RUN_S) * NS_PER_S  # a hundredth of all is due before that is left
    measured_ns = done.told["response_time_ns"]["p99"]
    print(
        f"target stalled for {stalled_s:.3f} s: p99 from due {format_duration(int(measured_ns))}, by the "
        f"arithmetic {format_duration(int(analytic_ns))} ({measured_ns / analytic_ns - 1:+.2%}); "
        f"valid: {done.told['valid']}"
    )


def memory(scene: Scene) -> None:
    count, rate = scene.asked.exchanges, 15_000
    capture = make_capture(scene.folder / "many.reel", poisson(rate, count / rate))
    done = finish(
        start(capture, f"http://127.0.0.1:{scene.target.plain}", "-o", str(scene.folder / "many.run"))
    )
    small = finish(start(make_capture(scene.folder / "few.reel", even(100, 1)), done.told["target"]))
    print(
        f"{done.told['completed']:,} exchanges at {rate:,}/s: peak {done.peak_mib:,.0f} MiB "
        f"({small.peak_mib:,.0f} MiB for 100), lag p99 {format_duration(int(done.lag['p99']))}"
    )


def windows(scene: Scene) -> None:
    """Compile everything and send nothing: what stays is what a run of any length holds for each exchange."""
    for count in (scene.asked.exchanges // 10, scene.asked.exchanges):
        capture = make_capture(scene.folder / f"{count}.reel", poisson(40_000, count / 40_000))
        started_s = time.monotonic()
        done = finish(start(capture, f"http://127.0.0.1:{scene.target.plain}", "--dry-run"))
        print(
            f"{count:,} exchanges compiled in windows: {time.monotonic() - started_s:.1f} s, "
            f"peak {done.peak_mib:,.0f} MiB"
        )


PARTS: dict[str, Callable[[Scene], None]] = {
    "closed": closed,
    "open": open_loop,
    "drift": drift,
    "tls": tls,
    "workers": workers,
    "stall": stall,
    "memory": memory,
    "windows": windows,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--seconds", type=float, default=5, help="length of a run")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many open loops is printed")
    parser.add_argument("--rates", default="1000,5000,10000,20000,40000", help="requests/s of the open loops")
    parser.add_argument("--exchanges", type=int, default=1_000_000, help="for the part memory")
    asked = parser.parse_args()
    for name in asked.only.split(","):
        print(f"\n{name}", flush=True)
        with tempfile.TemporaryDirectory() as made, nginx(Path(made)) as target:
            PARTS[name](Scene(folder=Path(made), target=target, asked=asked))


if __name__ == "__main__":
    main()
