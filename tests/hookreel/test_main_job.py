"""The main job over all rooms: record, anonymize, audit, replay against a server that checks signatures."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "github_webhooks.jsonl"
PAYLOADS = [
    (entry["event"], json.dumps(entry["payload"], separators=(",", ":"), ensure_ascii=False).encode())
    for entry in map(json.loads, DATA.read_text().splitlines())
]
SECRET = b"the recorded secret"
TARGET_SECRET = b"the target's own secret"


def run_hookreel(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hookreel", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@dataclass
class SigningServer:
    """Answers 202 to a delivery with the right signature and 401 to any other."""

    secret: bytes = SECRET
    bodies: list[bytes] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def server() -> Iterator[SigningServer]:
    """A live server that checks X-Hub-Signature-256 with nothing of hookreel's own."""
    state = SigningServer()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm: ClassVar[bool] = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            expected = "sha256=" + hmac.new(state.secret, body, hashlib.sha256).hexdigest()
            status = (
                202 if hmac.compare_digest(self.headers.get("X-Hub-Signature-256", ""), expected) else 401
            )
            with lock:
                state.bodies.append(body)
                state.statuses.append(status)
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # a replay that is late opens many connections at once

    httpd = Server(("127.0.0.1", 0), Handler)
    state.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def recorded(server: SigningServer, tmp_path: Path) -> Path:
    """Every payload, signed as GitHub signs it, sent through `hookreel record`."""
    path = tmp_path / "staging.reel"
    command = [
        sys.executable, "-m", "hookreel", "record", "--mode", f"reverse:http://127.0.0.1:{server.port}",
        "--listen", "127.0.0.1:0", "--confdir", str(tmp_path / "ca"), "-o", str(path),
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout is not None
        address = re.search(r"http://(127\.0\.0\.1:\d+)", recorder.stdout.readline())
        assert address is not None
        connection = http.client.HTTPConnection(address[1])
        for number, (event, body) in enumerate(PAYLOADS):
            signature = "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
            headers = {
                "User-Agent": "GitHub-Hookshot/044aadd",
                "X-GitHub-Event": event,
                "X-GitHub-Delivery": f"{number:08d}-72d3-11e3-81ab-0123456789ab",
                "Content-Type": "application/json",
                "X-Hub-Signature-256": signature,
            }
            connection.request("POST", "/api/hooks/github", body, headers)
            response = connection.getresponse()
            response.read()
            assert response.status == 202
        connection.close()
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(120) == 0
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)  # both replays take as long as the recording took, which a busy machine makes long
def test_real_webhooks_survive_the_whole_job(server: SigningServer, recorded: Path, tmp_path: Path) -> None:
    """
    Recorded byte for byte, anonymized without a leak, and accepted by a target that checks signatures.

    With the wrong secret every one is refused, so the check really checks.
    """
    sent = [body for _, body in PAYLOADS]
    assert server.bodies == sent
    with CaptureReader.open(recorded) as reader:
        assert reader.complete
        assert [exchange.request.body for exchange in reader.exchanges()] == sent
    safe = tmp_path / "safe.reel"
    assert run_hookreel("anonymize", recorded, "-o", safe).returncode == 0
    audit = run_hookreel("audit", recorded, safe)
    assert audit.returncode == 0, audit.stdout
    credentials = tmp_path / "credentials.toml"
    credentials.write_text(f'[secrets]\ngithub = "{TARGET_SECRET.decode()}"\n')
    credentials.chmod(0o600)
    server.secret = TARGET_SECRET
    target = f"http://127.0.0.1:{server.port}"
    loose = ("--lag-p99", "10s", "--lag-max", "30s", "--rate-error", "99%", "--json")  # behaviour, not speed
    server.bodies.clear()
    said = json.loads(
        run_hookreel("replay", safe, "--target", target, "--credentials", credentials, *loose).stdout
    )
    assert said["statuses"] == {"202": len(PAYLOADS)}
    with CaptureReader.open(safe) as reader:
        stand_ins = [exchange.request.body for exchange in reader.exchanges()]
    assert sorted(server.bodies) == sorted(stand_ins)  # a busy connection is replaced by a spare one
    assert sum(old != new for old, new in zip(sent, stand_ins, strict=True)) > len(sent) / 2
    wrong = json.loads(
        run_hookreel("replay", safe, "--target", target, "--secret", "github=wrong", *loose).stdout
    )
    assert wrong["statuses"] == {"401": len(PAYLOADS)}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_tampered_request_is_refused(server: SigningServer, recorded: Path, tmp_path: Path) -> None:
    """A raw replay without a secret keeps the recorded signatures; a changed body no longer fits its own."""
    tampered = tmp_path / "tampered.reel"
    with (
        CaptureReader.open(recorded) as reader,
        CaptureWriter.create(tampered, new_header(source="test", started_wall_ns=0)) as writer,
    ):
        for exchange in reader.exchanges(stop_ns=None):
            body = exchange.request.body
            if exchange.seq % 10 == 3:
                body = body[:-1] + b" }"
            headers = tuple(
                (name, b"%d" % len(body)) if name.lower() == b"content-length" else (name, value)
                for name, value in exchange.request.headers
            )
            writer.write(replace(exchange, request=replace(exchange.request, body=body, headers=headers)))
    server.statuses.clear()
    server.bodies.clear()
    target = f"http://127.0.0.1:{server.port}"
    run_hookreel(
        "replay", tampered, "--target", target, "--lag-p99", "10s", "--lag-max", "30s", "--rate-error", "99%"
    )
    answers = list(zip(server.bodies, server.statuses, strict=True))
    assert len(answers) == len(PAYLOADS)
    assert all(status == (401 if body.endswith(b" }") else 202) for body, status in answers)
    assert server.statuses.count(401) == len(range(3, len(PAYLOADS), 10))
