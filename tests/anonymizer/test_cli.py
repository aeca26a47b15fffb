"""The command: files it makes, what it prints, how it ends."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from anonymizer.cli import LeakError, anonymize
from anonymizer.restore_cli import restore
from captures.errors import UsageError, WriteError
from captures.keys import new_key, write_key_file
from captures.model import Counters
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

SECRET = b"alice.anderson@corp.com"


@pytest.fixture
def source(tmp_path: Path, make_exchange: Any) -> Path:
    path = tmp_path / "in.reel"
    with CaptureWriter.create(path, new_header(source="x", started_wall_ns=1)) as writer:
        writer.write(make_exchange(0, body=b'{"email": "%b"}' % SECRET))
        writer.close(Counters(seen=1, written=1))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(anonymize, [str(argument) for argument in arguments])


def body_of(path: Path) -> bytes:
    with CaptureReader.open(path) as reader:
        return next(reader.exchanges()).request.body


def test_a_key_is_made_and_can_be_used_again(source: Path, tmp_path: Path) -> None:
    """Without --key-file a private key is written beside the output; with it the stand-ins repeat."""
    first = run(source, "-o", tmp_path / "a.reel")
    assert first.exit_code == 0, first.exception
    assert "a.reel.key" in first.stderr
    key = tmp_path / "a.reel.key"
    assert key.stat().st_mode & 0o777 == 0o600
    again = run(source, "-o", tmp_path / "b.reel", "--key-file", key)
    assert again.exit_code == 0, again.exception
    assert not (tmp_path / "b.reel.key").exists()
    assert body_of(tmp_path / "a.reel") == body_of(tmp_path / "b.reel") != body_of(source)


def test_summary_json_and_report(source: Path, tmp_path: Path) -> None:
    """The table and the JSON count by kind; the report file says the same; no value is printed."""
    table = run(source, "-o", tmp_path / "a.reel")
    assert "email" in table.stdout
    report = tmp_path / "report.json"
    as_json = run(source, "-o", tmp_path / "b.reel", "--json", "--report", report)
    data = json.loads(as_json.stdout)
    assert data["kinds"] == {"email": 1}
    assert data["exchanges"] == 1
    assert json.loads(report.read_text())["fields"] == data["fields"]
    assert report.stat().st_mode & 0o777 == 0o600
    assert "alice" not in table.output + as_json.output + report.read_text()


def test_nothing_is_overwritten_and_nothing_is_left(source: Path, tmp_path: Path) -> None:
    """An output, key or report that exists is refused, and files made before that are removed."""
    for name in ("out.reel", "out.reel.key", "report.json"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_text("precious")
        result = run(source, "-o", folder / "out.reel", "--report", folder / "report.json")
        assert isinstance(result.exception, UsageError)
        assert [path.name for path in folder.iterdir()] == [name]
        assert (folder / name).read_text() == "precious"


@pytest.mark.parametrize("option", ["--key-file", "--policy"])
def test_a_named_file_that_is_absent_is_wrong_usage(source: Path, tmp_path: Path, option: str) -> None:
    """A key file or policy that does not exist ends with a usage error and no output."""
    result = run(source, "-o", tmp_path / "out.reel", option, tmp_path / "absent")
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert not (tmp_path / "out.reel").exists()


def test_a_policy_file_is_used(source: Path, tmp_path: Path) -> None:
    """What the policy keeps stays, and the output names the policy."""
    policy = tmp_path / "policy.toml"
    policy.write_text('[kinds]\nemail = "keep"\n')
    key = tmp_path / "k"
    write_key_file(key, new_key())
    assert run(source, "-o", tmp_path / "o.reel", "--policy", policy, "--key-file", key).exit_code == 0
    assert SECRET in body_of(tmp_path / "o.reel")
    with CaptureReader.open(tmp_path / "o.reel") as reader:
        assert reader.header.anonymized is not None
        assert reader.header.anonymized.policy.startswith("sha256:")


def test_problems_of_the_input_are_passed_on(source: Path, tmp_path: Path) -> None:
    """A capture that was cut off is anonymized as far as it goes, with a note on stderr."""
    cut = tmp_path / "cut.reel"
    cut.write_bytes(source.read_bytes()[:-20])
    result = run(cut, "-o", tmp_path / "o.reel")
    assert result.exit_code == 0, result.exception
    assert "Note: " in result.stderr
    assert len(result.stdout) > 0


def test_a_report_is_a_page_or_text_by_its_name(source: Path, tmp_path: Path) -> None:
    """A file called .html is a page and .txt a text, both without the value."""
    assert run(source, "-o", tmp_path / "a.reel", "--report", tmp_path / "r.html").exit_code == 0
    page = (tmp_path / "r.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "request.body.email" in page
    assert run(source, "-o", tmp_path / "b.reel", "--report", tmp_path / "r.txt").exit_code == 0
    text = (tmp_path / "r.txt").read_text()
    assert "request.body.email" in text
    assert "format" in text
    assert "alice" not in page + text


def test_what_a_passed_audit_does_not_mean_is_told(source: Path, tmp_path: Path) -> None:
    """Values that the policy keeps are counted, and so is that nothing was replaced at all."""
    policy = tmp_path / "p.toml"
    policy.write_text('[keep]\npaths = ["*"]\n')
    result = run(source, "-o", tmp_path / "a.reel", "--policy", policy, "--audit")
    assert result.exit_code == 0, result.exception
    assert "with 1 value of a known shape in the copy" in result.stderr
    assert "nothing was anonymized" in result.stderr
    assert SECRET.decode() not in result.stderr + result.stdout


def test_an_audit_is_written_into_the_capture(source: Path, tmp_path: Path) -> None:
    """With --audit the capture and the report say that it passed; without it that it was not run."""
    audited, plain = tmp_path / "a.reel", tmp_path / "b.reel"
    result = run(source, "-o", audited, "--audit", "--json")
    assert result.exit_code == 0, result.exception
    assert json.loads(result.stdout)["audit"]["originals"] >= 1
    assert run(source, "-o", plain, "--json").exit_code == 0
    for path, passed in ((audited, True), (plain, False)):
        with CaptureReader.open(path) as reader:
            assert reader.complete
            assert reader.header.anonymized is not None
            assert reader.header.anonymized.audit_passed is passed


def test_a_leak_writes_nothing(source: Path, tmp_path: Path) -> None:
    """What a rule keeps in one field and the default replaces in another one is a leak."""
    path = tmp_path / "twice.reel"
    body = b'{"email": "%b", "note": "%b"}' % (SECRET, SECRET)
    with CaptureReader.open(source) as reader, CaptureWriter.create(path, reader.header) as writer:
        one = next(reader.exchanges())
        writer.write(replace(one, request=replace(one.request, body=body)))
    policy = tmp_path / "p.toml"
    policy.write_text('[[rules]]\npath = "request.body.note"\naction = "keep"\n')
    before = set(tmp_path.iterdir())
    result = run(path, "-o", tmp_path / "o.reel", "--policy", policy, "--audit", "--vault", tmp_path / "v")
    assert isinstance(result.exception, LeakError)
    assert result.exception.exit_code == 3
    assert set(tmp_path.iterdir()) == before


def test_strict_lists_the_fields_and_writes_nothing(source: Path, tmp_path: Path) -> None:
    """Exit code 3 with a table of paths on stdout; a policy that lists them is enough."""
    result = run(source, "-o", tmp_path / "o.reel", "--strict")
    assert result.exit_code == 3
    assert "request.authority" in result.stdout
    assert "Nothing was written" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"in.reel"}
    policy = tmp_path / "p.toml"
    listed = ["request.authority", "request.path", "header.source", "response.*"]
    policy.write_text(f"[strict]\nfields = {json.dumps(listed)}\n")
    assert run(source, "-o", tmp_path / "o.reel", "--strict", "--policy", policy).exit_code == 0


def test_a_vault_and_back(source: Path, tmp_path: Path) -> None:
    """What `restore` writes with the vault and its key is the original; both keys are private files."""
    safe, vault, back = tmp_path / "safe.reel", tmp_path / "a.vault", tmp_path / "back.reel"
    result = run(source, "-o", safe, "--vault", vault)
    assert result.exit_code == 0, result.exception
    assert "keep it apart" in result.stderr
    key = tmp_path / "a.vault.key"
    assert key.stat().st_mode & 0o777 == vault.stat().st_mode & 0o777 == 0o600
    given = [safe, "--vault", vault, "-o", back]
    wrong = CliRunner().invoke(restore, [*map(str, given), "--vault-key", str(tmp_path / "safe.reel.key")])
    assert isinstance(wrong.exception, UsageError)
    assert not back.exists()
    done = CliRunner().invoke(restore, [*map(str, given), "--vault-key", str(key)])
    assert done.exit_code == 0, done.exception
    assert SECRET in body_of(back) == body_of(source)
    again = run(source, "-o", tmp_path / "s2.reel", "--vault", tmp_path / "b.vault", "--vault-key", key)
    assert again.exit_code == 0
    assert not (tmp_path / "b.vault.key").exists()


def test_a_full_disk_leaves_nothing(source: Path, tmp_path: Path) -> None:
    """What cannot be written whole is not there at all, and the sentence names the output."""
    assert run(source, "-o", tmp_path / "a.reel", "--vault", tmp_path / "v").exit_code == 0
    before = set(tmp_path.iterdir())
    given = [tmp_path / "a.reel", "--vault", tmp_path / "v", "--vault-key", tmp_path / "v.key"]
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, usual[1]))
    try:
        safe = run(source, "-o", tmp_path / "full.reel", "--audit")
        back = CliRunner().invoke(restore, [*map(str, given), "-o", str(tmp_path / "full.reel")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    for result in (safe, back):
        assert isinstance(result.exception, WriteError)
        assert str(result.exception).startswith(
            f"{tmp_path / 'full.reel'} cannot be written (File too large)"
        )
    assert set(tmp_path.iterdir()) == before


def test_a_vault_key_needs_a_vault(source: Path, tmp_path: Path) -> None:
    """A key without a vault, and a vault that exists, are wrong usage and leave nothing."""
    assert isinstance(run(source, "-o", tmp_path / "o.reel", "--vault-key", "k").exception, UsageError)
    (tmp_path / "v").write_text("precious")
    result = run(source, "-o", tmp_path / "o.reel", "--vault", tmp_path / "v")
    assert isinstance(result.exception, UsageError)
    assert (tmp_path / "v").read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"in.reel", "v"}
