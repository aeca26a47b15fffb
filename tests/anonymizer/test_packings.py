"""Packed text: there and back, and nothing for what is no text."""

from __future__ import annotations

import gzip
import zlib

import msgpack
import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.packings import unpack
from captures.bodies import protobuf

PRINTABLE = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), min_size=9)


# "2%" and 37 letters are a field of 37 bytes in Protocol Buffers, too, and are read as that.
@given(PRINTABLE.filter(lambda text: not protobuf.looks_like_message(text.encode())))
def test_packed_text_comes_back(text: str) -> None:
    """Text, gzip, zlib and UTF-16 in both orders give the text, and it is packed the same way again."""
    data = text.encode()
    for packed in (
        data,
        gzip.compress(data, mtime=0),
        zlib.compress(data),
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
    ):
        unpacked = unpack(packed)
        assert unpacked is not None
        assert unpacked[0] == data
        again = unpack(unpacked[1](b"changed " + data))
        assert again is not None
        assert again[0] == b"changed " + data


def test_the_head_of_a_gzip_file_stays() -> None:
    """Time and system stay as they were, and what was packed is whole."""
    packed = gzip.compress(b"some text", mtime=1_700_000_000)
    unpacked = unpack(packed)
    assert unpacked is not None
    again = unpacked[1](b"other text")
    assert again[:10] == packed[:10]
    assert gzip.decompress(again) == b"other text"


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n",
        gzip.compress(b"text", mtime=0)[:-4],
        gzip.compress(b"\x00\x01\x02", mtime=0),
        b"\x78\x9c\x00",
        b"\x1f\x8b",
        bytes(20),
        b"",
    ],
    ids=["image", "cut", "binary inside", "damaged", "head alone", "zeros", "nothing"],
)
def test_what_holds_no_text(data: bytes) -> None:
    """Binary data, damaged streams and nothing at all are left alone."""
    assert unpack(data) is None


@given(st.binary(max_size=60))
def test_any_bytes_do_not_fail(data: bytes) -> None:
    """Bytes that only begin like a stream are no text and no error."""
    for head in (b"", b"\x1f\x8b\x08", b"\x78\x9c"):
        unpacked = unpack(head + data)
        assert unpacked is None or unpacked[0]


@pytest.mark.parametrize("kind", ["msgpack", "protobuf"])
def test_texts_of_binary_documents_are_one_text(kind: str) -> None:
    """All texts are given together, each apart, and go back into the document by their places."""
    if kind == "msgpack":
        data = msgpack.packb({"mail": "jane@corp.com", "n": 300, "raw": b"\xff\x00"})
        expected = msgpack.packb({"mail": "a much longer text " * 20, "n": 300, "raw": b"\xff\x00"})
    else:
        data = struct_pb2.Struct(
            fields={"mail": struct_pb2.Value(string_value="jane@corp.com")}
        ).SerializeToString()
        longer = struct_pb2.Value(string_value="a much longer text " * 20)
        expected = struct_pb2.Struct(fields={"mail": longer}).SerializeToString()
    unpacked = unpack(data)
    assert unpacked is not None
    text, pack = unpacked
    assert pack(text) == data
    assert text.count(b"\x00") == text.count(b"\n\x00\n") > 0
    assert pack(text.replace(b"jane@corp.com", b"a much longer text " * 20)) == expected


def test_binary_without_text_is_no_packing() -> None:
    """Numbers alone, and bytes that only begin like a document, give nothing."""
    assert unpack(msgpack.packb([2.5] * 9)) is None
    assert unpack(b"\x82\xa1a\xff\x00" * 4) is None
