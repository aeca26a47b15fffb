"""
One HAR 1.2 entry -> one exchange, by what the specification says and what exporters really write.

Nothing here raises on odd input: what cannot be taken as it is, is remarked upon.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, quote_plus

from captures.bodies.coding import CodingError, codings, decode, encode
from captures.model import Exchange, Failure, Headers, Request, Response
from captures.units import NS_PER_MS, NS_PER_S
from recorder.convert import HTTP1, HTTP2
from recorder.importers.failures import failure_from

NO_TIME = "entry without a time, its offset is made up"
NOT_HTTP = "entry of a URL that is not HTTP (data:, blob: and the like)"
NO_REQUEST = "entry without a request"

_DATE = re.compile(
    r"\s*(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,18}))?)?\s*"
    r"(Z|z|[+-]\d\d:?\d\d(?::\d\d)?)?\s*"
)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(?://([^/?#\\]*))?([^#]*)")
_SCHEMES = {"http": b"http", "https": b"https", "ws": b"http", "wss": b"https"}
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._\-]+)", re.IGNORECASE)
_SAFE = "!#$%&'()*+,/:;=?@[]-._~\"<>\\^`{|}"  # what is kept; spaces, controls and non-ASCII are escaped
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MS = 10**10  # 115 days
_MAX_WALL_NS = 2**62  # the year 2116; sums of times then stay within 64 bits


def start_wall_ns(entry: dict[str, Any]) -> int | None:
    """Unix time of ``startedDateTime`` in ns, all digits kept; None when it is absent or no time of ours."""
    value = entry.get("startedDateTime")
    match = _DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    year, month, day, hour, minute = (int(part) for part in match.group(1, 2, 3, 4, 5))
    try:
        moment = datetime(year, month, day, hour, minute, tzinfo=UTC) - _zone(match[8])
    except (ValueError, OverflowError):
        return None
    whole_s = (moment - _EPOCH) // timedelta(seconds=1) + int(match[6] or 0)
    wall_ns = whole_s * NS_PER_S + int((match[7] or "0").ljust(9, "0")[:9])
    return wall_ns if 0 <= wall_ns < _MAX_WALL_NS else None


def plain_exchange(
    entry: dict[str, Any], *, seq: int, connection: int, offset_ns: int, remarks: Counter[str]
) -> Exchange | None:
    """
    The exchange that an entry describes, its request at ``offset_ns``; None where it is not HTTP.

    ``remarks`` counts what had to be made up. A response that is absent or has status 0 is a
    Failure. A WebSocket's response is a stream, open until its messages say otherwise.
    """
    source = entry.get("request")
    request = _request(source, remarks) if isinstance(source, dict) else None
    if request is None:
        return None
    sent_ns, head_ns, end_ns = _times(entry, offset_ns)
    return Exchange(
        seq=seq,
        offset_ns=offset_ns,
        request_end_ns=sent_ns,
        connection=connection,
        request=request,
        outcome=_outcome(entry, request.method, head_ns, end_ns, remarks),
    )


def has_websocket_messages(entry: dict[str, Any]) -> bool:
    """Whether an entry was a WebSocket that opened; Chromium writes an empty list for those that did not."""
    messages = entry.get("_webSocketMessages")
    return isinstance(messages, list) and bool(messages)


def duration_ns(value: Any) -> int | None:
    """A HAR duration (ms, -1 for "does not apply") in ns."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value * NS_PER_MS) if 0 <= value < _MAX_MS else None


def _zone(text: str | None) -> timedelta:
    if text is None or text in "Zz":  # without a zone, UTC is meant more often than not
        return timedelta()
    digits = text[1:].replace(":", "")
    size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:6] or 0))
    return -size if text[0] == "-" else size


def _times(entry: dict[str, Any], offset_ns: int) -> tuple[int, int, int]:
    """When the request was sent, the response's head and its end seen."""
    timings = entry.get("timings")
    phases = timings if isinstance(timings, dict) else {}
    before, send, wait, receive = (
        duration_ns(phases.get(name)) for name in ("blocked", "send", "wait", "receive")
    )
    # "connect" holds "ssl" (HAR 1.2); all of them pass before the request is sent.
    set_up = sum(duration_ns(phases.get(name)) or 0 for name in ("dns", "connect"))
    total = duration_ns(entry.get("time"))
    if wait is None and receive is None:
        end_ns = offset_ns + (total or 0)
        return min(end_ns, offset_ns + (send or 0)), end_ns, end_ns
    sent_ns = offset_ns + (before or 0) + set_up + (send or 0)
    head_ns = sent_ns + (wait or 0)
    return sent_ns, head_ns, head_ns + (receive or 0)


