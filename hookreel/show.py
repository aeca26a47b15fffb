"""Exchanges as lines for a person and as JSON objects for a program."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from captures.credentials import find_credentials, replace_values
from captures.model import Exchange, Headers, Message, Request, Response
from captures.signatures import SIGNATURE_HEADERS
from captures.text import clean, clean_lines
from captures.units import format_duration, format_size

HIDDEN = b"(hidden)"
_BODY_INDENT = " " * 8

_SECRET_NAMES = frozenset(
    {
        b"apikey", b"assertion", b"auth", b"authorization", b"code", b"jwt", b"key", b"passwd", b"pwd",
        b"session", b"session_id", b"sessionid", b"sid", b"sig", b"ticket", b"x_amz_credential",
    }
)  # fmt: skip
_SECRET_ENDINGS = (b"_key", b"credentials", b"password", b"secret", b"signature", b"token")
_URL_HEADERS = frozenset({b"content-location", b"link", b"location", b"referer", b"refresh"})
_QUERY = re.compile(rb"[?#]")
_BETWEEN_PARAMETERS = re.compile(rb"([?#&;])")
_USER = re.compile(rb"://[^/?#@\s]*@")


def hide_secrets(headers: Headers) -> Headers:
    """The same headers with the values of credentials, cookies and signatures hidden."""
    hidden = replace_values(headers, ((credential, HIDDEN) for credential in find_credentials(headers)))
    return tuple((name, _hide_value(name.lower(), value)) for name, value in hidden)


def _hide_value(lower_name: bytes, value: bytes) -> bytes:
    if lower_name == b"set-cookie" or lower_name in SIGNATURE_HEADERS:
        return HIDDEN
    return hide_in_url(value) if lower_name in _URL_HEADERS else value


def hide_in_url(url: bytes) -> bytes:
    """A target or URL without the user before the host and the values of parameters named like secrets."""
    match = _QUERY.search(url)
    stop = len(url) if match is None else match.start()
    parts = _BETWEEN_PARAMETERS.split(url[stop:])
    for at, part in enumerate(parts):
        name, equals, value = part.partition(b"=")
        if equals and value and _is_secret(name):
            parts[at] = name + b"=" + HIDDEN
    return _USER.sub(b"://" + HIDDEN + b"@", url[:stop]) + b"".join(parts)


def _is_secret(name: bytes) -> bool:
    plain = unquote_to_bytes(name).lower().replace(b"-", b"_")
    return plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDINGS)


def _url(request: Request, *, show_secrets: bool) -> bytes:
    url = b"%s://%s%s" % (request.scheme, request.authority, request.target)
    return url if show_secrets else hide_in_url(url)


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
            "url": _text(_url(request, show_secrets=show_secrets)),
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
    target = request.target if show_secrets else hide_in_url(request.target)
    what = clean(f"{_text(request.method)} {_text(target)}")
    if isinstance(outcome, Response):
        took = "open" if outcome.end_ns is None else format_duration(outcome.end_ns - exchange.offset_ns)
        yield f"{head} {what} -> {outcome.status} in {took}, {format_size(len(outcome.body))}"
    else:
        yield f"{head} {what} -> failed: {outcome.reason}"
    if bodies:
        visible = (lambda headers: headers) if show_secrets else hide_secrets
        yield from (clean(f"    > {_text(name)}: {_text(value)}") for name, value in visible(request.headers))
        if request.body:
            yield f"    > {clean_lines(_text(request.body), _BODY_INDENT)}"
        if isinstance(outcome, Response):
            yield from (
                clean(f"    < {_text(name)}: {_text(value)}") for name, value in visible(outcome.headers)
            )
            if outcome.body:
                yield f"    < {clean_lines(_text(outcome.body), _BODY_INDENT)}"
    for message in messages:
        arrow = ">" if message.from_client else "<"
        text = f" {clean_lines(_text(message.payload).strip(), _BODY_INDENT)}" if bodies else ""
        yield f"{message.offset_ns / 1e9:12.6f}s   {arrow} {message.kind} {len(message.payload)} B{text}"
