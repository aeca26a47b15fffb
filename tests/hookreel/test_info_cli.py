"""The command info: text, JSON and page."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from captures.encryption import IDENTITY_VARIABLE, new_identity
from captures.errors import HookreelError, UsageError
from captures.lineage import derived_header
from captures.model import Exchange, Failure, FailureReason
from captures.reader import CaptureReader
from captures.writer import CaptureWriter
from hookreel import info_cli
from hookreel.info_cli import canvas_here, info


def run(*arguments: object) -> Result:
    return CliRunner().invoke(info, list(map(str, arguments)), catch_exceptions=False)


def test_text_has_account_connections_and_picture(capture: Path) -> None:
    """Counts, what clients spoke, streams, the chart and the endpoints stand in one text."""
    text = run(capture).stdout
    assert "4 exchanges in 3.00 s" in text
    assert "account: 4 seen, 4 written" in text
    assert "connections: 2 HTTP/1.1 in the clear; at most 2 exchanges on one" in text
    assert "streams: 0 WebSocket, 1 SSE, 1 still open at the end; 2 messages (0 from clients)" in text
    assert "exchanges a second, a column is" in text
    assert "█" in text
    assert "GET /api/runs/{id}" in text
    assert "2.00 ms" in text
    assert "\x1b" not in text


def test_endpoints_of_a_file_of_templates_are_told(capture: Path, tmp_path: Path) -> None:
    """As replay and diff tell them; what matches none keeps its learned label."""
    file = tmp_path / "endpoints.toml"
    file.write_text('endpoints = ["GET /api/runs/{run}"]')
    said = json.loads(run(capture, "--json", "--endpoints", file).stdout)
    told = {entry["endpoint"] for entry in said["endpoints"]}
    assert "GET /api/runs/{run}" in told
    assert "GET /api/runs/{id}" not in told
    assert "GET /health" in told


def test_json_has_times_protocols_streams_and_a_timeline(capture: Path) -> None:
    """What the text shows is there for programs, in base units."""
    said = json.loads(run(capture, "--json").stdout)
    assert said["service_time_ns"] == dict.fromkeys(("p50", "p90", "p99", "max"), 2_000_000)
    by_label = {entry["endpoint"]: entry for entry in said["endpoints"]}
    assert by_label["GET /api/runs/{id}"]["service_time_ns"]["p99"] == 2_000_000
    assert by_label["GET /health"]["service_time_ns"] == {}
    assert said["connections"] == 2
    assert said["protocols"] == {"HTTP/1.1 in the clear": 2}
    assert [entry["exchanges"] for entry in said["busiest_connections"]] == [2, 2]
    assert said["streams"] == {
        "websockets": 0, "event_streams": 1, "open": 1, "messages": 2, "from_client": 0, "message_bytes": 18,
    }  # fmt: skip
    timeline = said["timeline"]
    assert sum(timeline["exchanges"]) == 4
    assert sum(timeline["failed"]) == 1
    assert sum(timeline["messages"]) == 2
    assert timeline["step_ns"] * len(timeline["exchanges"]) >= said["duration_ns"]


def test_a_page_is_written_beside_the_text(capture: Path, tmp_path: Path) -> None:
    """The page is for its owner alone, the text still comes, and nothing is written over."""
    page = tmp_path / "out.html"
    result = run(capture, "--html", page)
    assert "4 exchanges" in result.stdout
    assert str(page) in result.stderr
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert page.read_text().startswith("<!doctype html>")
    with pytest.raises(UsageError, match="exists already"):
        run(capture, "--html", page)


def test_a_torn_capture_says_what_is_missing_everywhere(
    torn_capture: Callable[[int], Path], tmp_path: Path
) -> None:
    """Text, JSON and page never call it complete."""
    torn, page = torn_capture(30), tmp_path / "torn.html"
    text = run(torn, "--html", page).stdout
    assert "NOT COMPLETE" in text
    assert "was not closed" in text
    assert "NOT COMPLETE" in page.read_text()
    assert "What is missing" in page.read_text()
    said = json.loads(run(torn, "--json").stdout)
    assert said["complete"] is False
    assert said["problems"]


class Output:
    """A standard output that says of itself what it is told to."""

    def __init__(self, encoding: str | None, *, terminal: bool) -> None:
        self.encoding = encoding
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts an output in place of standard output."""
    for name in ("NO_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return lambda encoding, *, terminal: monkeypatch.setattr(
        info_cli.sys, "stdout", Output(encoding, terminal=terminal)
    )