# -- requests ------------------------------------------------------------------------------------


def _request(source: dict[str, Any], remarks: Counter[str]) -> Request | None:
    pseudo, headers = _headers(source.get("headers"), remarks)
    place = _place(source.get("url"), pseudo, headers)
    if place is None:
        return None
    scheme, authority, target = place
    method = source.get("method")
    if not isinstance(method, str) or not method:
        method = pseudo.get(":method") or "GET"
        remarks["request without a method, taken as GET"] += 1
    post = source.get("postData")
    body, truncated_bytes = b"", 0
    if isinstance(post, dict):
        body = _posted(post, headers, remarks)
    if not body and (missing := _size(source.get("bodySize"))):
        truncated_bytes = missing
        remarks["request body that the file does not hold"] += 1
    return Request(
        method=_bytes(method),
        scheme=scheme,
        authority=authority,
        target=target,
        http_version=_version(source.get("httpVersion"), pseudo),
        headers=headers,
        body=body,
        truncated_bytes=truncated_bytes,
    )


def _place(url: Any, pseudo: dict[str, str], headers: Headers) -> tuple[bytes, bytes, bytes] | None:
    if not isinstance(url, str):
        return None
    host = pseudo.get(":authority") or next(
        (value.decode("utf-8", "replace") for name, value in headers if name.lower() == b"host"), ""
    )
    if url.startswith("/") and host:
        scheme = _SCHEMES.get(pseudo.get(":scheme", "http"), b"http")
        return scheme, _authority(host), _target(url.partition("#")[0])
    match = _URL.fullmatch(url.strip().partition("#")[0])
    if match is None or match[1].lower() not in _SCHEMES or match[2] is None:
        return None
    authority = match[2].rpartition("@")[2] or host
    return (_SCHEMES[match[1].lower()], _authority(authority), _target(match[3])) if authority else None


def _authority(host: str) -> bytes:
    if host.isascii():
        return host.encode("ascii")
    try:
        return host.encode("idna")
    except UnicodeError:
        return _bytes(host)


def _target(text: str) -> bytes:
    target = text if text.startswith("/") else f"/{text}"
    return quote(target, safe=_SAFE, errors="replace").encode("ascii")


def _posted(post: dict[str, Any], headers: Headers, remarks: Counter[str]) -> bytes:
    text = post.get("text")
    mime = _text(post.get("mimeType"))
    if isinstance(text, str) and text:
        return body_bytes(text, post.get("encoding"), mime, headers, remarks)
    params = post.get("params")
    if not isinstance(params, list) or not params or "urlencoded" not in mime.lower():
        return b""
    pairs = [param for param in params if isinstance(param, dict)]
    remarks["form body made from its fields, so its escapes may differ"] += 1
    return b"&".join(b"%s=%s" % (_form(pair.get("name")), _form(pair.get("value"))) for pair in pairs)


def _form(value: Any) -> bytes:
    return quote_plus(_text(value), errors="replace").encode("ascii")


# -- responses -----------------------------------------------------------------------------------


def _outcome(
    entry: dict[str, Any], method: bytes, head_ns: int, end_ns: int, remarks: Counter[str]
) -> Response | Failure:
    source = entry.get("response")
    status = source.get("status") if isinstance(source, dict) else None
    if isinstance(status, str) and status.isascii() and status.isdigit():
        status = int(status[:4])
    opened = has_websocket_messages(entry)
    if not isinstance(source, dict) or type(status) is not int or not 100 <= status <= 999:
        if not opened:
            return _failure(entry, source, end_ns, remarks)
        remarks["WebSocket without a status, taken as opened (101)"] += 1
        status, source = 101, source if isinstance(source, dict) else {}
    if opened and status == 200:  # RFC 8441: over HTTP/2 a WebSocket opens with 200
        remarks["WebSocket over HTTP/2, kept as one that an upgrade opened (101)"] += 1
        status = 101
    pseudo, headers = _headers(source.get("headers"), remarks)
    websocket = opened or status == 101
    body, truncated_bytes = b"", 0
    if not websocket and method != b"HEAD" and status not in {204, 304}:
        body, truncated_bytes = _content(source, headers, remarks)
    return Response(
        status=status,
        reason=_bytes(_text(source.get("statusText"))),
        http_version=_version(source.get("httpVersion"), pseudo),
        headers=headers,
        offset_ns=head_ns,
        end_ns=end_ns,
        body=body,
        truncated_bytes=truncated_bytes,
        stream=websocket,
    )


