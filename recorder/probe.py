"""
Asks a recorder whether it is ready: ``python -m recorder.probe [ADDRESS] [--wait SECONDS]``.

For containers and service managers on machines without curl. ADDRESS is that of ``--metrics``
(9464 on this machine unless it is given). Exit code 0: ready; 1: not, or nobody answers.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import time
from collections.abc import Callable, Sequence

DEFAULT_PORT = 9464
ANSWER_TIMEOUT_S = 2.0
_PAUSE_S = 0.1


def is_ready(host: str, port: int) -> bool:
    """Whether the recorder whose metrics are served there accepts traffic."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until_ready(
    host: str,
    port: int,
    *,
    wait_s: float,
    clock_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Asks at once, then again and again until ``wait_s`` have passed."""
    until_s = clock_s() + wait_s
    while not is_ready(host, port):
        if clock_s() >= until_s:
            return False
        sleep(_PAUSE_S)
    return True


def main(arguments: Sequence[str]) -> int:
    """Runs the probe; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m recorder.probe", description="Ask whether it is ready.")
    parser.add_argument("address", nargs="?", default=str(DEFAULT_PORT), help="[HOST:]PORT of --metrics")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="ask again for so long")
    options = parser.parse_args(arguments)
    host, _, port = options.address.rpartition(":")
    if not port.isdecimal():
        parser.error("an address is written like 9464 or 10.0.0.5:9464")
    ready = wait_until_ready(host.strip("[]") or "127.0.0.1", int(port), wait_s=options.wait)
    if not ready:
        print("not ready", file=sys.stderr)
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
