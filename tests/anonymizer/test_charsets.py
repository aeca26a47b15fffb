"""Charsets: told by what is stated, by marks and by zero bytes, and never guessed of noise."""

from __future__ import annotations

import codecs

import pytest

from anonymizer import charsets

TEXT = '{"email": "jane@corp.com"}'


@pytest.mark.parametrize(
    ("data", "content_type", "expected"),
    [
        (TEXT.encode(), b"", "utf-8"),
        (TEXT.encode(), b"text/plain; charset=utf-16", "utf-8"),
        ("é".encode("latin-1"), b"text/plain; charset=ISO-8859-1", "iso8859-1"),
        ("é".encode("latin-1"), b'text/plain; charset="latin1"', "iso8859-1"),
        ("é".encode("latin-1"), b"text/plain", None),
        ("é".encode("latin-1"), b"text/plain; charset=unknown", None),
        ("é".encode("latin-1"), b"text/plain; charset=hex", None),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), b"", "utf-16-le"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), b"text/plain; charset=utf-16", "utf-16-be"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), b"", "utf-32-le"),
        (codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"), b"", "utf-32-be"),
        (TEXT.encode("utf-16-le"), b"", "utf-16-le"),
        (TEXT.encode("utf-16-be"), b"text/plain; charset=utf-16", "utf-16-be"),
        (TEXT.encode("utf-32-le"), b"", "utf-32-le"),
        (TEXT.encode("utf-32-be"), b"", "utf-32-be"),
        ("jane+AEA-corp.com".encode("ascii"), b"text/plain; charset=utf-7", "utf-7"),
        ("日本".encode("iso2022_jp"), b"text/plain; charset=iso-2022-jp", "iso2022_jp"),
        (b"\x00\x01\x02\x03" * 8, b"", None),
        (bytes(16), b"", None),
        (b"\x89PNG\x00\x00\x00", b"image/png", None),
    ],
)
def test_the_codec_is_told(data: bytes, content_type: bytes, expected: str | None) -> None:
    """The one that reads the bytes, and none for noise or for what is no charset of text."""
    assert charsets.of(data, content_type) == expected


def test_a_character_that_is_cut_does_not_matter() -> None:
    """A body whose end is missing is UTF-8 also when its last character is not whole."""
    data = "é".encode()[:1]
    assert charsets.of(data, b"", cut=True) == "utf-8"
    assert charsets.of(data, b"") is None
