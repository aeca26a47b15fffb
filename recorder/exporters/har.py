"""
Captures as HAR 1.2, with WebSocket messages the way browsers write them.

What HAR has no place for (raw bytes of compressed bodies, trailers, ns, SSE events, ...) stands in
a custom field, as the specification permits, so that importing the file again loses nothing.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

from captures.bodies.coding import CodingError, codings, decode
from captures.http1 import header_values
from captures.model import Exchange, Headers, Message, MessageKind, Response
from captures.units import NS_PER_MS, NS_PER_S
from recorder import overlay
from recorder.exporters.base import Exported, ExportNotes, note_overlay
from recorder.importers.har import OVERLAY_FIELD
from recorder.importers.har_entry import body_bytes, plain_exchange, start_wall_ns
from recorder.importers.streams import event_records

_WEBSOCKET_KINDS = {MessageKind.TEXT: 1, MessageKind.BINARY: 2}
_NOT_APPLICABLE = -1


def write_har(exchanges: Iterable[Exported], file: BinaryIO, notes: ExportNotes) -> None:
    """Write one HAR document; memory is bounded by the largest entry."""
    creator = json.dumps({"name": "hookreel", "version": _version()})
    file.write(b'{"log": {"version": "1.2", "creator": %s, "pages": [], "entries": [' % creator.encode())
    separator = b"\n"
    for item in exchanges:
        entry = har_entry(item)
        file.write(separator + json.dumps(entry, ensure_ascii=False).encode("utf-8", errors="replace"))
        separator = b",\n"
        note_overlay(notes, entry[OVERLAY_FIELD])
        notes.exchanges += 1
        notes.messages += len(item.messages)
    file.write(b"\n]}}\n")


def har_entry(item: Exported) -> dict[str, Any]:
    """One exchange as a HAR entry."""
    exchange, started_wall_ns = item.exchange, item.header.started_wall_ns
    outcome = exchange.outcome
    websocket = [message for message in item.messages if message.kind in _WEBSOCKET_KINDS]
    events = [message for message in item.messages if message.kind not in _WEBSOCKET_KINDS]
    is_websocket = bool(websocket) or (
        isinstance(outcome, Response) and outcome.stream and outcome.status == 101
    )
    end_ns = outcome.offset_ns
    if isinstance(outcome, Response):
        end_ns = outcome.end_ns if outcome.end_ns is not None else outcome.offset_ns
    entry: dict[str, Any] = {
        "startedDateTime": _date(started_wall_ns + exchange.offset_ns),
        "time": _ms(end_ns - exchange.offset_ns),
        "request": _request(exchange),
        "response": _response(exchange, events),
        "cache": {},
        "timings": _timings(exchange, end_ns),
        "connection": str(exchange.connection + 1),
    }
    if is_websocket:
        entry["_resourceType"] = "websocket"
        entry["_webSocketMessages"] = [_message(message, started_wall_ns) for message in websocket]
    entry[OVERLAY_FIELD] = _overlay(entry, exchange, started_wall_ns)
    if events:
        entry[OVERLAY_FIELD]["events"] = event_records(events, started_wall_ns)
    return entry


def _overlay(entry: dict[str, Any], exchange: Exchange, started_wall_ns: int) -> overlay.Overlay:
    plain = plain_exchange(
        entry,
        seq=exchange.seq,
        connection=exchange.connection,
        offset_ns=(start_wall_ns(entry) or 0) - started_wall_ns,
        remarks=Counter(),
    )
    if plain is None:  # not even its URL can be said in HAR; a stand-in holds the place
        entry["request"] = {**entry["request"], "url": "http://invalid/"}
        return _overlay(entry, exchange, started_wall_ns)
    return overlay.difference(plain, exchange, started_wall_ns=started_wall_ns)


def _request(exchange: Exchange) -> dict[str, Any]:
    request = exchange.request
    url = _text(b"%s://%s%s" % (request.scheme, request.authority, request.target))
    query = request.target.partition(b"?")[2]
    record: dict[str, Any] = {
        "method": _text(request.method),
        "url": url,
        "httpVersion": _text(request.http_version),
        "cookies": _cookies(request.headers),
        "headers": _headers(request.headers),
        "queryString": [
            {"name": name, "value": value}
            for name, value in parse_qsl(_text(query), keep_blank_values=True, errors="replace")
        ],
        "headersSize": _NOT_APPLICABLE,
        "bodySize": len(request.body) + request.truncated_bytes,
    }
    if request.body:
        record["postData"] = {"params": [], **_body(request.body, request.headers)}
    return record


def _response(exchange: Exchange, events: list[Message]) -> dict[str, Any]:
    outcome = exchange.outcome
    if not isinstance(outcome, Response):
        return {
            "status": 0, "statusText": "", "httpVersion": "", "cookies": [], "headers": [],
            "content": {"size": 0, "mimeType": "x-unknown"}, "redirectURL": "",
            "headersSize": _NOT_APPLICABLE, "bodySize": _NOT_APPLICABLE, "_error": outcome.reason.value,
        }  # fmt: skip
    body = outcome.body or b"".join(event.payload for event in events)
    content: dict[str, Any] = {
        "size": len(body) + outcome.truncated_bytes,
        "mimeType": _mime(outcome.headers),
    }
    if body:
        content |= _body(body, outcome.headers)
    return {
        "status": outcome.status,
        "statusText": _text(outcome.reason),
        "httpVersion": _text(outcome.http_version),
        "cookies": _set_cookies(outcome.headers),
        "headers": _headers(outcome.headers),
        "content": content,
        "redirectURL": _text(b"".join(header_values(outcome.headers, b"location")[:1])),
        "headersSize": _NOT_APPLICABLE,
        "bodySize": len(outcome.body) + outcome.truncated_bytes,
    }


def _body(body: bytes, headers: Headers) -> dict[str, str]:
    """``mimeType``, ``text`` and perhaps ``encoding``: decoded, and base64 where text would differ."""
    coding = b",".join(header_values(headers, b"content-encoding"))
    decoded = body
    if codings(coding):
        try:
            decoded = decode(body, coding)
        except CodingError:
            decoded = body
    mime = _mime(headers)
    text = _text_of(decoded, mime)
    if text is not None:
        return {"mimeType": mime, "text": text}
    return {"mimeType": mime, "text": base64.b64encode(decoded).decode("ascii"), "encoding": "base64"}


def _text_of(body: bytes, mime: str) -> str | None:
    """The text that an importer turns back into exactly these bytes; None where there is none."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if body_bytes(text, None, mime, (), Counter()) == body else None


