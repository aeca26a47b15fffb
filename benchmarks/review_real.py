"""
Reviews of real replays: does the verdict hold on a real machine, with a target that is known.

    python -m benchmarks.review_real [--reviews 20] [--pairs 8] [--lag-p99 5ms]

Four copies of one small target run beside each other: two are the same build, one answers one
endpoint 20 % slower, one 20 % faster. Each round replays the sample capture against all four, in
random order, with ``hookreel replay`` in a process of its own. So many rounds make a review: the
baseline against its equal, which must raise no alarm, and against either other build, where the
endpoint, and no other, must be named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tabulate import tabulate

from benchmarks.review_campaign import called, upper_bound
from replayer.results import read_run
from replayer.review.compare import compare
from replayer.review.sides import NamedRun
from replayer.review.verdict import Comparison, Options, Verdict

SAMPLE = Path(__file__).parents[1] / "captures" / "samples" / "workflow-engine.reel"
CHANGED = "GET /api/runs/{id}"
BUILDS = {"baseline": 1.0, "equal": 1.0, "slower": 1.2, "faster": 0.8}
_CHANGED_PATH = re.compile(rb"/api/runs/[^/?]+$")
_MEDIAN_S = 0.012
_SPREAD = 0.2  # log sd of one answer's time
_ATTEMPTS = 10


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, factor: float) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if length := re.search(rb"content-length: *(\d+)", head, re.IGNORECASE):
                await reader.readexactly(int(length[1]))
            method, path, _ = head.split(b" ", 2)
            changed = method == b"GET" and _CHANGED_PATH.search(path)
            await asyncio.sleep(_MEDIAN_S * random.lognormvariate(0, _SPREAD) * (factor if changed else 1.0))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(factor: float) -> None:
    """Answer on a free port, which is printed."""
    server = await asyncio.start_server(lambda r, w: _answer(r, w, factor), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def target(factor: float) -> Iterator[str]:
    """A build in a process of its own; its URL."""
    command = [sys.executable, "-m", "benchmarks.review_real", "--serve", str(factor)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def replay(url: str, path: Path, lag_p99: str) -> NamedRun:
    """One valid run; INVALID ones are made again."""
    for _ in range(_ATTEMPTS):
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "hookreel", "replay", str(SAMPLE), "--target", url, "-o", str(path)]
        command += ["--speed", "15x", "--loop", "3", "--chains", "never", "--lag-p99", lag_p99]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return NamedRun(name=path.name, run=read_run(path))
    sys.exit(f"{_ATTEMPTS} replays in a row were INVALID; try --lag-p99 20ms, or a quieter machine.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reviews", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--lag-p99", default="1ms")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve is not None:
        asyncio.run(serve(asked.serve))
        return
    rng = random.Random(asked.seed)
    counts = dict.fromkeys(("alarms", "slower", "faster", "others"), 0)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        urls = {name: stack.enter_context(target(factor)) for name, factor in BUILDS.items()}
        for number in range(1, asked.reviews + 1):
            runs: dict[str, list[NamedRun]] = {name: [] for name in BUILDS}
            for pair in range(asked.pairs):
                for name in rng.sample(list(BUILDS), len(BUILDS)):
                    runs[name].append(replay(urls[name], Path(folder) / f"{pair}-{name}.run", asked.lag_p99))
            found = {
                name: compare(runs["baseline"], runs[name], Options(paired=True))
                for name in ("equal", "slower", "faster")
            }
            _count(counts, found)
            print(number, json.dumps(counts), file=sys.stderr, flush=True)
    tries = asked.reviews
    rows = [
        (
            "identical builds that raised an alarm",
            counts["alarms"],
            f"at most {upper_bound(counts['alarms'], tries):.0%}",
        ),
        ("+20 % named SLOWER", counts["slower"], ""),
        ("-20 % named FASTER", counts["faster"], ""),
        ("another endpoint named beside it", counts["others"], f"of {2 * tries}"),
    ]
    print(tabulate(rows, headers=(f"{tries} reviews of {asked.pairs} pairs", "reviews", "95 % bound")))


def _count(counts: dict[str, int], found: dict[str, Comparison]) -> None:
    def verdict(name: str) -> Verdict:
        return next(one.verdict for one in found[name].endpoints if one.endpoint == CHANGED)

    for name, comparison in found.items():
        for one in comparison.endpoints:
            if one.endpoint in called(comparison) and (name == "equal" or one.endpoint != CHANGED):
                print(f"{name}: {one.endpoint} {one.verdict} {one.deciding}", file=sys.stderr)
    counts["alarms"] += bool(called(found["equal"]))
    counts["slower"] += verdict("slower") is Verdict.SLOWER
    counts["faster"] += verdict("faster") is Verdict.FASTER
    counts["others"] += sum(bool(called(found[name]) - {CHANGED}) for name in ("slower", "faster"))


if __name__ == "__main__":
    main()
