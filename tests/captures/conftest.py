"""Builders that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from captures.model import Exchange, Failure, FailureReason, Request, Response
from captures.writer import CaptureWriter, new_header

REQUEST = Request(
    method=b"POST",
    scheme=b"http",
    authority=b"127.0.0.1:8080",
    target=b"/api/hooks/github?x=1",
    http_version=b"HTTP/1.1",
    headers=((b"Host", b"127.0.0.1:8080"), (b"x-DUP", b"1"), (b"X-Dup", b"2")),
    body=b'{"a": 1.10}',
)
RESPONSE = Response(
    status=202,
    reason=b"Accepted",
    http_version=b"HTTP/1.1",
    headers=((b"Content-Type", b"application/json"),),
    offset_ns=0,
    end_ns=0,
    body=b"{}",
)


@pytest.fixture
def make_exchange() -> Callable[..., Exchange]:
    """A builder: seq, offset_ns and any field of the request; ``status=0`` gives a failure."""

    def make(
        seq: int = 0, offset_ns: int = 0, *, connection: int = 0, status: int = 202, **request: Any
    ) -> Exchange:
        outcome = (
            replace(RESPONSE, status=status, offset_ns=offset_ns + 5, end_ns=offset_ns + 9)
            if status
            else Failure(reason=FailureReason.UPSTREAM_RESET, offset_ns=offset_ns + 5)
        )
        return Exchange(
            seq=seq,
            offset_ns=offset_ns,
            request_end_ns=offset_ns + 1,
            connection=connection,
            request=replace(REQUEST, **request),
            outcome=outcome,
        )

    return make


@pytest.fixture
def write_capture(tmp_path: Path) -> Callable[..., Path]:
    """Writes exchanges and messages to a closed capture and gives its path."""

    def write(exchanges: Any, messages: Any = (), *, name: str = "t.reel", flush_each: bool = False) -> Path:
        path = tmp_path / name
        with CaptureWriter.create(path, new_header(source="test", started_wall_ns=17)) as writer:
            for exchange in exchanges:
                writer.write(exchange)
                if flush_each:
                    writer.flush()
            for message in messages:
                writer.write_message(message)
        return path

    return write
