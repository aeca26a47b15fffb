"""One record in bodies of every kind: nothing of it left, one stand-in everywhere, the structure whole."""

from __future__ import annotations

import base64
import codecs
import email.parser
import email.policy
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode

import msgpack
import pytest
import zstandard
from google.protobuf import struct_pb2
from graphql import parse as parse_graphql
from lxml import etree, html

from anonymizer.audit import audit
from anonymizer.policy import Policy, parse_policy
from captures.bodies.envelopes import enveloped, envelopes
from captures.model import Message, MessageKind
from captures.reader import CaptureReader

RECORD = {
    "first_name": "Wilhelmina",
    "last_name": "Thackeray",
    "email": "wilhelmina.thackeray@corp-nine.io",
    "login": "wthackeray",
    "phone": "+1 415 555 2671",
    "access_token": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "card_number": "5555555555554444",
    "note": "see wthackeray & <Thackeray>",
    "plan": "gold",
}
JSON = b"application/json"
PLAIN = json.dumps(RECORD).encode()


class Kind(NamedTuple):
    """How a record is written in a body of some kind, and read from it again."""

    content_type: bytes
    write: Callable[[dict[str, str]], bytes]
    read: Callable[[bytes], dict[str, str]]
    headers: tuple[tuple[bytes, bytes], ...] = ()


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def to_xml(record: dict[str, str]) -> bytes:
    inside = "".join(f"<{key}>{escaped(value)}</{key}>" for key, value in record.items())
    return f'<?xml version="1.0"?>\n<r:users xmlns:r="urn:r"><user>{inside}</user></r:users>'.encode()


def from_xml(data: bytes) -> dict[str, str]:
    return {element.tag: element.text for element in etree.fromstring(data)[0]}


def to_attributes(record: dict[str, str]) -> bytes:
    inside = " ".join(f'{key}="{escaped(value)}"' for key, value in record.items())
    return f"<a><user {inside}/></a>".encode()


def to_cdata(record: dict[str, str]) -> bytes:
    inside = "".join(f"<{key}><![CDATA[{value}]]></{key}>" for key, value in record.items())
    return f"<x><user>{inside}</user></x>".encode()


def to_html_form(record: dict[str, str]) -> bytes:
    fields = "".join(
        f'<input type=text name="{key}" value="{escaped(value)}">' for key, value in record.items()
    )
    return f"<!DOCTYPE html><html><body><form>{fields}<p>hello<br></form></body></html>".encode()


def from_html_form(data: bytes) -> dict[str, str]:
    return {field.get("name"): field.get("value") for field in html.fromstring(data).iter("input")}


def to_graphql(record: dict[str, str]) -> bytes:
    inside = ", ".join(f"{key}: {json.dumps(value)}" for key, value in record.items())
    return f"mutation {{ add(input: {{{inside}}}) {{ id }} }}".encode()


def from_graphql(data: bytes) -> dict[str, str]:
    field = parse_graphql(data.decode()).definitions[0].selection_set.selections[0]
    return {one.name.value: one.value.value for one in field.arguments[0].value.fields}


def to_struct(record: dict[str, str]) -> bytes:
    made = struct_pb2.Struct()
    made.update({"deep": {"deeper": {"list": [record]}}, "pad": "y" * 300})
    return made.SerializeToString(deterministic=True)


def from_struct(data: bytes) -> dict[str, str]:
    made = struct_pb2.Struct.FromString(data)
    assert made["pad"] == "y" * 300
    return dict(made["deep"]["deeper"]["list"][0])


def to_multipart(record: dict[str, str]) -> bytes:
    parts = [
        b'--QQ\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (key.encode(), value.encode())
        for key, value in record.items()
    ]
    return b"".join((*parts, b"--QQ--\r\n"))


def from_multipart(data: bytes) -> dict[str, str]:
    whole = b"Content-Type: multipart/form-data; boundary=QQ\r\n\r\n" + data
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(whole)
    return {
        part.get_param("name", header="content-disposition"): part.get_content()
        for part in message.iter_parts()
    }


