"""Leaves of XML and HTML: what a parser sees, at offsets, and nothing lost when it is broken."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from captures.bodies import entities
from captures.bodies.edits import splice
from captures.bodies.markup import MarkupRole, looks_like_markup, scan, unescape

NAMES = st.sampled_from(["a", "b", "x:c", "first_name", "d-e"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12).filter(
    lambda text: not re.search("[\ufffe\uffff]", text)
)


@st.composite
def documents(draw, depth: int = 0) -> str:
    """An element with attributes, text, CDATA, comments and more elements."""
    name = draw(NAMES)
    attributes = draw(st.dictionaries(NAMES, TEXTS, max_size=2))
    written = "".join(
        f" {key}={quote}{value.replace('&', '&amp;').replace('<', '&lt;').replace(quote, '&#34;')}{quote}"
        for (key, value), quote in zip(attributes.items(), "'\"", strict=False)
    ).replace("'&#34;", "'&#34;")
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        text = draw(TEXTS)
        kind = draw(st.sampled_from(["text", "cdata", "comment", "element"]))
        if kind == "text":
            parts.append(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
        elif kind == "cdata":
            parts.append(f"<![CDATA[{text.replace(']', '')}]]>")
        elif kind == "comment":
            parts.append(f"<!--{text.replace('-', '')}-->")
        elif depth < 3:
            parts.append(draw(documents(depth + 1)))
    space = ' xmlns:x="urn:x"' if depth == 0 else ""
    return f"<{name}{space}{written}>{''.join(parts)}</{name}>"


@given(documents())
def test_a_parser_sees_the_same_texts(document: str) -> None:
    """All texts and attribute values that lxml finds are leaves, in order, and there are no others."""
    data = document.encode()
    root = etree.fromstring(data, etree.XMLParser(strip_cdata=False, resolve_entities=False))
    expected = []
    for element in root.iter():
        expected += [value for value in element.attrib.values() if value]
        expected += [text for text in (element.text, element.tail) if text]
    found = []
    for leaf in scan(data).leaves:
        raw = data[leaf.start : leaf.stop]
        text = raw if leaf.role is MarkupRole.RAW else unescape(raw).text
        if data[leaf.start - 4 : leaf.start] != b"urn:" and raw != b"urn:x":
            found.append(text.decode())
    normal = [re.sub(r"\s", "", text) for text in (*found, *expected)]
    assert sorted("".join(normal[: len(found)])) == sorted("".join(normal[len(found) :]))


@given(st.binary(max_size=60), st.sampled_from([b"<a b='", b"<!--", b"<![CDATA[", b"<script>", b"<!", b"</"]))
def test_anything_is_taken_and_no_leaf_overlaps(data: bytes, start: bytes) -> None:
    """Whatever the bytes are, leaves stand in order inside of them, and nothing raises."""
    text = start + data
    position = 0
    for leaf in scan(text).leaves:
        assert position <= leaf.start < leaf.stop <= len(text)
        position = leaf.stop


KEYS = [
    (b"<user><name>Ann</name><email>e</email></user>", b"Ann", b"name", {b"name", b"email"}),
    (b'<user name="Ann" login=x />', b"Ann", b"name", {b"name", b"login"}),
    (
        b"<x:Person xmlns:x='u'><x:firstName>Ann</x:firstName></x:Person>",
        b"Ann",
        b"firstName",
        {b"firstName"},
    ),
    (b'<input name="first_name" value="Ann">', b"Ann", b"first_name", {b"first_name", b"input"}),
    (b'<meta content="Ann" name="author">', b"Ann", b"author", {b"author", b"meta"}),
    (b'<field name="last_name">Ann</field>', b"Ann", b"last_name", {b"last_name", b"field"}),
    (b'<span itemprop="name">Ann</span>', b"Ann", b"name", {b"name", b"span"}),
    (b"<p><b>bold</b>Ann", b"Ann", b"p", {b"p"}),
    (b"<br>Ann", b"Ann", b"", {b"br"}),
    (b"<note><![CDATA[Ann]]></note>", b"Ann", b"note", {b"note"}),
]


@pytest.mark.parametrize(("data", "text", "key", "names"), KEYS)
def test_a_leaf_knows_what_it_is_called(data: bytes, text: bytes, key: bytes, names: set[bytes]) -> None:
    """The key is the element's or attribute's local name, or what a form field states; siblings too."""
    markup = scan(data)
    (leaf,) = [leaf for leaf in markup.leaves if data[leaf.start : leaf.stop] == text]
    assert leaf.key == key
    assert names <= markup.names[leaf.holder]


def test_paths_follow_the_elements() -> None:
    """A leaf's path is that of the elements around it, also when some are not closed."""
    leaves = scan(b"<a><b><br>one</a><c>two</c>").leaves
    assert [(leaf.path, leaf.key) for leaf in leaves] == [((b"a",), b"b"), ((), b"c")]


def test_scripts_comments_and_declarations_are_leaves_as_they_are() -> None:
    """What stands in them is given without undoing any reference."""
    data = (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY who "Ann">]>'
        b"<!-- Ben --><script>if (a<b) x='Cem'</script>"
    )
    leaves = scan(data).leaves
    assert [leaf.role for leaf in leaves] == [MarkupRole.RAW] * 4
    assert b"Ann" in data[leaves[1].start : leaves[1].stop]
    assert data[leaves[3].start : leaves[3].stop] == b"if (a<b) x='Cem'"


def test_what_is_spliced_between_entities_leaves_them_alone() -> None:
    """An edit of the text of a leaf maps to the raw bytes, and its own special characters are escaped."""
    raw = b"&quot;Ann&quot; &amp; Co"
    unescaped = unescape(raw)
    assert unescaped.text == b'"Ann" & Co'
    edits = unescaped.raw_edits([(1, 4, b"B<n", "")], lambda new, _: entities.escape(new))
    assert splice(raw, edits) == b"&quot;B&lt;n&quot; &amp; Co"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<a>", True),
        (b"\n <!DOCTYPE html>", True),
        (b"<?xml?>", True),
        (b"<br/>", True),
        (b"a < b", False),
        (b"<3 you", False),
        (b"<jane@corp.com> wrote", False),
        (b"", False),
    ],
)
def test_markup_is_told_by_its_start(data: bytes, expected: bool) -> None:
    """An element or a declaration at the start is markup; an address in angle brackets is not."""
    assert looks_like_markup(data) is expected


@pytest.mark.parametrize(
    "piece", [b'<a "', b"<!--", b"<script>", b"<![CDATA[", b"<a b='", b"<a>", b"<", b"&#"]
)
def test_unfinished_constructs_are_not_scanned_for_each_of_them_anew(piece: bytes) -> None:
    """A megabyte of them ends long before the time limit of a test, which quadratic work would not."""
    data = piece * (1_000_000 // len(piece))
    assert all(leaf.stop <= len(data) for leaf in scan(data).leaves)
