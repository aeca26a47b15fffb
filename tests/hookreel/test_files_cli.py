from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from captures.encryption import new_identity
from captures.errors import CaptureError, UsageError
from captures.model import Provenance
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header
from hookreel import files_cli
from hookreel.captures_cli import cat

HAR = {
    "log": {
        "entries": [
            {
                "startedDateTime": f"2026-03-01T10:00:0{second}Z",
                "time": 5,
                "request": {"method": "GET", "url": f"http://h.example/{second}", "headers": []},
                "response": {"status": 200, "headers": [], "content": {}},
            }
            for second in (1, 3)
        ]
    }
}
GOR = b"1 " + b"a" * 24 + b" 1772359202000000000\nGET /g HTTP/1.1\r\nHost: g\r\n\r\n" + "\n🐵🙈🙉\n".encode()


def run(command: Any, *arguments: Any) -> Result:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if isinstance(result.exception, UsageError | CaptureError):
        raise result.exception
    return result


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    """A HAR and a GoReplay file whose requests come in turn."""
    har, gor = tmp_path / "one", tmp_path / "two"
    har.write_text(json.dumps(HAR))
    gor.write_bytes(GOR)
    return har, gor


def test_import_puts_sources_together(sources: tuple[Path, Path], tmp_path: Path) -> None:
    """Files of several formats become one capture by the wall clock, with an account and notes for each."""
    out = tmp_path / "all.reel"
    result = run(files_cli.import_, *sources, "-o", out)
    assert result.exit_code == 0
    assert "one (har): 2 exchanges seen, 2 written" in result.stdout
    assert "two (goreplay): 1 exchange seen" in result.stdout
    assert "note: two: 1 time: request without a response, kept as a failure" in result.stderr
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with CaptureReader.open(out) as reader:
        targets = [exchange.request.target for exchange in reader.exchanges()]
        assert targets == [b"/1", b"/g", b"/3"]
        assert reader.header.source == "import har:one + import goreplay:two"
        assert reader.header.lineage == ()
        assert reader.complete
    assert not list(tmp_path.glob(".hookreel-import-*"))


def test_import_json(sources: tuple[Path, Path], tmp_path: Path) -> None:
    """JSON holds each source's account and remarks."""
    out = tmp_path / "all.reel"
    record = json.loads(run(files_cli.import_, *sources, "-o", out, "--json").stdout)
    assert record["exchanges"] == 3
    assert record["sources"][1]["counters"]["written"] == 1
    assert record["sources"][1]["remarks"] == {"request without a response, kept as a failure": 1}


def test_import_refuses_what_it_cannot_read(
    sources: tuple[Path, Path], capture: Path, tmp_path: Path
) -> None:
    """A capture, a folder, an absent, empty or unknown file is refused, and nothing is left behind."""
    (tmp_path / "empty").touch()
    (tmp_path / "odd").write_text("hello")
    out = tmp_path / "out.reel"
    for source, error, text in (
        (capture, UsageError, "a capture already"),
        (tmp_path, UsageError, "a folder"),
        (tmp_path / "absent", UsageError, "cannot be read"),
        (tmp_path / "empty", CaptureError, "is empty"),
        (tmp_path / "odd", CaptureError, "is none of HAR"),
    ):
        with pytest.raises(error, match=text):
            run(files_cli.import_, source, "-o", out)
        with pytest.raises(error, match=text):
            run(files_cli.import_, sources[0], source, "-o", out)
        assert not out.exists()
    with pytest.raises(UsageError, match="exists already"):
        run(files_cli.import_, sources[0], "-o", capture)


def test_export_hides_secrets_in_curl_only(capture: Path, tmp_path: Path) -> None:
    """Curl commands show credentials only when asked to; a HAR holds what the capture holds."""
    hidden = run(files_cli.export, capture, "--format", "curl")
    assert "s3cr3t" not in hidden.stdout
    assert "h1dden" not in hidden.stdout
    assert "s3cr3t" in run(files_cli.export, capture, "--format", "curl", "--show-secrets").stdout
    out = tmp_path / "x.har"
    result = run(files_cli.export, capture, "--format", "har", "-o", out)
    assert result.stdout == f"{out}: 4 exchanges, 2 messages\n"
    assert "s3cr3t" in out.read_text()
    assert "har has no place for the SSE events with their times of 1 exchange" in result.stderr


def test_export_of_a_choice(capture: Path) -> None:
    """Windows and conditions choose what is exported."""
    result = run(
        files_cli.export,
        capture,
        "--format",
        "jsonl",
        "--from",
        "1s",
        "--ignore",
        "path=/logs",
        "--ignore",
        "status=failed",
    )
    assert [json.loads(line)["seq"] for line in result.stdout.splitlines()] == [1]


