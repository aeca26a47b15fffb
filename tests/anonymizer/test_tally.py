"""What stays as it is is remembered within bounds."""

from __future__ import annotations

import pytest

from anonymizer import tally
from anonymizer.tally import Unchanged


def test_small_things_are_remembered_until_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large thing is not kept, and all others go when one more would take too much."""
    monkeypatch.setattr(tally, "_MAX_ALL_UNCHANGED_BYTES", 2_000)
    kept = Unchanged()
    kept.add(b"large", 100_000)
    assert b"large" not in kept
    kept.add(b"one", 800)
    kept.add(b"two", 700)
    assert b"one" in kept
    assert b"two" in kept
    kept.add(b"three", 900)
    assert b"one" not in kept
    assert b"three" in kept
