"""The audit's own decoding of content codings."""

from __future__ import annotations

import base64
import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from anonymizer import audit_decode
from anonymizer.audit_decode import decode_body, decode_runs, inflate, narrowed, unpacked

BODY = b"quentin@corp-nine.test " * 50


def coding(name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"Content-Encoding", name),)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"gzip", gzip.compress(BODY, mtime=0)),
        (b"GZIP", gzip.compress(BODY, mtime=0)),
        (b"x-gzip", gzip.compress(BODY[:100], mtime=0) + gzip.compress(BODY[100:], mtime=0)),
        (b"deflate", zlib.compress(BODY)),
        (b"deflate", zlib.compress(BODY)[2:-4]),
        (b"br", brotli.compress(BODY)),
        (b"zstd", zstandard.compress(BODY)),
        (b"gzip, identity, br", brotli.compress(gzip.compress(BODY, mtime=0))),
        (b"", BODY),
    ],
)
def test_a_coding_is_undone(name, data):
    """Every coding, also several, several gzip members and deflate without its wrapper."""
    assert decode_body(data, coding(name)) == BODY


@pytest.mark.parametrize("name", [b"gzip", b"deflate", b"br", b"zstd", b"compress"])
def test_what_cannot_be_undone_is_none(name):
    """Damaged data and unknown codings are told apart from text."""
    assert decode_body(b"\xff\xfenot coded at all", coding(name)) is None


@pytest.mark.parametrize(
    ("name", "encode"), [(b"gzip", gzip.compress), (b"br", brotli.compress), (b"zstd", zstandard.compress)]
)
def test_a_bomb_is_not_decoded(monkeypatch, name, encode):
    """Output is limited, whatever a few bytes claim to stand for."""
    monkeypatch.setattr(audit_decode, "DECODED_MAX_BYTES", 1_000_000)
    assert decode_body(encode(bytes(3_000_000)), coding(name)) is None


def test_a_cut_gzip_body_gives_what_is_left():
    """A truncated body is searched as far as it goes."""
    decoded = decode_body(gzip.compress(BODY)[:-12], coding(b"gzip"))
    assert decoded
    assert BODY.startswith(decoded)


@given(data=st.binary(max_size=200))
def test_any_bytes_can_be_tried(data):
    """Arbitrary bytes never raise, and what is really compressed comes back."""
    assert decode_body(gzip.compress(data), coding(b"gzip")) == data
    for name in (b"gzip", b"deflate", b"br", b"zstd", b"br, gzip"):
        decode_body(data, coding(name))
    inflate(data)


def test_base64_may_be_padded_piece_by_piece():
    """Pieces are decoded one by one; what is no base64 stays as it is."""
    pieces = (b"one", b"four", b"twelve")
    assert decode_runs(b"".join(map(base64.b64encode, pieces))) == b"onefourtwelve"
    assert decode_runs(b"AAAAA") == b"AAAAA"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, zstandard.compress])
def test_compression_is_told_by_its_first_bytes(pack):
    """Also when nothing says so, and when it is compressed twice; what is not compressed stays."""
    assert unpacked(pack(BODY)) == unpacked(pack(pack(BODY))) == BODY
    assert unpacked(BODY) is BODY
    damaged = pack(BODY)[:2] + b"\xff" * 20
    assert unpacked(damaged) is damaged


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_text_is_told_by_mark_or_zeros(charset):
    """UTF-16 and UTF-32 become UTF-8; other bytes and plain text do not."""
    assert narrowed("a line\nof quentin\u0040corp".encode(charset)) == b"a line\nof quentin@corp"
    assert narrowed(b"plain") is None
    assert narrowed(b"\0\1\2\3\xff\xfe") is None
