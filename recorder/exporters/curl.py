"""Captures as a bash script with a curl command for each request."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterable
from typing import BinaryIO

from captures.http1 import unfold
from captures.model import Exchange, Headers, Request, Response
from recorder.exporters.base import Exported, ExportNotes, Visible

_PLAIN = re.compile(rb"[\t\n\x20-\x7e]*")
_MAX_ARGUMENT_BYTES = 64 * 1024  # Linux takes 128 KiB an argument
_LINE_BYTES = 76
_TOKEN_PARAMETER = re.compile(
    rb"(?<=[?&])((?:access_?|refresh_?|id_?|auth_?|api_?)?(?:token|key|secret|password|passwd|pwd|signature|sig)"
    rb"|authorization|code)=[^&#]*",
    re.IGNORECASE,
)
_HIDDEN = rb"\1=(hidden)"
_SET_BY_CURL = (b"user-agent", b"accept")
_VERSIONS = {b"HTTP/1.0": "--http1.0", b"HTTP/1.1": "--http1.1", b"HTTP/2.0": "--http2"}


def write_curl(
    exchanges: Iterable[Exported], file: BinaryIO, notes: ExportNotes, *, visible: Visible | None
) -> None:
    """
    Write a script, requests in send order.

    ``visible`` hides what is secret in headers (and parameters that are named like secrets are
    hidden with it); None shows everything.
    """
    file.write(b"#!/usr/bin/env bash\n")
    for item in exchanges:
        exchange = item.exchange
        file.write(b"\n" + _comment(exchange) + curl_command(exchange.request, visible=visible))
        notes.exchanges += 1
        _count_lost(item, notes)


def curl_command(request: Request, *, visible: Visible | None) -> bytes:
    """The command that sends ``request``; a body that is no short text comes in as base64."""
    target, headers = request.target, request.headers
    if visible is not None:
        target, headers = _TOKEN_PARAMETER.sub(_HIDDEN, target), visible(headers)
    words = [b"curl --globoff --path-as-is --silent --show-error --include"]
    if request.http_version in _VERSIONS:
        words.append(_VERSIONS[request.http_version].encode())
    if request.method == b"HEAD":
        words.append(b"--head")
    else:
        words.append(b"--request " + quote(request.method))
    words += [b"--header " + quote(line) for line in _header_lines(headers, request)]
    here = b""
    if request.body:
        data, here = _data(request.body)
        words.append(data)
    words.append(quote(b"%s://%s%s" % (request.scheme, request.authority, target)))
    command = b" \\\n  ".join(words)
    return b"base64 -d <<'BODY' | " + command + b"\n" + here if here else command + b"\n"


def quote(value: bytes) -> bytes:
    """``value`` as one word of bash, whatever bytes it has; NUL, which no argument can hold, goes."""
    value = value.replace(b"\0", b"")
    if _PLAIN.fullmatch(value):
        return shlex.quote(value.decode("ascii")).encode("ascii")
    escaped = b"".join(
        b"\\" + bytes([byte])
        if byte in b"'\\"
        else bytes([byte])
        if 0x20 <= byte < 0x7F
        else b"\\x%02x" % byte
        for byte in value
    )
    return b"$'" + escaped + b"'"


def _header_lines(headers: Headers, request: Request) -> list[bytes]:
    lines, present = [], set()
    for name, value in headers:
        lower_name = name.lower()
        present.add(lower_name)
        if lower_name == b"content-length" and value.strip() == b"%d" % len(request.body):
            continue  # curl counts it itself
        if lower_name == b"host" and value == request.authority:
            continue
        # "Name;" is how curl spells a header with an empty value; "Name:" takes one away.
        lines.append(b"%s: %s" % (unfold(name), unfold(value)) if value else b"%s;" % unfold(name))
    lines += [name + b":" for name in _SET_BY_CURL if name not in present]
    if request.body and b"content-type" not in present:
        lines.append(b"content-type:")
    return lines


def _data(body: bytes) -> tuple[bytes, bytes]:
    """The option that sends ``body``, and the here-document that it reads, if any."""
    if len(body) <= _MAX_ARGUMENT_BYTES and b"\0" not in body and _is_text(body):
        return b"--data-raw " + quote(body), b""
    coded = base64.b64encode(body)
    lines = [coded[start : start + _LINE_BYTES] for start in range(0, len(coded), _LINE_BYTES)]
    return b"--data-binary @-", b"\n".join([*lines, b"BODY", b""])


def _is_text(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _comment(exchange: Exchange) -> bytes:
    outcome = exchange.outcome
    answer = f"{outcome.status}" if isinstance(outcome, Response) else f"failed: {outcome.reason}"
    cut = " (its body was cut)" if exchange.request.truncated_bytes else ""
    return f"# #{exchange.seq} at {exchange.offset_ns / 1e9:.6f} s: {answer}{cut}\n".encode()


def _count_lost(item: Exported, notes: ExportNotes) -> None:
    exchange = item.exchange
    notes.lost["responses and times (a status stands in the comment)"] += 1
    if item.messages:
        notes.lost["streams' messages"] += 1
    if exchange.request.trailers:
        notes.lost["trailers"] += 1
    if exchange.request.truncated_bytes:
        notes.lost["request bodies that were cut"] += 1
    if exchange.signing is not None:
        notes.lost["signatures to be made anew"] += 1