def enveloped_by(flags: int, pack: Callable[[bytes], bytes], write: Any, read: Any) -> tuple[Any, Any]:
    def to(record: dict[str, str]) -> bytes:
        return enveloped(flags, pack(write(record))) + enveloped(0, b"")

    def back(data: bytes) -> dict[str, str]:
        found = envelopes(data)
        assert found is not None
        assert [one.flags for one in found] == [flags, 0]
        inside = data[found[0].start : found[0].stop]
        return read(gzip.decompress(inside) if flags else inside)

    return to, back


def in_coding(pack: Any, unpack: Any) -> tuple[Any, Any]:
    return (lambda record: pack(to_json(record))), (lambda data: json.loads(unpack(data)))


def to_json(record: dict[str, str]) -> bytes:
    return json.dumps(record).encode()


def in_charset(name: str, mark: bytes = b"") -> tuple[Any, Any]:
    def to(record: dict[str, str]) -> bytes:
        return mark + json.dumps(record).encode(name)

    def back(data: bytes) -> dict[str, str]:
        assert data.startswith(mark)
        return json.loads(data[len(mark) :].decode(name))

    return to, back


def same(data: bytes) -> bytes:
    return data


def to_grpc_web_text(record: dict[str, str]) -> bytes:
    return base64.b64encode(enveloped(0, to_struct(record)))


def from_grpc_web_text(data: bytes) -> dict[str, str]:
    raw = base64.b64decode(data)
    found = envelopes(raw)
    assert found is not None
    return from_struct(raw[found[0].start : found[0].stop])


def to_events(record: dict[str, str]) -> bytes:
    lines = json.dumps(record, indent=1).encode().split(b"\n")
    return b"event: x\n" + b"".join(b"data: %b\n" % line for line in lines) + b"\n"


def from_events(data: bytes) -> dict[str, str]:
    lines = data.split(b"\n")
    return json.loads(b"".join(line[6:] for line in lines if line.startswith(b"data: ")))


def to_log(record: dict[str, str]) -> bytes:
    pairs = " ".join(f'{key}="{value}"' for key, value in record.items())
    return f"2026-01-02 INFO start\n2026-01-02 INFO {pairs}\n".encode()


def from_log(data: bytes) -> dict[str, str]:
    pairs = data.decode().split("INFO ")[2].strip().removesuffix('"')
    return dict(pair.split('="') for pair in pairs.split('" '))


def to_lines(record: dict[str, str]) -> bytes:
    return ("user:\n" + "".join(f"  {key}: {value}\n" for key, value in record.items())).encode()


def from_lines(data: bytes) -> dict[str, str]:
    return dict(line.strip().split(": ", 1) for line in data.decode().splitlines()[1:])


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data)


def twice(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data))


def back_twice(data: bytes) -> bytes:
    return gzip.decompress(gzip.decompress(data))


def to_variables(record: dict[str, str]) -> bytes:
    return json.dumps({"query": "query Q($i: In) { a(i: $i) { b } }", "variables": {"i": record}}).encode()


