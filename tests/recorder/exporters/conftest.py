"""Captures for the tests of exporters."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captures.model import (
    Exchange,
    Failure,
    FailureReason,
    Message,
    MessageKind,
    Request,
    Response,
    SignatureScheme,
    SigningRecipe,
)
from captures.reader import CaptureReader
from captures.slice import Window
from captures.writer import CaptureWriter, new_header
from recorder.exporters.base import ExportNotes
from recorder.exporters.output import export_capture
from recorder.importers.intake import import_files

WALL_NS = 1_772_359_200_123_456_789
REQUEST = Request(
    method=b"POST",
    scheme=b"http",
    authority=b"127.0.0.1:8080",
    target=b"/api/hooks/github?x=1&token=t0ps3cret",
    http_version=b"HTTP/1.1",
    headers=(
        (b"Host", b"127.0.0.1:8080"),
        (b"content-type", b"application/json"),
        (b"X-Dup", b"1"),
        (b"x-dup", b"2"),
        (b"Authorization", b"Bearer s3cr3t"),
        (b"X-Empty", b""),
        (b"Content-Length", b"11"),
    ),
    body=b'{"a": "\xc3\xa9"}',
)
RESPONSE = Response(
    status=202,
    reason=b"Accepted",
    http_version=b"HTTP/1.1",
    headers=((b"Content-Type", b"application/json"), (b"Set-Cookie", b"sid=h1dden; Path=/")),
    offset_ns=0,
    end_ns=0,
    body=b"{}",
)


def exchange(seq: int = 0, outcome: Any = RESPONSE, **request: Any) -> Exchange:
    """An exchange at seq * 1 s and some ns, with its outcome moved there."""
    offset_ns = seq * 1_000_000_000 + 17
    if isinstance(outcome, Response):
        end_ns = None if outcome.end_ns is None else offset_ns + 9_000_003
        outcome = replace(outcome, offset_ns=offset_ns + 5_000_001, end_ns=end_ns)
    else:
        outcome = replace(outcome, offset_ns=offset_ns + 5_000_001)
    return Exchange(
        seq=seq,
        offset_ns=offset_ns,
        request_end_ns=offset_ns + 1_000_007,
        connection=seq % 3,
        request=replace(REQUEST, **request),
        outcome=outcome,
    )


@pytest.fixture
def variety() -> tuple[list[Exchange], list[Message]]:
    """One exchange of each kind that formats have trouble with, and two streams."""
    gzip_body = gzip.compress(b"hello", compresslevel=1, mtime=5)
    stream = replace(RESPONSE, status=101, body=b"", stream=True)
    sse = replace(RESPONSE, body=b"", stream=True, headers=((b"content-type", b"text/event-stream"),))
    exchanges = [
        exchange(0),
        exchange(1, body=b"\xff\x00binary", headers=((b"X-\xff", b"\xfe"),)),
        exchange(2, Failure(reason=FailureReason.TIMEOUT, offset_ns=0, detail="waited 5 s")),
        exchange(3, replace(RESPONSE, headers=((b"Content-Encoding", b"gzip"),), body=gzip_body)),
        exchange(
            4, replace(RESPONSE, trailers=((b"grpc-status", b"0"),), reason=b"\xe9"), trailers=((b"t", b"1"),)
        ),
        exchange(5, replace(RESPONSE, truncated_bytes=7), truncated_bytes=3),
        replace(
            exchange(
                6, http_version=b"HTTP/2.0", target=b"/a/../%2e?\xff", authority=b"[::1]:9", scheme=b"https"
            ),
            signing=SigningRecipe(scheme=SignatureScheme.STRIPE, header=b"Stripe-Signature"),
        ),
        exchange(7, stream),
        exchange(8, sse),
        exchange(9, replace(stream, end_ns=None)),
        exchange(
            10, replace(RESPONSE, headers=((b"Content-Type", b"text/plain; charset=latin-1"),), body=b"\xe9")
        ),
        exchange(11, replace(RESPONSE, status=204, body=b"odd"), method=b"HEAD", body=b""),
    ]  # fmt: skip

    def message(seq: int, n: int, kind: MessageKind, payload: bytes, cut: int = 0) -> Message:
        return Message(
            exchange=seq, offset_ns=seq * 1_000_000_000 + 6_000_000 + n, from_client=n % 2 == 0, kind=kind,
            payload=payload, truncated_bytes=cut,
        )  # fmt: skip

    messages = [
        message(7, 1, MessageKind.TEXT, '["1","phoenix"]é'.encode()),
        message(7, 2, MessageKind.BINARY, b"\x00\xff", 4),
        message(7, 3, MessageKind.TEXT, b"\xff not text"),
        message(8, 1, MessageKind.EVENT, b"data: 1\n\n"),
        message(8, 2, MessageKind.EVENT, b"data: 2\n\n"),
        message(9, 1, MessageKind.TEXT, b"open"),
        replace(message(7, 0, MessageKind.END, b""), offset_ns=7_009_000_020, from_client=False),
        replace(message(8, 0, MessageKind.END, b""), offset_ns=8_009_000_020, from_client=False),
    ]
    ended = {7: 7_009_000_020, 8: 8_009_000_020}
    exchanges = [
        replace(one, outcome=replace(one.outcome, end_ns=ended[one.seq])) if one.seq in ended else one
        for one in exchanges
    ]
    return exchanges, messages


@pytest.fixture
def write_capture(tmp_path: Path) -> Callable[..., Path]:
    """Writes exchanges and messages to a closed capture."""
    count = 0

    def write(exchanges: Sequence[Exchange], messages: Sequence[Message] = ()) -> Path:
        nonlocal count
        count += 1
        path = tmp_path / f"capture-{count}.reel"
        with CaptureWriter.create(path, new_header(source="test", started_wall_ns=WALL_NS)) as writer:
            for one in exchanges:
                writer.write(one)
            for message in messages:
                writer.write_message(message)
        return path

    return write


@pytest.fixture
def export_bytes() -> Callable[..., tuple[bytes, ExportNotes]]:
    """Exports a capture to bytes, with what was noted."""

    def run(
        path: Path, kind: str, window: Window | None = None, visible: Any = None
    ) -> tuple[bytes, ExportNotes]:
        stdout = io.BytesIO()
        with CaptureReader.open(path) as reader:
            notes = export_capture(reader, kind, window or Window(), out=None, stdout=stdout, visible=visible)
        return stdout.getvalue(), notes

    return run


@pytest.fixture
def round_trip(
    tmp_path: Path, write_capture: Callable[..., Path], export_bytes: Callable[..., Any]
) -> Callable[..., tuple[list[Exchange], list[Message], int]]:
    """Exports a capture, imports the result, and gives its exchanges, messages and start."""
    count = 0

    def run(
        kind: str, exchanges: Sequence[Exchange], messages: Sequence[Message] = ()
    ) -> tuple[list[Exchange], list[Message], int]:
        nonlocal count
        count += 1
        data, _ = export_bytes(write_capture(exchanges, messages), kind)
        source, out = tmp_path / f"exported-{count}", tmp_path / f"back-{count}.reel"
        source.write_bytes(data)
        [imported] = import_files([source], out)
        assert imported.counters.dropped == 0
        with CaptureReader.open(out) as reader:
            return list(reader.exchanges()), list(reader.messages()), reader.header.started_wall_ns

    return run
