"""
Values that stand in one place only, each in every place and encoding: none comes out.

Nothing here knows how values are found. Every plant is a value of its own, so that no other
exchange tells it; the search undoes encodings with the standard library alone.
"""

from __future__ import annotations

import base64
import gzip
import html
import itertools
import json
import quopri
import random
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote_to_bytes

import brotli
import msgpack
import pytest
import zstandard

from anonymizer.exchanges import anonymize_exchanges
from anonymizer.policy import Policy
from captures.model import Exchange, Response

KEY = b"a key for tests, 32 bytes long.."
ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
MARK = b"multipart/form-data; boundary=Xb0uNd"


class Maker(random.Random):
    """Values that are the same in every run."""

    def letters(self, count: int) -> str:
        return "".join(self.choice("bcdfghjklmnprstvwz" if at % 2 == 0 else "aeiou") for at in range(count))

    def of(self, alphabet: str, count: int) -> str:
        return "".join(self.choice(alphabet) for _ in range(count))

    def card(self) -> str:
        digits = "4532" + self.of("0123456789", 11)
        doubled = "".join(str(int(digit) * (2 - at % 2)) for at, digit in enumerate(digits))
        return digits + str(-sum(map(int, doubled)) % 10)

    def iban(self) -> str:
        account = "37040044" + self.of("0123456789", 10)
        return f"DE{98 - int(account + '131400') % 97:02d}{account}"

    def address(self) -> str:
        return ".".join(("81", *(str(self.randint(3, 250)) for _ in range(3))))

    def token(self) -> str:
        return f"xoxb-{self.of('123456789', 12)}-{self.of('123456789', 12)}-{self.of(ALPHANUMERIC, 24)}"


VALUES: dict[str, Callable[[Maker], str]] = {
    "email": lambda make: f"{make.letters(5)}.{make.letters(6)}@{make.letters(8)}.io",
    "phone": lambda make: "+49307" + make.of("0123456789", 7),
    "card": Maker.card,
    "iban": Maker.iban,
    "ip": Maker.address,
    "token": lambda make: "ghp_" + make.of(ALPHANUMERIC, 36),
    "another token": Maker.token,
}


def bits(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda v: v,
    "in a sentence": lambda v: f"please ask {v}, thanks",
    "percent": lambda v: quote(v, safe=""),
    "percent, every byte": lambda v: "".join(f"%{byte:02X}" for byte in v.encode()),
    "percent, twice": lambda v: quote(quote(v, safe=""), safe=""),
    "references": lambda v: "".join(f"&#{ord(char)};" for char in v),
    "unicode escapes": lambda v: "".join(f"\\u{ord(char):04x}" for char in v),
    "base64": bits,
    "base64 of JSON": lambda v: bits(json.dumps({"k": v})).rstrip("="),
    "base64, twice": lambda v: bits(bits(v)),
    "gzip in base64": lambda v: base64.b64encode(gzip.compress(json.dumps([v]).encode(), mtime=0)).decode(),
    "hex": lambda v: v.encode().hex(),
    "base32": lambda v: base64.b32encode(v.encode()).decode(),
    "JSON in a string": lambda v: json.dumps({"k": v}),
    "a query": lambda v: f"https://x.test/p?q={quote(v, safe='')}&r=1",
    "XML": lambda v: f"<a><b>{html.escape(v)}</b></a>",
}


def parts(head: bytes, content: bytes) -> bytes:
    return b"--Xb0uNd\r\n%b\r\n\r\n%b\r\n--Xb0uNd--\r\n" % (head, content)


def typed(kind: bytes, body: bytes, coding: bytes = b"") -> dict[str, Any]:
    more = ((b"Content-Encoding", coding),) if coding else ()
    return {"headers": ((b"Content-Type", kind), *more), "body": body}


def answered(kind: bytes, body: bytes) -> dict[str, Any]:
    return {"response_headers": ((b"Content-Type", kind),), "response_body": body}


def document(text: str) -> bytes:
    return json.dumps({"id": 7, "list": ["x", text]}).encode()


def sized(flag: bytes, message: bytes) -> bytes:
    return flag + len(message).to_bytes(4) + message


def message(text: bytes) -> bytes:
    assert len(text) < 16_384
    return b"\x08\x01\x12" + bytes([len(text) & 127 | 128, len(text) >> 7]) + text


