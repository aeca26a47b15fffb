"""What the benchmarks of replay send and who answers: captures made to order, nginx on its own core."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

from captures.model import Exchange, Request, Response
from captures.units import NS_PER_S
from captures.writer import CaptureWriter, new_header

TARGET_CORE, SENDER_CORE = "1", "0"
HOST = "benchmark.test"
HEADERS = ((b"Host", HOST.encode()), (b"User-Agent", b"benchmark/1"), (b"Accept", b"*/*"))
PATH = "/api/hooks/7"
SERVER = "keepalive_requests 1000000000; location / { return 200 ok; } location = /status { stub_status; }"
CONFIG = """
daemon off; master_process off; pid nginx.pid; error_log error.log; worker_rlimit_nofile 20000;
events { worker_connections 10000; }
http {
  access_log off; http2_max_concurrent_streams 1000; ssl_certificate cert.pem; ssl_certificate_key key.pem;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server { listen 127.0.0.1:PLAIN backlog=4096; SERVER }
  server { listen 127.0.0.1:SECURE ssl; SERVER }
  server { listen 127.0.0.1:HTTP2 http2; SERVER }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nginx:
    """A running nginx: ports for HTTP/1.1, TLS and HTTP/2, and its process."""

    plain: int
    secure: int
    http2: int
    process: subprocess.Popen[bytes]

    def answered(self) -> int:
        """How many requests it has answered since it began."""
        with urlopen(f"http://127.0.0.1:{self.plain}/status") as page:
            return int(page.read().split()[9])


@contextmanager
def nginx(folder: Path, prefix: Sequence[str] = ()) -> Iterator[Nginx]:
    """One that answers "ok" on ``TARGET_CORE``, begun by ``prefix``; its files lie in ``folder``."""
    plain, secure, http2 = free_ports(3)
    make = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem -subj /CN=127.0.0.1"
    )
    subprocess.run(
        [*make.split(), "-addext", "subjectAltName=IP:127.0.0.1"], cwd=folder, check=True, capture_output=True
    )
    names = {"SERVER": SERVER, "PLAIN": str(plain), "SECURE": str(secure), "HTTP2": str(http2)}
    config = CONFIG
    for name, text in names.items():
        config = config.replace(f"{name} ", f"{text} ").replace(f"{name};", f"{text};")
    (folder / "nginx.conf").write_text(config)
    tool = shutil.which("nginx") or "/usr/sbin/nginx"
    command = [*prefix, "taskset", "-c", TARGET_CORE, tool, "-p", str(folder)]
    with subprocess.Popen([*command, "-e", str(folder / "error.log"), "-c", "nginx.conf"]) as process:
        try:
            time.sleep(0.5)
            yield Nginx(plain=plain, secure=secure, http2=http2, process=process)
        finally:
            process.terminate()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def at_once(count: int) -> NDArray[np.int64]:
    """Offsets of ``count`` exchanges that are all due at the start."""
    return np.zeros(count, np.int64)


def even(rate: float, seconds: float) -> NDArray[np.int64]:
    """Offsets at equal distances, in ns."""
    return (np.arange(int(rate * seconds)) * (NS_PER_S / rate)).astype(np.int64)


def poisson(rate: float, seconds: float) -> NDArray[np.int64]:
    """Offsets of Poisson arrivals over exactly ``seconds``, in ns; the same for the same rate."""
    arrivals = np.cumsum(np.random.default_rng(int(rate)).exponential(1.0, int(rate * seconds)))
    offsets: NDArray[np.int64] = (arrivals * (seconds * NS_PER_S / arrivals[-1])).astype(np.int64)
    return offsets - offsets[0]


def make_capture(
    path: Path, offsets: NDArray[np.int64], connections: int = 50, version: bytes = b"HTTP/1.1"
) -> Path:
    """A new capture of the one request at ``offsets``, on the connections in turn."""
    headers = HEADERS if version == b"HTTP/1.1" else tuple((n.lower(), v) for n, v in HEADERS[1:])
    request = Request(
        method=b"GET",
        scheme=b"http",
        authority=HOST.encode(),
        target=PATH.encode(),
        http_version=version,
        headers=headers,
    )
    with CaptureWriter.create(path, new_header(source="benchmark", started_wall_ns=time.time_ns())) as writer:
        for seq, offset_ns in enumerate(offsets.tolist()):
            writer.write(
                Exchange(
                    seq=seq,
                    offset_ns=offset_ns,
                    request_end_ns=offset_ns,
                    connection=seq % connections,
                    request=request,
                    outcome=Response(
                        status=200,
                        reason=b"OK",
                        http_version=version,
                        headers=(),
                        offset_ns=offset_ns + 1000,
                        end_ns=offset_ns + 2000,
                    ),
                )
            )
    return path
