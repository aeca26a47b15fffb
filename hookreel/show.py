"""Exchanges as lines for a person and as JSON objects for a program."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from captures.bodies.coding import CodingError, codings, decode
from captures.credentials import find_credentials, replace_values
from captures.http1 import header_values
from captures.model import Exchange, Headers, Message, Request, Response
from captures.signatures import SIGNATURE_HEADERS
from captures.text import clean, clean_lines
from captures.units import format_duration, format_size

HIDDEN = b"(hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """
    What of an exchange is shown.

    ``bodies``: headers and bodies too; ``raw``: these with their content coding, as they were recorded;
    ``secrets``: the values of credentials.
    """

    bodies: bool = False
    raw: bool = False
    secrets: bool = False

    def visible(self, headers: Headers) -> Headers:
        """The headers as they may be shown."""
        return headers if self.secrets else hide_secrets(headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Body:
    """Bytes to show; their content coding, whether it was undone, and why it could not be."""

    shown: bytes = field(repr=False)
    coding: str = ""
    decoded: bool = False
    error: str = ""


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


def _decoded(body: bytes, headers: Headers, *, raw: bool) -> _Body:
    coding = b", ".join(header_values(headers, b"content-encoding"))
    if not body or not codings(coding):
        return _Body(shown=body)
    if raw:
        return _Body(shown=body, coding=_text(coding))
    try:
        return _Body(shown=decode(body, coding), coding=_text(coding), decoded=True)
    except CodingError as error:
        return _Body(shown=body, coding=_text(coding), error=str(error))


def _coded_record(body: bytes, headers: Headers, show: Show) -> dict[str, Any]:
    if not show.bodies:
        return {}
    decoded = _decoded(body, headers, raw=show.raw)
    record: dict[str, Any] = _body_record(decoded.shown)
    if decoded.coding:
        record |= {"content_coding": decoded.coding, "decoded": decoded.decoded}
    return record | ({"decoding_error": decoded.error} if decoded.error else {})


def exchange_record(exchange: Exchange, show: Show) -> dict[str, Any]:
    """
    One exchange as plain JSON values; a body that is not UTF-8 comes as base64.

    ``body_bytes`` is the size as recorded; ``decoded`` tells whether the content coding was undone.
    """
    request, outcome = exchange.request, exchange.outcome
    record: dict[str, Any] = {
        "seq": exchange.seq,
        "offset_ns": exchange.offset_ns,
        "request_end_ns": exchange.request_end_ns,
        "connection": exchange.connection,
        "request": {
            "method": _text(request.method),
            "url": _text(_url(request, show_secrets=show.secrets)),
            "http_version": _text(request.http_version),
            **_message_parts(request, show),
        },
        "signing": None if exchange.signing is None else exchange.signing.scheme.value,
    }
    if isinstance(outcome, Response):
        record["response"] = {
            "status": outcome.status,
            "reason": _text(outcome.reason),
            "http_version": _text(outcome.http_version),
            "offset_ns": outcome.offset_ns,
            "end_ns": outcome.end_ns,
            "stream": outcome.stream,
            **_message_parts(outcome, show),
        }
    else:
        record["failure"] = {
            "reason": outcome.reason.value,
            "offset_ns": outcome.offset_ns,
            "detail": outcome.detail,
        }
    return record


def _message_parts(part: Request | Response, show: Show) -> dict[str, Any]:
    """What requests and responses have in common: headers and body."""
    return {
        "headers": [[_text(name), _text(value)] for name, value in show.visible(part.headers)],
        "body_bytes": len(part.body),
        "truncated_bytes": part.truncated_bytes,
        **_coded_record(part.body, part.headers, show),
    }


def message_record(message: Message, show: Show) -> dict[str, Any]:
    """One message as plain JSON values."""
    return {
        "offset_ns": message.offset_ns,
        "from_client": message.from_client,
        "kind": message.kind.value,
        "payload_bytes": len(message.payload),
        **(_body_record(message.payload) if show.bodies else {}),
    }


def exchange_lines(exchange: Exchange, messages: Sequence[Message], show: Show) -> Iterator[str]:
    """One line an exchange; with bodies also headers and bodies; and a line a message."""
    request, outcome = exchange.request, exchange.outcome
    head = f"{exchange.offset_ns / 1e9:12.6f}s #{exchange.seq} c{exchange.connection}"
    target = request.target if show.secrets else hide_in_url(request.target)
    what = clean(f"{_text(request.method)} {_text(target)}")
    if isinstance(outcome, Response):
        took = "open" if outcome.end_ns is None else format_duration(outcome.end_ns - exchange.offset_ns)
        yield f"{head} {what} -> {outcome.status} in {took}, {format_size(len(outcome.body))}"
    else:
        why = clean(f"{outcome.reason} ({outcome.detail})" if outcome.detail else outcome.reason)
        yield f"{head} {what} -> failed: {why}"
    if show.bodies:
        yield from _part_lines(">", request, show)
        if isinstance(outcome, Response):
            yield from _part_lines("<", outcome, show)
    for message in messages:
        yield message_line(message, show)


def _part_lines(arrow: str, part: Request | Response, show: Show) -> Iterator[str]:
    """Headers and body; what stands in brackets says what was done with the body."""
    for name, value in show.visible(part.headers):
        yield clean(f"    {arrow} {_text(name)}: {_text(value)}")
    body = _decoded(part.body, part.headers, raw=show.raw)
    if body.coding:
        state = "decoded" if body.decoded else "as recorded"
        why = f", since it cannot be decoded: {body.error}" if body.error else ""
        yield clean(f"    {arrow} [{body.coding} body of {format_size(len(part.body))}, {state}{why}]")
    if body.shown:
        yield f"    {arrow} {clean_lines(_text(body.shown), _BODY_INDENT)}"
    if part.truncated_bytes:
        yield f"    {arrow} [{format_size(part.truncated_bytes)} more are not in the capture]"


def message_line(message: Message, show: Show, *, number: str = "") -> str:
    """One message; ``number`` names its exchange where it does not stand below it."""
    arrow = ">" if message.from_client else "<"
    text = f" {clean_lines(_text(message.payload).strip(), _BODY_INDENT)}" if show.bodies else ""
    size = f"{len(message.payload)} B"
    return f"{message.offset_ns / 1e9:12.6f}s {number}  {arrow} {message.kind} {size}{text}"


def source_problem_lines(problems: Sequence[str]) -> Iterator[str]:
    """What was missing in the captures that a capture was made from, below a heading of its own."""
    if problems:
        yield "  It was made from a capture that was not complete:"
        yield from (f"    {clean(problem)}" for problem in problems)
