"""How a capture says that it was anonymized, and the mark of a passed audit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from captures.encryption import new_identity
from captures.errors import CaptureError
from captures.model import Exchange, Provenance
from captures.provenance import mark_audited, provenance_map, provenance_sentence
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header

SAFE = Provenance(policy="team sha256:0123456789ab", key_fingerprint="0a1b2c")


def write(path: Path, exchange: Exchange, provenance: Provenance | None, recipients: tuple[str, ...] = ()):
    header = new_header(source="x" * 400, started_wall_ns=1, anonymized=provenance)
    with CaptureWriter.create(path, header, recipients=recipients) as writer:
        writer.write(exchange)
    return path


def test_what_is_said() -> None:
    """Policy, key and audit in words and for JSON; nothing is claimed for a raw capture."""
    assert provenance_sentence(None) == "not anonymized"
    assert provenance_map(None) is None
    assert provenance_sentence(SAFE).endswith("by policy team sha256:0123456789ab, key 0a1b2c, audit not run")
    assert provenance_map(SAFE) == {
        "policy": "team sha256:0123456789ab", "key_fingerprint": "0a1b2c", "audit_passed": False,
    }  # fmt: skip


def test_the_mark_changes_nothing_else(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """A marked file is as long as before, is whole, and differs in its header alone."""
    path = write(tmp_path / "a.reel", make_exchange(), SAFE)
    before = path.read_bytes()
    mark_audited(path)
    after = path.read_bytes()
    assert len(after) == len(before)
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 1 + 4 + 4
    with CaptureReader.open(path) as reader:
        assert reader.complete
        assert reader.header.anonymized is not None
        assert reader.header.anonymized.audit_passed
        assert len(list(reader.exchanges())) == 1


def test_what_cannot_be_marked(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> None:
    """A raw capture, a sealed one and a file that is none are refused and stay as they are."""
    raw = write(tmp_path / "raw.reel", make_exchange(), None)
    sealed = write(tmp_path / "sealed.reel", make_exchange(), SAFE, (new_identity()[1],))
    other = tmp_path / "other"
    other.write_bytes(b"text" * 100)
    for path in (raw, sealed, other):
        before = path.read_bytes()
        with pytest.raises(CaptureError):
            mark_audited(path)
        assert path.read_bytes() == before
