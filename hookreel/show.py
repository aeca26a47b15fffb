"""Exchanges as lines for a person and as JSON objects for a program."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

from captures.credentials import find_credentials
from captures.model import Exchange, Headers, Message, Response
from captures.signatures import SIGNATURE_HEADERS
from captures.units import format_duration, format_size

HIDDEN = b"(hidden)"


def hide_secrets(headers: Headers) -> Headers:
    """The same headers with the values of credentials, cookies and signatures hidden."""
    hidden = list(headers)
    for credential in reversed(list(find_credentials(headers))):
        name, value = hidden[credential.header]
        hidden[credential.header] = (name, value[: credential.start] + HIDDEN + value[credential.stop :])
    return tuple(
        (name, HIDDEN if name.lower() == b"set-cookie" or name.lower() in SIGNATURE_HEADERS else value)
        for name, value in hidden
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="backslashreplace")


def _body_record(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode("ascii")}


def exchange_record(exchange: Exchange, *, bodies: bool, show_secrets: bool) -> dict[str, Any]:
    """One exchange as plain JSON values; a body that is not UTF-8 comes as base64."""
    request, outcome = exchange.request, exchange.outcome
    visible = (lambda headers: headers) if show_secrets else hide_secrets
    record: dict[str, Any] = {
        "seq": exchange.seq,
        "offset_ns": exchange.offset_ns,
        "request_end_ns": exchange.request_end_ns,
        "connection": exchange.connection,
        "request": {
            "method": _text(request.method),
            "url": _text(b"%s://%s%s" % (request.scheme, request.authority, request.target)),
            "http_version": _text(request.http_version),
            "headers": [[_text(name), _text(value)] for name, value in visible(request.headers)],
            "body_bytes": len(request.body),
            "truncated_bytes": request.truncated_bytes,
            **(_body_record(request.body) if bodies else {}),
        },
        "signing": None if exchange.signing is None else exchange.signing.scheme.value,
    }
    if isinstance(outcome, Response):
        record["response"] = {
            "status": outcome.status,
            "reason": _text(outcome.reason),
            "http_version": _text(outcome.http_version),
            "headers": [[_text(name), _text(value)] for name, value in visible(outcome.headers)],
            "offset_ns": outcome.offset_ns,
            "end_ns": outcome.end_ns,
            "stream": outcome.stream,
            "body_bytes": len(outcome.body),
            "truncated_bytes": outcome.truncated_bytes,
            **(_body_record(outcome.body) if bodies else {}),
        }
    else:
        record["failure"] = {
            "reason": outcome.reason.value,
            "offset_ns": outcome.offset_ns,
            "detail": outcome.detail,
        }
    return record


def message_record(message: Message, *, bodies: bool) -> dict[str, Any]:
    """One message as plain JSON values."""
    return {
        "offset_ns": message.offset_ns,
        "from_client": message.from_client,
        "kind": message.kind.value,
        "payload_bytes": len(message.payload),
        **(_body_record(message.payload) if bodies else {}),
    }


def exchange_lines(
    exchange: Exchange, messages: Sequence[Message], *, bodies: bool, show_secrets: bool
) -> Iterator[str]:
    """One line an exchange; with ``bodies`` also headers and bodies, and a line a message."""
    request, outcome = exchange.request, exchange.outcome
    head = f"{exchange.offset_ns / 1e9:12.6f}s #{exchange.seq} c{exchange.connection}"
    what = f"{_text(request.method)} {_text(request.target)}"
    if isinstance(outcome, Response):
        took = "open" if outcome.end_ns is None else format_duration(outcome.end_ns - exchange.offset_ns)
        yield f"{head} {what} -> {outcome.status} in {took}, {format_size(len(outcome.body))}"
    else:
        yield f"{head} {what} -> failed: {outcome.reason}"
    if bodies:
        visible = (lambda headers: headers) if show_secrets else hide_secrets
        yield from (f"    > {_text(name)}: {_text(value)}" for name, value in visible(request.headers))
        if request.body:
            yield f"    > {_text(request.body)}"
        if isinstance(outcome, Response):
            yield from (f"    < {_text(name)}: {_text(value)}" for name, value in visible(outcome.headers))
            if outcome.body:
                yield f"    < {_text(outcome.body)}"
    for message in messages:
        arrow = ">" if message.from_client else "<"
        text = f" {_text(message.payload).strip()}" if bodies else ""
        yield f"{message.offset_ns / 1e9:12.6f}s   {arrow} {message.kind} {len(message.payload)} B{text}"
