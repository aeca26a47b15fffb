"""Builders that the tests of this room share."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from captures.codec import exchange_row, pack_header
from captures.columns import pack_columns
from captures.frames import CAPTURE_MAGIC, BlockPacker, BlockType, pack_file_header, pack_trailer
from captures.index import COLUMN_TYPES
from captures.model import Counters, Exchange, Failure, FailureReason, Request, Response
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


@pytest.fixture
def craft(tmp_path: Path, make_exchange: Callable[..., Exchange]) -> Callable[..., Path]:
    """
    Writes a capture of sound blocks whose contents a test may change: each hook gets the value.

    ``header``, ``footer`` and ``index`` change the unpacked META, FOOTER and INDEX (``[blocks, labels,
    columns]``); ``columns`` those of the index before they are packed. All checksums are right.
    """

    def unchanged(_value: Any) -> None:
        return None

    def write(
        exchanges: list[Exchange] | None = None,
        *,
        header: Callable[[dict[str, Any]], Any] = unchanged,
        footer: Callable[[dict[str, Any]], Any] = unchanged,
        index: Callable[[list[Any]], Any] = unchanged,
        columns: Callable[[dict[str, Any]], Any] = unchanged,
        index_rows: int | None = None,
        close: bool = True,
    ) -> Path:
        exchanges = exchanges or [make_exchange(0, 0), make_exchange(1, 10)]
        packer = BlockPacker()
        values = msgpack.unpackb(pack_header(new_header(source="crafted", started_wall_ns=0)))
        header(values)
        data = pack_file_header(CAPTURE_MAGIC, 1, bytes(16)) + packer.pack(
            BlockType.META, msgpack.packb(values)
        )
        rows = [msgpack.packb(exchange_row(exchange)) for exchange in exchanges]
        position = len(data)
        payload = struct.pack(f"<{len(rows)}I", *map(len, rows)) + b"".join(rows)
        data += packer.pack(BlockType.EXCHANGES, payload, rows=len(rows))
        if close:
            count = index_rows or len(rows)
            arrays: dict[str, Any] = {
                name: np.zeros(count, {"q": "<i8", "I": "<u4", "H": "<u2"}[code])
                for name, code in COLUMN_TYPES.items()
            }
            for name in ("offset_ns", "seq", "connection"):
                for row, exchange in enumerate(exchanges[:count]):
                    arrays[name][row] = getattr(exchange, name)
            columns(arrays)
            value = [[[position, count]], ["POST /api/hooks/github"], pack_columns(arrays)]
            index(value)
            places = [len(data)]
            data += packer.pack(BlockType.INDEX, msgpack.packb(value), rows=count, compress=False)
            end = {
                "index": places, "messages": [], "stream_ends": [], "dictionaries": [],
                "counters": asdict(Counters(seen=len(rows), written=len(rows))),
                "first_ns": 0, "last_end_ns": 19,
            }  # fmt: skip
            footer(end)
            block = packer.pack(BlockType.FOOTER, msgpack.packb(end))
            data += block + pack_trailer(len(data), len(block))
        path = tmp_path / "crafted.reel"
        path.write_bytes(data)
        return path

    return write