def test_a_terminal_gets_its_width_and_colours(output, monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS, NO_COLOR and TERM are respected."""
    output("utf-8", terminal=True)
    monkeypatch.setenv("COLUMNS", "133")
    canvas = canvas_here()
    assert (canvas.columns, canvas.colour, canvas.blocks) == (133, True, True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert canvas_here().colour is False
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert canvas_here().colour is False


def test_a_pipe_gets_plain_text(output, monkeypatch: pytest.MonkeyPatch) -> None:
    """80 columns whatever the terminal has, no colours; ASCII where blocks cannot be written."""
    monkeypatch.setenv("COLUMNS", "133")
    output("utf-8", terminal=False)
    canvas = canvas_here()
    assert (canvas.columns, canvas.colour, canvas.blocks) == (80, False, True)
    output("ascii", terminal=False)
    assert canvas_here().blocks is False
    output(None, terminal=False)
    assert canvas_here().blocks is False


def test_an_encrypted_capture_says_for_whom(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text, JSON and page name the public key; without the identity nothing is shown at all."""
    secret, recipient = new_identity()
    sealed, identity = tmp_path / "sealed.reel", tmp_path / "identity"
    identity.write_text(secret)
    identity.chmod(0o600)
    with (
        CaptureReader.open(capture) as reader,
        CaptureWriter.create(sealed, reader.header, recipients=(recipient,)) as writer,
    ):
        for exchange in reader.exchanges():
            writer.write(exchange)
    with pytest.raises(HookreelError):
        run(sealed)
    monkeypatch.setenv(IDENTITY_VARIABLE, str(identity))
    page = tmp_path / "sealed.html"
    assert f"encrypted to {recipient}" in run(sealed, "--html", page).stdout
    assert recipient in page.read_text()
    assert json.loads(run(sealed, "--json").stdout)["recipients"] == [recipient]
    assert json.loads(run(capture, "--json").stdout)["recipients"] == []


def cut(exchange: Exchange, *, status: int) -> Exchange:
    """The same exchange with a request that is not whole; without a status no response came."""
    outcome = exchange.outcome if status else Failure(reason=FailureReason.CLIENT_DISCONNECTED, offset_ns=9)
    return replace(exchange, request=replace(exchange.request, truncated_bytes=7), outcome=outcome)


def test_failures_and_cut_bodies_are_told_by_why(capture: Path, tmp_path: Path) -> None:
    """A body that broke off with its exchange is not told as one of which a part was kept."""
    path, page = tmp_path / "more.reel", tmp_path / "more.html"
    with CaptureReader.open(capture) as reader, CaptureWriter.create(path, derived_header(reader)) as writer:
        first, *others = reader.exchanges()
        for exchange in others:
            writer.write(exchange)
        writer.write(cut(first, status=200))
        for seq in (10, 11):
            writer.write(cut(replace(first, seq=seq), status=0))
    text = run(path, "--html", page).stdout
    failures = "3 exchanges without a whole response: 2 client-disconnected, 1 timeout"
    bodies = (
        "1 exchange with a body of which only a part was kept, "
        "2 failed exchanges with a request that broke off"
    )
    assert f"failures: {failures}\n" in text
    assert f"bodies: {bodies}\n" in text
    assert failures in page.read_text()
    assert bodies in page.read_text()
    said = json.loads(run(path, "--json").stdout)
    assert said["failures"] == {"client-disconnected": 2, "timeout": 1}
    assert said["cut_bodies"] == {"kept_in_part": 1, "broken_off": 2}


def test_a_copy_of_a_torn_capture_is_not_complete(
    torn_capture: Callable[[int], Path], tmp_path: Path
) -> None:
    """Text, JSON and page say what the source lacked, though nothing of the copy is missing."""
    path, page = tmp_path / "copy.reel", tmp_path / "copy.html"
    with (
        CaptureReader.open(torn_capture(30)) as reader,
        CaptureWriter.create(path, derived_header(reader)) as writer,
    ):
        for exchange in reader.exchanges():
            writer.write(exchange)
    text = run(path, "--html", page).stdout
    assert (
        "NOT COMPLETE\n  It was made from a capture that was not complete:\n    The file was not closed"
        in text
    )
    assert "NOT COMPLETE" in page.read_text()
    assert "What was missing in the captures it was made from" in page.read_text()
    said = json.loads(run(path, "--json").stdout)
    assert (said["complete"], said["problems"], len(said["source_problems"])) == (False, [], 3)


def test_a_file_without_an_account_does_not_say_zero(
    torn_capture: Callable[[int], Path], tmp_path: Path
) -> None:
    """What was never counted is unknown, not nothing."""
    torn, page = torn_capture(30), tmp_path / "torn.html"
    assert "account: unknown, the file has none\n" in run(torn, "--html", page).stdout
    assert "unknown, the file has none" in page.read_text()
    assert json.loads(run(torn, "--json").stdout)["counters"] is None


def test_one_exchange_is_no_exchanges(capture: Path, tmp_path: Path) -> None:
    """Each count has the noun that fits it, in text and page."""
    path, page = tmp_path / "one.reel", tmp_path / "one.html"
    with CaptureReader.open(capture) as reader, CaptureWriter.create(path, derived_header(reader)) as writer:
        writer.write(next(reader.exchanges()))
    text = run(path, "--html", page).stdout
    assert "1 exchange in" in text
    assert "1 connection," in text
    assert "at most 1 exchange on one" in text
    for said in (text, page.read_text()):
        assert not re.search(r"\b1 (exchanges|connections|messages|requests)\b", said)