GZIPPED = ((b"grpc-encoding", b"gzip"),)
KINDS: dict[str, Kind] = {
    "XML": Kind(b"application/xml; charset=utf-8", to_xml, from_xml),
    "SOAP": Kind(b"application/soap+xml", to_xml, from_xml),
    "XML called text": Kind(b"text/plain", to_xml, from_xml),
    "XML attributes": Kind(b"text/xml", to_attributes, lambda data: dict(etree.fromstring(data)[0].attrib)),
    "XML CDATA": Kind(b"text/xml", to_cdata, from_xml),
    "HTML form": Kind(b"text/html", to_html_form, from_html_form),
    "GraphQL": Kind(b"application/graphql", to_graphql, from_graphql),
    "GraphQL called text": Kind(b"", to_graphql, from_graphql),
    "GraphQL in JSON": Kind(
        JSON,
        lambda record: json.dumps({"query": to_graphql(record).decode(), "variables": {}}).encode(),
        lambda data: from_graphql(json.loads(data)["query"].encode()),
    ),
    "GraphQL variables": Kind(
        JSON,
        to_variables,
        lambda data: json.loads(data)["variables"]["i"],
    ),
    "NDJSON": Kind(
        b"application/x-ndjson",
        lambda record: b'{"a": 1.10}\n' + to_json(record) + b"\n",
        lambda data: json.loads(data.removeprefix(b'{"a": 1.10}\n')),
    ),
    "JSON text sequence": Kind(
        b"application/json-seq",
        lambda record: b"\x1e" + to_json(record) + b"\n",
        lambda data: json.loads(data.removeprefix(b"\x1e")),
    ),
    "JSON called text": Kind(b"text/plain", to_json, json.loads),
    "JSON called a form": Kind(b"application/x-www-form-urlencoded", to_json, json.loads),
    "JSON called XML": Kind(b"application/xml", to_json, json.loads),
    "JSON with a mark": Kind(JSON, *in_charset("utf-8", codecs.BOM_UTF8)),
    "JSON in UTF-16": Kind(JSON + b"; charset=utf-16", *in_charset("utf-16-le", codecs.BOM_UTF16_LE)),
    "JSON in UTF-16, big end first": Kind(JSON, *in_charset("utf-16-be", codecs.BOM_UTF16_BE)),
    "JSON in UTF-16, unmarked": Kind(JSON, *in_charset("utf-16-le")),
    "JSON in UTF-16, stated": Kind(b"text/plain; charset=utf-16", *in_charset("utf-16-be")),
    "JSON in UTF-32": Kind(JSON, *in_charset("utf-32-le", codecs.BOM_UTF32_LE)),
    "JSON in UTF-7": Kind(b"application/json; charset=utf-7", *in_charset("utf-7")),
    "JSON in JSON": Kind(
        JSON,
        lambda record: json.dumps({"inner": json.dumps({"more": json.dumps(record)})}).encode(),
        lambda data: json.loads(json.loads(json.loads(data)["inner"])["more"]),
    ),
    "gzip unstated": Kind(JSON, *in_coding(gzip.compress, gzip.decompress)),
    "gzip in gzip": Kind(
        JSON,
        *in_coding(twice, back_twice),
        ((b"Content-Encoding", b"gzip"),),
    ),
    "zlib unstated": Kind(b"application/octet-stream", *in_coding(zlib.compress, zlib.decompress)),
    "zstd unstated": Kind(b"", *in_coding(zstd, unzstd)),
    "form called text": Kind(
        b"text/plain",
        lambda record: urlencode(record).encode() + b"\r\n",
        lambda data: {key: value for key, (value,) in parse_qs(data.decode().strip()).items()},
    ),
    "form called JSON": Kind(
        JSON,
        lambda record: urlencode(record).encode(),
        lambda data: {key: value for key, (value,) in parse_qs(data.decode()).items()},
    ),
    "MessagePack": Kind(b"application/msgpack", msgpack.packb, msgpack.unpackb),
    "MessagePack deep": Kind(
        b"application/x-msgpack",
        lambda record: msgpack.packb({"a": [1, {"b": record}], "z": [2.5, None, True]}),
        lambda data: msgpack.unpackb(data)["a"][1]["b"],
    ),
    "MessagePack unstated": Kind(b"", msgpack.packb, msgpack.unpackb),
    "MessagePack in base64": Kind(
        JSON,
        lambda record: json.dumps({"blob": base64.b64encode(msgpack.packb(record)).decode()}).encode(),
        lambda data: msgpack.unpackb(base64.b64decode(json.loads(data)["blob"])),
    ),
    "Protocol Buffers": Kind(b"application/x-protobuf", to_struct, from_struct),
    "Protocol Buffers in base64": Kind(
        JSON,
        lambda record: json.dumps({"blob": base64.b64encode(to_struct(record)).decode()}).encode(),
        lambda data: from_struct(base64.b64decode(json.loads(data)["blob"])),
    ),
    "gRPC": Kind(b"application/grpc", *enveloped_by(0, same, to_struct, from_struct)),
    "gRPC compressed": Kind(
        b"application/grpc+proto", *enveloped_by(1, gzip.compress, to_struct, from_struct), GZIPPED
    ),
    "gRPC with JSON": Kind(b"application/grpc+json", *enveloped_by(0, same, to_json, json.loads)),
    "gRPC-Web in text": Kind(b"application/grpc-web-text", to_grpc_web_text, from_grpc_web_text),
    "Connect": Kind(
        b"application/connect+json",
        *enveloped_by(1, gzip.compress, to_json, json.loads),
        ((b"connect-content-encoding", b"gzip"),),
    ),
    "multipart": Kind(b"multipart/form-data; boundary=QQ", to_multipart, from_multipart),
    "events": Kind(b"text/event-stream", to_events, from_events),
    "log lines": Kind(b"text/plain", to_log, from_log),
    "JSON in log lines": Kind(
        b"text/plain",
        lambda record: b"2026-01-02 INFO start\n2026-01-02 INFO sent " + to_json(record) + b"\nend\n",
        lambda data: json.loads(data.split(b"sent ")[1].removesuffix(b"\nend\n")),
    ),
    "lines of keys": Kind(b"text/yaml", to_lines, from_lines),
}  # fmt: skip
# A key of these kinds is a value among others, or is not known to the encoding around it.
KEYLESS = frozenset(
    {
        "Protocol Buffers",
        "Protocol Buffers in base64",
        "gRPC",
        "gRPC compressed",
        "gRPC-Web in text",
        "MessagePack in base64",
    }
)


