"""Layouts of documents are made once and tell each leaf's surroundings."""

from __future__ import annotations

from anonymizer.layouts import MAX_BYTES, Layout, Layouts, doubts
from captures.bodies import json

OWNED = b'{"owner":{"login":"a","name":"b"},"size":12,"at":[-1.5,""]}'


def layout(layouts: Layouts, data: bytes) -> Layout | None:
    cut = json.cut(data)
    assert cut is not None
    shape = layouts.of(json.shape(json.zeroed(b'"'.join(cut.parts[::2]))))
    return None if shape is None else shape.layout(cut.parts[1::2], marked=cut.marked)


def test_each_leaf_knows_its_key_and_whose_object_it_is_in() -> None:
    """A name beside a login is that of a person; what follows the object is not."""
    made = layout(Layouts(), OWNED)
    assert made is not None
    assert made.is_key == [True, True, False, True, False, True, True, False]
    assert made.contexts[1:5] == [(b"login", b"owner", True)] * 2 + [(b"name", b"owner", True)] * 2
    assert made.contexts[0] == (b"owner", b"", False)
    assert made.number_contexts == [(b"size", b"", False), (b"at", b"", False)]
    assert made.places[4] == ((b"owner",), b"name")
    assert made.number_places[0] == ((), b"size")


def test_a_layout_is_made_once_until_it_is_forgotten() -> None:
    """Documents that differ in values and digits have one layout, those with other keys or signs do not."""
    layouts = Layouts()
    first = layout(layouts, OWNED)
    same = b'{"owner":{"login":"jane","name":""},"size":7654321,"at":[-123.25,"x"]}'
    assert layout(layouts, same) is first
    assert layout(layouts, same.replace(b"name", b"mane")) is not first
    assert layout(layouts, same.replace(b"-", b"")) is not first
    layouts.take(MAX_BYTES)
    assert layouts.forgotten == 1
    again = layout(layouts, OWNED)
    assert again is not None
    assert again is not first
    assert again.contexts == first.contexts  # type: ignore[union-attr]


def test_what_is_no_json_has_no_layout() -> None:
    """Stray text between the strings gives none."""
    assert layout(Layouts(), b'{"a":b,"c":1}') is None


def test_places_that_deny_a_value_are_told_apart() -> None:
    """A card is none under the key of an id, and an address none under that of a version or a browser."""
    told = {key: doubts((key, b"", False)) for key in (b"note", b"title", b"id", b"version", b"via")}
    assert told[b"note"] == told[b"title"] == (False, False, False)
    assert len(set(told.values())) == 4
