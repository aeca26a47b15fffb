"""The bytes that a target gets are those that the client sent, but for the named rewrites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.http1 import RequestParser
from captures.model import Exchange
from replayer.replay import Replayed
from replayer.results import Outcome

Make = Callable[..., Exchange]
Send = Callable[..., Replayed]
Serve = Callable[..., Any]
Line = tuple[bytes, bytes]

TOKEN_LETTERS = "!#$%&'*+-.^_`|~09AZaz"
TOKENS = st.text(TOKEN_LETTERS, min_size=1, max_size=8).map(str.encode)
VALUES = st.binary(max_size=20).map(
    lambda data: bytes(byte for byte in data if byte == 9 or (byte >= 0x20 and byte != 0x7F)).strip(b" \t")
)
TARGETS = st.text("/aZ09.~%?&=#[]{}|\\^\"'<>;:@!$*+,()é", max_size=24).map(lambda text: b"/" + text.encode())
NAMED = frozenset(
    {
        b"host", b"connection", b"content-length", b"transfer-encoding", b"keep-alive", b"proxy-connection",
        b"te", b"upgrade", b"expect", b"trailer",
    }
)  # fmt: skip
LINES = st.lists(st.tuples(TOKENS.filter(lambda name: name.lower() not in NAMED), VALUES), max_size=6)
HOP_LINES = st.lists(
    st.sampled_from(
        [
            (b"Connection", b"keep-alive"),
            (b"connection", b"Close"),
            (b"CONNECTION", b"close, X-Hop"),
            (b"Connection", b"x-hop"),
            (b"X-Hop", b"1"),
            (b"Keep-Alive", b"timeout=5"),
            (b"TE", b"trailers"),
            (b"Expect", b"100-continue"),
            (b"Proxy-Connection", b"keep-alive"),
        ]
    ),
    max_size=3,
    unique_by=lambda line: line[0].lower(),
)
SPACES = st.sampled_from([b"", b" ", b"  ", b"\t"])


@st.composite
def wires(draw: st.DrawFn) -> bytes:
    """A legal request of an odd client."""
    lines = [(draw(st.sampled_from([b"Host", b"HOST", b"host"])), b"recorded.test:8080")]
    lines += draw(LINES) + draw(HOP_LINES)
    body = draw(st.binary(max_size=40))
    framing = draw(st.sampled_from(["none", "length", "chunks"]))
    if framing == "length":
        lines.append((b"content-LENGTH", b"%d" % len(body)))
    elif framing == "chunks":
        lines.append((b"Transfer-Encoding", b"Chunked"))
        size = draw(st.integers(1, 40))
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        body = b"".join(b"%X;ext=1\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    else:
        body = b""
    lines = draw(st.permutations(lines))
    method = draw(st.sampled_from([b"GET", b"POST", b"DELETE", b"M-SEARCH", b"patch"]))
    head = b"".join(b"%s:%s%s%s\r\n" % (name, draw(SPACES), value, draw(SPACES)) for name, value in lines)
    version = draw(st.sampled_from([b"HTTP/1.1", b"HTTP/1.0"] if framing != "chunks" else [b"HTTP/1.1"]))
    return b"%s %s %s\r\n%s\r\n%s" % (method, draw(TARGETS), version, head, body)


def renamed(wire: bytes, host: bytes) -> bytes:
    """What must arrive of ``wire``: the named rewrites done by hand, all else left as it is."""
    head, _, body = wire.partition(b"\r\n\r\n")
    first, *raw = head.split(b"\r\n")
    lines = [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in raw)]
    asked = [value.lower() for name, value in lines if name.lower() == b"connection"]
    dropped = {b"keep-alive", b"te", b"expect", b"proxy-connection"}
    if any(b"x-hop" in value for value in asked):
        dropped.add(b"x-hop")
    arrived: list[Line] = []
    for name, value in lines:
        kind = name.lower()
        if kind == b"host":
            arrived.append((name, host))
        elif kind == b"connection" and value.lower() not in (b"close", b"keep-alive"):
            arrived += [(name, b"close")] if b"close" in value else []
        elif kind == b"transfer-encoding":
            body = unchunked(body)
            arrived.append((b"Content-Length", b"%d" % len(body)))
        elif kind not in dropped:
            arrived.append((name, value))
    return b"\r\n".join([first, *(b"%s: %s" % line for line in arrived), b"", b""]) + body


def unchunked(data: bytes) -> bytes:
    """The body that chunks hold."""
    body = b""
    while size := int(data.partition(b";")[0].partition(b"\r\n")[0], 16):
        start = data.index(b"\r\n") + 2
        body, data = body + data[start : start + size], data[start + size + 2 :]
    return body


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(wires(), min_size=1, max_size=20))
def test_only_the_named_rewrites_change_what_arrives(
    exchange: Make, send: Send, serve: Serve, requests: list[bytes]
) -> None:
    """Order, case, duplicates, odd targets, bytes above 127 and bodies reach the target as they were sent."""
    server = serve()
    exchanges = []
    for number, wire in enumerate(requests):
        (parsed,) = RequestParser().feed(wire)
        exchanges.append(
            exchange(
                number,
                connection=number,
                method=parsed.method,
                target=parsed.target,
                headers=parsed.headers,
                body=parsed.body,
                http_version=parsed.http_version,
                trailers=parsed.trailers,
            )
        )
    replayed = send(exchanges, server.url)
    assert replayed.run.rows.outcome.tolist() == [Outcome.COMPLETED] * len(requests)
    host = b"127.0.0.1:%d" % server.port
    assert sorted(one.raw for one in server.seen) == sorted(renamed(wire, host) for wire in requests)
