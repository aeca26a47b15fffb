"""A small part of the soak campaign (benchmarks/soak_recorder.py)."""

from __future__ import annotations

import pytest

from benchmarks.soak_recorder import MOST_GROWTH_BYTES, soak


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_is_flat_and_the_account_exact() -> None:
    """A tenth of the soak: the server's own count is in the file, and memory does not grow."""
    result = soak(exchanges=20_000, websockets=20)
    assert result.differences == ()
    assert result.exchanges == 20_020
    assert result.growth_bytes <= MOST_GROWTH_BYTES
