"""Layouts of documents are made once and tell each leaf's surroundings."""

from __future__ import annotations

from anonymizer.layouts import Layouts

OUTLINES = (b'{"owner":{"login":0,', b'"name":0,}', b'"size":0,}')


def layouts() -> Layouts:
    made = Layouts()
    made.leaves = dict(zip(OUTLINES, (3, 2, 2), strict=True))
    return made


def test_each_leaf_knows_its_key_and_whose_object_it_is_in() -> None:
    """A name beside a login is that of a person; what follows the object is not."""
    owner, name, size = layouts().of(OUTLINES)
    assert owner[0] == ((b"owner", b"", False), (b"login", b"owner", True), (b"login", b"owner", True))
    assert name[0] == ((b"name", b"owner", True), (b"name", b"owner", True))
    assert size[0] == ((b"size", b"", False), (b"size", b"", False))
    assert [leaf.key for leaf in name[1]] == [b"name", b"name"]


def test_a_layout_is_made_once_until_it_is_forgotten() -> None:
    """The second document with the same outlines gets the same layout."""
    made = layouts()
    first = made.of(OUTLINES)
    assert made.of(OUTLINES) is first
    made.forget()
    assert made.of(OUTLINES) is not first
    assert made.of(OUTLINES) == first
