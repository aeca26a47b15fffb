"""``hookreel chains``: counts and places, never a value."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from captures.model import Exchange, Response
from replayer.chains_cli import chains

Make = Callable[..., Exchange]
ID = b"run_4f81a9c2d3e0b7"


@pytest.fixture
def chained(exchange: Make, capture: Callable[..., Path]) -> Path:
    """A run is made and looked at twice."""
    first = exchange(0, offset_ns=0, method=b"POST", target=b"/runs")
    assert isinstance(first.outcome, Response)
    made = replace(first, outcome=replace(first.outcome, body=b'{"id": "%b"}' % ID, end_ns=2_000_000))
    looks = [exchange(seq, offset_ns=seq * 10_000_000, target=b"/runs/" + ID) for seq in (1, 2)]
    return capture([made, *looks])


def test_the_list_names_places_and_evidence(chained: Path) -> None:
    """In text and JSON: from where, to where, how often of how many; the value itself nowhere."""
    text = CliRunner().invoke(chains, [str(chained)])
    told = CliRunner().invoke(chains, [str(chained), "--json"])
    assert text.exit_code == told.exit_code == 0
    found = json.loads(told.stdout)
    assert found["chained_exchanges"] == 2
    assert found["parents"] == 1
    (row,) = found["chains"]
    assert (row["from"], row["from_place"]) == ("POST /runs", "body.id")
    assert (row["to"], row["to_place"]) == ("GET /runs/{id}", "path.2")
    assert (row["linked"], row["asked"], row["values"], row["think_p50_ns"]) == (2, 2, 1, 13_000_000)
    assert "2 requests wait for the responses to 1 others." in text.stdout
    assert ID.decode() not in text.stdout + told.stdout


def test_a_capture_without_chains_says_so(exchange: Make, capture: Callable[..., Path]) -> None:
    """Nothing found is a sentence, not an empty table."""
    told = CliRunner().invoke(chains, [str(capture([exchange(0), exchange(1)]))])
    assert told.stdout == "No request takes anything from an earlier response.\n"
