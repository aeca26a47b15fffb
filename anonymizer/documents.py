"""The pieces of a text that has fields of its own, each with its context and the way back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from anonymizer.detectors.base import Context, normal_key
from anonymizer.detectors.names import marks_a_person
from captures.bodies import entities, graphql, json, markup
from captures.bodies.edits import Edit, Unescaped
from captures.bodies.graphql import GraphqlRole
from captures.bodies.markup import MarkupRole

Back = Callable[[list[Edit]], list[Edit]]
"""Edits of a piece's text to edits of the document."""


_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_OPEN_STRING = re.compile(rb'"[^"\n]*+\Z')
_JSON_REST = re.compile(rb"(?:[\s\x1e\[\]{}:,]|true|false|null|-?[0-9][0-9.eE+-]*)*+")


def is_all_json(data: bytes) -> bool:
    """Whether ``data`` is nothing but strings, numbers, words and signs of JSON, in whatever order."""
    return _JSON_REST.fullmatch(_JSON_STRING.sub(b"", data)) is not None


def ends_strings(data: bytes) -> bool:
    """Whether every string of ``data`` ends, so that no value of it can have been cut."""
    return _OPEN_STRING.search(_JSON_STRING.sub(b"", data)) is None


class Piece(NamedTuple):
    """One text of a document; ``names`` are those of the fields it is in, the outermost first."""

    text: bytes
    context: Context
    names: tuple[bytes, ...]
    back: Back


def pieces(data: bytes) -> Iterator[Piece]:
    """The pieces of XML, HTML or GraphQL, which together are all of it; none of another text."""
    if b"<" in data and markup.looks_like_markup(data):
        yield from markup_pieces(data)
    elif b"{" in data and graphql.looks_like_graphql(data):
        yield from graphql_pieces(data)


def markup_pieces(data: bytes) -> Iterator[Piece]:
    """The texts, attributes and comments of XML or HTML, and the tags between them."""
    found = markup.scan(data)
    people = {number for number, names in found.names.items() if any(map(marks_a_person, names))}
    position = 0
    for leaf in found.leaves:
        yield from _between(data, position, leaf.start)
        position = leaf.stop
        context = Context(
            key=normal_key(leaf.key),
            parent=normal_key(leaf.path[-1]) if leaf.path else "",
            person=leaf.holder in people,
        )
        names = (*leaf.path, leaf.key)
        raw = data[leaf.start : leaf.stop]
        if leaf.role is MarkupRole.RAW or b"&" not in raw:
            escape = _same if leaf.role is MarkupRole.RAW else entities.escape
            yield Piece(raw, context, names, partial(_moved, by=leaf.start, escape=escape))
        else:
            unescaped = markup.unescape(raw)
            yield Piece(unescaped.text, context, names, partial(_unescaped, of=unescaped, by=leaf.start))
    yield from _between(data, position, len(data))


def graphql_pieces(data: bytes) -> Iterator[Piece]:
    """The literals and comments of a GraphQL document, and what is between them."""
    document = graphql.scan(data)
    people = {number for number, names in document.names.items() if any(map(marks_a_person, names))}
    position = 0
    for leaf in document.leaves:
        yield from _between(data, position, leaf.start)
        position = leaf.stop
        number = leaf.role is GraphqlRole.NUMBER
        context = Context(key=normal_key(leaf.key), person=leaf.holder in people, number=number)
        raw = data[leaf.start : leaf.stop]
        names = (leaf.key,) if leaf.key else ()
        if leaf.role is GraphqlRole.STRING and b"\\" in raw:
            literal = json.unescape(raw)
            yield Piece(literal.text, context, names, partial(_json_unescaped, of=literal, by=leaf.start))
        else:
            escape = json.escape if leaf.role is GraphqlRole.STRING else _same
            yield Piece(raw, context, names, partial(_moved, by=leaf.start, escape=escape))
    yield from _between(data, position, len(data))


def _between(data: bytes, start: int, stop: int) -> Iterator[Piece]:
    """Tags, names and signs: a value in them is found by its shape or because it is known."""
    if stop - start > 3:
        yield Piece(data[start:stop], Context(), (), partial(_moved, by=start, escape=_same))


def _same(text: bytes) -> bytes:
    return text


def _moved(edits: list[Edit], by: int, escape: Callable[[bytes], bytes]) -> list[Edit]:
    return [Edit(edit.start + by, edit.stop + by, escape(edit.new), edit.label) for edit in edits]


def _unescaped(edits: list[Edit], of: Unescaped, by: int) -> list[Edit]:
    return [edit.moved(by) for edit in of.raw_edits(edits, lambda new, _raw: entities.escape(new))]


def _json_unescaped(edits: list[Edit], of: Unescaped, by: int) -> list[Edit]:
    found = of.raw_edits(edits, lambda new, raw: json.escape(new, ascii_only=b"\\u" in raw))
    return [edit.moved(by) for edit in found]
