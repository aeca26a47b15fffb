from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from captures.model import Exchange, Message

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy.io import FlowReader, FlowWriter


def flows(data: bytes) -> list[Any]:
    return list(FlowReader(io.BytesIO(data)).stream())


def test_mitmproxy_reads_what_it_would_have_written(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], export_bytes: Any
) -> None:
    """The reader of mitmproxy gives flows with our bytes, and its writer writes the same flows again."""
    exchanges = variety[0]
    data, _ = export_bytes(write_capture(*variety), "mitmproxy")
    made = flows(data)
    for flow, exchange in zip(made, exchanges, strict=True):
        assert flow.request.data.headers.fields == exchange.request.headers
        assert flow.request.raw_content == exchange.request.body
        assert flow.request.data.path == exchange.request.target
    assert made[2].error.msg == "timeout"
    assert made[4].response.trailers.fields == ((b"grpc-status", b"0"),)
    assert made[8].response.raw_content == b"data: 1\n\ndata: 2\n\n"
    assert [message.content for message in made[7].websocket.messages][1] == b"\x00\xff"
    file = io.BytesIO()
    writer = FlowWriter(file)
    for flow in made:
        writer.add(flow)
    assert [flow.get_state() for flow in flows(file.getvalue())] == [flow.get_state() for flow in made]


def test_flows_of_one_connection_share_it(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], export_bytes: Any
) -> None:
    """Client connections are told apart as in the capture."""
    made = flows(export_bytes(write_capture(*variety), "mitmproxy")[0])
    assert made[0].client_conn.id == made[3].client_conn.id != made[1].client_conn.id


def test_times_are_wall_clock_times(
    variety: tuple[list[Exchange], list[Message]], write_capture: Callable[..., Path], export_bytes: Any
) -> None:
    """A flow's timestamps are the capture's start and offset, in seconds."""
    made = flows(export_bytes(write_capture(*variety), "mitmproxy")[0])
    assert abs(made[0].request.timestamp_start - 1_772_359_200.123456806) < 1e-6
