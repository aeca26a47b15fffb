"""nginx in front of a recorder: traffic goes through it, and past it when it is gone."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.recorder.support import RawClient, RawServer, Recorder

CONFIG = Path(__file__).parents[2] / "deploy" / "nginx-bypass.conf"
CALL = b"GET /call HTTP/1.1\r\nHost: app\r\n\r\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[[int, int], int]]:
    """Starts nginx with the shipped configuration on other ports; its own port."""
    running: list[subprocess.Popen[bytes]] = []

    def start(recorder: int, upstream: int) -> int:
        port = free_port()
        text = CONFIG.read_text()
        for shown, real in (("8080", recorder), ("3000", upstream), ("8000", port)):
            assert f"127.0.0.1:{shown}" in text
            text = text.replace(f"127.0.0.1:{shown}", f"127.0.0.1:{real}")
        (tmp_path / "site.conf").write_text(text)
        temp = "".join(
            f"{name}_temp_path {tmp_path}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/pid; error_log stderr;\nevents {{}}\n"
            f"http {{ access_log off;\n{temp}include {tmp_path}/site.conf; }}\n"
        )
        tool = shutil.which("nginx") or "/usr/sbin/nginx"
        running.append(
            subprocess.Popen(
                [tool, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")], stderr=subprocess.DEVNULL
            )
        )
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return port
        pytest.fail("nginx did not start")

    yield start
    for process in running:
        process.terminate()
        process.wait(10)


@pytest.mark.nginx
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nobody_notices_a_recorder_that_is_gone(
    nginx: Callable[[int, int], int], tmp_path: Path, number: signal.Signals
) -> None:
    """Drained or killed between two calls, the next call is answered by the upstream itself."""
    server = RawServer()
    server.start()
    recorder = Recorder(
        tmp_path / "traffic.reel", tmp_path / "ca", ["--mode", f"reverse:http://127.0.0.1:{server.port}"]
    )
    try:
        port = nginx(recorder.port, server.port)
        with RawClient(port) as client:
            assert [client.call(CALL).status for _ in range(20)] == [200] * 20
        recorder.process.send_signal(number)
        recorder.wait()
        with RawClient(port) as client:
            assert [client.call(CALL).status for _ in range(20)] == [200] * 20
        assert len(server.seen) == 40
        if number == signal.SIGTERM:
            assert recorder.account["seen"] == recorder.account["written"] == 20
    finally:
        recorder.end()
        server.stop()