@pytest.fixture(scope="module")
def results(anonymized_once: Any, make_exchange_once: Any) -> Any:
    """Every kind in one capture after the plain record, so that all stand-ins are to agree."""
    exchanges = [make_exchange_once(0, headers=((b"Content-Type", JSON),), body=PLAIN)]
    for seq, kind in enumerate(KINDS.values(), 1):
        headers = ((b"Content-Type", kind.content_type), *kind.headers)
        exchanges.append(make_exchange_once(seq, headers=headers, body=kind.write(RECORD)))
    return anonymized_once(*exchanges)


@pytest.mark.parametrize("name", list(KINDS))
def test_one_stand_in_in_every_kind(name: str, results: Any) -> None:
    """The body reads as before, and its values are the stand-ins that the plain record got."""
    expected = json.loads(results.exchanges[0].request.body)
    body = results.exchanges[1 + list(KINDS).index(name)].request.body
    assert KINDS[name].read(body) == expected
    assert {key for key in RECORD if expected[key] == RECORD[key]} == {"plan"}


@pytest.mark.parametrize("name", sorted(set(KINDS) - KEYLESS))
def test_each_kind_is_enough_by_itself(name: str, make_exchange: Any, anonymized: Any) -> None:
    """With no other exchange that tells the values, keys and shapes in this one body do."""
    kind = KINDS[name]
    result = anonymized(
        make_exchange(headers=((b"Content-Type", kind.content_type), *kind.headers), body=kind.write(RECORD))
    )
    new = kind.read(result.exchanges[0].request.body)
    assert list(new) == list(RECORD)
    assert {key for key in RECORD if new[key] == RECORD[key]} == {"plan"}
    assert not result.report.undecodable


def test_an_independent_search_finds_nothing(results: Any) -> None:
    """The audit, which shares no code with any of this, finds no original in any of the bodies."""
    with CaptureReader.open(results.before) as before, CaptureReader.open(results.after) as after:
        assert audit(before, after).leak_count == 0


def test_nothing_was_blanked(results: Any) -> None:
    """Every body could be read."""
    assert not results.report.undecodable


def test_fields_are_reported_by_their_names(results: Any) -> None:
    """Elements, arguments, MessagePack keys and numbered fields show in the report."""
    fields = {row["field"] for row in results.report.as_dict()["fields"]}
    assert {
        "request.body.users.user.email",
        "request.body.first_name",
        "request.body.a.b.login",
        "request.body.f1.f2.f5.f1.f2.f5.f1.f2.f6.f1.f5.f1.f2.f3",
    } <= fields


