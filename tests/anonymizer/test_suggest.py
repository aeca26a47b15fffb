"""The proposed policy: valid, complete, and without a value."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from anonymizer.policy import Policy, read_policy
from anonymizer.policy_cli import policy as policy_command
from anonymizer.stage import anonymize_capture
from anonymizer.suggest import suggest
from captures.errors import UsageError
from captures.reader import CaptureReader

ADDRESS = "jane.miller@corp-mail.test"
MOTTO = 'carpe "diem" \\ nocte'


@pytest.fixture
def source(anonymized: Callable[..., Any], make_exchange: Any) -> Path:
    body = json.dumps({"mail": ADDRESS, "motto": MOTTO, "state": "open", 'odd "key"': {"x": "lorem ipsum"}})
    return anonymized(
        make_exchange(0, target=b"/users/jane.miller/notes", body=body.encode()),
        make_exchange(1, target=b"/hooks", headers=((b"Content-Encoding", b"br"),), body=b"\xff\xfe"),
    ).before


def test_a_proposal_can_be_used_at_once(source: Path, tmp_path: Path) -> None:
    """It is a valid strict policy with which the capture is anonymized as without one."""
    with CaptureReader.open(source) as reader:
        proposal = suggest(reader)
    path = tmp_path / "policy.toml"
    path.write_text(proposal.text)
    policy = read_policy(path)
    assert policy.strict_fields
    for name, used in (("a.reel", policy), ("b.reel", Policy())):
        anonymize_capture(source, tmp_path / name, policy=used, key=b"k" * 32)
    with CaptureReader.open(tmp_path / "a.reel") as one, CaptureReader.open(tmp_path / "b.reel") as two:
        assert list(one.exchanges()) == list(two.exchanges())


def test_a_proposal_says_what_was_found_where_and_no_value(source: Path) -> None:
    """Kinds with counts, fields and shapes; unknown fields; bodies that cannot be read."""
    with CaptureReader.open(source) as reader:
        proposal = suggest(reader)
    text = proposal.text
    assert "email: 1 times in 1 field" in text
    assert "request.body.mail of POST /users/*/notes" in text
    assert "like aaaa.aaaaaa@aaaa-aaaa.aaaa" in text
    assert '"request.body.motto",  # 1 at 1 endpoint' in text
    assert "request.body.state" not in text
    assert "1 body could not be read" in text
    assert proposal.unknown >= 2
    for value in ("jane", "miller", "carpe", "lorem", "corp-mail"):
        assert value not in text


def test_the_commands(source: Path, tmp_path: Path) -> None:
    """`suggest` writes a private file, or prints; `check` reads it and tells the order of rules."""
    path = tmp_path / "policy.toml"
    run = CliRunner().invoke
    written = run(policy_command, ["suggest", str(source), "-o", str(path)])
    assert written.exit_code == 0, written.exception
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(policy_command, ["suggest", str(source)]).stdout == path.read_text()
    assert isinstance(run(policy_command, ["suggest", str(source), "-o", str(path)]).exception, UsageError)
    assert "strict, lists" in run(policy_command, ["check", str(path)]).stdout
    path.write_text(
        '[[rules]]\npath = "a"\naction = "mask"\n'
        '[[rules]]\npath = "a.b"\nkind = "email"\nendpoint = "POST /x"\naction = "keep"\n'
    )
    told = run(policy_command, ["check", str(path)]).stdout
    assert "not strict" in told
    assert told.index("keep email at a.b of POST /x") < told.index("mask whole fields at a of *")
    path.write_text("[kind]\n")
    assert isinstance(run(policy_command, ["check", str(path)]).exception, UsageError)
