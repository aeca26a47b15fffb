"""info, cat and verify."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from captures import index as index_module
from captures.credentials import find_credentials
from captures.errors import WriteError
from captures.lineage import derived_header
from captures.model import Counters, Exchange, MessageKind, Request, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header
from hookreel.cli import cli
from hookreel.verification import salvaged_account


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def made(count: int) -> list[Exchange]:
    """Plain exchanges, one a microsecond."""
    return [
        Exchange(
            seq=seq,
            offset_ns=seq * 1000,
            request_end_ns=seq * 1000,
            connection=0,
            request=Request(
                method=b"GET",
                scheme=b"http",
                authority=b"h",
                target=b"/x",
                http_version=b"HTTP/1.1",
                headers=(),
            ),
            outcome=Response(
                status=200,
                reason=b"OK",
                http_version=b"HTTP/1.1",
                headers=(),
                offset_ns=seq * 1000 + 1,
                end_ns=seq * 1000 + 2,
            ),
        )
        for seq in range(count)
    ]


def test_info_json_has_what_the_contract_says(capture: Path) -> None:
    """Exchanges, duration, endpoints, counters and completeness, all numeric; no salt."""
    said = json.loads(run("info", capture, "--json").stdout)
    assert said["exchanges"] == 4
    assert said["duration_ns"] == 3_000_000_010
    assert said["complete"] is True
    assert said["counters"] == {
        "seen": 4, "written": 4, "sampled_out": 0, "truncated": 0, "dropped": 0, "in_flight": 0,
    }  # fmt: skip
    by_label = {entry["endpoint"]: entry for entry in said["endpoints"]}
    assert by_label["GET /api/runs/{id}"]["exchanges"] == 2
    assert by_label["GET /api/runs/{id}"]["request_bytes"] == 7
    assert by_label["GET /health"]["statuses"] == {"0": 1}
    assert "salt" not in json.dumps(said)


def test_info_names_credentials_by_fingerprint(capture: Path) -> None:
    """A credentials file can use the names that info shows; no value is shown."""
    text, said = run("info", capture).stdout, json.loads(run("info", capture, "--json").stdout)
    with CaptureReader.open(capture) as reader:
        first = next(reader.exchanges())
        names = {
            item.fingerprint(reader.header.fingerprint_salt)
            for item in find_credentials(first.request.headers)
        }
    assert set(said["credentials"]) == names
    assert all(name in text for name in names)
    assert said["signing"] == {"GET /api/runs/{id} github": 1}
    assert "s3cr3t" not in text + json.dumps(said)
    assert "h1dden" not in text + json.dumps(said)


def test_info_says_what_is_missing(torn_capture: Callable[[int], Path]) -> None:
    """A file that was not closed is never called complete."""
    text = run("info", torn_capture(30)).stdout
    assert "NOT COMPLETE" in text
    assert "was not closed" in text


def test_cat_shows_a_line_an_exchange_and_hides_secrets(capture: Path) -> None:
    """Send order, outcome and messages; credentials only when asked for."""
    lines = run("cat", capture).stdout.splitlines()
    assert [line.split()[1] for line in lines if "#" in line] == ["#0", "#1", "#2", "#3"]
    assert "failed: timeout" in lines[2]
    assert "-> 200 in open" in lines[3]
    assert lines[4].split()[1:3] == ["<", "event"]
    hidden = run("cat", capture, "--bodies").stdout
    assert "s3cr3t" not in hidden
    assert "h1dden" not in hidden
    assert "Authorization: Bearer (hidden)" in hidden
    assert "Cookie: a=(hidden); sid=(hidden)" in hidden
    assert "data: 1" in hidden
    assert "s3cr3t" in run("cat", capture, "--bodies", "--show-secrets").stdout


def test_cat_json_is_one_object_a_line(capture: Path) -> None:
    """Bodies that are no text come as base64; streams carry their messages."""
    records = [json.loads(line) for line in run("cat", capture, "--json", "--bodies").stdout.splitlines()]
    assert [record["seq"] for record in records] == [0, 1, 2, 3]
    assert records[0]["request"]["body"] == "plain"
    assert records[1]["request"]["body_base64"] == "/wA="
    assert records[2]["failure"]["reason"] == "timeout"
    assert [message["body"] for message in records[3]["messages"]] == ["data: 0\n\n", "data: 1\n\n"]
    assert "s3cr3t" not in json.dumps(records)


def test_cat_chooses_by_time_endpoint_and_number(capture: Path) -> None:
    """Windows are half open, labels are those of info."""
    assert run("cat", capture, "--from", "1s", "--to", "2s").stdout.count("#") == 1
    assert run("cat", capture, "--endpoint", "GET /api/runs/{id}").stdout.count("#") == 2
    assert run("cat", capture, "--limit", "3").stdout.count("#") == 3
    wrong = run("cat", capture, "--endpoint", "GET /nope")
    assert wrong.exit_code == 2
    assert "hookreel info" in wrong.stderr


def test_verify_tells_whole_from_damaged(capture: Path, torn_capture: Callable[[int], Path]) -> None:
    """Exit 0 for a whole file, 3 for a torn or damaged one, 2 for something else."""
    assert run("verify", capture).exit_code == 0
    torn = run("verify", torn_capture(30))
    assert torn.exit_code == 3
    assert "NOT WHOLE" in torn.stdout
    said = json.loads(run("verify", capture, "--json").stdout)
    assert (said["whole"], said["exchanges"], said["messages"]) == (True, 4, 2)
    foreign = capture.with_name("foreign")
    foreign.write_bytes(b"something else entirely")
    assert run("verify", foreign).exit_code == 2


@pytest.mark.parametrize("position", [100, 300, 500])
def test_verify_finds_a_flipped_byte_behind_a_sound_footer(capture: Path, position: int) -> None:
    """Damage that opening does not notice is found, wherever it is."""
    content = bytearray(capture.read_bytes())
    content[position] ^= 0x20
    capture.write_bytes(content)
    result = run("verify", capture)
    assert result.exit_code in {1, 3}
    assert "damaged" in result.output or "nothing of it can be read" in result.output


def test_salvage_writes_what_is_whole(torn_capture: Callable[[int], Path], tmp_path: Path) -> None:
    """The new capture is whole, keeps salt and start, and names its origin."""
    torn, out = torn_capture(30), tmp_path / "whole.reel"
    assert run("verify", torn, "--salvage", out).exit_code == 3
    whole = run("verify", out)
    assert whole.exit_code == 0
    assert "whole" in whole.stdout
    assert "It was made from a capture that was not complete:\n    The file was not closed" in whole.stdout
    assert json.loads(run("verify", out, "--json").stdout)["source_problems"]
    with CaptureReader.open(torn) as old, CaptureReader.open(out) as new:
        assert list(new.exchanges()) == list(old.exchanges())
        assert list(new.messages()) == list(old.messages())
        assert new.header.lineage == (old.header.capture_id,)
        assert new.header.fingerprint_salt == old.header.fingerprint_salt
        assert new.header.started_wall_ns == old.header.started_wall_ns
        account = new.counters
        assert account.written == len(new) == len(old)
        assert account.seen == account.written + account.sampled_out + account.dropped + account.in_flight
        assert account.dropped == old.counters.dropped
    again = run("verify", torn, "--salvage", out)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_a_salvaged_copy_has_an_account_that_adds_up(tmp_path: Path) -> None:
    """What was kept is written, what was lost is dropped, and seen is their sum."""
    path, out = tmp_path / "a.reel", tmp_path / "whole.reel"
    writer = CaptureWriter.create(path, new_header(source="t", started_wall_ns=0))
    for exchange in made(8):
        writer.write(exchange)
        writer.flush()
    writer.close(Counters(seen=12, written=8, sampled_out=1, dropped=2, in_flight=1))
    with CaptureReader.open(path) as reader:
        victim = reader.index.blocks[3].position
    content = bytearray(path.read_bytes())
    content[victim + 60] ^= 0xFF
    path.write_bytes(content)
    assert run("verify", path, "--salvage", out).exit_code == 3
    assert run("verify", out).exit_code == 0
    with CaptureReader.open(out) as reader:
        assert reader.counters == Counters(seen=12, written=7, sampled_out=1, dropped=3, in_flight=1)


def test_salvage_keeps_what_does_not_need_a_damaged_dictionary(tmp_path: Path, monkeypatch) -> None:
    """Blocks whose dictionary is lost cannot be opened; all others are kept, and the exit code is 3."""
    monkeypatch.setattr("captures.writer.DICTIONARY_REFRESH_BYTES", 100 * 1024)
    text = random.Random(1)
    path, out = tmp_path / "a.reel", tmp_path / "whole.reel"
    with CaptureWriter.create(path, new_header(source="t", started_wall_ns=0)) as writer:
        for exchange in made(1200):
            body = bytes(text.choice(b"abcdefgh ") for _ in range(300))
            writer.write(replace(exchange, request=replace(exchange.request, body=body)))
            if exchange.seq % 300 == 299:
                writer.flush()
        first = writer._dictionaries[0][1]
    content = bytearray(path.read_bytes())
    content[first + 70] ^= 0xFF
    path.write_bytes(content)
    result = run("verify", path, "--salvage", out)
    assert result.exit_code == 3
    assert "cannot be decoded" in result.output
    with CaptureReader.open(out) as reader:
        kept = [exchange.seq for exchange in reader.exchanges()]
    assert 0 < len(kept) < 1200
    assert kept[-1] == 1199


@pytest.mark.parametrize("column", ["offset_ns", "seq", "endpoint", "connection", "status", "response_bytes"])
def test_verify_compares_every_column_of_the_index(tmp_path: Path, monkeypatch, column: str) -> None:
    """An index whose checksums are right and whose numbers are not is found, whatever the column."""
    path = tmp_path / "a.reel"
    original = index_module.pack_columns
    monkeypatch.setattr(
        index_module, "pack_columns", lambda arrays: original({**arrays, column: arrays[column] + 1})
    )
    with CaptureWriter.create(path, new_header(source="t", started_wall_ns=0)) as writer:
        for exchange in made(3):
            writer.write(exchange)
    monkeypatch.undo()
    said = json.loads(run("verify", path, "--json").stdout)
    assert (said["whole"], said["exchanges"]) == (False, 3)
    assert "index" in said["problems"][0]


def test_a_copy_that_could_not_be_finished_is_removed(
    torn_capture: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A salvage that fails half way leaves nothing that looks like a capture."""

    def fail(*_: object) -> None:
        raise WriteError("The disk is full; free space.")

    monkeypatch.setattr(CaptureWriter, "flush", fail)
    out = tmp_path / "whole.reel"
    assert run("verify", torn_capture(30), "--salvage", out).exit_code == 1
    assert not out.exists()


