"""MessagePack at byte offsets: what the library packs is found, and what is spliced unpacks."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies.msgpack import (
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
    | st.just(msgpack.Timestamp(1, 2)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def strings(value: Any) -> list[Any]:
    """Keys, texts, binaries, extensions and numbers in the order they are packed."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in (key, *strings(inner))]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in strings(inner)]
    if isinstance(value, msgpack.ExtType):
        return [value.data]
    if isinstance(value, (str, bytes)):
        return [value]
    if type(value) is int and (value > 127 or value < -32):
        return [value]
    return []


@given(VALUES)
def test_every_leaf_of_the_library_is_found(value: Any) -> None:
    """Strings, keys, binaries, extensions and wide integers come out in order, with their bytes."""
    data = msgpack.packb(value)
    found = []
    for leaf in scan(data, documents=1):
        raw = data[leaf.start : leaf.stop]
        if leaf.role is MsgpackRole.NUMBER:
            found.append(number(data, leaf))
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
    ("old", "new"), [(200, 255), (200, 256), (70_000, 5), (2**40, 2**63), (-200, 100), (-200, 200)]
)
def test_integers_are_spliced(old: int, new: int) -> None:
    """Another integer stands where the old one stood, wider where it has to be."""
    data = msgpack.packb([old])
    (leaf,) = scan(data)
    assert number(data, leaf) == old
    assert msgpack.unpackb(data[: leaf.head] + with_number(data, leaf, new)) == [new]


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
