"""Columns come back as they were, are small, and damage is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.columns import MAX_ROWS, ColumnBlock, pack_columns
from captures.errors import CaptureError


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50))
def test_int64_columns_come_back(values: list[int]) -> None:
    """Any int64 values survive, extremes that make differences wrap included."""
    column = np.array(values, np.int64)
    block = ColumnBlock(pack_columns({"a": column}), len(values))
    assert block.column("a").tolist() == values


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_unsigned_columns_come_back(dtype: type) -> None:
    """Falling values survive in the small types too."""
    values = np.array([0, np.iinfo(dtype).max, 3, 2, 1, 0], dtype)
    assert ColumnBlock(pack_columns({"a": values}), 6).column("a").tolist() == values.tolist()


@given(st.binary(max_size=100), st.integers(0, 10))
def test_arbitrary_payloads_are_a_capture_error(payload: bytes, rows: int) -> None:
    """Bytes that are no columns raise CaptureError and nothing else."""
    with pytest.raises(CaptureError):
        ColumnBlock(payload, rows).column("a")


def test_a_wrong_row_count_is_a_capture_error() -> None:
    """The row count must fit what the column holds; a huge one is refused before allocating."""
    payload = pack_columns({"a": np.arange(10)})
    with pytest.raises(CaptureError):
        ColumnBlock(payload, 9).column("a")
    with pytest.raises(CaptureError):
        ColumnBlock(payload, MAX_ROWS + 1)


def test_sorted_times_take_few_bytes() -> None:
    """A column of Poisson arrival times takes less than half of its raw 8 bytes a row."""
    times = np.cumsum(np.random.default_rng(1).exponential(1e6, 50_000)).astype(np.int64)
    assert len(pack_columns({"t": times})) < 4 * len(times)
