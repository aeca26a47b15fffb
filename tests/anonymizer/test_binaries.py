"""Binary documents value by value: what stands for a value, and what a text may as well be."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from anonymizer.binaries import Value, rebuilt_protobuf
from anonymizer.policy import parse_policy
from captures.bodies import protobuf
from captures.model import Exchange

JSON = (b"Content-Type", b"application/json")
MSGPACK = (b"Content-Type", b"application/msgpack")


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def upper(value: Value) -> bytes:
    return value.data if value.context.number else value.data.replace(b"jane", b"WILMA")


def test_a_text_that_reads_as_a_message_is_read_as_a_text_too() -> None:
    """A digit and a tab begin a field of eight bytes, which is no reason to pass over a name."""
    text = b"1\tjane123"
    assert rebuilt_protobuf(field(3, text), upper) == field(3, b"1\tWILMA123")


def test_a_message_stays_one() -> None:
    """What is replaced in an inner message changes the lengths around it."""
    inner = field(1, b"jane") + field(2, b"x")
    new = rebuilt_protobuf(field(4, inner), upper)
    assert new == field(4, field(1, b"WILMA") + field(2, b"x"))


def test_bytes_that_are_no_text_stay() -> None:
    """A message of numbers and bytes without a value comes out as it went in."""
    data = field(4, field(1, b"\xff\xfe\x01") + b"\x10\x05")
    assert rebuilt_protobuf(data, upper) == data


PLACE = {"lat": 52.520008, "lon": 13.404954}
AT = 1_700_000_000


def unpacked(done: Exchange) -> Any:
    return msgpack.unpackb(done.request.body)


@pytest.mark.parametrize("single", [False, True])
def test_places_in_messagepack_go(through: Callable[..., Exchange], single: bool) -> None:
    """A float of either size under a telling key becomes the one that JSON gets."""
    packed = msgpack.packb({**PLACE, "price": 9.5}, use_single_float=single)
    plain = through(headers=(JSON,), body=json.dumps(PLACE).encode())
    done = unpacked(through(headers=(MSGPACK,), body=packed))
    assert done.pop("price") == 9.5
    assert done == pytest.approx(json.loads(plain.request.body), rel=1e-7)
    assert not PLACE.items() & done.items()


@pytest.mark.parametrize("nanoseconds", [0, 5])
def test_times_in_messagepack_move(through: Callable[..., Exchange], nanoseconds: int) -> None:
    """The type of times moves with those of the headers, and stays where they stay."""
    packed = msgpack.packb({"x": msgpack.Timestamp(AT, nanoseconds)})
    stamp = (b"X-Timestamp", b"%d" % AT)
    moving = parse_policy({"kinds": {"date": "pseudonymise"}}, name="x")
    done = through(policy=moving, headers=(MSGPACK, stamp), body=packed)
    moved_s = int(done.request.headers[1][1])
    assert moved_s != AT
    assert unpacked(done) == {"x": msgpack.Timestamp(moved_s, nanoseconds)}
    assert through(headers=(MSGPACK, stamp), body=packed).request.body == packed


def test_rules_hold_for_numbers_in_messagepack(through: Callable[..., Exchange]) -> None:
    """Small ones, negative ones, floats and times go by a rule; those of other fields stay."""
    numbers = {"age": 42, "debt": -5000, "rate": 0.5, "at": msgpack.Timestamp(AT, 0)}
    rules = [{"path": f"request.body.a.{name}", "action": "drop"} for name in numbers]
    body = msgpack.packb({"a": numbers, "b": numbers})
    done = unpacked(through(policy=parse_policy({"rules": rules}, name="x"), headers=(MSGPACK,), body=body))
    assert done == {"a": {"age": 0, "debt": 0, "rate": 0, "at": msgpack.Timestamp(0, 0)}, "b": numbers}


def test_texts_of_small_numbers_go(through: Callable[..., Exchange]) -> None:
    """Letters that are numbers of MessagePack are a text too, in a list under a key as well."""
    body = msgpack.packb({"a": list(b"jane.doe@acme-corp.com")})
    assert b"jane" not in through(headers=(MSGPACK,), body=body).request.body


def test_numbers_of_fixed_size_in_protobuf(through: Callable[..., Exchange]) -> None:
    """A card that is known from elsewhere goes, and others stay; rules hold for all."""
    card = 4_539_578_763_621_486
    head = (b"Content-Type", b"application/x-protobuf"), (b"X-Card", b"%d" % card)
    body = b"\x09" + struct.pack("<Q", card) + b"\x11" + struct.pack("<d", 2.5)
    done = through(headers=head, body=body)
    assert protobuf.fixed(done.request.body[1:9]) == done.request.headers[1][1] != b"%d" % card
    assert done.request.body[9:] == body[9:]
    rule = {"path": "request.body.f2", "action": "drop"}
    done = through(policy=parse_policy({"rules": [rule]}, name="x"), headers=head, body=body)
    assert done.request.body[9:] == b"\x11" + bytes(8)