JSON, FILE = b"application/json", b'Content-Disposition: form-data; name="f"; filename="'
PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "JSON": lambda s: typed(JSON, document(s)),
    "NDJSON": lambda s: typed(b"application/x-ndjson", b"{}\n" + document(s)),
    "no type": lambda s: typed(b"application/octet-stream", document(s)),
    "form": lambda s: typed(b"application/x-www-form-urlencoded", f"a=1&note={quote_plus(s)}".encode()),
    "query": lambda s: {"target": f"/x?note={quote(s, safe='')}".encode()},
    "name of a query": lambda s: {"target": f"/x?{quote(s, safe='')}=1".encode()},
    "fragment": lambda s: {"target": f"/x#note={quote(s, safe='')}".encode()},
    "header": lambda s: {"headers": ((b"X-Note", s.encode()),)},
    "referer": lambda s: {"headers": ((b"Referer", f"https://x.test/?n={quote(s, safe='')}".encode()),)},
    "location": lambda s: {"response_headers": ((b"Location", f"/y?n={quote(s, safe='')}".encode()),)},
    "cookie": lambda s: {"headers": ((b"Cookie", f"a+^b[]={quote(s, safe='%')}".encode()),)},
    "reason": lambda s: {"reason": s.encode()},
    "file name": lambda s: typed(
        MARK, parts(FILE + s.replace('"', "'").encode() + b'"\r\nContent-Type: text/plain', b"x")
    ),
    "part": lambda s: typed(MARK, parts(b'Content-Disposition: form-data; name="note"', s.encode())),
    "file of JSON": lambda s: typed(MARK, parts(FILE + b'a"\r\nContent-Type: application/json', document(s))),
    "part in base64": lambda s: typed(
        MARK,
        parts(
            FILE + b'a"\r\nContent-Type: application/json\r\nContent-Transfer-Encoding: base64',
            base64.b64encode(document(s)),
        ),
    ),
    "element": lambda s: typed(b"application/xml", f"<r><n>{html.escape(s)}</n></r>".encode()),
    "attribute": lambda s: typed(b"application/xml", f'<r n="{html.escape(s)}"/>'.encode()),
    "characters": lambda s: typed(b"application/xml", f"<r><n><![CDATA[{s}]]></n></r>".encode()),
    "page": lambda s: answered(b"text/html", f"<!doctype html><p>Hi {html.escape(s)}</p>".encode()),
    "script": lambda s: answered(b"text/html", b"<script>let a = %b;</script>" % document(s)),
    "GraphQL": lambda s: typed(JSON, json.dumps({"query": f"{{ f(a: {json.dumps(s)}) {{ id }} }}"}).encode()),
    "event": lambda s: answered(b"text/event-stream", b"event: x\ndata: %b\n\n" % document(s)),
    "log": lambda s: typed(b"text/plain", f"INFO note: {s}\n".encode()),
    "gzip": lambda s: typed(JSON, gzip.compress(document(s), mtime=0), b"gzip"),
    "deflate": lambda s: typed(JSON, zlib.compress(document(s)), b"deflate"),
    "brotli": lambda s: typed(JSON, brotli.compress(document(s)), b"br"),
    "zstd": lambda s: typed(JSON, zstandard.ZstdCompressor().compress(document(s)), b"zstd"),
    "MessagePack": lambda s: typed(b"application/msgpack", msgpack.packb({"a": 1, "n": s})),
    "protobuf": lambda s: typed(b"application/x-protobuf", message(s.encode())),
    "gRPC": lambda s: typed(b"application/grpc", sized(b"\0", message(s.encode()))),
    "UTF-16": lambda s: typed(b"application/json; charset=utf-16", document(s).decode().encode("utf-16")),
}


def fields(exchange: Exchange) -> Iterator[bytes]:
    """Every byte string of ``exchange``; messages of gRPC without what stands before them."""
    request, response = exchange.request, exchange.outcome
    assert isinstance(response, Response)
    yield from (request.target, request.body, request.body[5:], response.body, response.reason)
    yield from itertools.chain.from_iterable((*request.headers, *response.headers))


def opened(data: bytes, depth: int = 5) -> set[bytes]:
    """``data`` and all that stands in it under encodings."""
    seen = {data}
    fresh = {data} if data else set()
    for _ in range(depth):
        fresh = {inner for one in fresh for inner in inside(one) if inner} - seen
        seen |= fresh
    return seen


def inside(data: bytes) -> Iterator[bytes]:
    yield unquote_to_bytes(data)
    yield unquote_to_bytes(data.replace(b"+", b" "))
    yield html.unescape(data.decode("utf-8", "replace")).encode()
    yield re.sub(rb"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)).encode(), data)
    yield data.replace(b'\\"', b'"').replace(b"\\\\", b"\\")
    yield quopri.decodestring(data)
    if data[:2] == b"\xff\xfe":
        yield data.decode("utf-16").encode()
    for pattern, decode in (
        (rb"[A-Za-z0-9+/]{8,}", lambda run: base64.b64decode(run + b"=" * (-len(run) % 4))),
        (rb"[0-9a-f]{12,}", lambda run: bytes.fromhex(run[: len(run) // 2 * 2].decode())),
        (rb"[A-Z2-7]{8,}", lambda run: base64.b32decode(run + b"=" * (-len(run) % 8))),
        (rb"(?s)\x1f\x8b.*", gzip.decompress),
        (rb"(?s)\A\x78.*", zlib.decompress),
        (rb"(?s)\A\x28\xb5\x2f\xfd.*", lambda run: zstandard.decompress(run, 100_000)),
        (rb"(?s)\A.*", brotli.decompress),
    ):
        for run in re.findall(pattern, data):
            for shifted in (run, run[1:]):  # a length before it may look like a part of it
                try:
                    yield decode(shifted)
                except (ValueError, OSError, EOFError, zlib.error, zstandard.ZstdError, brotli.error):
                    continue


def survives(value: str, exchange: Exchange) -> bool:
    """Whether ``value``, or the local part of an address, can be found in ``exchange``."""
    parts = {value.lower().encode(), value.partition("@")[0].lower().encode()}
    texts = {text.lower() for data in fields(exchange) for text in opened(data)}
    return any(part in text for part in parts for text in texts)


@pytest.mark.parametrize("place", list(PLACES))
def test_a_value_that_stands_once_goes(place: str, make_exchange: Any) -> None:
    """Whatever kind it is of and however it is written, its place is enough to find it."""
    maker = Maker(place)
    planted: list[tuple[str, str, Exchange]] = []
    for name, encode in ENCODINGS.items():
        for kind, make in VALUES.items():
            value = make(maker)
            one = make_exchange(len(planted), **PLACES[place](encode(value)))
            planted.append((f"{name}, {kind}", value, one))
    told = [what for what, value, exchange in planted if not survives(value, exchange)]
    assert told == []  # the search itself finds each
    out = anonymize_exchanges([exchange for *_, exchange in planted], policy=Policy(), key=KEY)
    assert [what for (what, value, _), new in zip(planted, out, strict=True) if survives(value, new)] == []
