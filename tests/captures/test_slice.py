from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from captures.lineage import derived_header
from captures.merge import merge_captures, merged_header
from captures.model import Exchange, Message, MessageKind
from captures.reader import CaptureReader
from captures.slice import Sliced, Window, slice_capture
from captures.writer import CaptureWriter


def cut(capture: Path, out: Path, **window: Any) -> tuple[CaptureReader, Sliced]:
    with CaptureReader.open(capture) as reader:
        with CaptureWriter.create(out, derived_header(reader)) as writer:
            sliced = slice_capture(reader, writer, Window(**window))
        header = reader.header
    part = CaptureReader.open(out)
    assert part.header.lineage[0] == header.capture_id
    assert part.header.started_wall_ns == header.started_wall_ns
    assert part.header.fingerprint_salt == header.fingerprint_salt
    return part, sliced


def test_window_of_time(tmp_path: Path, make_exchange: Callable[..., Exchange], write_capture: Any) -> None:
    """A part holds the requests from its start up to, and without, its stop, as they were."""
    exchanges = [make_exchange(seq, seq * 10, connection=seq) for seq in range(5)]
    part, sliced = cut(write_capture(exchanges), tmp_path / "p.reel", start_ns=10, stop_ns=30)
    with part:
        assert list(part.exchanges()) == exchanges[1:3]
        assert part.counters.seen == part.counters.written == sliced.exchanges == 2


def test_choice(tmp_path: Path, make_exchange: Callable[..., Exchange], write_capture: Any) -> None:
    """Endpoint, connection and condition must all hold."""
    exchanges = [
        make_exchange(0, 0, target=b"/a"),
        make_exchange(1, 1, target=b"/a", connection=1),
        make_exchange(2, 2, target=b"/b", connection=1),
        make_exchange(3, 3, target=b"/a", connection=1, status=0),
    ]
    part, _ = cut(
        write_capture(exchanges),
        tmp_path / "p.reel",
        endpoints=["POST /a"],
        connections={1},
        wants=lambda exchange: hasattr(exchange.outcome, "status"),
    )
    with part:
        assert [exchange.seq for exchange in part.exchanges()] == [1]


def stream(exchange: Exchange, *, end_ns: int | None) -> Exchange:
    return replace(exchange, outcome=replace(exchange.outcome, stream=True, end_ns=end_ns, body=b""))


def test_streams_are_cut_at_the_stop(
    tmp_path: Path, make_exchange: Callable[..., Exchange], write_capture: Any
) -> None:
    """A stream's messages are kept up to the stop; one that goes on counts as open."""

    def message(seq: int, offset_ns: int, kind: MessageKind = MessageKind.TEXT) -> Message:
        return Message(exchange=seq, offset_ns=offset_ns, from_client=True, kind=kind, payload=b"")

    exchanges = [
        stream(make_exchange(0, 0), end_ns=None),
        stream(make_exchange(1, 1), end_ns=None),
        make_exchange(2, 90),
    ]
    messages = [message(0, 20), message(1, 21), message(1, 25, MessageKind.END), message(0, 60)]
    messages += [message(0, 70, MessageKind.END)]
    part, sliced = cut(write_capture(exchanges, messages), tmp_path / "p.reel", stop_ns=50)
    with part:
        assert list(part.messages()) == messages[:3]
        assert [exchange.outcome.end_ns for exchange in part.exchanges()] == [None, 25]
    assert sliced == Sliced(exchanges=2, messages=2, open_streams=1)


def test_parts_merge_to_the_whole(
    tmp_path: Path, make_exchange: Callable[..., Exchange], write_capture: Any
) -> None:
    """The parts of a capture, merged, are its exchanges again."""
    exchanges = [make_exchange(seq, seq * 10, connection=seq // 2) for seq in range(6)]
    capture = write_capture(exchanges)
    first, _ = cut(capture, tmp_path / "1.reel", stop_ns=20)
    second, _ = cut(capture, tmp_path / "2.reel", start_ns=20)
    with first, second, CaptureWriter.create(tmp_path / "m.reel", merged_header([first, second])) as writer:
        merge_captures([first, second], writer)
    with CaptureReader.open(tmp_path / "m.reel") as merged:
        assert list(merged.exchanges()) == exchanges
