"""
What recording costs: ``python -m benchmarks.recorder_speed [--seconds 5] [--rounds 5]``.

nginx answers 1 kB of JSON and wrk asks for it, both on core 1; the proxy runs on core 0 with all
its threads. The process that writes the capture is no part of a request's way; it is put on core 1,
as it would find a free core on a machine with more than these two. In each round every variant is
measured once with 16 keep-alive connections and once with a single one, so that what the machine
does meanwhile hits all of them. Printed are the medians over the rounds, and the share of each
round's own baseline. The CPU time that an exchange takes of the proxy and of the writer hardly
depends on what else the machine does; their sum is what a machine without a free core pays.
``--workers`` compares one recorder process with two instead, on both cores, where the writers have
none to themselves. Needs nginx and wrk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1]))

CHECKOUT = Path(__file__).parents[1]
WAIT_S = 20.0
SETTLE_S = 0.3
UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
TRIVIAL_ADDON = "def response(flow):\n    pass\n"
BODY = json.dumps({"run": "8d1c", "steps": [{"n": n, "state": "succeeded"} for n in range(27)]}).ljust(1024)
FRONT = "import sys; from recorder.cli import record; record.main(args=sys.argv[1:], prog_name='hookreel')"
Start = Callable[[int, Path], tuple[list[str], int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One wrk run."""

    rate: float
    proxy_us: float  # CPU time for each exchange
    writer_us: float
    p50_ms: float
    p99_ms: float


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def pinned(core: int | None, command: Sequence[str]) -> list[str]:
    return [*(() if core is None else ("taskset", "-c", str(core))), *command]


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[subprocess.Popen[str]]:
    """A server process from when it answers to its end."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, cwd=CHECKOUT
    )
    try:
        deadline_s = time.monotonic() + WAIT_S
        while True:
            try:
                # A recorder that listens already may still be starting its workers.
                with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as link:
                    link.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    if link.recv(1024):
                        break
            except ConnectionRefusedError:
                if process.poll() is not None or time.monotonic() > deadline_s:
                    raise SystemExit(f"{command} does not listen") from None
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def nginx(folder: Path, core: int | None) -> Iterator[int]:
    port = free_port()
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}} "
        f"http {{ access_log off; keepalive_requests 100000000; {paths} default_type application/json; "
        f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{BODY}'; }} }} }}"
    )
    arguments = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", "nginx.conf"]
    with running(pinned(core, arguments), port):
        yield port


def cpu_s(pid: int | None) -> float:
    """User and system time of a process, all threads."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int | None) -> list[int]:
    if pid is None:
        return []
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wrk(port: int, *, connections: int, seconds: float, core: int | None, pid: int | None = None) -> Figures:
    before_s, writer_before_s = cpu_s(pid), sum(map(cpu_s, children(pid)))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", f"http://127.0.0.1:{port}/"]
    text = subprocess.run(pinned(core, command), capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"wrk saw errors:\n{text}")
    used_s, writer_used_s = cpu_s(pid) - before_s, sum(map(cpu_s, children(pid))) - writer_before_s
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    total = re.search(r"(\d+) requests in", text)
    found = dict(re.findall(r"^\s+(\d+)%\s+(\S+)$", text, re.MULTILINE))
    if rate is None or total is None or not {"50", "99"} <= set(found):
        raise SystemExit(text)
    return Figures(
        rate=float(rate[1]),
        proxy_us=1e6 * used_s / int(total[1]),
        writer_us=1e6 * writer_used_s / int(total[1]),
        p50_ms=in_ms(found["50"]),
        p99_ms=in_ms(found["99"]),
    )


def in_ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * UNITS_MS[unit]


def mitmdump(*options: str) -> Start:
    program = str(Path(sys.executable).parent / "mitmdump")

    def start(upstream: int, folder: Path) -> tuple[list[str], int]:
        port = free_port()
        chosen = [option.format(folder=folder, run=time.monotonic_ns()) for option in options]
        mode = f"reverse:http://127.0.0.1:{upstream}"
        return [program, "--mode", mode, "--listen-host", "127.0.0.1", "-p", str(port), *chosen], port

    return start


def lean(upstream: int, _folder: Path) -> tuple[list[str], int]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.recorder_speed", "--serve-lean", str(upstream), str(port)]
    return command, port


def recorder(*options: str) -> Start:
    def start(upstream: int, folder: Path) -> tuple[list[str], int]:
        port = free_port()
        output = folder / f"{time.monotonic_ns()}.reel"
        places = ["--listen", f"127.0.0.1:{port}", "--confdir", str(folder), "-o", str(output)]
        mode = ["--mode", f"reverse:http://127.0.0.1:{upstream}"]
        return [sys.executable, "-c", FRONT, *mode, *places, *options], port

    return start


async def serve_lean(upstream: int, port: int) -> None:
    """Our proxy without a recorder in it, until it is interrupted."""
    from recorder.embedding import EmbeddedProxy, proxy_options
    from recorder.listening import bind_all
    from recorder.modes import Routes, parse_listen, parse_modes

    modes = parse_modes([f"reverse:http://127.0.0.1:{upstream}"], parse_listen(f"127.0.0.1:{port}"))
    with tempfile.TemporaryDirectory() as folder:
        options = proxy_options(confdir=Path(folder), ssl_insecure=False, upstream_ca=None)
        proxy = await EmbeddedProxy.start(
            options, None, routes=Routes(), own_addresses={("127.0.0.1", port)}, note=print
        )
        await proxy.acceptor.accept_from(bind_all(modes))
        await proxy.running


