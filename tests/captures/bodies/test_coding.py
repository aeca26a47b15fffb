"""Content codings there and back, and bodies that are not what they say."""

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies.coding import CodingError, decode, encode

CODINGS = [b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"gzip, br", b"identity", b""]


@given(st.binary(max_size=20_000), st.sampled_from(CODINGS))
def test_codings_round_trip(body: bytes, name: bytes) -> None:
    """What is encoded decodes to the same bytes, the same way each time."""
    encoded = encode(body, name)
    assert decode(encoded, name) == body
    assert encode(body, name) == encoded


@pytest.mark.parametrize("name", [b"gzip", b"deflate", b"br", b"zstd"])
def test_damaged_bodies_are_told(name: bytes) -> None:
    """Bytes cut off at the end and bytes of another kind are coding errors."""
    whole = encode(b"some text of some length " * 9, name)
    for body in (whole[:-3], b"\xff\xfe\xfd plain text"):
        with pytest.raises(CodingError):
            decode(body, name)


def test_an_unknown_coding_is_told() -> None:
    """A coding that is not known is an error in both directions."""
    with pytest.raises(CodingError, match="unknown"):
        decode(b"x", b"snappy")
    with pytest.raises(CodingError, match="unknown"):
        encode(b"x", b"snappy")


def test_variants_that_occur() -> None:
    """Raw deflate, several gzip members and upper-case names decode."""
    raw = zlib.compressobj(wbits=-15)
    assert decode(raw.compress(b"text") + raw.flush(), b"deflate") == b"text"
    assert decode(gzip.compress(b"a") + gzip.compress(b"b"), b"GZIP") == b"ab"
    assert decode(zstandard.compress(b"a") + zstandard.compress(b"b"), b"zstd") == b"ab"


@pytest.mark.parametrize("name", [b"gzip", b"deflate", b"br", b"zstd"])
def test_a_bomb_is_refused(name: bytes) -> None:
    """A body that decodes to more than the limit is an error and is not unpacked whole."""
    bomb = encode(bytes(3_000_000), name)
    with pytest.raises(CodingError):
        decode(bomb, name, 1_000_000)
    assert decode(bomb, name, 3_000_000) == bytes(3_000_000)


@given(st.binary(min_size=1, max_size=2_000), st.sampled_from(CODINGS[:-2]), st.data())
def test_a_body_cut_anywhere_is_told(body: bytes, name: bytes, data: st.DataObject) -> None:
    """What ends early is never taken for a whole body; no other error comes out."""
    whole = encode(body, name)
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    with pytest.raises(CodingError):
        decode(cut, name)


@given(st.binary(min_size=1, max_size=500), st.sampled_from([b"gzip", b"deflate", b"br"]), st.data())
def test_a_changed_byte_is_told_or_makes_no_difference(body: bytes, name: bytes, data: st.DataObject) -> None:
    """Where there is a checksum no other body comes out; brotli has none, and is what its library says."""
    damaged = bytearray(encode(body, name))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    expected: bytes | None = body
    if name == b"br":
        try:
            expected = brotli.decompress(bytes(damaged))
        except brotli.error:
            expected = None
    try:
        decoded = decode(bytes(damaged), name)
    except CodingError:
        assert name != b"br" or expected is None
    else:
        assert decoded == expected


@given(st.binary(max_size=2_000), st.sampled_from(CODINGS))
def test_arbitrary_bytes_are_a_body_or_told(body: bytes, name: bytes) -> None:
    """Without a coding they are the body; else they are told, or what comes out can be encoded again."""
    try:
        decoded = decode(body, name)
    except CodingError:
        assert name not in CODINGS[-2:]
    else:
        assert decode(encode(decoded, name), name) == decoded
        assert decoded == body or name not in CODINGS[-2:]
