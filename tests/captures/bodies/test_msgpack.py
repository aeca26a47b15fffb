"""MessagePack at byte offsets: what the library packs is found, and what is spliced unpacks."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies.msgpack import (
    NUMBERS,
    MsgpackError,
    MsgpackRole,
    looks_like_msgpack,
    number,
    scan,
    with_content,
    with_number,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
    | st.text("ab", min_size=250, max_size=300)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20))
    | st.builds(msgpack.Timestamp, st.integers(-(2**63), 2**63 - 1), st.integers(0, 10**9 - 1)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def strings(value: Any) -> list[Any]:
    """Keys, texts, binaries, extensions, numbers and seconds in the order they are packed."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in (key, *strings(inner))]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in strings(inner)]
    if isinstance(value, msgpack.ExtType):
        return [value.data]
    if isinstance(value, (str, bytes)):
        return [value]
    if type(value) in {int, float}:
        return [float(value)]
    return [float(value.seconds)] if isinstance(value, msgpack.Timestamp) else []


@given(VALUES)
def test_every_leaf_of_the_library_is_found(value: Any) -> None:
    """Strings, keys, binaries, extensions, numbers and times come out in order, with their bytes."""
    data = msgpack.packb(value)
    found = []
    for leaf in scan(data, documents=1):
        raw = data[leaf.start : leaf.stop]
        if leaf.role in NUMBERS:
            found.append(float(number(data, leaf)))
        else:
            found.append(raw.decode() if leaf.role in {MsgpackRole.KEY, MsgpackRole.STRING} else raw)
    assert found == strings(value)


@given(VALUES, st.integers(0, 70_000))
def test_contents_of_any_length_are_spliced(value: Any, size: int) -> None:
    """With every string replaced by one of another length the library unpacks the same structure."""
    data = msgpack.packb({"list": [value], "last": "end"})
    parts, position = [], 0
    for leaf in scan(data):
        if leaf.role is MsgpackRole.STRING:
            parts += [data[position : leaf.head], with_content(data, leaf, b"x" * size)]
            position = leaf.stop
    new = b"".join((*parts, data[position:]))

    def replaced(old: Any) -> Any:
        if isinstance(old, dict):
            return {key: replaced(inner) for key, inner in old.items()}
        if isinstance(old, list):
            return [replaced(inner) for inner in old]
        return "x" * size if isinstance(old, str) else old

    assert msgpack.unpackb(new) == replaced({"list": [value], "last": "end"})


@pytest.mark.parametrize("role", [b"\x00" * 5, msgpack.ExtType(7, b"\x00" * 5)])
@pytest.mark.parametrize("size", [0, 4, 300, 70_000])
def test_binaries_and_extensions_keep_their_kind(role: Any, size: int) -> None:
    """Other bytes in them unpack as the same kind, and as the same type of extension."""
    data = msgpack.packb(role)
    (leaf,) = scan(data)
    new = msgpack.unpackb(with_content(data, leaf, b"y" * size))
    expected = msgpack.ExtType(7, b"y" * size) if isinstance(role, msgpack.ExtType) else b"y" * size
    assert new == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (200, 255), (200, 256), (70_000, 5), (2**40, 2**63), (-200, 100), (-200, 200), (7, 100), (7, 200),
        (-3, -32), (7, -200), (-200, -(2**40)), (2.5, 3.25), (2.5, 4), (2, 0),
    ],
)  # fmt: skip
def test_numbers_are_spliced(old: float, new: float) -> None:
    """Another number stands where the old one stood, wider where it has to be."""
    data = msgpack.packb([old])
    (leaf,) = scan(data)
    assert number(data, leaf) == repr(old).encode()
    assert msgpack.unpackb(data[: leaf.head] + with_number(data, leaf, repr(new).encode())) == [new]


