"""
Other load generators, each in one process with one processor, and how to read what they print.

Those written in Go are built with the ordinary Go client into a folder outside the repository
(``~/.cache/hookreel-peers``) when Go is there; wrk and h2load are taken from the PATH (Debian: wrk,
nghttp2-client). What is not there is reported as absent. hey and vegeta only count whole responses;
GoReplay has no count of its own, so nginx is asked for its.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks._target import HEADERS, HOST, PATH, SENDER_CORE

CACHE = Path.home() / ".cache" / "hookreel-peers"
GO_MODULES = {
    "hey": "github.com/rakyll/hey@v0.1.5",
    "vegeta": "github.com/tsenart/vegeta/v12@latest",
    "goreplay": "github.com/buger/goreplay@v1.3.2",
}
CONNECTIONS = 50
ABSENT = "absent"
AIOHTTP = """
import asyncio, json, sys, time, aiohttp, uvloop
url, seconds, connections = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
headers = json.loads(sys.argv[4])
async def worker(session, stop_s):
    done = 0
    while time.monotonic() < stop_s:
        async with session.get(url, headers=headers) as response:
            await response.read()
        done += 1
    return done
async def main():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=False)) as session:
        stop_s = time.monotonic() + seconds
        return sum(await asyncio.gather(*(worker(session, stop_s) for _ in range(connections))))
print(uvloop.run(main()) / seconds)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a peer reached: requests/s, and requests per second of its own processor time."""

    per_s: float
    per_cpu_s: float


def tool(name: str) -> str | None:
    """Where a peer's program is; it is built first if it can be."""
    module = GO_MODULES.get(name)
    if module is None:
        return shutil.which(name)
    built = CACHE / name
    go = shutil.which("go")
    if not built.exists() and go is not None:
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([go, "install", module], env={**os.environ, "GOBIN": str(CACHE)}, check=False)
    return str(built) if built.exists() else None


def closed_loop(name: str, url: str, seconds: float, folder: Path, counted: Callable[[], int]) -> Rate | None:
    """The peer's most requests/s over ``CONNECTIONS`` connections; None when it is absent."""
    program = sys.executable if name == "aiohttp" else tool(name)
    if program is None:
        return None
    flags = [part for key, value in HEADERS for part in ("-H", f"{key.decode()}: {value.decode()}")]
    commands = {
        "wrk": ["-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}", *flags, url],
        "h2load": ["--h1", "-t1", f"-c{CONNECTIONS}", f"-D{seconds:.0f}", *flags[2:], url],
        "hey": ["-cpus", "1", "-c", f"{CONNECTIONS}", "-z", f"{seconds:g}s", "-host", HOST, *flags[2:], url],
        "vegeta": ["attack", "-rate", "0", "-max-workers", str(CONNECTIONS), "-duration", f"{seconds:.0f}s"],
        "goreplay": [
            "--input-file", f"{folder / 'requests.gor'}|100000%", "--input-file-loop", "--output-http", url,
            "--output-http-workers", str(CONNECTIONS), "--exit-after", f"{seconds:.0f}s",
        ],
        "aiohttp": ["-c", AIOHTTP, url, str(seconds), str(CONNECTIONS), json.dumps(headers())],
    }  # fmt: skip
    if name == "goreplay":
        write_gor(folder / "requests.gor", [0] * 20_000)
    given = f"GET {url}\n" + "".join(f"{k.decode()}: {v.decode()}\n" for k, v in HEADERS)
    environment = {**os.environ, "GOMAXPROCS": "1"}
    before, cpu_s, started_s = counted(), child_cpu_s(), time.monotonic()
    done = subprocess.run(
        ["taskset", "-c", SENDER_CORE, program, *commands[name]],
        input=given.encode(), env=environment, capture_output=True, check=False,
    )  # fmt: skip
    wall_s, cpu_s = time.monotonic() - started_s, child_cpu_s() - cpu_s
    answered = counted() - before
    if not answered:
        raise SystemExit(f"{name} sent nothing: {done.stderr.decode()[-300:]}")
    told = told_rate(name, done.stdout.decode(errors="replace"))
    return Rate(per_s=told or answered / min(wall_s, seconds), per_cpu_s=answered / cpu_s)


def headers() -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in HEADERS}


def told_rate(name: str, text: str) -> float | None:
    """The requests/s that a peer prints; None when it prints none that counts responses alone."""
    patterns = {
        "wrk": r"Requests/sec:\s+([\d.]+)",
        "h2load": r"finished in [\d.]+s, ([\d.]+) req/s",
        "hey": r"Requests/sec:\s+([\d.]+)",
        "aiohttp": r"^([\d.]+)$",
    }
    found = re.search(patterns[name], text, re.MULTILINE) if name in patterns else None
    return None if found is None else float(found[1])


def write_gor(path: Path, offsets_ns: list[int]) -> None:
    """The request at these times, as GoReplay stores captures."""
    lines = [b"%s: %s\r\n" % header for header in HEADERS]
    request = b"GET %s HTTP/1.1\r\n%s\r\n" % (PATH.encode(), b"".join(lines))
    with path.open("wb") as file:
        for number, offset_ns in enumerate(offsets_ns):
            file.write(b"1 %024x %d 0\n%s" % (number, 10**18 + offset_ns, request))
            file.write("\n🐵🙈🙉\n".encode())


def child_cpu_s() -> float:
    """Processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
