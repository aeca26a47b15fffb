"""Rows: every exchange comes back as it went in, and nothing else is ever built."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.codec import (
    build_counters,
    build_exchange,
    build_header,
    build_message,
    exchange_row,
    message_row,
    pack_counters,
    pack_header,
    unpack_map,
    unpack_row,
)
from captures.errors import CaptureError
from captures.model import (
    MAX_CONNECTIONS,
    CaptureHeader,
    Counters,
    Exchange,
    Failure,
    FailureReason,
    HmacTemplate,
    Message,
    MessageKind,
    Provenance,
    Request,
    Response,
    SignatureScheme,
    SigningRecipe,
)

NS = st.integers(-(2**63), 2**63 - 1)
COUNT = st.integers(0, 2**63 - 1)
HEADERS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40)), max_size=6).map(tuple)
REQUESTS = st.builds(
    Request,
    method=st.binary(max_size=8),
    scheme=st.sampled_from([b"http", b"https"]),
    authority=st.binary(max_size=30),
    target=st.binary(max_size=60),
    http_version=st.sampled_from([b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0"]),
    headers=HEADERS,
    body=st.binary(max_size=300),
    trailers=HEADERS,
    truncated_bytes=COUNT,
)
RESPONSES = st.builds(
    Response,
    status=st.integers(1, 999),
    reason=st.binary(max_size=20),
    http_version=st.just(b"HTTP/1.1"),
    headers=HEADERS,
    offset_ns=NS,
    end_ns=st.none() | NS,
    body=st.binary(max_size=300),
    trailers=HEADERS,
    truncated_bytes=COUNT,
    stream=st.booleans(),
)
FAILURES = st.builds(
    Failure, reason=st.sampled_from(FailureReason), offset_ns=NS, detail=st.text(max_size=20)
)
TEMPLATES = st.builds(
    HmacTemplate,
    algorithm=st.sampled_from(["sha1", "sha256", "sha512"]),
    encoding=st.sampled_from(["hex", "base64"]),
    prefix=st.sampled_from([b"", b"t={timestamp},v1="]),
    signed=st.sampled_from([b"{body}", b"{header:x-id}.{timestamp}.{body}"]),
    timestamp_header=st.just(b"x-time"),
)
RECIPES = st.builds(
    SigningRecipe,
    scheme=st.sampled_from(sorted(set(SignatureScheme) - {SignatureScheme.HMAC})),
    header=st.binary(max_size=20),
) | st.builds(
    SigningRecipe,
    scheme=st.just(SignatureScheme.HMAC),
    header=st.binary(max_size=20),
    template=TEMPLATES,
)
EXCHANGES = st.builds(
    Exchange,
    seq=COUNT,
    offset_ns=NS,
    request_end_ns=NS,
    connection=st.integers(0, MAX_CONNECTIONS - 1),
    request=REQUESTS,
    outcome=RESPONSES | FAILURES,
    signing=st.none() | RECIPES,
)
MESSAGES = st.builds(
    Message,
    exchange=COUNT,
    offset_ns=NS,
    from_client=st.booleans(),
    kind=st.sampled_from(MessageKind),
    payload=st.binary(max_size=300),
    truncated_bytes=COUNT,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NS | st.binary(max_size=9) | st.text(max_size=9) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=11) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=30,
)


@given(EXCHANGES)
def test_an_exchange_comes_back_as_it_was(exchange: Exchange) -> None:
    """Packing and building again loses nothing."""
    assert build_exchange(unpack_row(msgpack.packb(exchange_row(exchange)))) == exchange


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    """Packing and building again loses nothing."""
    assert build_message(unpack_row(msgpack.packb(message_row(message)))) == message


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_capture_error(data: bytes) -> None:
    """Bytes that are no row raise CaptureError and nothing else."""
    with pytest.raises(CaptureError):
        build_exchange(unpack_row(data))


@given(ANYTHING)
def test_arbitrary_values_are_a_capture_error(value: object) -> None:
    """A sound msgpack value that is no exchange, message or header raises CaptureError."""
    packed = msgpack.packb([value] * 7)
    with pytest.raises(CaptureError):
        build_exchange(unpack_row(packed))
    with pytest.raises(CaptureError):
        build_message(unpack_row(packed))
    with pytest.raises(CaptureError):
        build_header(unpack_map(msgpack.packb({"capture_id": value})))
    with pytest.raises(CaptureError):
        build_counters(unpack_map(msgpack.packb({"seen": value})))


@given(EXCHANGES, st.integers(0, 6), ANYTHING)
def test_a_field_of_another_type_is_refused(exchange: Exchange, place: int, value: object) -> None:
    """Each field is checked: a wrong value is refused or, if it fits, kept as it is."""
    row = list(exchange_row(exchange))
    row[place] = value
    packed = msgpack.packb(row)
    try:
        built = build_exchange(unpack_row(packed))
    except CaptureError:
        return
    assert exchange_row(built) == unpack_row(packed)


def test_the_header_comes_back_as_it_was() -> None:
    """Salt, lineage and provenance survive."""
    header = CaptureHeader(
        capture_id="ab" * 16,
        started_wall_ns=1,
        tool="t",
        source="s",
        fingerprint_salt=b"s" * 16,
        lineage=("cd" * 16,),
        anonymized=Provenance(policy="default", key_fingerprint="0" * 12),
        source_problems=("3 blocks are missing.",),
    )
    assert build_header(unpack_map(pack_header(header))) == header
    older = unpack_map(pack_header(header))
    del older["source_problems"]
    assert build_header(older) == replace(header, source_problems=())
    for wrong in ("text", [1], None):
        with pytest.raises(CaptureError):
            build_header({**older, "source_problems": wrong})


def test_the_salt_is_not_in_the_repr() -> None:
    """Printing a header does not print its salt."""
    header = CaptureHeader(
        capture_id="", started_wall_ns=1, tool="", source="", fingerprint_salt=b"verysalty"
    )
    assert "salty" not in repr(header)


def test_counters_come_back_as_they_were() -> None:
    """The account survives."""
    counters = Counters(seen=9, written=5, sampled_out=1, truncated=2, dropped=2, in_flight=1)
    assert build_counters(unpack_map(pack_counters(counters))) == counters
