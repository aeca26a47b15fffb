"""Captures as JSON lines: an object an exchange, with everything that a capture holds of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, BinaryIO

from captures.model import Exchange, Headers, Message, Response
from recorder.exporters.base import Exported, ExportNotes


def write_jsonl(exchanges: Iterable[Exported], file: BinaryIO, notes: ExportNotes) -> None:
    """Write a line for each exchange, in send order; its messages stand inside."""
    for item in exchanges:
        file.write(json.dumps(jsonl_record(item), ensure_ascii=False).encode("utf-8") + b"\n")
        notes.exchanges += 1
        notes.messages += len(item.messages)


def jsonl_record(item: Exported) -> dict[str, Any]:
    """
    One exchange as plain JSON values.

    Bytes that are UTF-8 stand as text under their name, others as base64 under ``NAME_base64``.
    """
    exchange = item.exchange
    request = exchange.request
    record: dict[str, Any] = {
        "seq": exchange.seq,
        "wall_ns": item.header.started_wall_ns + exchange.offset_ns,
        "offset_ns": exchange.offset_ns,
        "request_end_ns": exchange.request_end_ns,
        "connection": exchange.connection,
        "request": {
            **_bytes("method", request.method),
            **_bytes("scheme", request.scheme),
            **_bytes("authority", request.authority),
            **_bytes("target", request.target),
            **_bytes("http_version", request.http_version),
            **_pairs("headers", request.headers),
            **_bytes("body", request.body),
            **_pairs("trailers", request.trailers),
            "truncated_bytes": request.truncated_bytes,
        },
        **_outcome(exchange),
    }
    if exchange.signing is not None:
        record["signing"] = {
            "scheme": exchange.signing.scheme.value,
            **_bytes("header", exchange.signing.header),
        }
    if item.messages:
        record["messages"] = [_message(message) for message in item.messages]
    return record


def _outcome(exchange: Exchange) -> dict[str, Any]:
    outcome = exchange.outcome
    if not isinstance(outcome, Response):
        failure = {"reason": outcome.reason.value, "offset_ns": outcome.offset_ns, "detail": outcome.detail}
        return {"failure": failure}
    return {
        "response": {
            "status": outcome.status,
            **_bytes("reason", outcome.reason),
            **_bytes("http_version", outcome.http_version),
            **_pairs("headers", outcome.headers),
            "offset_ns": outcome.offset_ns,
            "end_ns": outcome.end_ns,
            **_bytes("body", outcome.body),
            **_pairs("trailers", outcome.trailers),
            "truncated_bytes": outcome.truncated_bytes,
            "stream": outcome.stream,
        }
    }


def _message(message: Message) -> dict[str, Any]:
    return {
        "offset_ns": message.offset_ns,
        "from_client": message.from_client,
        "kind": message.kind.value,
        **_bytes("payload", message.payload),
        "truncated_bytes": message.truncated_bytes,
    }


def _bytes(name: str, value: bytes) -> dict[str, str]:
    try:
        return {name: value.decode("utf-8")}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value).decode("ascii")}


def _pairs(name: str, headers: Headers) -> dict[str, list[list[str]]]:
    try:
        return {name: [[key.decode("utf-8"), value.decode("utf-8")] for key, value in headers]}
    except UnicodeDecodeError:
        coded = [
            [base64.b64encode(key).decode("ascii"), base64.b64encode(value).decode("ascii")]
            for key, value in headers
        ]
        return {f"{name}_base64": coded}