def compare(options: argparse.Namespace) -> None:
    variants: dict[str, Start | None] = {
        "no proxy": None,
        "mitmdump -q, trivial addon": mitmdump("-q", "-s", "{folder}/trivial.py"),
        "mitmdump -w": mitmdump("-w", "{folder}/{run}.mitm"),
        "mitmdump -q -w": mitmdump("-q", "-w", "{folder}/{run}.mitm"),
        "lean proxy, not recording": lean,
        "hookreel record": recorder(),
    }
    rounds: list[dict[str, tuple[Figures, Figures]]] = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "trivial.py").write_text(TRIVIAL_ADDON)
        upstream = stack.enter_context(nginx(folder, 1))
        for _ in range(options.rounds):
            rounds.append({})
            for title, start in variants.items():
                rounds[-1][title] = measure(start, upstream, folder, options.seconds)
                print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print_comparison(rounds)


def measure(start: Start | None, upstream: int, folder: Path, seconds: float) -> tuple[Figures, Figures]:
    with ExitStack() as stack:
        port, pid = upstream, None
        if start is not None:
            command, port = start(upstream, folder)
            pid = stack.enter_context(running(pinned(0, command), port)).pid
            for child in children(pid):
                os.sched_setaffinity(child, {1})
        wrk(port, connections=16, seconds=1, core=1)
        many = wrk(port, connections=16, seconds=seconds, core=1, pid=pid)
        one = wrk(port, connections=1, seconds=seconds, core=1)
    time.sleep(SETTLE_S)
    return many, one


def print_comparison(rounds: list[dict[str, tuple[Figures, Figures]]]) -> None:
    def median(title: str, of: Callable[[Figures, Figures], float]) -> float:
        return statistics.median(of(*round_[title]) for round_ in rounds)

    def ratio(title: str, other: str, name: str = "rate") -> float:
        return statistics.median(
            getattr(round_[title][0], name) / getattr(round_[other][0], name) for round_ in rounds
        )

    titles = list(rounds[0])
    stock, direct, ours = titles[1], titles[0], titles[-1]

    def added(title: str, name: str) -> float:
        return statistics.median(
            getattr(round_[title][1], name) - getattr(round_[direct][1], name) for round_ in rounds
        )

    rows = []
    for title in titles:
        row = [title, f"{median(title, lambda many, _: many.rate):,.0f}", f"{ratio(title, stock):.2f}"]
        if title != direct:
            row += [f"{median(title, lambda many, _: many.proxy_us):.0f}"]
            row += [f"{median(title, lambda many, _: many.writer_us):.0f}"]
            row += [f"{added(title, 'p50_ms'):.3f}", f"{added(title, 'p99_ms'):.3f}"]
        rows.append(row)
    head = [
        *("variant", "req/s (16 conn.)", "x stock", "CPU us, proxy", "CPU us, writer"),
        *("added p50 ms (1 conn.)", "added p99 ms"),
    ]
    print(tabulate(rows, headers=head, tablefmt="github", disable_numparse=True))
    print(
        f"\nhookreel record: {ratio(ours, stock):.2f} x trivial addon, {ratio(ours, titles[2]):.2f} x -w, "
        f"{ratio(ours, titles[3]):.2f} x -q -w; recording costs {100 * (1 - ratio(ours, titles[4])):.1f} % "
        f"of the lean proxy ({100 * (ratio(ours, titles[4], 'proxy_us') - 1):.1f} % of its CPU time, "
        f"which is {ratio(stock, ours, 'proxy_us'):.2f} x less than with the trivial addon, "
        f"{ratio(titles[2], ours, 'proxy_us'):.2f} x less than -w); "
        f"added latency p50 {100 * added(ours, 'p50_ms') / added(stock, 'p50_ms'):.0f} %, "
        f"p99 {100 * added(ours, 'p99_ms') / added(stock, 'p99_ms'):.0f} % of stock. "
        f"{len(rounds)} rounds, load {os.getloadavg()[0]:.1f}."
    )


def compare_workers(options: argparse.Namespace) -> None:
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        upstream = stack.enter_context(nginx(folder, None))
        for _ in range(options.rounds):
            for number, found in rates.items():
                command, port = recorder("--workers", str(number))(upstream, folder)
                with running(command, port):
                    wrk(port, connections=32, seconds=1, core=None)
                    found.append(wrk(port, connections=32, seconds=options.seconds, core=None).rate)
                time.sleep(SETTLE_S)
    gain = statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))
    for number, found in rates.items():
        print(f"{number} worker(s): {statistics.median(found):,.0f} req/s")
    print(f"gain {gain:.2f}, {options.rounds} rounds, load {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", action="store_true", help="one recorder process against two")
    parser.add_argument(
        "--serve-lean", nargs=2, type=int, metavar=("UPSTREAM", "PORT"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.serve_lean:
        from recorder.tuning import new_event_loop

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(serve_lean(*options.serve_lean))
        return
    if missing := [program for program in ("nginx", "wrk", "taskset") if shutil.which(program) is None]:
        raise SystemExit(f"{missing[0]} is not installed")
    (compare_workers if options.workers else compare)(options)


if __name__ == "__main__":
    main()