def _failure(entry: dict[str, Any], source: Any, end_ns: int, remarks: Counter[str]) -> Failure:
    remarks["entry without a response, kept as a failure"] += 1
    texts = [
        _text(place.get(name))
        for place in (source, entry)
        if isinstance(place, dict)
        for name in ("_error", "statusText", "comment")
    ]
    text = next(filter(None, texts), "")
    return failure_from(text, end_ns, otherwise="the entry holds no response")


def _content(source: dict[str, Any], headers: Headers, remarks: Counter[str]) -> tuple[bytes, int]:
    content = source.get("content")
    if not isinstance(content, dict):
        content = {}
    text = content.get("text")
    if isinstance(text, str) and text:
        mime = _text(content.get("mimeType"))
        return body_bytes(text, content.get("encoding"), mime, headers, remarks), 0
    missing = _size(source.get("bodySize")) or _size(content.get("size"))
    if missing:
        remarks["response body that the file does not hold"] += 1
    return b"", missing


# -- parts ---------------------------------------------------------------------------------------


def body_bytes(text: str, encoding: Any, mime: str, headers: Headers, remarks: Counter[str]) -> bytes:
    """
    The bytes that a HAR text stands for, with the content coding that ``headers`` name.

    HAR holds bodies decoded, so the coding is applied again: the bytes differ from those on the
    wire wherever another compressor made them. A text that still has its coding keeps it.
    """
    if encoding == "base64":
        try:
            raw = base64.b64decode(text)
        except (binascii.Error, ValueError):
            remarks["body whose base64 is damaged, left out"] += 1
            return b""
    else:
        raw = _encoded(text, mime or _content_type(headers))
    coding = b",".join(value for name, value in headers if name.lower() == b"content-encoding")
    if not raw or not codings(coding):
        return raw
    try:
        decode(raw, coding)
    except CodingError:
        pass
    else:
        return raw
    try:
        coded = encode(raw, coding)
    except CodingError:
        remarks["body without the content coding its headers name"] += 1
        return raw
    remarks["body compressed again, so its bytes differ from the wire's"] += 1
    return coded


def _encoded(text: str, mime: str) -> bytes:
    named = _CHARSET.search(mime)
    try:
        return text.encode(named[1] if named else "utf-8")
    except (LookupError, UnicodeError, ValueError):
        return _bytes(text)


def _content_type(headers: Headers) -> str:
    return next((value.decode("latin-1") for name, value in headers if name.lower() == b"content-type"), "")


def _headers(source: Any, remarks: Counter[str]) -> tuple[dict[str, str], Headers]:
    """HTTP/2 pseudo-headers by name, and the headers in their order."""
    pseudo: dict[str, str] = {}
    headers: list[tuple[bytes, bytes]] = []
    for item in source if isinstance(source, list) else ():
        if isinstance(item, dict):
            name, value = item.get("name"), item.get("value")
        elif isinstance(item, list) and len(item) == 2:  # as Slack's exporter writes them
            name, value = item
        else:
            name = value = None
        if not isinstance(name, str) or not name:
            remarks["header that is none, left out"] += 1
        elif name.startswith(":"):
            pseudo[name.lower()] = _text(value)
        else:
            headers.append((_bytes(name), _bytes(_text(value))))
    return pseudo, tuple(headers)


def _version(value: Any, pseudo: dict[str, str]) -> bytes:
    """One spelling a version; what exporters write as "h2", "http/2.0" or "unknown" is told apart."""
    text = _text(value).strip().upper()
    if text in {"H2", "HTTP/2", "HTTP/2.0", "SPDY"}:
        return HTTP2
    if text.startswith(("H3", "HTTP/3", "QUIC")):
        return b"HTTP/3"
    if text == "HTTP/1.0":
        return b"HTTP/1.0"
    return HTTP2 if pseudo and text != "HTTP/1.1" else HTTP1


def _size(value: Any) -> int:
    return min(value, 2**40) if type(value) is int and value > 0 else 0


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")
