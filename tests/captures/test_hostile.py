"""Captures whose checksums are right and whose contents were made to break a reader."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures.codec import pack_header
from captures.errors import CaptureError
from captures.frames import CAPTURE_MAGIC, BlockHeader, BlockPacker, BlockType, pack_file_header
from captures.model import MAX_CONNECTIONS
from captures.reader import CaptureReader
from captures.writer import new_header

HUGE = (-1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def read_everything(path: Path, *, salvage: bool = False) -> int:
    with CaptureReader.open(path, salvage=salvage) as reader:
        count = len(list(reader.exchanges()))
        list(reader.messages())
        list(reader.messages(0))
        _ = reader.endpoint_labels, reader.duration_ns, reader.index.endpoint, reader.problems, repr(reader)
        for name in ("connection", "status", "request_bytes", "response_bytes"):
            getattr(reader.index, name)
    return count


def test_the_crafted_file_is_sound_before_it_is_changed(craft) -> None:
    """What the other tests here change is a capture that reads."""
    assert read_everything(craft()) == 2


@pytest.mark.parametrize("place", HUGE)
def test_a_block_at_an_impossible_place_is_a_capture_error(craft, place: int) -> None:
    """Positions in INDEX and FOOTER that no file has are refused before they are asked for."""

    def put(value: list[Any]) -> None:
        value[0][0][0] = place

    with pytest.raises(CaptureError):
        read_everything(craft(index=put))
    for name, entry in (("index", place), ("messages", [place, 0, 0, 1])):
        with pytest.raises(CaptureError):
            read_everything(craft(footer=lambda value, n=name, e=entry: value.update({n: [e]})))


def test_an_index_that_counts_other_rows_is_a_capture_error(craft) -> None:
    """More or fewer rows than the block holds, and a block of another type, are named."""
    with pytest.raises(CaptureError, match="--salvage"):
        read_everything(craft(index_rows=5))
    with pytest.raises(CaptureError, match="--salvage"):
        read_everything(craft(index_rows=1))
    with pytest.raises(CaptureError, match="--salvage"):
        read_everything(craft(index=lambda value: value[0][0].__setitem__(0, 64)))  # where META stands


@pytest.mark.parametrize(
    "change",
    [
        {"index": [float("inf")]}, {"index": ["5"]}, {"index": None}, {"index": {}, "messages": 3},
        {"first_ns": float("inf")}, {"last_end_ns": "9" * 5000}, {"first_ns": 2**64 - 1},
        {"stream_ends": [[0, float("nan")]]}, {"stream_ends": [[[], 1]]}, {"dictionaries": [[0]]},
        {"messages": [[64, 0, 0]]}, {"messages": [[64, 0, 0, 1.5]]}, {"counters": None},
        {"counters": {"seen": 1e300}},
    ],
)  # fmt: skip
def test_a_footer_of_other_types_is_a_capture_error(craft, change: dict[str, Any]) -> None:
    """Nothing in a footer is turned into a number; it is one or the footer is damaged."""
    with pytest.raises(CaptureError):
        read_everything(craft(footer=lambda value: value.update(change)))


@pytest.mark.parametrize("times", [2, 2000])
def test_a_footer_that_lists_an_index_again_is_a_capture_error(craft, times: int) -> None:
    """One exchange does not become three, and a small file not many gigabytes."""
    with pytest.raises(CaptureError, match="footer"):
        read_everything(craft(footer=lambda value: value.update(index=value["index"] * times)))


def test_an_index_that_lists_a_block_again_is_a_capture_error(craft) -> None:
    """Blocks stand in file order, each once."""

    def twice(value: list[Any]) -> None:
        value[0] = [[value[0][0][0], 1], [value[0][0][0], 1]]

    with pytest.raises(CaptureError):
        read_everything(craft(index=twice))


def test_an_index_of_more_rows_than_a_file_can_hold_is_refused_before_it_is_decoded(craft) -> None:
    """A million rows in two kilobytes are a bomb."""
    path = craft(index_rows=1 << 20)
    assert path.stat().st_size < 10_000
    with CaptureReader.open(path) as reader, pytest.raises(CaptureError):
        len(reader)


def test_a_block_that_unpacks_to_far_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    """Only rows and dictionaries may compress without bound; a header of megabytes is none."""
    path = tmp_path / "bomb.reel"
    packer = BlockPacker()
    values = {**msgpack.unpackb(pack_header(new_header(source="s", started_wall_ns=0))), "x": bytes(10**7)}
    data = pack_file_header(CAPTURE_MAGIC, 1, bytes(16)) + packer.pack(BlockType.META, msgpack.packb(values))
    path.write_bytes(data)
    with pytest.raises(CaptureError):
        read_everything(path)


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint_salt": 2**62}, {"fingerprint_salt": b""}, {"fingerprint_salt": "x" * 16},
        {"started_wall_ns": 1e300}, {"started_wall_ns": True}, {"started_wall_ns": 2**64 - 1},
        {"capture_id": 5}, {"lineage": "abc"}, {"lineage": [1]}, {"anonymized": {"policy": 1}},
        {"anonymized": {"policy": 1, "key_fingerprint": "a"}}, {"source": None},
    ],
)  # fmt: skip
def test_a_header_of_other_types_is_a_capture_error(craft, change: dict[str, Any]) -> None:
    """A salt that is a number does not become that many bytes."""
    with pytest.raises(CaptureError):
        read_everything(craft(header=lambda value: value.update(change)))


@pytest.mark.parametrize("connection", [-1, MAX_CONNECTIONS, 2**40])
def test_a_connection_beyond_the_index_is_left_out(craft, make_exchange, connection: int) -> None:
    """A row that the index cannot describe is damage, in a file without an index too."""
    path = craft([make_exchange(0, 0, connection=connection)], close=False)
    for salvage in (False, True):
        with CaptureReader.open(path, salvage=salvage) as reader:
            assert list(reader.exchanges()) == []
            assert "cannot be decoded" in reader.problems[-1]


@pytest.mark.parametrize("kind", [BlockType.DICTIONARY, BlockType.EXCHANGES])
def test_a_dictionary_that_needs_itself_is_no_loop(tmp_path: Path, kind: BlockType) -> None:
    """A dictionary never needs another one, and only a DICTIONARY block is one."""
    packer = BlockPacker()
    stored = zstandard.ZstdCompressor().compress(b"x" * 200)
    data = pack_file_header(CAPTURE_MAGIC, 1, bytes(16))
    data += packer.pack(BlockType.META, pack_header(new_header(source="s", started_wall_ns=0)))
    for number, block_type in enumerate((kind, BlockType.EXCHANGES), 1):
        header = BlockHeader(
            type=block_type, codec=2, dictionary=1, number=number, rows=1, raw_bytes=200,
            stored_bytes=len(stored), first_ns=0, last_ns=0, payload_crc=zlib.crc32(stored),
        )  # fmt: skip
        data += header.pack() + stored
    path = tmp_path / "loop.reel"
    path.write_bytes(data)
    for salvage in (False, True):
        assert read_everything(path, salvage=salvage) == 0


@pytest.mark.parametrize("column", ["offset_ns", "seq"])
def test_an_index_that_lies_is_a_capture_error(craft, column: str) -> None:
    """Times and numbers of the index are those of the exchanges, or nothing is replayed by them."""
    path = craft(columns=lambda arrays: arrays.update({column: arrays[column] + 1}))
    with pytest.raises(CaptureError, match="--salvage"):
        read_everything(path)
    assert read_everything(path, salvage=True) == 2


NUMBERS = st.one_of(
    st.integers(-5, 300), st.integers(-(2**63), 2**64 - 1), st.sampled_from(HUGE), st.floats()
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=5), st.binary(max_size=5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def mutated(value: Any, data: st.DataObject) -> Any:
    """``value`` with one thing somewhere inside changed, removed or doubled."""
    if isinstance(value, dict | list) and value and data.draw(st.integers(0, 4)):
        places = list(value) if isinstance(value, dict) else range(len(value))
        place = data.draw(st.sampled_from(places))
        what = data.draw(st.sampled_from(["inside", "inside", "inside", "remove", "double"]))
        if what == "inside":
            value[place] = mutated(value[place], data)
        elif what == "remove":
            del value[place]
        elif isinstance(value, list):
            value.insert(place, value[place])
        return value
    return data.draw(VALUES)


def mutate_in_place(data: st.DataObject) -> Callable[[Any], None]:
    """A hook of ``craft`` that changes something inside a map or a list."""

    def change(value: Any) -> None:
        places = list(value) if isinstance(value, dict) else range(len(value))
        place = data.draw(st.sampled_from(places))
        value[place] = mutated(value[place], data)

    return change


@given(st.data(), st.sampled_from(["header", "footer", "index"]))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_in_sound_blocks_only_capture_errors_come(craft, data, hook: str) -> None:
    """META, FOOTER and INDEX with any values inside: CaptureError, or the two exchanges that are there."""
    path = craft(**{hook: mutate_in_place(data)})
    for salvage in (False, True):
        with contextlib.suppress(CaptureError):
            assert read_everything(path, salvage=salvage) in {0, 2}


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_columns_say_only_capture_errors_come(craft, data: st.DataObject) -> None:
    """Columns of any values and of any of the types."""

    def change(arrays: dict[str, Any]) -> None:
        name = data.draw(st.sampled_from(sorted(arrays)))
        dtype = np.dtype(data.draw(st.sampled_from(["<i8", "<u4", "<u2", "u1"])))
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        values = data.draw(st.lists(st.integers(low, high), min_size=2, max_size=2))
        arrays[name] = np.array(values, dtype)

    path = craft(columns=change)
    with contextlib.suppress(CaptureError):
        assert read_everything(path) == 2
    assert read_everything(path, salvage=True) == 2
