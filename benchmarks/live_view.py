"""
What looking on at a replay costs it: send lag with nobody, with a log and with a page that is read.

    taskset -c 0 python -m benchmarks.live_view [--rate 2000] [--seconds 10.5] [--rounds 3]

The kinds take turns. Nginx answers on core 1; pinned to core 0 as above the onlooker has to share the
sender's core, which is the worst case.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

from tabulate import tabulate

from benchmarks.replay_lag import make_capture

CHECKOUT = Path(__file__).parents[1]
PORT = 18_473
CONFIG = """
daemon off; master_process off; pid nginx.pid; error_log error.log;
events { worker_connections 1000; }
http { access_log off; keepalive_requests 1000000000;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server { listen 127.0.0.1:PORT backlog=4096; location / { return 200 ok; } } }
"""
KINDS = {"nobody": ("--quiet",), "a log": (), "a page": ("--quiet", "--live", "0")}
LENIENT = ("--lag-p99", "1s", "--lag-max", "10s", "--rate-error", "100%")
COLUMNS = ("p50", "p99", "p999", "max")


@contextmanager
def nginx(folder: Path) -> Iterator[str]:
    """The URL of one on core 1."""
    (folder / "nginx.conf").write_text(CONFIG.replace("PORT", str(PORT)))
    command = ["taskset", "-c", "1", "nginx", "-p", str(folder), "-c", "nginx.conf"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        yield f"http://127.0.0.1:{PORT}"
        process.terminate()


def read_page(process: subprocess.Popen[str], said: list[str]) -> None:
    """Listen as a browser would, to the page whose address is told; keep the rest of stderr."""
    assert process.stderr is not None
    for line in process.stderr:
        if not line.startswith("Live page: "):
            said.append(line)
            continue
        with urlopen(line.removeprefix("Live page: ").strip() + "events") as page:
            said.append(f"{page.read().count(b'event: reading')} readings")


def replayed(path: Path, url: str, options: tuple[str, ...]) -> dict[str, Any]:
    """The results of a replay; what its log or page told is checked to have been there."""
    command = [sys.executable, "-m", "hookreel", "replay", str(path), "--target", url, "--json", *LENIENT]
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
    options = parser.parse_args()
    lags: dict[str, list[dict[str, int]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "a.reel"
        make_capture(path, options.rate, options.seconds, 32)
        with nginx(Path(scratch)) as url:
            for _ in range(options.rounds):
                for kind, choice in KINDS.items():
                    lags[kind].append(replayed(path, url, choice)["send_lag_ns"])
    rows = []
    for kind, found in lags.items():
        cells = [" ".join(f"{one[name] / 1000:.0f}" for one in found) for name in COLUMNS]
        rows.append([kind, *cells, f"{median(one['p99'] for one in found) / 1000:.0f}"])
    headers = ["send lag (us) with", "p50", "p99", "p99.9", "max", "median p99"]
    print(tabulate(rows, headers=headers, disable_numparse=True))


if __name__ == "__main__":
    main()