def test_slice(capture: Path, tmp_path: Path) -> None:
    """A part holds what was chosen; an endpoint that is not there is refused."""
    out = tmp_path / "part.reel"
    result = run(files_cli.slice_, capture, "-o", out, "--to", "3s", "--connection", "0")
    assert result.stdout == f"{out}: 2 of 4 exchanges, 0 messages\n"
    with CaptureReader.open(out) as reader:
        assert [exchange.seq for exchange in reader.exchanges()] == [0, 2]
    with pytest.raises(UsageError, match="no endpoint"):
        run(files_cli.slice_, capture, "-o", tmp_path / "x.reel", "--endpoint", "GET /none")
    assert not (tmp_path / "x.reel").exists()
    with pytest.raises(UsageError, match="unknown field"):
        run(files_cli.slice_, capture, "-o", tmp_path / "x.reel", "--match", "verb=GET")
    assert not (tmp_path / "x.reel").exists()


def test_slice_says_which_streams_go_on(capture: Path, tmp_path: Path) -> None:
    """A stream with messages behind the part's end is counted."""
    result = run(files_cli.slice_, capture, "-o", tmp_path / "part.reel", "--to", "3.5s")
    assert "1 stream goes on after the end of this part" in result.stderr


def test_merge(capture: Path, tmp_path: Path) -> None:
    """Captures are put together; a raw one and an anonymized one only when told."""
    out, safe = tmp_path / "both.reel", tmp_path / "safe.reel"
    result = run(files_cli.merge, capture, capture, "-o", out)
    assert result.stdout == f"{out}: 8 exchanges of 2 captures\n"
    provenance = Provenance(policy="p", key_fingerprint="k")
    header = new_header(source="x", started_wall_ns=0, anonymized=provenance)
    CaptureWriter.create(safe, header).close()
    with pytest.raises(UsageError, match="--mix"):
        run(files_cli.merge, capture, safe, "-o", tmp_path / "m.reel")
    mixed = run(files_cli.merge, capture, safe, "-o", tmp_path / "m.reel", "--mix")
    assert "credential fingerprints are those of" in mixed.stderr


def test_follow_ends_with_the_recording(capture: Path) -> None:
    """Following a finished file prints it whole, in the order it was written, and ends."""
    result = run(cat, capture, "--follow")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["#0", "#1", "#2", "#3", "#3", "#3"]
    assert "< event 9 B" in lines[4]
    records = [json.loads(line) for line in run(cat, capture, "--follow", "--json").stdout.splitlines()]
    assert records[4]["message_of"] == 3
    assert "s3cr3t" not in result.stdout


def test_follow_with_a_choice(capture: Path) -> None:
    """Window, endpoint and limit choose what is printed while following; bodies only when asked for."""
    result = run(cat, capture, "--follow", "--endpoint", "GET /logs", "--from", "1s", "--bodies")
    assert "data: 1" in result.stdout
    assert "#1" not in result.stdout
    limited = run(cat, capture, "--follow", "--limit", "2", "--to", "10s")
    assert [line.split()[1] for line in limited.stdout.splitlines()] == ["#0", "#1"]


def test_follow_says_what_is_missing(torn_capture: Any) -> None:
    """A recording that was killed ends with a note."""
    assert "was not closed" in run(cat, torn_capture(30), "--follow").stderr


def test_parts_and_sums_of_encrypted_captures_are_encrypted(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is cut from or merged with an encrypted capture is encrypted to the same recipients."""
    secret, recipient = new_identity()
    key = tmp_path / "key"
    key.write_text(secret + "\n")
    key.chmod(0o600)
    monkeypatch.setenv("HOOKREEL_IDENTITY", str(key))
    sealed = tmp_path / "sealed.reel"
    with CaptureReader.open(capture) as reader:
        header = new_header(source="x", started_wall_ns=reader.header.started_wall_ns)
        with CaptureWriter.create(sealed, header, recipients=[recipient]) as writer:
            for exchange in reader.exchanges():
                writer.write(exchange)
    run(files_cli.slice_, sealed, "-o", tmp_path / "part.reel", "--to", "2s")
    run(files_cli.merge, sealed, capture, "-o", tmp_path / "both.reel")
    for name, exchanges in (("part.reel", 2), ("both.reel", 8)):
        with CaptureReader.open(tmp_path / name) as reader:
            assert reader.recipients == (recipient,)
            assert len(reader) == exchanges
    followed = run(cat, sealed, "--follow")
    assert len(followed.stdout.splitlines()) == 4
