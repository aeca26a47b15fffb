"""Small captures for the front door's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
from captures.writer import CaptureWriter, new_header


def _exchange(
    seq: int, *, target: bytes = b"/api/runs/7", status: int = 200, stream: bool = False
) -> Exchange:
    offset_ns = seq * 1_000_000_000
    request = Request(
        method=b"GET",
        scheme=b"http",
        authority=b"staging:8080",
        target=target,
        http_version=b"HTTP/1.1",
        headers=(
            (b"Host", b"staging:8080"),
            (b"Authorization", b"Bearer s3cr3t"),
            (b"Cookie", b"a=1; sid=h1dden"),
        ),
        body=b"\xff\x00" if seq == 1 else b"plain",
    )
    response = Response(
        status=status,
        reason=b"OK",
        http_version=b"HTTP/1.1",
        headers=((b"Set-Cookie", b"sid=h1dden"),),
        offset_ns=offset_ns + 10,
        end_ns=None if stream else offset_ns + 2_000_000,
        body=b"" if stream else b"{}",
        stream=stream,
    )
    failure = Failure(reason=FailureReason.TIMEOUT, offset_ns=offset_ns + 5)
    recipe = SigningRecipe(scheme=SignatureScheme.GITHUB, header=b"X-Hub-Signature-256")
    signing = recipe if seq == 0 else None
    return Exchange(
        seq=seq, offset_ns=offset_ns, request_end_ns=offset_ns + 1, connection=seq % 2, request=request,
        outcome=response if status else failure, signing=signing,
    )  # fmt: skip


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Four exchanges: two of one endpoint, a failure, a stream with two events."""
    path = tmp_path / "small.reel"
    with CaptureWriter.create(
        path, new_header(source="record reverse:http://staging:8080", started_wall_ns=10**18)
    ) as w:
        w.write(_exchange(0))
        w.write(_exchange(1, target=b"/api/runs/8?x=1"))
        w.write(_exchange(2, target=b"/health", status=0))
        w.write(_exchange(3, target=b"/logs", stream=True))
        for number in range(2):
            payload = b"data: %d\n\n" % number
            w.write_message(
                Message(
                    exchange=3,
                    offset_ns=4 * 10**9 + number,
                    from_client=False,
                    kind=MessageKind.EVENT,
                    payload=payload,
                )
            )
    return path


@pytest.fixture
def torn_capture(capture: Path) -> Callable[[int], Path]:
    """The same capture without its last bytes."""

    def tear(cut_bytes: int) -> Path:
        torn = capture.with_name(f"torn-{cut_bytes}.reel")
        torn.write_bytes(capture.read_bytes()[:-cut_bytes])
        return torn

    return tear
