"""HTTP/2 against nginx: in TLS and in plain text, with connections that it ends after a few requests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from captures.model import Exchange
from replayer.replay import Replayed
from replayer.results import Outcome
from replayer.tls import client_context

Make = Callable[..., Exchange]
Send = Callable[..., Replayed]
MS = 1_000_000
CONFIG = """
daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ worker_connections 512; }}
http {{
  log_format line '$server_protocol $request_method $uri $status $connection';
  access_log access.log line;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  keepalive_requests 20;
  server {{
    listen 127.0.0.1:{port} http2{tls};
    ssl_certificate cert.pem; ssl_certificate_key key.pem;
    location / {{ return 200 "answered"; }}
    location /none {{ return 204; }}
  }}
}}
"""


@pytest.fixture
def nginx(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Path, trustme.CA]]:
    """Its URL, its access log and the authority of its certificate."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(tmp_path / "cert.pem"), append=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (tmp_path / "nginx.conf").write_text(CONFIG.format(port=port, tls=" ssl" if request.param else ""))
    tool = shutil.which("nginx") or "/usr/sbin/nginx"
    arguments = [tool, "-p", str(tmp_path), "-e", str(tmp_path / "error.log"), "-c", "nginx.conf"]
    with subprocess.Popen(arguments) as process:
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.02)
            else:
                pytest.fail("nginx did not start")
            scheme = "https" if request.param else "http"
            yield f"{scheme}://127.0.0.1:{port}", tmp_path / "access.log", authority
        finally:
            process.terminate()


@pytest.mark.nginx
@pytest.mark.parametrize("nginx", [False, True], indirect=True, ids=["plain", "tls"])
def test_every_exchange_is_answered_over_http2(
    exchange: Make, send: Send, nginx: tuple[str, Path, trustme.CA]
) -> None:
    """Two connections' bursts, beyond what nginx takes on one connection, are answered once each."""
    url, log, authority = nginx
    exchanges = [
        exchange(
            number,
            offset_ns=number // 10 * 20 * MS,
            connection=number % 2,
            method=b"POST" if number % 3 else b"GET",
            target=b"/none" if number % 10 == 0 else b"/%d" % number,
            http_version=b"HTTP/2.0",
            headers=((b"accept", b"*/*"),),
            body=bytes(2_000) if number % 3 else b"",
        )
        for number in range(100)
    ]
    options: dict[str, Any] = {}
    if url.startswith("https"):
        options = {
            name: client_context(insecure=False, http2=name == "tls_http2") for name in ("tls", "tls_http2")
        }
        for context in options.values():
            authority.configure_trust(context)
    replayed = send(exchanges, url, **options)
    assert set(replayed.run.rows.outcome.tolist()) == {Outcome.COMPLETED}
    assert set(replayed.run.rows.status.tolist()) == {200, 204}
    assert replayed.http_versions == {"HTTP/2": 100}
    lines = [line.split() for line in log.read_text().splitlines()]
    answered = [line for line in lines if line[0] == "HTTP/2.0"]
    assert len(answered) == 100
    assert len({line[4] for line in answered}) >= 5