@pytest.mark.parametrize("kept", [0, 5, 8, 9, 30])
@pytest.mark.parametrize("in_flight", [0, 3])
def test_the_salvaged_account_always_adds_up(kept: int, in_flight: int) -> None:
    """Whatever was lost, or came behind the last account: seen is written and the rest."""
    old = Counters(seen=12 + in_flight, written=8, sampled_out=2, dropped=2, in_flight=in_flight)
    new = salvaged_account(old, kept=kept, truncated=0)
    assert new.seen == new.written + new.sampled_out + new.dropped + new.in_flight
    assert new.written == kept
    assert new.dropped == 2 + max(0, 8 - kept)


def test_verify_compares_the_ends_of_streams(tmp_path: Path) -> None:
    """A footer that says when a stream ended, and no message does, is found."""
    path = tmp_path / "a.reel"
    with CaptureWriter.create(path, new_header(source="t", started_wall_ns=0)) as writer:
        for exchange in made(3):
            writer.write(exchange)
        writer._stream_ends.append((1, 5_000_000))
    said = json.loads(run("verify", path, "--json").stdout)
    assert said["problems"] == ["The footer describes the exchanges otherwise than they are."]


def test_the_end_of_a_stream_is_no_message(capture: Path, tmp_path: Path) -> None:
    """What verify counts was sent on a stream, as with slice and info."""
    path = tmp_path / "ended.reel"
    with CaptureReader.open(capture) as reader, CaptureWriter.create(path, derived_header(reader)) as writer:
        for exchange in reader.exchanges():
            writer.write(exchange)
        for message in reader.messages():
            writer.write_message(message)
        writer.write_message(replace(message, kind=MessageKind.END, payload=b""))
    assert json.loads(run("verify", path, "--json").stdout)["messages"] == 2


def test_a_file_cut_before_its_first_exchange_says_so(capture: Path) -> None:
    """No offset is made up for a file in which no exchange is whole; a copy of it has no empty table."""
    torn, out = capture.with_name("torn.reel"), capture.with_name("out.reel")
    with CaptureReader.open(capture) as reader:
        torn.write_bytes(capture.read_bytes()[: reader.index.blocks[0].position + 60])
    told = run("verify", torn, "--salvage", out)
    assert "cut later): no exchange is whole in it. A killed writer loses" in told.stdout
    assert "endpoint" not in run("info", out).stdout
