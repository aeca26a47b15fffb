from __future__ import annotations

import json
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from captures.errors import UsageError
from recorder.cli import ca, record
from tests.recorder.support import RawClient, RawServer, Recorder, run_command

MODE = ("--mode", "reverse:http://127.0.0.1:1")


@pytest.fixture
def arguments(confdir: Path) -> tuple[str, ...]:
    return ("record", "--confdir", str(confdir), "--listen", "127.0.0.1:0")


def assert_refused(result, exit_code: int, *words: str) -> None:
    assert result.returncode == exit_code
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert all(word in line for word in words)


def test_a_port_in_use_is_told_before_anything_is_written(tmp_path: Path, confdir: Path):
    """The message names port and option, and no empty capture stays."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        output = tmp_path / "a.reel"
        listen = f"127.0.0.1:{port}"
        result = run_command("record", "--confdir", confdir, *MODE, "--listen", listen, "-o", output)
    assert_refused(result, 2, str(port), "in use", "--listen")
    assert not output.exists()


def test_an_existing_output_is_refused_and_kept(tmp_path: Path, arguments: tuple[str, ...]):
    """A capture is never overwritten."""
    output = tmp_path / "a.reel"
    output.write_bytes(b"precious")
    assert_refused(run_command(*arguments, *MODE, "-o", output), 2, "a.reel")
    assert output.read_bytes() == b"precious"


def test_a_folder_that_is_not_there(tmp_path: Path, arguments: tuple[str, ...]):
    """An output that cannot be made is told before any traffic."""
    assert_refused(run_command(*arguments, *MODE, "-o", tmp_path / "absent" / "a.reel"), 2, "absent")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # mitmproxy's, from pyparsing
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mode", "dns"), ("dns", "reverse:http://HOST:PORT", "socks5")),
        (("--mode", "regular", "--mode", "socks5"), ("@127.0.0.1:8081",)),
        (("--mode", "regular", "--route", "/a=http://b"), ("--route", "reverse")),
        ((*MODE, "--route", "nowhere"), ("route", "/api=http://HOST:PORT")),
        ((*MODE, "--listen", ":8080"), (":8080", "127.0.0.1:8080")),
        (("--mode", "http://a:1"), ("--mode reverse:URL",)),
        ((*MODE, "--max-body", "lots"), ("lots", "64KiB")),
        ((*MODE, "--max-body", "61MiB"), ("60MiB", "--max-body")),
        ((*MODE, "--duration", "5"), ("5", "10m")),
        ((*MODE, "--upstream-ca", "/absent/ca.pem"), ("/absent/ca.pem", "absent")),
    ],
)
def test_wrong_options_are_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], options: tuple[str, ...], words: tuple[str, ...]
):
    """What is wrong and what to do, exit 2, and no file."""
    output = tmp_path / "a.reel"
    error = CliRunner().invoke(record, [*arguments[1:], *options, "-o", str(output)]).exception
    assert isinstance(error, UsageError)
    assert all(word in str(error) for word in words)
    assert not output.exists()


def test_an_address_that_is_not_ours_is_refused(tmp_path: Path, confdir: Path):
    """An address of another machine cannot be listened on, which is told before any traffic."""
    output = tmp_path / "a.reel"
    result = run_command("record", "--confdir", confdir, *MODE, "--listen", "192.0.2.1:0", "-o", output)
    assert_refused(result, 2, "192.0.2.1", "--listen")
    assert not output.exists()


def test_the_ready_line_and_the_account_are_json_lines(
    start_recorder: Callable[..., Recorder], start_server: Callable[..., RawServer]
):
    """--json prints one object when connections are accepted and one at the end."""
    recorder = start_recorder(start_server().port)
    assert recorder.ready["output"] == str(recorder.output)
    assert recorder.ready["listening"].startswith("http://127.0.0.1:")
    (listener,) = recorder.ready["listeners"]
    assert listener == {"url": recorder.ready["listening"], "mode": recorder.ready["mode"]}
    with RawClient(recorder.port) as client:
        client.call(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert recorder.stop() == 0
    added_ns = recorder.account.pop("added_ns")
    assert added_ns["exchanges"] == 1
    assert 0 < added_ns["p50"] <= added_ns["p99"] <= added_ns["max"]
    assert recorder.account == {
        "seen": 1,
        "written": 1,
        "sampled_out": 0,
        "truncated": 0,
        "dropped": 0,
        "in_flight": 0,
        "connections": 1,
        "messages": 0,
        "messages_dropped": 0,
        "withheld": 0,
        "withheld_uses": 0,
        "files": [str(recorder.output)],
        "complete": True,
    }
    assert recorder.stderr == ""
    assert stat.S_IMODE(recorder.output.stat().st_mode) == 0o600


def test_for_people_it_is_a_line_and_a_short_account(tmp_path: Path, arguments: tuple[str, ...]):
    """Exactly one line says where it records from what to which file; the account follows at the end."""
    output = tmp_path / "a.reel"
    result = run_command(*arguments, *MODE, "-o", output, "--duration", "1ms")
    assert result.returncode == 0
    first, second, *_ = result.stdout.splitlines()
    assert first.startswith("Recording on http://127.0.0.1:")
    assert first.endswith(f" to {output} (reverse:http://127.0.0.1:1)")
    assert second == "Seen 0 exchanges on 0 connections:"
    assert result.stderr == ""


def test_an_open_proxy_is_pointed_out(tmp_path: Path, confdir: Path):
    """Listening for other machines works and is said."""
    options = ("--listen", "0.0.0.0:0", "-o", tmp_path / "a.reel", "--duration", "1ms")
    result = run_command("record", "--confdir", confdir, "--mode", "regular", *options)
    assert result.returncode == 0
    assert "Everyone who can reach" in result.stderr


def test_ca_shows_and_exports_the_certificate(tmp_path: Path, confdir: Path):
    """Path and fingerprint are printed, for people and as JSON; --export writes the PEM."""
    exported = tmp_path / "ca.pem"
    shown = run_command("ca", "--confdir", confdir)
    assert shown.returncode == 0
    path, fingerprint = shown.stdout.splitlines()
    assert Path(path).read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    result = run_command("ca", "--confdir", confdir, "--export", exported, "--json")
    assert json.loads(result.stdout) == {
        "path": str(exported),
        "sha256": fingerprint.removeprefix("SHA-256 "),
    }
    assert exported.read_bytes() == Path(path).read_bytes()


@pytest.mark.parametrize("command", [record, ca])
def test_help_ends_with_an_example_and_explains_every_option(command):
    """Nobody has to guess."""
    assert all(getattr(option, "help", "") for option in command.params)
    text = CliRunner().invoke(command, ["--help"]).output
    assert "Example:" in text


def test_the_help_of_ca_says_how_to_trust_it():
    """curl, Python and Node are told apart."""
    text = CliRunner().invoke(ca, ["--help"]).output
    assert all(word in text for word in ("curl --cacert", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"))
