"""Protocol Buffers without a schema: the fields that the official library wrote."""

from __future__ import annotations

import struct

import pytest
from google.protobuf import descriptor_pb2, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies.protobuf import (
    ProtobufError,
    Wire,
    fields,
    fixed,
    looks_like_message,
    to_fixed,
    to_varint,
    varint,
)


@given(st.integers(0, 2**64 - 1))
def test_numbers_go_and_come_back(value: int) -> None:
    """A number reads back as it was written, and where it ends is told."""
    data = to_varint(value)
    assert varint(b"\xff" + data + b"rest", 1) == (value, 1 + len(data))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80" * 10 + b"\x01", b"\xff" * 9 + b"\x7f"])
def test_numbers_that_are_none_are_refused(data: bytes) -> None:
    """Cut short, longer than ten bytes, or above 64 bits."""
    with pytest.raises(ProtobufError):
        varint(data, 0)


def test_fields_of_a_message_are_found() -> None:
    """Numbers, wire types and contents are those that the library wrote."""
    made = descriptor_pb2.FileDescriptorProto(name="a.proto", package="p", public_dependency=[3])
    data = made.SerializeToString()
    found = [(field.number, field.wire, data[field.start : field.stop]) for field in fields(data)]
    assert found == [(1, Wire.BYTES, b"a.proto"), (2, Wire.BYTES, b"p"), (10, Wire.VARINT, b"\x03")]


def test_groups_have_to_end() -> None:
    """A group and its end are fields; one that does not end, or ends without a start, is refused."""
    assert [field.wire for field in fields(b"\x0b\x08\x01\x0c")] == [Wire.GROUP, Wire.VARINT, Wire.GROUP_END]
    for data in (b"\x0b\x08\x01", b"\x0c", b"\x0b\x14"):
        with pytest.raises(ProtobufError):
            fields(data)


@pytest.mark.parametrize("data", [b"\x00\x01", b"\x0a\x05ab", b"\x09abc", b"\x0f", b"\x0e"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    """Field number 0, contents cut short and unknown wire types raise."""
    with pytest.raises(ProtobufError):
        fields(data)


@given(
    st.dictionaries(
        st.text(max_size=40), st.text(max_size=80) | st.floats(allow_nan=False) | st.booleans(), max_size=4
    )
)
def test_real_messages_look_like_messages(value: dict[str, object]) -> None:
    """A Struct is a message, and so is each of its entries."""
    made = struct_pb2.Struct()
    made.update(value)
    data = made.SerializeToString()
    if not value:
        assert not looks_like_message(data)
        return
    assert looks_like_message(data)
    for field in fields(data):
        assert looks_like_message(data[field.start : field.stop])


@pytest.mark.parametrize(
    "text", ["hihi", "password1", "jane.doe@corp.com", "", "Jane Doe", "1q2w", '"(abc', "é" * 8]
)
def test_text_does_not_look_like_a_message(text: str) -> None:
    """Also where its letters happen to read as fields."""
    assert not looks_like_message(text.encode())


def test_a_message_of_printable_bytes_is_told_by_its_length() -> None:
    """A field 4 of 40 letters is printable all through; its length would be a great chance."""
    assert looks_like_message(b'"(' + b"j" * 40)
    assert not looks_like_message(b'"(' + b"j" * 41)


@pytest.mark.parametrize(
    ("packing", "value", "text"),
    [
        ("<d", 52.520008, b"52.520008"), ("<f", 52.520008, b"52.520008"), ("<d", 0.0, b"0"),
        ("<Q", 4_111_111_111_111_111, b"4111111111111111"), ("<I", 4_155_550_123, b"4155550123"),
    ],
)  # fmt: skip
def test_numbers_of_fixed_size(packing: str, value: float, text: bytes) -> None:
    """Floats are read as such, integers too, and both are written in as many bytes again."""
    content = struct.pack(packing, value)
    assert fixed(content) == text
    assert to_fixed(text, content) == content
    assert to_fixed(b"", content) == bytes(len(content))
    assert to_fixed(b"9" * 20, b"\1" + bytes(len(content) - 1)) != content
