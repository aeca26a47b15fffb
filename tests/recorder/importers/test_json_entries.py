from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.importers import json_entries
from recorder.importers.json_entries import Broken, EntryScanner

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def scan(data: bytes) -> list[Any]:
    return list(EntryScanner(io.BytesIO(data)).entries())


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.dictionaries(st.text(), VALUES), max_size=5), st.booleans(), st.integers(1, 60))
def test_entries_are_found_whatever_they_hold(entries: list[Any], ascii_only: bool, chunk_bytes: int) -> None:
    """Every entry comes as the JSON parser gives it, however short the portions that are read."""
    document = {"log": {"pages": [{"entries": 1}], "entries": entries, "comment": "]}"}}
    before = json_entries._CHUNK_BYTES
    json_entries._CHUNK_BYTES = chunk_bytes
    try:
        assert scan(json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "replace")) == json.loads(
            json.dumps(entries, ensure_ascii=ascii_only).encode("utf-8", "replace")
        )
    finally:
        json_entries._CHUNK_BYTES = before


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ('{"a": 1}, {"a": }, {"a": 2}', [{"a": 1}, Broken(), {"a": 2}]),
        ('{"a": 1}, "x", {"a": 2}', [{"a": 1}, Broken(), {"a": 2}]),
        ('{"time": 1, "b": "x}, {"time": 2}', [Broken(), {"time": 2}]),
        ('{"time": 1, "b": "{}"x", "c": ""}, {"time": 2}', [Broken(), {"time": 2}]),
        ('{"a": NaN}', None),
    ],
)
def test_broken_entries_cost_themselves(inside: str, expected: list[Any] | None) -> None:
    """A value that is no JSON, or hides its end, is one broken entry."""
    found = scan(f'{{"log": {{"entries": [{inside}]}}}}'.encode())
    if expected is None:
        assert len(found) == 1
    else:
        assert found == expected


def test_cut_document() -> None:
    """The end of the document inside an entry, or before the list is closed, is told apart from damage."""
    assert scan(b'{"log": {"entries": [{"a": 1}, {"a": ') == [{"a": 1}, Broken(cut=True)]
    assert scan(b'{"log": {"entries": [{"a": 1}') == [{"a": 1}, Broken(cut=True)]


def test_deep_nesting_is_survived() -> None:
    """An entry nested deeper than the parser goes is broken; the next one is found."""
    deep = "[" * 200_000 + "]" * 200_000
    assert scan(f'{{"log": {{"entries": [{{"a": {deep}}}, {{"a": 1}}]}}}}'.encode()) == [Broken(), {"a": 1}]


PIECES = st.sampled_from([b"{", b"}", b"[", b"]", b",", b'"', b":", b"\\", b'{"time":', b'"a"', b"1", b" "])


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.dictionaries(st.text(), VALUES), max_size=3),
    st.binary(max_size=200) | st.lists(PIECES, max_size=40).map(b"".join),
)
def test_any_bytes_behind_entries_cost_no_entry_before_them(entries: list[Any], damage: bytes) -> None:
    """What stood before the damage is given; what follows is JSON or damage, cut only at its end."""
    whole = "".join(f"{json.dumps(entry)}," for entry in entries)
    found = scan(b'{"log": {"entries": [' + whole.encode() + damage)
    assert found[: len(entries)] == json.loads(json.dumps(entries))
    behind = found[len(entries) :]
    assert all(isinstance(item, dict | list | Broken) for item in behind)
    assert all(item != Broken(cut=True) for item in behind[:-1])


@pytest.mark.parametrize(
    ("document", "cut"), [(b'{"log": {"version": "1.2"', True), (b'{"log": {"version": "1.2"}}', False)]
)
def test_a_document_without_entries(document: bytes, cut: bool) -> None:
    """A document that ends in the search for the list is told apart from one that has none."""
    scanner = EntryScanner(io.BytesIO(document))
    assert list(scanner.entries()) == []
    assert (scanner.found, scanner.cut) == (False, cut)
