"""Responses that a replay keeps: anonymized before they are stored, with one key the same in every run."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner, Result

from captures.keys import new_key, write_key_file
from captures.model import Exchange, Request, Response
from captures.writer import CaptureWriter, new_header
from hookreel.cli import cli
from replayer.results import read_run

EMAIL, TOKEN = b"jane.roe@acme-widgets.io", "sesame-0123456789-abcdef"
LENIENT = ("--lag-p99", "10s", "--lag-max", "10s", "--rate-error", "100%")  # tests run on busy machines


class Target(BaseHTTPRequestHandler):
    """Answers with personal data and the caller's own token; /wrong with another status, /gzip compressed."""

    protocol_version = "HTTP/1.1"
    cookies: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.cookies.append(self.headers.get("Cookie", "-"))
        body = json.dumps(
            {"email": EMAIL.decode(), "seen": self.headers.get("Cookie", "-"), "path": self.path}
        ).encode()
        zipped = self.path == "/gzip"
        body = gzip.compress(body) if zipped else body
        self.send_response(500 if self.path == "/wrong" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Owner", EMAIL.decode())
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def exchange(seq: int, target: bytes) -> Exchange:
    request = Request(
        method=b"GET", scheme=b"http", authority=b"h", target=target, http_version=b"HTTP/1.1",
        headers=((b"Host", b"h"), (b"Cookie", f"session={TOKEN}".encode())),
    )  # fmt: skip
    response = Response(
        status=200, reason=b"OK", http_version=b"HTTP/1.1", headers=(), offset_ns=seq * 10**6, end_ns=None
    )  # fmt: skip
    return Exchange(
        seq=seq, offset_ns=seq * 10**6, request_end_ns=seq * 10**6, connection=0, request=request,
        outcome=response,
    )  # fmt: skip


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "a.reel"
    header = new_header(source="made for a test", started_wall_ns=1_700_000_000 * 10**9)
    with CaptureWriter.create(path, header) as writer:
        for seq, target in enumerate((b"/plain", b"/wrong", b"/gzip")):
            writer.write(exchange(seq, target))
    return path


@pytest.fixture
def replay(capture: Path, url: str, tmp_path: Path) -> Callable[..., Result]:
    def run(*options: object) -> Result:
        arguments = ["replay", capture, "--target", url, *LENIENT, *options]
        return CliRunner().invoke(cli, [str(one) for one in arguments])

    return run


def test_no_original_is_kept(replay: Callable[..., Result], tmp_path: Path) -> None:
    """Headers, plain and compressed bodies, and a token that only the request's cookie tells; read by row."""
    result = replay("--keep-bodies", "all", "-o", tmp_path / "a.run", "--json")
    assert result.exit_code == 0, result.output
    kept = json.loads(result.stdout)["kept"]
    assert (kept["policy"], kept["kept"], kept["over_budget"], kept["lost"]) == ("all", 3, 0, 0)
    run = read_run(tmp_path / "a.run")
    assert run.header.kept is not None
    assert run.header.kept.anonymized is not None
    assert kept["anonymized"]["key_fingerprint"] == run.header.kept.anonymized.key_fingerprint
    assert list(run.kept) == [0, 1, 2]
    for row, response in run.kept.items():
        body = gzip.decompress(response.body) if row == 2 else response.body
        said = json.loads(body)
        assert said["email"] != EMAIL.decode()
        assert "@" in said["email"]
        assert TOKEN not in said["seen"]
        assert EMAIL not in dict(response.headers)[b"X-Owner"]
        assert int(dict(response.headers)[b"Content-Length"]) == len(response.body)
    assert run.kept[2].content_encoding == b"gzip"
    assert "3 responses (all) kept in the run, anonymized." in run.header.notes


def test_the_mismatches_that_expect_finds_are_kept(replay: Callable[..., Result], tmp_path: Path) -> None:
    """--expect exits with 3 for what is in the run then."""
    output = tmp_path / "a.run"
    result = replay("--keep-bodies", "mismatches", "--expect", "recorded-status", "-o", output)
    assert result.exit_code == 3
    run = read_run(output)
    assert list(run.kept) == [1]
    assert run.rows.status[1] == 500


def test_one_key_gives_runs_that_can_be_compared(replay: Callable[..., Result], tmp_path: Path) -> None:
    """The same value has the same stand-in in both; without a key each run has its own."""
    write_key_file(tmp_path / "team.key", new_key())
    found = []
    for number, options in enumerate([("--key-file", tmp_path / "team.key")] * 2 + [()] * 2):
        output = tmp_path / f"{number}.run"
        assert replay("--keep-bodies", "all", "-o", output, *options).exit_code == 0
        run = read_run(output)
        assert run.header.kept is not None
        assert run.header.kept.anonymized is not None
        found.append((run.header.kept.anonymized.key_fingerprint, json.loads(run.kept[0].body)["email"]))
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_policy_decides_what_stays(replay: Callable[..., Result], tmp_path: Path) -> None:
    """As for a capture."""
    (tmp_path / "policy.toml").write_text('name = "open"\n[kinds]\nemail = "keep"\n')
    output = tmp_path / "a.run"
    assert (
        replay("--keep-bodies", "all", "-o", output, "--keep-policy", tmp_path / "policy.toml").exit_code == 0
    )
    run = read_run(output)
    assert json.loads(run.kept[0].body)["email"] == EMAIL.decode()
    assert run.header.kept is not None
    assert run.header.kept.anonymized is not None
    assert run.header.kept.anonymized.policy.startswith("open sha256:")


def test_the_budget_bounds_what_is_kept(replay: Callable[..., Result], tmp_path: Path) -> None:
    """What found no room is counted, and a note says what to do."""
    output = tmp_path / "a.run"
    assert replay("--keep-bodies", "all", "--keep-budget", "700B", "-o", output).exit_code == 0
    run = read_run(output)
    assert run.header.kept is not None
    assert (len(run.kept), run.header.kept.over_budget) == (2, 1)
    assert any("raise --keep-budget" in note for note in run.header.notes)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--keep-bodies", "some", "-o", "OUT"), "is no choice of responses to keep"),
        (("--keep-bodies", "all"), "name its file with -o"),
        (("--key-file", "KEY", "-o", "OUT"), "are for --keep-bodies"),
        (("--keep-bodies", "all", "-o", "OUT", "--key-file", "absent.key"), "cannot be read"),
        (("--keep-bodies", "all", "-o", "OUT", "--keep-budget", "much"), "is not a size"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_sent(
    replay: Callable[..., Result], tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    """Exit 2 and one sentence."""
    places = {"OUT": str(tmp_path / "a.run"), "KEY": str(tmp_path / "a.key")}
    result = replay(*(places.get(option, option) for option in options))
    assert result.exit_code == 2
    assert told in result.stderr
    assert not (tmp_path / "a.run").exists()


@pytest.mark.parametrize(("options", "customers"), [((), 3), (("--keep-identities",), 1)])
def test_the_command_makes_customers_of_copies(
    replay: Callable[..., Result], options: tuple[str, ...], customers: int
) -> None:
    """Three copies are three sessions, one of them the recorded one; the run says it."""
    Target.cookies.clear()
    told = replay("--copies", 3, "--stagger", "30ms", *options)
    assert told.exit_code == 0, told.stderr
    assert len(Target.cookies) == 9
    assert len(set(Target.cookies)) == customers
    assert f"session={TOKEN}" in Target.cookies
    assert ("as different customers" in told.stdout) is (customers > 1)
