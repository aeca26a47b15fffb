"""The table of encodings."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.encodings import ENCODINGS, base64_cores, needs_boundary, patterns_of, undone_name

VALUE = "José Núñez/9".encode()
BY_NAME = {encoding.name: encoding for encoding in ENCODINGS}


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("as is", VALUE),
        ("lower case", "josé núñez/9".encode()),
        ("upper case", "JOSÉ NÚÑEZ/9".encode()),
        ("title case", "José Núñez/9".encode()),
        ("swapped case", "jOSÉ nÚÑEZ/9".encode()),
        ("percent escapes", quote(VALUE, safe="").encode()),
        ("percent escapes", quote(VALUE).encode()),
        ("percent escapes, lower-case digits", b"Jos%c3%a9%20N%c3%ba%c3%b1ez%2f9"),
        ("percent escapes of every byte", b"".join(b"%%%02X" % byte for byte in VALUE)),
        ("percent escapes, twice", quote(quote(VALUE, safe="")).encode()),
        ("form escapes", quote_plus(VALUE).encode()),
        ("JSON escapes", b"Jos\\u00e9 N\\u00fa\\u00f1ez/9"),
        ("JSON escapes", b"Jos\\u00E9 N\\u00FA\\u00F1ez\\/9"),
        (
            "unicode escapes of every character",
            b"\\u004a\\u006f\\u0073\\u00e9\\u0020\\u004e\\u00fa\\u00f1\\u0065\\u007a\\u002f\\u0039",
        ),
        ("hex escapes of every byte", b"".join(b"\\x%02x" % byte for byte in VALUE)),
        ("HTML entities, named", b"Jos&eacute; N&uacute;&ntilde;ez/9"),
        ("HTML entities, decimal", b"&#74;&#111;&#115;&#233;&#32;&#78;&#250;&#241;&#101;&#122;&#47;&#57;"),
        ("HTML entities, hex", b"&#x4a;&#x6f;&#x73;&#xe9;&#x20;&#x4e;&#xfa;&#xf1;&#x65;&#x7a;&#x2f;&#x39;"),
        ("hex", VALUE.hex().encode()),
        ("hex, upper case", VALUE.hex().upper().encode()),
        ("reversed", "9/zeñúN ésoJ".encode()),
        ("other separators", "josé.núñez.9".encode()),
        ("other accents", b"Jose Nunez/9"),
        ("other accents", b"Jose\xcc\x81 Nu\xcc\x81n\xcc\x83ez/9"),
        ("UTF-16", "José Núñez/9".encode("utf-16-le")),
        ("UTF-16 in base64", base64.b64encode("José Núñez/9".encode("utf-16-le"))),
        ("base32", base64.b32encode(VALUE)),
        ("SHA-256", base64.b64encode(hashlib.sha256(VALUE).digest())[:16]),
        ("SHA-512", hashlib.sha512(VALUE).hexdigest()[:16].encode()),
        ("MD5", hashlib.md5(VALUE).hexdigest()[:16].encode()),
        ("SHA-1", hashlib.sha1(VALUE.decode().lower().encode()).hexdigest()[:16].upper().encode()),
        ("SHA-256", hashlib.sha256(VALUE).hexdigest()[:16].encode()),
    ],
)
def test_an_encoding_spells_a_value_as_the_world_does(name, spelled):
    """Each function of the table is checked against another implementation or by hand."""
    assert spelled in set(BY_NAME[name].patterns(VALUE))


def test_names_are_distinct():
    """A leak's encoding names one entry of the table."""
    assert len(BY_NAME) == len(ENCODINGS) >= 20


@given(value=st.binary(min_size=6, max_size=40), before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_a_base64_core_stands_in_every_base64_around_the_value(value, before, after):
    """Whatever stands before and after, one of the three cores is in the encoded text."""
    encoded = base64.b64encode(before + value + after)
    assert any(core in encoded for core in base64_cores(value))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (b"please", True),
        (b"Anders", True),
        (b"v1.2.3", True),
        (b"x9K2p7", False),
        (b"Codertocat", False),
        (b"21796960", True),
        (b"4155552671", False),
    ],
)
def test_short_words_and_numbers_need_boundaries(pattern, expected):
    """Chance makes short words of one case and short numbers, so they count as whole words only."""
    assert needs_boundary(pattern) is expected


@given(value=st.binary(min_size=6, max_size=80))
def test_any_bytes_have_patterns(value):
    """Values that are no text are searched too, and no pattern comes twice."""
    patterns = [(pattern, encoding.plain) for pattern, encoding in patterns_of(value)]
    assert (value.lower(), True) in patterns
    assert len(patterns) == len(set(patterns))


@given(value=st.text(min_size=6, max_size=40))
def test_any_text_has_every_encoding(value):
    """No text makes an encoding fail, and what comes out is never empty."""
    for encoding in ENCODINGS:
        found = list(encoding.patterns(value.encode("utf-8", "surrogatepass")))
        assert all(isinstance(pattern, bytes) and pattern for pattern in found), encoding.name


def test_an_escape_is_named_and_a_mixed_one_is_not():
    """A text that is escaped throughout has a name; one that is escaped here and there has none."""
    assert undone_name(b"quentin@x.test", b"a=quentin%40x.test") == "percent escapes"
    assert undone_name(b"quentin@x.test", b"a=q%75entin%40x.test") is None
