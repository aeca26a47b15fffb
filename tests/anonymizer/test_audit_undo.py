"""What stands under escapes and codings."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.audit_undo import layers


def test_layers_of_plain_text_are_none():
    """Text without escapes and base64 is searched once."""
    assert list(layers(b"plain text, nothing else")) == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("hex", b"x=" + b"quentin".hex().encode()),
        ("hex", b"x=a" + b"quentin".hex().upper().encode()),
        ("hex", b"ff00" + "quentïn".encode().hex().encode().replace(b"c3af", b"69")),
        ("UTF-16", "quentin".encode("utf-16-le")),
        ("UTF-16", "quentin".encode("utf-16-be")),
        ("base64", base64.b64encode(b"this is quentin")),
        ("percent escapes", b"%71uentin"),
        ("UTF-32", b"\n" + "ü, quentin".encode("utf-32-le")),
        ("UTF-32", b"\n" + "ü, quentin".encode("utf-32-be")),
        ("base85", b'{"x":"%b"}' % base64.b85encode("ü, this is quentin".encode())),
        ("base85", b"x" + base64.a85encode(b"this is quentin", adobe=True)),
    ],
)
def test_what_is_undone_is_named(name, data):
    """Each coding gives a layer of its name with the text in it."""
    assert any(layer == name and b"quentin" in text for layer, text in layers(data))


@given(data=st.binary(max_size=200), text=st.text(min_size=8, max_size=20).filter(str.isprintable))
def test_text_in_hex_is_found_whatever_stands_around_it(data, text):
    """Hex is undone at either parity, in any letter case."""
    digits = text.encode().hex()
    for spelled in (digits, digits.upper(), "a" + digits):
        found = b"\n".join(undone for _, undone in layers(data + b" " + spelled.encode() + b" " + data))
        assert text.encode() in found


@given(text=st.text(min_size=12, max_size=40).filter(str.isprintable))
def test_text_in_base85_is_found(text):
    """Whatever is written in base85 is read again, unless it looks like base64."""
    spelled = base64.b85encode(text.encode())
    found = b"\n".join(undone for _, undone in layers(b'{"a": "' + spelled + b'"}'))
    assert text.encode() in found or not set(spelled) & set(b"!#$%&()*;<=>?@^`{|}~")
