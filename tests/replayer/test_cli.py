"""The command: options, exit codes, what goes to stdout, and what is refused before anything is sent."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from captures.credentials import find_credentials
from captures.model import Exchange, SignatureScheme, SigningRecipe
from replayer.results import read_run

Make = Callable[..., Exchange]
Write = Callable[..., Path]
Command = Callable[..., Any]
Serve = Callable[..., Any]
LENIENT = ("--lag-p99", "10s", "--lag-max", "10s", "--rate-error", "100%")  # tests run on busy machines


@pytest.fixture
def small(exchange: Make, capture: Write) -> Path:
    return capture([exchange(number, target=b"/runs/%d" % number) for number in range(12)])


def test_a_replay_prints_its_summary_and_writes_the_run(
    command: Command, serve: Serve, small: Path, tmp_path: Path
) -> None:
    """Text on stdout, a private run file, exit 0."""
    output = tmp_path / "a.run"
    told = command(small, "--target", serve().url, "--speed", "2x", "-o", output, *LENIENT)
    assert told.exit_code == 0
    assert "12 sent, 12 completed, 0 failed, 0 dropped" in told.stdout
    assert "GET /runs/{id}" in told.stdout
    assert "VALID: the schedule was kept." in told.stdout
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    run = read_run(output)
    assert (run.valid, run.header.speed, len(run.rows)) == (True, "2x", 12)
    assert run.header.limits.rate_error == 1.0


def test_json_has_the_promised_keys(command: Command, serve: Serve, small: Path) -> None:
    """Numbers by their contract names, and nothing else on stdout."""
    document = command(small, "--target", serve().url, "--json", *LENIENT).json
    assert document["sent"] == document["completed"] == 12
    assert document["failed"] == document["dropped"] == 0
    assert document["statuses"] == {"200": 12}
    assert document["valid"] is True
    assert document["invalid_reasons"] == []
    assert document["offered_rps"] == pytest.approx(1000)
    assert document["duration_ns"] >= 11_000_000
    for name in ("send_lag_ns", "service_time_ns", "response_time_ns"):
        assert set(document[name]) == {"p50", "p90", "p99", "p999", "max"}


def test_a_broken_gate_is_exit_4_with_the_results_printed(
    command: Command, serve: Serve, small: Path, tmp_path: Path
) -> None:
    """JSON is printed and the run is written; the reason is one sentence."""
    output = tmp_path / "a.run"
    told = command(small, "--target", serve().url, "--json", "--lag-p99", "1ns", "-o", output)
    assert told.exit_code == 4
    assert told.json["valid"] is False
    assert "above the limit of 1 ns" in told.json["invalid_reasons"][0]
    assert not read_run(output).valid


def test_a_dry_run_sends_nothing(command: Command, serve: Serve, exchange: Make, capture: Write) -> None:
    """It lists what would go where, with credentials and signatures counted."""
    stripe = SigningRecipe(scheme=SignatureScheme.STRIPE, header=b"Stripe-Signature")
    headers = (
        (b"Host", b"h"),
        (b"Authorization", b"Bearer abc"),
        (b"Stripe-Signature", b"t=1,v1=" + b"0" * 64),
    )
    path = capture([exchange(number, headers=headers, signing=stripe) for number in range(3)])
    server = serve()
    told = command(path, "--target", server.url, "--speed", "2x", "--dry-run")
    assert told.exit_code == 0
    assert f"Would send 3 exchanges on 1 connection to {server.url} (127.0.0.1) in 1.00 ms" in told.stdout
    assert "Credentials: 0 mapped, 1 sent as recorded. Signatures: 0 made anew, 3 without" in told.stdout
    assert "abc" not in told.stdout
    assert "\nA run would come with these notes:\n  " in told.stdout
    assert "\nNote: " not in told.stdout
    document = command(path, "--target", server.url, "--dry-run", "--json", "--secret", "stripe=x").json
    assert document["endpoints"] == {"GET /": 3}
    assert document["signed"] == {"stripe": 3}
    assert [one["addresses"] for one in document["targets"]] == [["127.0.0.1"]]
    assert server.connections == 0


def test_a_secret_that_signs_nothing_is_told(
    command: Command, serve: Serve, small: Path, tmp_path: Path
) -> None:
    """A label that the capture does not have, and a scheme that no request is signed by; no secret is."""
    file = tmp_path / "credentials.toml"
    file.write_text('[secrets]\n"POST /typo" = "sesame"\nslack = "sesame"\n')
    file.chmod(0o600)
    server = serve()
    told = command(small, "--target", server.url, "--credentials", file, "--dry-run")
    typo = "The capture has no endpoint 'POST /typo', so its secret signs nothing; hookreel info lists them."
    idle = "No request is signed by slack, so the secret for it was not used."
    assert f"Note: {typo}\n" in told.stdout
    assert idle in told.stdout
    document = command(small, "--target", server.url, "--credentials", file, "--dry-run", "--json").json
    assert typo in document["notes"]
    sent = command(small, "--target", server.url, "--credentials", file, *LENIENT)
    assert f"Note: {typo}\n" in sent.stderr
    assert f"Note: {idle}\n" in sent.stdout
    assert "sesame" not in told.stdout + sent.stdout + sent.stderr


def test_credentials_come_from_a_private_file_and_the_environment(
    command: Command, serve: Serve, exchange: Make, capture: Write, tmp_path: Path
) -> None:
    """What the file maps arrives; no value is printed anywhere."""
    headers = ((b"Host", b"h"), (b"Cookie", b"session=old"))
    salt = b"0123456789abcdef"
    path = capture([exchange(0, headers=headers)], fingerprint_salt=salt)
    (found,) = find_credentials(headers)
    file = tmp_path / "credentials.toml"
    file.write_text(f'[credentials]\n"{found.fingerprint(salt)}" = {{ env = "TARGET_SESSION" }}\n')
    file.chmod(0o600)
    server = serve()
    told = command(
        path, "--target", server.url, "--credentials", file, *LENIENT, TARGET_SESSION="target-session"
    )
    assert told.exit_code == 0
    assert (b"Cookie", b"session=target-session") in server.seen[0].request.headers
    assert "target-session" not in told.stdout + told.stderr
    file.chmod(0o644)
    refused = command(path, "--target", server.url, "--credentials", file)
    assert refused.exit_code == 2
    assert f"chmod 600 {file}" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["--target", "http://127.0.0.1:1"], 1, "cannot be reached"),
        (["--target", "http://8.8.8.8"], 2, "--allow-host 8.8.8.8"),
        (["--target", "http://user:hunter2@127.0.0.1:1"], 2, "user info"),
        (["--target", "http://127.0.0.1:1", "--speed", "fast"], 2, "10x"),
        (["--target", "http://127.0.0.1:1", "--timeout", "0s"], 2, "30s"),
        (["--target", "http://127.0.0.1:1", "--rate-error", "lots"], 2, "5%"),
        (["--target", "http://127.0.0.1:1", "--insecure"], 2, "https"),
        (["--target", "http://127.0.0.1:1", "--secret", "github"], 2, "SCHEME=VALUE"),
        (["--target", "http://127.0.0.1:1", "-o", "/nowhere/a.run"], 2, "does not exist"),
        ([], 2, "--target"),
    ],
)
def test_wrong_usage_is_one_sentence(
    command: Command, small: Path, arguments: list[str], exit_code: int, told: str
) -> None:
    """Each mistake has its exit code and says what to do; nothing secret is repeated."""
    result = command(small, *arguments)
    assert result.exit_code == exit_code
    assert told in result.stderr
    assert result.stdout == ""
    assert "hunter2" not in result.stderr


def test_an_existing_run_is_not_overwritten(
    command: Command, serve: Serve, small: Path, tmp_path: Path
) -> None:
    """It is refused before anything is sent."""
    output = tmp_path / "a.run"
    output.write_text("precious")
    server = serve()
    told = command(small, "--target", server.url, "-o", output)
    assert told.exit_code == 2
    assert server.connections == 0
    assert output.read_text() == "precious"


@pytest.mark.parametrize("content", [None, b"", b"not a capture"])
def test_wrong_files_are_told(command: Command, tmp_path: Path, content: bytes | None) -> None:
    """An absent or foreign file is wrong usage, an empty one damage; each is told in a sentence."""
    path = tmp_path / "wrong.reel"
    if content is not None:
        path.write_bytes(content)
    told = command(path, "--target", "http://127.0.0.1:1")
    assert told.exit_code == (1 if content == b"" else 2)
    assert told.stderr.startswith("Error: ")


def test_host_options_reach_the_wire(command: Command, serve: Serve, small: Path) -> None:
    """--resolve names the address and --host-header keeps the recorded name."""
    server = serve()
    where = ["--target", f"http://api.test:{server.port}", "--resolve", f"api.test:{server.port}:127.0.0.1"]
    assert command(small, *where, *LENIENT).exit_code == 0
    assert command(small, *where, "--host-header", "recorded", *LENIENT).exit_code == 0
    hosts = [one.request.headers[0][1] for one in server.seen]
    assert hosts == [b"api.test:%d" % server.port] * 12 + [b"recorded.test"] * 12


def test_help_has_an_example_and_says_what_each_option_does(command: Command) -> None:
    """The help ends with a command that can be copied."""
    told = command("--help")
    assert (
        "hookreel replay safe.reel --target http://localhost:3000 --speed 10x -o candidate.run" in told.stdout
    )


def test_ctrl_c_writes_the_partial_run(
    serve: Serve, answer: Any, exchange: Make, capture: Write, tmp_path: Path
) -> None:
    """In a process of its own: SIGINT ends it with exit 4, the JSON printed and the run written."""
    path = capture([exchange(0), exchange(1, offset_ns=3_600_000_000_000)])
    arrived = threading.Event()

    def respond(_seen: Any) -> Any:
        arrived.set()
        return answer()

    server = serve(respond)
    script = "import sys; from replayer.cli import replay; replay.main(sys.argv[1:])"
    output = tmp_path / "partial.run"
    arguments = [str(path), "--target", server.url, "--json", "-o", str(output)]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert arrived.wait(30)
        process.send_signal(2)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, stderr) == (4, b"")
    document = json.loads(stdout)
    assert document["interrupted"] is True
    assert document["sent"] == 1
    assert "it offered 1 of 2 exchanges" in document["invalid_reasons"][0]
    assert read_run(output).header.interrupted
