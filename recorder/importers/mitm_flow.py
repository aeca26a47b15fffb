"""One mitmproxy flow, as it stands in a file, -> one exchange and its messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from mitmproxy import http

from captures.model import Exchange, Failure, Headers, Message, MessageKind, Request, Response
from recorder.importers.failures import failure_from
from recorder.importers.timeline import exact_ns

_BINARY_OPCODE = 2
_LIMIT_S = 2**32  # the year 2106; sums of times then stay within 64 bits


def plain_exchange(
    flow: http.HTTPFlow,
    *,
    seq: int,
    connection: int,
    offset_ns: int,
    started_wall_ns: int,
    remarks: Counter[str],
) -> Exchange:
    """
    The exchange that a flow describes, its request at ``offset_ns``.

    A flow with an error, or without a response, is a Failure. A WebSocket's response is a stream;
    its ``end_ns`` is None when the flow does not say when it ended.
    """
    data = flow.request.data
    body, truncated_bytes = _body(data, remarks)
    headers = _pairs(data.headers.fields)
    scheme = data.scheme or (b"https" if data.port == 443 else b"http")
    request_end_ns = _offset(data.timestamp_end, started_wall_ns, at_least=offset_ns)
    return Exchange(
        seq=seq,
        offset_ns=offset_ns,
        request_end_ns=request_end_ns,
        connection=connection,
        request=Request(
            method=data.method,
            scheme=scheme,
            authority=_authority(data, headers, scheme),
            target=data.path or b"/",
            http_version=data.http_version,
            headers=headers,
            body=body,
            trailers=_trailers(data),
            truncated_bytes=truncated_bytes,
        ),
        outcome=_outcome(flow, request_end_ns, started_wall_ns, remarks),
    )


def plain_messages(flow: http.HTTPFlow, exchange: Exchange, started_wall_ns: int) -> list[Message]:
    """The WebSocket messages of a flow, none for any other."""
    if flow.websocket is None:
        return []
    return [
        Message(
            exchange=exchange.seq,
            offset_ns=_offset(message.timestamp, started_wall_ns, at_least=exchange.offset_ns),
            from_client=message.from_client,
            kind=MessageKind.BINARY if int(message.type) == _BINARY_OPCODE else MessageKind.TEXT,
            payload=message.content,
        )
        for message in flow.websocket.messages
    ]


def wall_ns(timestamp: Any) -> int | None:
    """A timestamp (seconds since 1970) in ns; None where it is none. Good to about a quarter of a us."""
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float):
        return None
    return exact_ns(timestamp) if 0 <= timestamp < _LIMIT_S else None


def _offset(timestamp: float | None, started_wall_ns: int, *, at_least: int) -> int:
    wall = wall_ns(timestamp)
    return at_least if wall is None else max(at_least, wall - started_wall_ns)


def _outcome(
    flow: http.HTTPFlow, request_end_ns: int, started_wall_ns: int, remarks: Counter[str]
) -> Response | Failure:
    error, response, websocket = flow.error, flow.response, flow.websocket
    if response is None or (error is not None and websocket is None):
        if error is None:
            remarks["flow without a response, kept as a failure"] += 1
            return failure_from("", request_end_ns, otherwise="the flow holds no response")
        offset_ns = _offset(error.timestamp, started_wall_ns, at_least=request_end_ns)
        return failure_from(error.msg, offset_ns, otherwise="")
    data = response.data
    head_ns = _offset(data.timestamp_start, started_wall_ns, at_least=request_end_ns)
    end_ns: int | None = _offset(data.timestamp_end, started_wall_ns, at_least=head_ns)
    body, truncated_bytes = b"", 0
    if websocket is None:
        body, truncated_bytes = _body(data, remarks)
    else:
        ended = wall_ns(websocket.timestamp_end)
        end_ns = None if ended is None else max(head_ns, ended - started_wall_ns)
    return Response(
        status=data.status_code,
        reason=data.reason,
        http_version=data.http_version,
        headers=_pairs(data.headers.fields),
        offset_ns=head_ns,
        end_ns=end_ns,
        body=body,
        trailers=_trailers(data),
        truncated_bytes=truncated_bytes,
        stream=websocket is not None,
    )


def _body(data: Any, remarks: Counter[str]) -> tuple[bytes, int]:
    if data.content is not None:
        return data.content, 0
    length = data.headers.get("content-length", "")
    missing = int(length) if length.isascii() and length.isdigit() and len(length) < 13 else 0
    remarks["body that the flow does not hold"] += 1
    return b"", max(1, missing)


def _authority(data: http.RequestData, headers: Headers, scheme: bytes) -> bytes:
    if data.authority:
        return data.authority
    for name, value in headers:
        if name.lower() == b"host":
            return value
    host = f"[{data.host}]" if ":" in data.host else data.host
    default = 443 if scheme == b"https" else 80
    return (host if data.port == default else f"{host}:{data.port}").encode("utf-8", "replace")


def _trailers(data: Any) -> Headers:
    return () if data.trailers is None else _pairs(data.trailers.fields)


def _pairs(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name, value) for name, value in fields)