def test_what_has_no_value_stays_byte_for_byte(make_exchange: Any, anonymized: Any) -> None:
    """Bodies of every kind without anything sensitive come out as they went in."""
    plain = {"plan": "gold", "state": "open", "count": "12", "note": "a & b"}
    exchanges = [
        make_exchange(
            seq, headers=((b"Content-Type", kind.content_type), *kind.headers), body=kind.write(plain)
        )
        for seq, kind in enumerate(KINDS.values())
    ]
    result = anonymized(*exchanges)
    for name, old, new in zip(KINDS, exchanges, result.exchanges, strict=True):
        assert new.request.body == old.request.body, name


OPAQUE: dict[str, tuple[bytes, bytes]] = {
    "protobuf cut": (b"application/protobuf", to_struct(RECORD)[:-5]),
    "msgpack cut": (b"application/msgpack", msgpack.packb(RECORD)[:-5]),
    "gRPC cut": (b"application/grpc", enveloped(0, to_struct(RECORD))[:-5]),
    "gRPC of an unknown coding": (b"application/grpc", enveloped(1, to_struct(RECORD))),
    "gRPC-Web of no base64": (b"application/grpc-web-text", b"AAA" + PLAIN),
    "bytes in msgpack": (b"application/msgpack", msgpack.packb({"a": b"\xff\x00" + PLAIN})),
    "bytes in protobuf": (b"application/protobuf", b"\x0a\x22\xff\x00" + PLAIN[:32]),
    "gzip of bytes": (b"", gzip.compress(b"\xff\x00" + PLAIN, mtime=0)),
}


@pytest.mark.parametrize("name", list(OPAQUE))
@pytest.mark.parametrize("undecodable", ["blank", "drop"])
def test_what_cannot_be_read_is_not_passed_on(
    name: str, undecodable: str, make_exchange: Any, anonymized: Any
) -> None:
    """What is cut, in an unknown coding or no text goes, by the policy, and is counted."""
    content_type, body = OPAQUE[name]
    headers = ((b"Content-Type", content_type), (b"grpc-encoding", b"snappy"))
    policy = parse_policy({"bodies": {"undecodable": undecodable}}, name=undecodable)
    result = anonymized(make_exchange(headers=headers, body=body), policy=policy)
    new = result.exchanges[0].request.body
    assert sum(result.report.undecodable.values()) == 1
    if new.startswith(b"\x1f\x8b"):
        new = gzip.decompress(new)
    assert b"thackeray" not in new.lower()
    assert b"ghp" not in new
    assert (bytes(5) in new) is (undecodable == "blank")


def test_binary_messages_are_read(make_exchange: Any, anonymized: Any) -> None:
    """WebSocket frames of MessagePack are anonymized like bodies; of anything else they are blanked."""
    stream = make_exchange(0, method=b"GET", target=b"/ws", stream=True)
    payloads = [msgpack.packb(RECORD), b"\x00\xff" + PLAIN, PLAIN]
    messages = [
        Message(exchange=0, offset_ns=seq, from_client=True, kind=MessageKind.BINARY, payload=payload)
        for seq, payload in enumerate(payloads)
    ]
    result = anonymized(stream, messages=messages)
    packed, blank, plain = (message.payload for message in result.messages)
    assert msgpack.unpackb(packed) == json.loads(plain)
    assert blank == bytes(len(payloads[1]))
    assert json.loads(plain)["email"] != RECORD["email"]


