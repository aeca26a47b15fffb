"""
Captures as mitmproxy flow files, written by mitmproxy's own writer.

What a flow has no place for (ns, failure reasons, SSE events, signing recipes, ...) stands in its
metadata, so that importing the file again loses nothing.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from mitmproxy import connection, flow, http, websocket
from wsproto.frame_protocol import Opcode

from captures.model import Exchange, Headers, Message, MessageKind, Request, Response
from captures.units import NS_PER_S
from recorder import overlay
from recorder.exporters.base import Exported, ExportNotes, note_overlay
from recorder.importers.mitm import METADATA_KEY
from recorder.importers.mitm_flow import plain_exchange, wall_ns
from recorder.importers.streams import event_records
from recorder.mitm_io import FlowWriter

_NAMESPACE = uuid.UUID("2a6f5a64-6f0b-4b43-9a33-6c1a9b0f6c11")
_WEBSOCKET_KINDS = {MessageKind.TEXT: Opcode.TEXT, MessageKind.BINARY: Opcode.BINARY}


def write_mitmproxy(exchanges: Iterable[Exported], file: BinaryIO, notes: ExportNotes) -> None:
    """Write one flow after the other."""
    writer = FlowWriter(file)  # type: ignore[no-untyped-call]
    for item in exchanges:
        made = mitm_flow(item)
        writer.add(made)
        note_overlay(notes, made.metadata[METADATA_KEY])
        notes.exchanges += 1
        notes.messages += len(item.messages)


def mitm_flow(item: Exported) -> http.HTTPFlow:
    """One exchange as a flow; those of one connection share their client's id."""
    exchange, started_wall_ns = item.exchange, item.header.started_wall_ns
    host, port = _host_port(exchange.request)
    server = connection.Server(address=(host, port))
    server.id = str(uuid.uuid5(_NAMESPACE, f"{item.header.capture_id}/s{exchange.connection}"))
    made = http.HTTPFlow(_client(item), server)
    made.id = str(uuid.uuid5(_NAMESPACE, f"{item.header.capture_id}/{exchange.seq}"))
    made.timestamp_created = _seconds(exchange.offset_ns, started_wall_ns)
    made.request = _request(exchange, host, port, started_wall_ns)
    outcome = exchange.outcome
    events = [message for message in item.messages if message.kind not in _WEBSOCKET_KINDS]
    frames = [message for message in item.messages if message.kind in _WEBSOCKET_KINDS]
    if isinstance(outcome, Response):
        made.response = _response(outcome, events, started_wall_ns)
        if frames or (outcome.stream and outcome.status == 101):
            made.websocket = _websocket(outcome, frames, started_wall_ns)
    else:
        timestamp = _seconds(outcome.offset_ns, started_wall_ns)
        made.error = flow.Error(msg=outcome.reason.value, timestamp=timestamp)
    made.metadata[METADATA_KEY] = _overlay(made, exchange, frames, events, started_wall_ns)
    return made


def _overlay(
    made: http.HTTPFlow,
    exchange: Exchange,
    frames: Sequence[Message],
    events: Sequence[Message],
    started_wall_ns: int,
) -> dict[str, Any]:
    plain = plain_exchange(
        made,
        seq=exchange.seq,
        connection=exchange.connection,
        offset_ns=(wall_ns(made.request.timestamp_start) or 0) - started_wall_ns,
        started_wall_ns=started_wall_ns,
        remarks=Counter(),
    )
    extra = overlay.difference(plain, exchange, started_wall_ns=started_wall_ns)
    if frames:
        extra["messages"] = [
            [started_wall_ns + message.offset_ns, message.truncated_bytes] for message in frames
        ]
    if events:
        extra["events"] = event_records(events, started_wall_ns)
    return extra


def _client(item: Exported) -> connection.Client:
    client = connection.Client(
        peername=("127.0.0.1", 0),
        sockname=("127.0.0.1", 0),
        timestamp_start=_seconds(item.exchange.offset_ns, item.header.started_wall_ns),
    )
    client.id = str(uuid.uuid5(_NAMESPACE, f"{item.header.capture_id}/c{item.exchange.connection}"))
    client.tls = item.exchange.request.scheme == b"https"
    return client


def _request(exchange: Exchange, host: str, port: int, started_wall_ns: int) -> http.Request:
    request = exchange.request
    has_host = any(name.lower() == b"host" for name, _ in request.headers)
    return http.Request(
        host=host,
        port=port,
        method=request.method,
        scheme=request.scheme,
        # As in the proxy: with HTTP/1 the Host header says it.
        authority=b"" if has_host else request.authority,
        path=request.target,
        http_version=request.http_version,
        headers=http.Headers(request.headers),
        content=request.body,
        trailers=_trailers(request.trailers),
        timestamp_start=_seconds(exchange.offset_ns, started_wall_ns),
        timestamp_end=_seconds(exchange.request_end_ns, started_wall_ns),
    )


def _response(outcome: Response, events: Sequence[Message], started_wall_ns: int) -> http.Response:
    end_ns = outcome.offset_ns if outcome.end_ns is None else outcome.end_ns
    return http.Response(
        http_version=outcome.http_version,
        status_code=outcome.status,
        reason=outcome.reason,
        headers=http.Headers(outcome.headers),
        content=outcome.body or b"".join(event.payload for event in events),
        trailers=_trailers(outcome.trailers),
        timestamp_start=_seconds(outcome.offset_ns, started_wall_ns),
        timestamp_end=_seconds(end_ns, started_wall_ns),
    )


def _websocket(outcome: Response, frames: Sequence[Message], started_wall_ns: int) -> websocket.WebSocketData:
    return websocket.WebSocketData(
        messages=[
            websocket.WebSocketMessage(
                _WEBSOCKET_KINDS[message.kind],
                message.from_client,
                message.payload,
                _seconds(message.offset_ns, started_wall_ns),
            )
            for message in frames
        ],
        timestamp_end=None if outcome.end_ns is None else _seconds(outcome.end_ns, started_wall_ns),
    )


def _trailers(trailers: Headers) -> http.Headers | None:
    return http.Headers(trailers) if trailers else None


def _seconds(offset_ns: int, started_wall_ns: int) -> float:
    return (started_wall_ns + offset_ns) / NS_PER_S


def _host_port(request: Request) -> tuple[str, int]:
    authority = request.authority.decode("utf-8", errors="replace")
    default = 443 if request.scheme == b"https" else 80
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, ""
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else default
    return host.strip("[]"), number
