"""``hookreel chains``: counts and places, never a value."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from captures.model import Exchange, Headers, Message, MessageKind, Response
from captures.reader import CaptureReader
from captures.writer import CaptureWriter, new_header
from replayer.chains_cli import chains

Make = Callable[..., Exchange]
ID = b"run_4f81a9c2d3e0b7"
UPGRADE: Headers = ((b"Host", b"h"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))


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
    assert "2 requests wait for the responses to 1 request." in text.stdout
    assert ID.decode() not in text.stdout + told.stdout


def test_a_capture_without_chains_says_so(exchange: Make, capture: Callable[..., Path]) -> None:
    """Nothing found is a sentence, not an empty table."""
    told = CliRunner().invoke(chains, [str(capture([exchange(0), exchange(1)]))])
    assert told.stdout == "No request or message takes anything from an earlier response.\n"


def test_messages_that_carry_a_minted_value_are_listed(exchange: Make, tmp_path: Path, chained: Path) -> None:
    """A token in what a WebSocket client says has its line, with how many messages have such a place."""
    with CaptureReader.open(chained) as reader:
        made, *looks = reader.exchanges()
    session = exchange(
        9,
        offset_ns=5_000_000,
        connection=1,
        status=101,
        stream_ns=90_000_000,
        target=b"/socket",
        headers=UPGRADE,
    )
    path = tmp_path / "socket.reel"
    with CaptureWriter.create(path, new_header(source="a test", started_wall_ns=0)) as writer:
        for one in (made, session, *looks):
            writer.write(one)
        for at_ns, payload in ((7_000_000, b'{"join":"%b"}' % ID), (8_000_000, b'{"join":"lobby"}')):
            writer.write_message(
                Message(exchange=9, offset_ns=at_ns, from_client=True, kind=MessageKind.TEXT, payload=payload)
            )
    told = CliRunner().invoke(chains, [str(path), "--json"])
    found = json.loads(told.stdout)
    assert (found["chained_exchanges"], found["chained_messages"], found["parents"]) == (2, 1, 1)
    _, row = found["chains"]
    assert (row["from"], row["from_place"]) == ("POST /runs", "body.id")
    assert (row["to"], row["to_place"]) == ("GET /socket", "message.join")
    assert (row["linked"], row["asked"], row["values"], row["think_p50_ns"]) == (1, 2, 1, 5_000_000)
    text = CliRunner().invoke(chains, [str(path)]).stdout
    assert "2 requests and 1 message wait for the responses to 1 request." in text
    assert ID.decode() not in text + told.stdout
