"""The page about anonymizing works as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from anonymizer.detectors.base import Kind
from anonymizer.policy import parse_policy
from captures.model import Exchange, Request, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "anonymizing.md").read_text()
BODIES = (
    b'{"user": {"login": "jmiller-77", "email": "jane.miller@corp-mail.test"}, "comment": "carpe diem"}',
    b'{"user": {"login": "oberger-12", "email": "otto.berger@corp-mail.test"}, "comment": "seize it"}',
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a recording and `hookreel` on the path."""
    with CaptureWriter.create(tmp_path / "staging.reel", new_header(source="x", started_wall_ns=1)) as writer:
        for seq, body in enumerate(BODIES):
            writer.write(
                Exchange(
                    seq=seq, offset_ns=seq * 1000, request_end_ns=seq * 1000 + 1, connection=0,
                    request=Request(
                        method=b"POST", scheme=b"http", authority=b"staging:8080", target=b"/hooks/7",
                        http_version=b"HTTP/1.1", headers=((b"Content-Type", b"application/json"),),
                        body=body,
                    ),
                    outcome=Response(
                        status=200, reason=b"OK", http_version=b"HTTP/1.1", headers=(),
                        offset_ns=seq * 1000 + 5, end_ns=seq * 1000 + 9, body=b"{}",
                    ),
                )
            )  # fmt: skip
    command = tmp_path / "bin" / "hookreel"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m hookreel "$@"\n')
    command.chmod(0o755)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_command_works_as_written(folder: Path) -> None:
    """All blocks run one after the other, and do what the text around them says."""
    outputs: list[str] = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        result = subprocess.run(
            ["bash", "-e", "-c", block],
            cwd=folder, capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "TERM": "dumb"},
        )  # fmt: skip
        assert result.returncode == 0, f"{block}\n{result.stdout}\n{result.stderr}"
        outputs.append(result.stdout + result.stderr)
    told = "\n".join(outputs)
    assert "Audit: passed" in told
    assert "No leak found" in told
    assert "exit code 3" in told
    assert "audit passed" in told
    assert "jane" not in told
    assert "carpe" not in told
    contents = {}
    for name in ("staging", "safe", "same", "again"):
        with CaptureReader.open(folder / f"{name}.reel") as reader:
            contents[name] = list(reader.exchanges())
    assert contents["again"] == contents["staging"] != contents["safe"]
    assert contents["same"] == contents["safe"]
    assert (folder / "report.html").read_text().startswith("<!doctype html>")


def test_the_policy_on_the_page_is_one() -> None:
    """The example says all that a policy can say, and is valid."""
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    document = tomllib.loads(example[1])
    policy = parse_policy(document, name="x")
    assert len(policy.rules) == 2
    assert len(policy.signatures) == 1
    assert policy.strict_fields


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_is_on_the_page(kind: Kind) -> None:
    """The table has a line for each kind that a policy may name."""
    assert f"`{kind}`" in PAGE.split("## Keys")[0]
