"""Runs of base64 and base85: what they stand for, and which stand for a text."""

from __future__ import annotations

import base64
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer import runs


@given(st.binary(max_size=60), st.sampled_from([b"+/", b"-_"]), st.booleans())
def test_what_was_written_is_read_and_written_again(data: bytes, alphabet: bytes, padded: bool) -> None:
    """Both alphabets, with and without padding, come back as they were."""
    run = base64.b64encode(data, alphabet)
    run = run if padded else run.rstrip(b"=")
    assert runs.plain(run) == data
    again = runs.written(data, run)
    assert runs.plain(again) == data
    assert again == run or not {*b"+/-_"} & {*run}


def test_a_length_that_no_base64_has_stands_for_nothing() -> None:
    """One character of a group of four is too few."""
    assert runs.plain(b"abcde") is None
    assert not runs.holds_text(b"abcdefghi")


@pytest.mark.parametrize(
    "data",
    [
        b"jane.doe",
        "jané doé".encode(),
        gzip.compress(b"jane doe is here", mtime=0),
        zlib.compress(b"jane doe is here"),
        zlib.compress(b"jane doe is here, and many more are", wbits=-15),
        "jane doe".encode("utf-16-le"),
        b"\x81\xa4name\xa8jane doe",
        b"\x0a\x08jane doe",
        b"\x89PNG\r\n\x1a\n of no text",
        b"\xd7\x00\xfe\x99\x01\xb3\xf1\xc2jane doe\x9f\x01\xff",
        b"jane doe " * 100,
    ],
    ids=[
        "text",
        "accents",
        "gzip",
        "zlib",
        "deflate",
        "utf-16",
        "msgpack",
        "protobuf",
        "image",
        "inside",
        "long",
    ],
)
def test_texts_under_base64_are_told(data: bytes) -> None:
    """Text, packed text, text in documents and what cannot be read have to be looked at."""
    for run in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
        assert runs.holds_text(run)


@pytest.mark.parametrize("run", [b"Hello-World", b"octocat123", b"repository", b"com/repos/octocat"])
def test_names_and_paths_are_base64_of_nothing(run: bytes) -> None:
    """Words decode to bytes that no text has."""
    assert not runs.holds_text(run)


def test_text_in_base85_is_told() -> None:
    """By its first characters, which stand for four letters; other words are none."""
    assert runs.is_text_in_base85(base64.b85encode(b"jane"))
    assert not runs.is_text_in_base85(b"~~~~~")
    assert not runs.is_text_in_base85(b"{/sha")