@pytest.mark.parametrize("old", [7, 70_000, -200, 2.5])
def test_what_is_no_number_counts_as_none(old: float) -> None:
    """Where a policy leaves nothing of a number, 0 stands for it."""
    data = msgpack.packb([old])
    (leaf,) = scan(data)
    assert msgpack.unpackb(data[: leaf.head] + with_number(data, leaf, b"")) == [0]


@pytest.mark.parametrize(("new", "wide"), [(b"13.404954", 5), (b"48.1234567", 9), (b"1e300", 9)])
def test_a_float_of_32_bits_is_what_its_digits_say(new: bytes, wide: int) -> None:
    """It is read in few digits, and another one becomes wider where 32 bits would change its digits."""
    data = b"\xca" + struct.pack(">f", 52.520008)
    (leaf,) = scan(data)
    assert number(data, leaf) == b"52.520008"
    written = with_number(data, leaf, new)
    assert len(written) == wide
    assert float(number(written, scan(written)[0])) == float(new)


@pytest.mark.parametrize("old", [(1_700_000_000, 0), (1_700_000_000, 5), (2**40, 5), (-5, 7)])
@pytest.mark.parametrize("new", [1_600_000_000, 0, 2**60, -1])
def test_times_are_spliced(old: tuple[int, int], new: int) -> None:
    """The seconds change, as far as there is room for them, and the nanoseconds stay."""
    data = msgpack.packb(msgpack.Timestamp(*old))
    (leaf,) = scan(data)
    assert (leaf.role, number(data, leaf)) == (MsgpackRole.TIMESTAMP, b"%d" % old[0])
    made = msgpack.unpackb(data[: leaf.head] + with_number(data, leaf, b"%d" % new))
    assert made.nanoseconds == old[1]
    assert made.seconds == (new if 0 <= new < 2**32 or len(data) == 15 else made.seconds)


def test_keys_that_are_numbers_name_fields() -> None:
    """A field's own number is no leaf, unless it is a wide one."""
    data = msgpack.packb({1: "a", 1.5: "b", 2**40: "c"})
    assert [data[leaf.start : leaf.stop] for leaf in scan(data)] == [b"a", b"b", b"\0\0\1\0\0\0\0\0", b"c"]


def test_a_leaf_knows_its_place() -> None:
    """Key, path and map are told as for JSON."""
    data = msgpack.packb({"user": {"name": "Ann", "tags": ["a", "b"]}, "n": "x"})
    leaves = {data[leaf.start : leaf.stop]: leaf for leaf in scan(data)}
    assert (leaves[b"Ann"].key, leaves[b"Ann"].path) == (b"name", (b"user",))
    assert leaves[b"b"].key == b"tags"
    assert leaves[b"Ann"].holder == leaves[b"name"].holder != leaves[b"x"].holder


@given(st.binary(max_size=40))
def test_damage_is_told(data: bytes) -> None:
    """Any bytes are either taken whole or refused with the module's own error."""
    try:
        leaves = scan(data)
    except MsgpackError:
        return
    assert all(leaf.stop <= len(data) for leaf in leaves)


@pytest.mark.parametrize(
    "data", [b"\xc1", b"\xd9\x05ab", b"\x81\xa1a", b"\x81\x90\xc0", b"\x91" * 300 + b"\xc0", b"\xdf\xff"]
)
def test_what_is_no_msgpack_is_refused(data: bytes) -> None:
    """A reserved byte, cut ends, keys that are arrays and bottomless nesting raise."""
    with pytest.raises(MsgpackError):
        scan(data)


def test_only_a_filled_map_or_array_looks_like_msgpack() -> None:
    """Numbers, text and a map with bytes behind it do not."""
    assert looks_like_msgpack(msgpack.packb({"a": "b"}))
    assert looks_like_msgpack(msgpack.packb(["b"]))
    assert not looks_like_msgpack(msgpack.packb({"a": "b"}) + b"\x01")
    assert not looks_like_msgpack(msgpack.packb([1, 2]))
    assert not looks_like_msgpack(b"\x01")
    assert not looks_like_msgpack(b"plain text")
    assert not looks_like_msgpack(b"")
