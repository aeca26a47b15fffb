from __future__ import annotations

import io
import json
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from captures.conditions import parse_condition
from captures.errors import CaptureError, UsageError
from captures.model import Exchange, Message
from captures.reader import CaptureReader
from captures.slice import Window
from recorder.exporters import base
from recorder.exporters.messages import MessagesByStream
from recorder.exporters.output import FORMATS, export_capture


@pytest.mark.parametrize("kind", FORMATS)
def test_file_is_private_and_new(
    kind: str,
    variety: tuple[list[Exchange], list[Message]],
    write_capture: Callable[..., Path],
    tmp_path: Path,
    export_bytes: Any,
) -> None:
    """Each format goes to a new file with mode 0600, as to standard output, and overwrites nothing."""
    capture, out = write_capture(*variety), tmp_path / "out"
    with CaptureReader.open(capture) as reader:
        export_capture(reader, kind, Window(), out=out, stdout=io.BytesIO(), visible=None)
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        assert out.read_bytes() == export_bytes(capture, kind)[0]
        with pytest.raises(UsageError, match="exists already"):
            export_capture(reader, kind, Window(), out=out, stdout=io.BytesIO(), visible=None)


def test_unknown_format(write_capture: Callable[..., Path]) -> None:
    """A format that is none is a usage error."""
    with CaptureReader.open(write_capture([])) as reader, pytest.raises(UsageError, match="no format"):
        export_capture(reader, "xml", Window(), out=None, stdout=io.BytesIO(), visible=None)


def test_failed_export_leaves_no_file(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], tmp_path: Path
) -> None:
    """When the capture turns out to be damaged, no half of a file stays."""
    capture, out = write_capture(*variety), tmp_path / "out"
    data = bytearray(capture.read_bytes())
    with CaptureReader.open(capture) as reader:
        position = reader.index.blocks[0].position
    data[position + 60] ^= 0xFF
    capture.write_bytes(data)
    with CaptureReader.open(capture) as reader, pytest.raises(CaptureError):
        export_capture(reader, "jsonl", Window(), out=out, stdout=io.BytesIO(), visible=None)
    assert not out.exists()


def test_window_is_exported(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], export_bytes: Any
) -> None:
    """Only what is in the window is written."""
    condition = parse_condition("method=HEAD")
    data, _ = export_bytes(write_capture(*variety), "jsonl", Window(start_ns=10**9, wants=condition.holds))
    assert [json.loads(line)["seq"] for line in data.splitlines()] == [11]


def test_messages_beyond_memory_are_exported_the_same(
    variety: tuple[list[Exchange], list[Message]],
    write_capture: Callable[..., Path],
    export_bytes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A capture with more messages than are kept in memory is exported the same."""
    capture = write_capture(*variety)
    expected = export_bytes(capture, "jsonl")[0]
    monkeypatch.setattr(base, "MessagesByStream", partial(MessagesByStream, memory_bytes=10))
    assert export_bytes(capture, "jsonl")[0] == expected


def test_empty_capture(write_capture: Callable[..., Path], export_bytes: Any) -> None:
    """A capture without exchanges is a whole document in each format."""
    capture = write_capture([])
    assert json.loads(export_bytes(capture, "har")[0])["log"]["entries"] == []
    assert export_bytes(capture, "mitmproxy")[0] == b""
    assert export_bytes(capture, "jsonl")[0] == b""
