"""The captures that ship with the package."""

from __future__ import annotations

from pathlib import Path

import pytest

import captures
from captures.reader import CaptureReader

FOLDER = Path(captures.__file__).parent / "samples"
SAMPLES = sorted(FOLDER.glob("*.reel"))


def test_there_are_two_small_ones() -> None:
    """A user can try every command on them without recording first."""
    assert [path.stem for path in SAMPLES] == ["github-webhooks", "workflow-engine"]
    assert sum(path.stat().st_size for path in SAMPLES) < 200_000


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_is_whole_anonymized_and_signed_by_recipe(path: Path) -> None:
    """Made by the tool: complete, with provenance, recipes instead of signatures, no real addresses."""
    with CaptureReader.open(path, salvage=True) as reader:
        assert reader.complete
        assert reader.header.anonymized is not None
        exchanges = list(reader.exchanges())
        assert reader.counters.seen == reader.counters.written == len(exchanges)
    signed = [exchange for exchange in exchanges if exchange.signing is not None]
    assert signed
    for exchange in signed:
        values = dict(exchange.request.headers)
        assert values[exchange.signing.header].count(b"0") >= 60
    everything = b"".join(exchange.request.body for exchange in exchanges)
    assert b"octocat" not in everything.lower()
    assert b"codertocat" not in everything.lower()