def _timings(exchange: Exchange, end_ns: int) -> dict[str, float]:
    outcome = exchange.outcome
    return {
        "blocked": _NOT_APPLICABLE,
        "dns": _NOT_APPLICABLE,
        "connect": _NOT_APPLICABLE,
        "ssl": _NOT_APPLICABLE,
        "send": _ms(exchange.request_end_ns - exchange.offset_ns),
        "wait": _ms(outcome.offset_ns - exchange.request_end_ns),
        "receive": _ms(end_ns - outcome.offset_ns),
    }


def _message(message: Message, started_wall_ns: int) -> dict[str, Any]:
    wall_ns = started_wall_ns + message.offset_ns
    opcode = _WEBSOCKET_KINDS[message.kind]
    try:
        data = message.payload.decode("utf-8") if opcode == 1 else None
    except UnicodeDecodeError:
        data, opcode = None, 2
    record: dict[str, Any] = {
        "type": "send" if message.from_client else "receive",
        "time": wall_ns / NS_PER_S,
        "opcode": opcode,
        "data": base64.b64encode(message.payload).decode("ascii") if data is None else data,
        "_wall_ns": wall_ns,
    }
    if opcode != _WEBSOCKET_KINDS[message.kind]:
        record["_opcode"] = _WEBSOCKET_KINDS[message.kind]
    if message.truncated_bytes:
        record["_truncated_bytes"] = message.truncated_bytes
    return record


def _date(wall_ns: int) -> str:
    seconds, rest_ns = divmod(wall_ns, NS_PER_S)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        moment = datetime.fromtimestamp(0, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"


def _ms(duration_ns: int) -> float:
    return max(0, duration_ns) / NS_PER_MS


def _headers(headers: Headers) -> list[dict[str, str]]:
    return [{"name": _text(name), "value": _text(value)} for name, value in headers]


def _cookies(headers: Headers) -> list[dict[str, str]]:
    pairs = (
        pair.partition(b"=") for value in header_values(headers, b"cookie") for pair in value.split(b";")
    )
    return [{"name": _text(name.strip()), "value": _text(value.strip())} for name, _, value in pairs]


def _set_cookies(headers: Headers) -> list[dict[str, str]]:
    pairs = (value.split(b";")[0].partition(b"=") for value in header_values(headers, b"set-cookie"))
    return [{"name": _text(name.strip()), "value": _text(value.strip())} for name, _, value in pairs]


def _mime(headers: Headers) -> str:
    return _text(b"".join(header_values(headers, b"content-type")[:1])) or "x-unknown"


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace")


def _version() -> str:
    try:
        return version("hookreel")
    except PackageNotFoundError:  # run from a checkout
        return "0"
