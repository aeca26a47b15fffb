"""Rows inside a block."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.errors import CaptureError
from captures.rows import split_rows


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_rows_come_back(rows: list[bytes]) -> None:
    """Whatever rows a block has, their places are found."""
    payload = struct.pack(f"<{len(rows)}I", *map(len, rows)) + b"".join(rows)
    block = split_rows(payload, len(rows), 0)
    found = [bytes(block.payload[a:b]) for a, b in zip(block.starts, block.starts[1:], strict=False)]
    assert found == rows


@pytest.mark.parametrize(
    ("payload", "rows"), [(b"\x01\0\0\0", 2), (b"\x01\0\0\0ab", 1), (b"\xff\xff\xff\xffab", 1)]
)
def test_lengths_that_do_not_add_up_are_damage(payload: bytes, rows: int) -> None:
    """A table that says more or less than the payload holds is a CaptureError that names the place."""
    with pytest.raises(CaptureError, match="byte 77"):
        split_rows(payload, rows, 77)
