from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from captures.model import Exchange, Message


def test_json_lines(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], export_bytes: Any
) -> None:
    """JSON lines hold each exchange with its messages; bytes that are no text come as base64."""
    data, notes = export_bytes(write_capture(*variety), "jsonl")
    records = [json.loads(line) for line in data.splitlines()]
    assert [record["seq"] for record in records] == [one.seq for one in variety[0]]
    assert records[0]["request"]["body"] == '{"a": "é"}'
    assert records[1]["request"]["body_base64"] == "/wBiaW5hcnk="
    assert records[1]["request"]["headers_base64"] == [["WC3/", "/g=="]]
    assert records[2]["failure"] == {"reason": "timeout", "offset_ns": 2_005_000_018, "detail": "waited 5 s"}
    assert [message["kind"] for message in records[8]["messages"]] == ["event", "event"]
    assert records[6]["signing"]["scheme"] == "stripe"
    assert records[0]["wall_ns"] == 1_772_359_200_123_456_806
    assert not notes.lost
