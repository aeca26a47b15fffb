"""
Does a replay know when it failed: ``python -m benchmarks.broken_runs [--unbroken 20] [--only NAME]``.

One capture (4 s at 1,000 requests/s over 40 connections) is replayed against nginx by
the real command, once for each way of breaking the replayer or its machine, and several times
unbroken. Each broken run must be INVALID (exit code 4) and say why; a stall of the *target* must
not be. Needs Linux; the link and the processor quota need root.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from benchmarks._target import Nginx, make_capture, nginx, poisson

CHECKOUT = Path(__file__).parents[1]

RATE, SECONDS, CONNECTIONS = 1_000, 4, 40
HOG = "while True: pass"
QUOTA = Path("/sys/fs/cgroup/cpu/hookreel-broken")
NETNS = f"hookreel-{os.getpid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the command did: its exit code and the reasons that the run gives."""

    code: int
    reasons: tuple[str, ...]
    lag_p99_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What every case gets: the capture and who answers."""

    capture: Path
    target: Nginx
    folder: Path

    def command(self, *options: str, port: int | None = None) -> list[str]:
        """The replay of the capture against nginx, with more options."""
        target = f"http://127.0.0.1:{port or self.target.plain}"
        start = [sys.executable, "-m", "hookreel", "replay", str(self.capture)]
        return [*start, "--target", target, "--json", "--quiet", *options]


def start(command: Sequence[str], **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT, **options
    )


def finish(process: subprocess.Popen[str]) -> Result:
    out, err = process.communicate(timeout=90)
    if not out:
        return Result(code=process.returncode, reasons=(err.strip(),), lag_p99_ms=0)
    told = json.loads(out)
    return Result(
        code=process.returncode,
        reasons=tuple(told["invalid_reasons"]),
        lag_p99_ms=told["send_lag_ns"]["p99"] / 1e6,
    )


def sending(process: subprocess.Popen[str]) -> None:
    """Returns when the command (or its workers) has been connected for half a second."""
    deadline_s = time.monotonic() + 60
    while not any(sockets(pid) > 5 for pid in (process.pid, *children(process.pid))):
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise SystemExit("the replay did not begin")
        time.sleep(0.01)
    time.sleep(0.5)


def sockets(pid: int) -> int:
    try:
        return sum(str(link.readlink()).startswith("socket:") for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def hogs(count: int, core: int | None = None) -> Iterator[None]:
    pin = () if core is None else ("taskset", "-c", str(core))
    running = [subprocess.Popen([*pin, sys.executable, "-c", HOG]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def unbroken(scene: Scene) -> Result:
    return finish(start(scene.command()))


def starved(scene: Scene) -> Result:
    process = start(["taskset", "-c", "0", "nice", "-n", "10", *scene.command()])
    sending(process)
    with hogs(4, core=0):
        time.sleep(2)
    return finish(process)


def idle_priority(scene: Scene) -> Result:
    process = start(["chrt", "--idle", "0", *scene.command()])
    sending(process)
    with hogs(2 * (os.cpu_count() or 1)):
        time.sleep(2)
    return finish(process)


def few_descriptors(scene: Scene) -> Result:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    return finish(start(scene.command(), preexec_fn=limit))


def paused(scene: Scene) -> Result:
    process = start(scene.command())
    sending(process)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.4)
    process.send_signal(signal.SIGCONT)
    return finish(process)


def worker_paused(scene: Scene) -> Result:
    process = start(scene.command("--workers", "2"))
    sending(process)
    victim = children(process.pid)[0]
    os.kill(victim, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(victim, signal.SIGCONT)
    return finish(process)


def worker_killed(scene: Scene) -> Result:
    process = start(scene.command("--workers", "2"))
    sending(process)
    os.kill(children(process.pid)[1], signal.SIGKILL)
    return finish(process)


def interrupted(scene: Scene) -> Result:
    process = start(scene.command())
    sending(process)
    process.send_signal(signal.SIGINT)
    return finish(process)


def overloaded(scene: Scene) -> Result:
    """Far more than one process can send."""
    return finish(
        start(
            [
                "taskset",
                "-c",
                "0",
                *scene.command(
                    "--copies", "300", "--keep-identities", "--stagger", "10ms", "--duration", "2s"
                ),
            ]
        )
    )


def short_freezes(scene: Scene) -> Result:
    """Frozen for 30 ms, again and again: no single lag is long."""
    process = start(scene.command())
    sending(process)
    with suppress(ProcessLookupError):
        for _ in range(15):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.03)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
    return finish(process)


def crowded(scene: Scene) -> Result:
    """The target stops for a while, and only a few may wait: what is dropped is our doing."""
    process = start(scene.command("--max-in-flight", "10"))
    sending(process)
    scene.target.process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    scene.target.process.send_signal(signal.SIGCONT)
    return finish(process)


def quota(scene: Scene) -> Result:
    """A fiftieth of a processor, in slices of 100 ms."""
    QUOTA.mkdir(exist_ok=True)
    try:
        (QUOTA / "cpu.cfs_period_us").write_text("100000")
        (QUOTA / "cpu.cfs_quota_us").write_text("2000")
        process = start(scene.command())
        sending(process)
        (QUOTA / "cgroup.procs").write_text(str(process.pid))
        return finish(process)
    finally:
        with suppress(OSError):
            QUOTA.rmdir()


def saturated_link(scene: Scene) -> Result:
    """A link of 200 kbit/s between replayer and target, in a network namespace of its own."""
    run = ["ip", "netns", "exec", NETNS]
    subprocess.run(["ip", "netns", "add", NETNS], check=True)
    folder = scene.folder / "apart"
    folder.mkdir()
    shape = "tc qdisc add dev lo root tbf rate 200kbit burst 16kb latency 50ms"
    try:
        subprocess.run([*run, "ip", "link", "set", "lo", "up"], check=True)
        with nginx(folder, run) as target:
            subprocess.run([*run, *shape.split()], check=True)
            return finish(start([*run, *scene.command("--max-in-flight", "200", port=target.plain)]))
    finally:
        subprocess.run(["ip", "netns", "delete", NETNS], check=False)


def target_stall(scene: Scene) -> Result:
    """The target stops for 300 ms; the replayer does not, so the run is valid."""
    process = start(scene.command())
    sending(process)
    scene.target.process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    scene.target.process.send_signal(signal.SIGCONT)
    return finish(process)


BROKEN: dict[str, Callable[[Scene], Result]] = {
    "starved processor": starved,
    "idle priority on a busy machine": idle_priority,
    "processor quota": quota,
    "24 descriptors for 40 connections": few_descriptors,
    "paused for 400 ms": paused,
    "frozen 15 times for 30 ms": short_freezes,
    "one of two workers paused for 300 ms": worker_paused,
    "one of two workers killed": worker_killed,
    "interrupted": interrupted,
    "300,000 requests/s": overloaded,
    "too many in flight": crowded,
    "saturated link": saturated_link,
}


@contextmanager
def scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory() as made, nginx(Path(made)) as target:
        capture = make_capture(Path(made) / "steady.reel", poisson(RATE, SECONDS), CONNECTIONS)
        yield Scene(capture=capture, target=target, folder=Path(made))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unbroken", type=int, default=20, help="unbroken runs")
    parser.add_argument("--only", help="a part of a case's name")
    arguments = parser.parse_args()
    rows = []
    with scene() as made:
        for name, broken in BROKEN.items():
            if arguments.only and arguments.only not in name:
                continue
            result = broken(made)
            told = result.reasons[0] if result.reasons else "nothing"
            rows.append([name, "INVALID" if result.code == 4 else f"exit {result.code}", told])
        if not arguments.only:
            stall = target_stall(made)
            rows.append(
                [
                    "(the target stalls for 300 ms)",
                    "valid" if stall.code == 0 else f"exit {stall.code}",
                    *stall.reasons[:1],
                ]
            )
            whole = [unbroken(made) for _ in range(arguments.unbroken)]
            valid = sum(result.code == 0 for result in whole)
            rows.append(
                [
                    f"(unbroken x {len(whole)})",
                    f"{valid} valid",
                    next((r.reasons[0] for r in whole if r.reasons), ""),
                ]
            )
    print(
        tabulate(rows, headers=["what was broken", "the run is", "and says"], maxcolwidths=[None, None, 90])
    )


if __name__ == "__main__":
    main()
