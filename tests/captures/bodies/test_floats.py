"""Floats as JSON writes them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies import floats


@given(st.floats(allow_nan=False), st.sampled_from(["<", ">"]))
def test_a_float_comes_back_from_its_text(value: float, order: str) -> None:
    """Whatever it is, in either order of bytes."""
    content = struct.pack(f"{order}d", value)
    made, same = floats.from_text(floats.to_text(content, order), content, order)
    assert same
    assert struct.unpack(f"{order}d", made)[0] == value


@given(st.floats(allow_nan=False, width=32))
def test_a_single_float_comes_back_from_few_digits(value: float) -> None:
    """Of 32 bits at most nine digits are written."""
    content = struct.pack(">f", value)
    text = floats.to_text(content)
    assert floats.from_text(text, content) == (content if value else b"\0\0\0\0", True)


@pytest.mark.parametrize(
    ("value", "text"), [(52.520008, b"52.520008"), (5.0, b"5"), (0.1, b"0.1"), (-0.5, b"-0.5")]
)
def test_the_digits_are_those_that_people_write(value: float, text: bytes) -> None:
    """In both sizes."""
    assert floats.to_text(struct.pack(">f", value)) == floats.to_text(struct.pack(">d", value)) == text


def test_what_does_not_fit() -> None:
    """What is no number is 0, and so is what 32 bits do not hold; it is told where digits are lost."""
    assert floats.from_text(b"", bytes(8)) == (bytes(8), True)
    assert floats.from_text(b"1e300", bytes(4)) == (bytes(4), False)
    assert floats.from_text(b"48.1234567", bytes(4))[1] is False
