from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mitmproxy.test import tflow

from captures.errors import UsageError
from captures.model import Response
from recorder.library import FileRecorder
from tests.recorder.support import CHECKOUT, WAIT_S, RawClient, RawServer, read_capture

PAGE = CHECKOUT / "docs" / "recording.md"
GET = b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"


def example() -> str:
    """The script that the documentation shows."""
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return script


def wait_until_listening(port: int, process: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)  # there is nothing to wait on in another process
        else:
            return
    pytest.fail(f"mitmdump does not listen: {process.communicate()[1]}")


def test_the_documented_script_records_in_mitmdump(tmp_path: Path, start_server: Callable[..., RawServer]):
    """The front end mitmdump with the script from the documentation writes a whole capture."""
    server = start_server()
    (tmp_path / "script.py").write_text(example())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        *(str(Path(sys.executable).parent / "mitmdump"), "-q", "-s", "script.py"),
        *("--mode", f"reverse:http://127.0.0.1:{server.port}", "--set", "confdir=."),
        *("--listen-host", "127.0.0.1", "-p", str(port)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until_listening(port, process)
            with RawClient(port) as client:
                assert client.call(GET).body == b"ok"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(WAIT_S)
    (capture,) = (read_capture(path) for path in tmp_path.glob("*.reel"))
    assert capture.complete
    (exchange,) = capture.exchanges
    assert exchange.request.target == b"/hello"
    assert isinstance(exchange.outcome, Response)
    assert exchange.outcome.body == b"ok"


def test_the_end_closes_the_capture_once(tmp_path: Path):
    """After done the account is there and the file is whole, with what had no outcome in flight."""
    recorder = FileRecorder(tmp_path / "a.reel", source="a script")
    whole, open_one = tflow.tflow(resp=True), tflow.tflow()
    for hook in (recorder.requestheaders, recorder.request, recorder.responseheaders, recorder.response):
        hook(whole)
    recorder.requestheaders(open_one)
    recorder.done()
    recorder.done()
    assert recorder.account is not None
    assert (recorder.account.counters.written, recorder.account.counters.in_flight) == (1, 1)
    assert read_capture(tmp_path / "a.reel").complete


def test_an_existing_file_is_refused(tmp_path: Path):
    """A capture is never overwritten."""
    (tmp_path / "a.reel").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"a\.reel"):
        FileRecorder(tmp_path / "a.reel")
