"""
What looking on at a replay costs it: send lag with nobody, with a log and with a page that is read.

    python -m benchmarks.live_view [--rate 2000] [--seconds 10.5] [--rounds 3] [--cores 0]

The kinds take turns; nginx answers on a core of its own. On one core, as by default, the onlooker has to
share the sender's, which is the worst case; ``--cores 0,1`` lets it go to the target's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

from tabulate import tabulate

from benchmarks._target import SENDER_CORE, make_capture, nginx, poisson

CHECKOUT = Path(__file__).parents[1]
KINDS = {"nobody": ("--quiet",), "a log": (), "a page": ("--quiet", "--live", "0")}
LENIENT = ("--lag-p99", "1s", "--lag-max", "10s", "--rate-error", "100%")
COLUMNS = ("p50", "p99", "p999", "max")


def read_page(process: subprocess.Popen[str], said: list[str]) -> None:
    """Listen as a browser would, to the page whose address is told; keep the rest of stderr."""
    assert process.stderr is not None
    for line in process.stderr:
        if not line.startswith("Live page: "):
            said.append(line)
            continue
        with urlopen(line.removeprefix("Live page: ").strip() + "events") as page:
            said.append(f"{page.read().count(b'event: reading')} readings")


def replayed(path: Path, url: str, options: tuple[str, ...], cores: str) -> dict[str, Any]:
    """The results of a replay; what its log or page told is checked to have been there."""
    command = ["taskset", "-c", cores, sys.executable, "-m", "hookreel", "replay", str(path)]
    command += ["--target", url, "--json", *LENIENT]
    said: list[str] = []
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT
    ) as process:
        assert process.stdout is not None
        listener = threading.Thread(target=read_page, args=(process, said))
        listener.start()
        document: dict[str, Any] = json.loads(process.stdout.read())
        listener.join()
    assert bool(said) is (options != KINDS["nobody"]), said
    return document


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--seconds", type=float, default=10.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", default=SENDER_CORE, help="those of the sender and whoever looks on")
    options = parser.parse_args()
    lags: dict[str, list[dict[str, int]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as scratch:
        arrivals = poisson(options.rate, options.seconds)
        path = make_capture(Path(scratch) / "a.reel", arrivals, connections=32)
        with nginx(Path(scratch)) as target:
            url = f"http://127.0.0.1:{target.plain}"
            for _ in range(options.rounds):
                for kind, choice in KINDS.items():
                    lags[kind].append(replayed(path, url, choice, options.cores)["send_lag_ns"])
    rows = []
    for kind, found in lags.items():
        cells = [" ".join(f"{one[name] / 1000:.0f}" for one in found) for name in COLUMNS]
        rows.append([kind, *cells, f"{median(one['p99'] for one in found) / 1000:.0f}"])
    headers = ["send lag (us) with", "p50", "p99", "p99.9", "max", "median p99"]
    print(tabulate(rows, headers=headers, disable_numparse=True))


if __name__ == "__main__":
    main()