@pytest.mark.parametrize("padded", [False, True])
def test_trailers_of_grpc_web_are_lines(padded: bool, make_exchange: Any, anonymized: Any) -> None:
    """A value in them goes, in bytes and in base64 that is padded after each message."""
    trailers = b"grpc-status: 3\r\ngrpc-message: no user wilhelmina.thackeray%40corp-nine.io\r\n"
    frames = [enveloped(0, to_struct({"plan": "gold"})), enveloped(0x80, trailers)]
    body = b"".join(map(base64.b64encode, frames)) if padded else b"".join(frames)
    content_type = b"application/grpc-web-text" if padded else b"application/grpc-web+proto"
    result = anonymized(make_exchange(headers=((b"Content-Type", content_type),), body=body))
    new = result.exchanges[0].request.body
    first = base64.b64encode(frames[0]) if padded else frames[0]
    assert new.startswith(first)
    rest = base64.b64decode(new[len(first) :]) if padded else new[len(first) :]
    found = envelopes(rest)
    assert found is not None
    assert rest[5:].startswith(b"grpc-status: 3\r\ngrpc-message: no user ")
    assert b"thackeray" not in rest
    assert rest.endswith(b"example.com\r\n")


def test_unchanged_trailers_in_base64_are_no_leak(make_exchange: Any, anonymized: Any) -> None:
    """They follow a message that changes its length, so that their base64 is another one by chance alone."""
    trailers = enveloped(0x80, b"grpc-status: 3\r\ngrpc-message: no user of that sort\r\n")
    addresses = [b"w" * size + b".thackeray@corp-nine.io" for size in range(6)]
    frames = [enveloped(0, bytes((10, len(address))) + address) for address in addresses]
    bodies = [base64.b64encode(frame + trailers) for frame in frames]
    headers = ((b"Content-Type", b"application/grpc-web-text"),)
    for body in bodies:
        result = anonymized(make_exchange(headers=headers, body=body))
        assert result.exchanges[0].request.body != body
        with CaptureReader.open(result.before) as before, CaptureReader.open(result.after) as after:
            assert audit(before, after).clean


def test_kept_paths_reach_into_every_kind(make_exchange: Any, anonymized: Any) -> None:
    """A policy that keeps a field of a body keeps it in XML, GraphQL and MessagePack too."""
    policy = parse_policy({"keep": {"paths": ["*.login"]}}, name="keep")
    bodies = [
        (b"text/xml", b"<user><login>wthackeray</login><email>a.b@corp-nine.io</email></user>"),
        (b"application/graphql", b'{ a(login: "wthackeray", email: "a.b@corp-nine.io") { b } }'),
        (b"application/msgpack", msgpack.packb({"login": "wthackeray", "email": "a.b@corp-nine.io"})),
    ]
    result = anonymized(
        *[
            make_exchange(seq, headers=((b"Content-Type", content_type),), body=body)
            for seq, (content_type, body) in enumerate(bodies)
        ],
        policy=policy,
    )
    for one in result.exchanges:
        assert b"wthackeray" in one.request.body
        assert b"corp-nine" not in one.request.body


def test_rules_reach_into_every_kind(make_exchange: Any, anonymized: Any) -> None:
    """A rule about a whole field masks it in XML, GraphQL and MessagePack."""
    policy: Policy = parse_policy({"rules": [{"path": "*.plan", "action": "mask"}]}, name="rules")
    bodies = [
        (b"text/xml", b"<user><plan>gold</plan></user>", b"<user><plan>****</plan></user>"),
        (b"application/graphql", b'{ a(plan: "gold") { b } }', b'{ a(plan: "****") { b } }'),
        (b"application/msgpack", msgpack.packb({"plan": "gold"}), msgpack.packb({"plan": "****"})),
    ]
    result = anonymized(
        *[
            make_exchange(seq, headers=((b"Content-Type", content_type),), body=body)
            for seq, (content_type, body, _) in enumerate(bodies)
        ],
        policy=policy,
    )
    assert [one.request.body for one in result.exchanges] == [expected for _, _, expected in bodies]


def test_anonymizing_twice_leaks_nothing(results: Any, audited_twice: Any) -> None:
    """Whatever kind of body they stand in, stand-ins and originals are gone after a second pass."""
    for report in audited_twice(results):
        assert report.originals > 20
        assert report.leaks == ()
        assert report.unreplaced == ()
