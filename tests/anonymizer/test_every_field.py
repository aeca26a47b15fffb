"""A value planted in every field that a capture has is in no byte of what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from anonymizer.policy import Policy
from anonymizer.stage import anonymize_capture
from captures.codec import exchange_row, message_row, pack_header
from captures.model import (
    Exchange,
    Failure,
    FailureReason,
    HmacTemplate,
    Message,
    MessageKind,
    RecorderFacts,
    Request,
    Response,
    SignatureScheme,
    SigningRecipe,
)
from captures.reader import CaptureReader
from captures.signatures import SIGNATURE_HEADERS
from captures.writer import CaptureWriter, new_header

KEY = b"a key for tests, 32 bytes long.."
BYTES = ("method", "scheme", "authority", "target", "http_version", "reason", "body")
NAMES = (
    *sorted(SIGNATURE_HEADERS), b"Accept", b"Authorization", b"Content-Length", b"Content-Type", b"Cookie",
    b"Date", b"ETag", b"Host", b"Transfer-Encoding", b"X-Other", b"X-Some-Bin",
)  # fmt: skip
Plant = Callable[[], bytes]


def exchanges(base: Exchange, plant: Plant) -> Iterator[Exchange]:
    """One exchange for each of its fields, with a value in that one."""
    for side, part in (("request", base.request), ("outcome", base.outcome)):
        for field in fields(part):
            if field.name in BYTES:
                slash = b"/" if field.name == "target" else b""
                yield replace(base, **{side: replace(part, **{field.name: slash + plant()})})
        for place in ("headers", "trailers"):
            yield replace(base, **{side: replace(part, **{place: tuple((name, plant()) for name in NAMES)})})
            yield replace(base, **{side: replace(part, **{place: ((plant(), b"1"),)})})
    failure = Failure(reason=FailureReason.OTHER, offset_ns=20, detail=plant().decode())
    yield replace(base, outcome=failure)
    template = HmacTemplate(
        algorithm="sha256",
        encoding="hex",
        prefix=plant(),
        signed=b"{body}" + plant(),
        timestamp_header=plant(),
    )
    yield replace(base, signing=SigningRecipe(scheme=SignatureScheme.HMAC, header=plant(), template=template))
    name = plant()
    signed = replace(base.request, headers=((name, b"sha256=" + b"ab" * 32),))
    yield replace(base, request=signed, signing=SigningRecipe(scheme=SignatureScheme.GITHUB, header=name))
    yield replace(base, outcome=replace(base.outcome, stream=True))


def recording(path: Path, base: Exchange, plant: Plant) -> None:
    """A capture with a value in every field; the last exchange is a stream."""
    header = replace(
        new_header(source=plant().decode(), started_wall_ns=1, tool=plant().decode()),
        lineage=(plant().decode(),),
        source_problems=(plant().decode(),),
    )
    with CaptureWriter.create(path, header) as writer:
        for seq, one in enumerate(exchanges(base, plant)):
            writer.write(replace(one, seq=seq))
        for kind in MessageKind:
            for from_client in (True, False):
                writer.write_message(
                    Message(exchange=seq, offset_ns=99, from_client=from_client, kind=kind, payload=plant())
                )
        writer.facts = RecorderFacts(client_tls={plant().decode(): 1}, server_tls={plant().decode(): 1})


def all_bytes(path: Path) -> bytes:
    """The file as it is, and what is compressed in it."""
    with CaptureReader.open(path) as reader:
        assert not reader.problems
        rows = [exchange_row(one) for one in reader.exchanges()]
        texts = [message_row(one) for one in reader.messages()]
        whole = (rows, texts, pack_header(reader.header), reader.endpoint_labels, reader.facts)
    return path.read_bytes() + repr(whole).encode()


@pytest.mark.parametrize("known", [False, True])
def test_no_field_keeps_a_value(make_exchange: Any, tmp_path: Path, known: bool) -> None:
    """An address in any field goes by its shape, and a login by being known from a body."""
    numbers = count(1)
    planted: list[bytes] = []

    def plant() -> bytes:
        number = next(numbers)
        planted.append(b"zqwvx%03dkum" % number if known else b"zq%03dx.doe@corp-nine.com" % number)
        return planted[-1]

    source, copy = tmp_path / "in.reel", tmp_path / "out.reel"
    base = make_exchange()
    recording(source, base, plant)
    if known:  # the same capture again, with all of them in a body as well
        logins = b"[%b]" % b",".join(b'{"login":"%b"}' % value for value in planted)
        numbers = count(1)
        recording(
            source.with_name("told.reel"), replace(base, request=replace(base.request, body=logins)), plant
        )
        source = source.with_name("told.reel")
    outcome = anonymize_capture(source, copy, policy=Policy(), key=KEY)
    everything = (all_bytes(copy) + repr(outcome.report).encode()).lower()
    assert len(planted) > 100
    assert [value for value in planted if value in everything] == []


def test_all_fields_with_traffic_are_known_here() -> None:
    """Whoever adds a field to the model is asked to plant a value in it."""
    told = {"headers", "trailers", *BYTES}
    numbers = {"status", "offset_ns", "end_ns", "truncated_bytes", "stream"}
    assert {field.name for part in (Request, Response) for field in fields(part)} == told | numbers
