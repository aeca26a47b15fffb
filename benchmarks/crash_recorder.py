"""
Kills recorders under load with SIGKILL at random moments, and counts what the file lacks.

    python benchmarks/crash_recorder.py [--rounds 20] [--seed 1] [--seconds 4]

Odd rounds send bodies of up to 20 kB, so that the size of the open block decides when it is
written; even rounds send 50 bytes, so that its age does. Each round records clients that call a
local server, kills the recorder at a moment drawn from 0 to ``--seconds`` after the first answer,
opens the file and compares it with the clients' own log of answered calls. A round fails when the
file does not open, when the reader does not say that something is missing, when an exchange is
damaged, or when a call that was answered more than 1 s before the kill is missing. Exit 1 when a
round failed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.recorder.support import RawClient, RawServer, Recorder, read_capture

CLIENTS = 8
MOST_LOST_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one kill did; times in ms before the kill, counts in exchanges."""

    after_s: float
    answered: int
    recorded: int
    missing: int
    oldest_missing_ms: float
    damaged: int
    problems: tuple[str, ...]
    complete: bool

    @property
    def passed(self) -> bool:
        """Whether the file kept what it promises."""
        told = not self.complete and bool(self.problems)
        return told and not self.damaged and self.oldest_missing_ms <= MOST_LOST_S * 1000


def call_until_cut(
    port: int, client: int, sizes: tuple[int, ...], answered: dict[str, tuple[float, bytes]]
) -> None:
    """Calls one after the other and notes each answer's time and the body that was sent."""
    random_body = random.Random(client)
    with suppress(OSError), RawClient(port) as connection:
        for number in range(10_000_000):
            target = f"/call/{client}/{number}"
            body = random_body.randbytes(random_body.choice(sizes))
            head = f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
            if connection.call(head.encode() + body).status != 200:
                return
            answered[target] = (time.monotonic(), body)


def run_round(server: RawServer, folder: Path, number: int, after_s: float) -> Round:
    """One recording, killed ``after_s`` after its first answer."""
    output = folder / f"{number}.reel"
    recorder = Recorder(output, folder / "ca", ["--mode", f"reverse:http://127.0.0.1:{server.port}"])
    answered: dict[str, tuple[float, bytes]] = {}
    sizes = (50,) if number % 2 else (50, 1_000, 20_000)
    threads = [
        threading.Thread(target=call_until_cut, args=(recorder.port, client, sizes, answered))
        for client in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    while not answered:
        time.sleep(0.001)
    time.sleep(after_s)
    os.kill(recorder.process.pid, signal.SIGKILL)
    killed_s = time.monotonic()
    for thread in threads:
        thread.join()
    recorder.end()
    capture = read_capture(output)
    bodies = {item.request.target.decode(): item.request.body for item in capture.exchanges}
    missing_s = [at_s for target, (at_s, _) in answered.items() if target not in bodies]
    return Round(
        after_s=after_s,
        answered=len(answered),
        recorded=len(bodies),
        missing=len(missing_s),
        oldest_missing_ms=max((1000 * max(0.0, killed_s - at_s) for at_s in missing_s), default=0.0),
        damaged=sum(bodies.get(target, body) != body for target, (_, body) in answered.items()),
        problems=capture.problems,
        complete=capture.complete,
    )


def main() -> int:
    """Runs the campaign and prints a row per round."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="how many kills")
    parser.add_argument("--seed", type=int, default=1, help="draws the moments")
    parser.add_argument("--seconds", type=float, default=4.0, help="the latest moment after the first answer")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    server = RawServer()
    server.start()
    failed = 0
    print("round  killed after s  answered  recorded  missing  oldest missing ms  damaged  passed")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            result = run_round(server, Path(folder), number, moments.uniform(0, options.seconds))
            failed += not result.passed
            print(
                f"{number + 1:5}  {result.after_s:14.2f}  {result.answered:8}  {result.recorded:8}"
                f"  {result.missing:7}  {result.oldest_missing_ms:17.0f}  {result.damaged:7}"
                f"  {'yes' if result.passed else 'NO'}",
                flush=True,
            )
    print(f"The reader of the last file says: {' '.join(result.problems)}")
    print(f"{options.rounds - failed} of {options.rounds} rounds passed.")
    server.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
