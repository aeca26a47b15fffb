from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from captures.errors import CaptureError, UsageError, WriteError
from captures.reader import CaptureReader
from recorder.importers import intake
from recorder.importers.base import Item, Source
from recorder.importers.intake import import_files

SEPARATOR = "\n🐵🙈🙉\n".encode()


def gor(second: int, body: bytes = b"") -> bytes:
    head = b"1 %024d %d\nPOST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
    return head % (second, second * 10**9 + 10**18, second, len(body)) + body + SEPARATOR


def test_bodies_too_large_for_a_capture_are_cut_and_marked(
    take: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body above the limit is stored in part, with what is missing, and nothing else is lost."""
    monkeypatch.setattr(intake, "MAX_BODY_BYTES", 10)
    result = take(gor(1, b"b" * 25) + gor(2, b"c" * 10))
    first, second = (exchange.request for exchange in result.exchanges)
    assert (first.body, first.truncated_bytes) == (b"b" * 10, 15)
    assert (second.body, second.truncated_bytes) == (b"c" * 10, 0)
    assert result.counters.truncated == 1
    assert result.remarks["body or message larger than a capture can hold, cut"] == 1


def test_several_sources_share_one_clock(take: Callable[..., Any]) -> None:
    """Sources are merged by wall clock, each with its own account."""
    result = take(gor(5) + gor(7), gor(6))
    assert [exchange.request.target for exchange in result.exchanges] == [b"/5", b"/6", b"/7"]
    assert [exchange.offset_ns for exchange in result.exchanges] == [0, 10**9, 2 * 10**9]
    assert [one.counters.written for one in result.imported] == [2, 1]
    assert result.counters.seen == 3


def test_nothing_is_left_behind_on_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When an import breaks off, neither its output nor its parts stay."""
    (tmp_path / "a").write_bytes(gor(1))
    (tmp_path / "b").write_bytes(gor(2))
    out = tmp_path / "out.reel"

    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(intake, "_copy", fail)
    for paths in ([tmp_path / "a"], [tmp_path / "a", tmp_path / "b"]):
        with pytest.raises(RuntimeError):
            import_files(paths, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_folder_of_the_output_must_exist(tmp_path: Path) -> None:
    """An output in a folder that is not there is refused before anything is read."""
    (tmp_path / "a").write_bytes(gor(1))
    for paths in ([tmp_path / "a"], [tmp_path / "a", tmp_path / "a"]):
        with pytest.raises(UsageError, match="folder"):
            import_files(paths, tmp_path / "none" / "out.reel")


def test_pipes_are_read(tmp_path: Path) -> None:
    """What comes through a pipe is imported like a file, and its copy does not stay."""
    pipe, out = tmp_path / "pipe", tmp_path / "out.reel"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gor(1) + gor(2),))
    writer.start()
    [imported] = import_files([pipe], out)
    writer.join()
    assert (imported.name, imported.counters.written) == ("pipe", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.reel", "pipe"]


@pytest.mark.parametrize("digits", [b"9" * 19, b"4" + b"9" * 18, b"0"])
def test_times_that_cannot_be_are_counted(take: Callable[..., Any], digits: bytes) -> None:
    """A record of the far future, or the distant past, breaks nothing."""
    odd = gor(1).replace(b" 1000000001000000000\n", b" %s\n" % digits)
    counters = take(odd + gor(2)).counters
    assert counters.seen == 2
    assert counters.written >= 1


@pytest.mark.parametrize(
    "changes",
    [
        {"startedDateTime": "9999-12-31T23:59:59Z"},
        {"startedDateTime": "0001-01-01T00:00:00Z"},
        {"time": 1e300, "timings": {"send": 1e300, "wait": 9e9, "receive": 9e9}},
        {"_hookreel": {"started_wall_ns": 0, "exchange": {"offset_ns": [0, 2**61]}}},
        {"_hookreel": {"started_wall_ns": 2**61, "response": {"status": 10**9}}},
        {
            "_webSocketMessages": [
                {"type": "send", "time": 1e18, "data": "x"},
                {"_wall_ns": 2**70, "data": "y"},
            ]
        },
    ],
)
def test_numbers_that_cannot_be_break_nothing(take: Callable[..., Any], changes: dict[str, Any]) -> None:
    """Whatever numbers an entry has, the entries beside it are imported."""
    entry = {
        "startedDateTime": "2026-03-01T10:00:00Z",
        "request": {"method": "GET", "url": "http://h/"},
        "response": {"status": 200},
    }
    result = take({"log": {"entries": [entry, {**entry, **changes}, entry]}})
    assert result.complete
    assert result.counters.seen == 3
    assert result.counters.written >= 2


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    """A name of other bytes than UTF-8 is shown with a mark in their place."""
    source = tmp_path / os.fsdecode(b"caf\xe9.gor")
    source.write_bytes(b"1 aa 1700000000000000000 0\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    (imported,) = import_files([source], tmp_path / "out.reel")
    assert imported.name == "caf\ufffd.gor"
    with CaptureReader.open(tmp_path / "out.reel") as reader:
        assert "caf\ufffd.gor" in reader.header.source


def test_a_disk_that_fails_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read to its end is no import, and says which file it was."""

    class Failing:
        def __init__(self, source: Source) -> None:
            self.tally, self.format, self.note = source.tally, source.format, source.note
            self.started_wall_ns, self.close = source.started_wall_ns, source.close

        def items(self) -> Iterator[Item]:
            raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "a.gor").write_bytes(gor(1))
    opened = intake.open_source
    monkeypatch.setattr(intake, "open_source", lambda path: Failing(opened(path)))
    with pytest.raises(CaptureError, match=r"a\.gor cannot be read to its end \(Input/output error\)"):
        import_files([tmp_path / "a.gor"], tmp_path / "out.reel")
    assert [path.name for path in tmp_path.iterdir()] == ["a.gor"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Before anything is read."""
    (tmp_path / "a.gor").write_bytes(gor(1))
    with pytest.raises(WriteError, match="The folder /proc cannot be written"):
        import_files([tmp_path / "a.gor"], Path("/proc/out.reel"))


def test_messages_of_an_exchange_that_is_left_out_go_with_it(take: Callable[..., Any]) -> None:
    """A message without its exchange says nothing, and a capture has none."""
    exchange = {
        "startedDateTime": "2026-03-01T10:00:00Z",
        "request": {"method": "GET", "url": "ws://h/"},
        "response": {"status": 101},
        "_webSocketMessages": [{"type": "send", "opcode": 1, "data": text} for text in ("a", "b")],
    }
    started_ns = 1_772_359_200 * 10**9
    failed = {"status": 0, "reason": "", "http_version": "HTTP/1.1", "headers": [], "offset_ns": 1}
    rest = {"end_ns": 2, "body": "", "trailers": [], "truncated_bytes": 0, "stream": True}
    odd = {
        **exchange,
        "response": {"status": 0},
        "_webSocketMessages": None,
        "_hookreel": {
            "started_wall_ns": started_ns,
            "response": failed | rest,
            "events": [
                {
                    "wall_ns": started_ns + 5,
                    "kind": "text",
                    "from_client": True,
                    "truncated_bytes": 0,
                    "data": "",
                }
            ],
        },
    }
    result = take({"log": {"entries": [exchange, odd]}})
    assert (len(result.exchanges), result.counters.dropped) == (1, 1)
    assert {message.exchange for message in result.messages} == {result.exchanges[0].seq}
    assert result.remarks["message of an exchange that is left out"] == 1
