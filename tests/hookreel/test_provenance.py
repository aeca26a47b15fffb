"""What the commands say of how a capture was anonymized."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from captures.model import Provenance
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header
from hookreel.cli import cli

SAID = "anonymized by policy default, key 0a1b2c, audit passed"


@pytest.fixture
def make(tmp_path: Path, capture: Path) -> Callable[..., Path]:
    """Writes a capture with some exchanges."""

    def write(name: str, provenance: Provenance | None) -> Path:
        header = new_header(source="x", started_wall_ns=1, anonymized=provenance)
        with CaptureReader.open(capture) as reader, CaptureWriter.create(tmp_path / name, header) as writer:
            for exchange in reader.exchanges():
                writer.write(exchange)
        return tmp_path / name

    return write


@pytest.fixture
def safe(make: Callable[..., Path]) -> Path:
    """An anonymized and audited capture."""
    return make("safe.reel", Provenance(policy="default", key_fingerprint="0a1b2c", audit_passed=True))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_info_says_it(safe: Path) -> None:
    """The text and the JSON name policy, key and audit."""
    assert SAID in run("info", safe).stdout
    assert json.loads(run("info", safe, "--json").stdout)["anonymized"]["audit_passed"] is True


def test_export_says_it(safe: Path, make: Callable[..., Path]) -> None:
    """A note on stderr, of raw captures too."""
    assert SAID in run("export", safe, "--format", "curl").stderr
    assert "raw.reel is not anonymized" in run("export", make("raw.reel", None), "--format", "jsonl").stderr


def test_replay_says_it(safe: Path) -> None:
    """It is among the notes of the run."""
    told = run("replay", safe, "--target", "http://127.0.0.1:1", "--dry-run", "--json")
    assert any(SAID in note for note in json.loads(told.stdout)["notes"])


def test_merge_says_it_and_refuses_to_mix(safe: Path, make: Callable[..., Path], tmp_path: Path) -> None:
    """One key is told; two keys, and a raw capture, are wrong usage until --mix is said."""
    out = tmp_path / "out.reel"
    assert SAID in run("merge", safe, safe, "-o", out).stderr
    other = make("other.reel", Provenance(policy="default", key_fingerprint="ffffff"))
    expected: dict[Path, Any] = {other: "key 0a1b2c+ffffff, audit not run", make("raw.reel", None): None}
    for number, (path, said) in enumerate(expected.items()):
        refused = run("merge", safe, path, "-o", tmp_path / f"{number}.reel")
        assert refused.exit_code == 2
        assert "--mix" in refused.stderr
        mixed = run("merge", safe, path, "-o", tmp_path / f"{number}.reel", "--mix")
        assert mixed.exit_code == 0
        assert (said or "") in mixed.stderr
        if said is None:
            assert "anonymized by" not in mixed.stderr


def test_a_recording_has_no_strict_policy(tmp_path: Path) -> None:
    """What could refuse a whole recording at its end is told before it begins."""
    policy = tmp_path / "p.toml"
    policy.write_text("[strict]\n")
    told = run(
        "record", "--mode", "reverse:http://127.0.0.1:9", "--listen", "127.0.0.1:0",
        "-o", tmp_path / "a.reel", "--anonymize", "--policy", policy,
    )  # fmt: skip
    assert told.exit_code == 2
    assert "[strict]" in told.stderr
    assert list(tmp_path.iterdir()) == [policy]
