"""The pieces of a text that has fields of its own, each with its context and the way back."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from anonymizer.detectors.base import Context, normal_key
from anonymizer.detectors.names import marks_a_person
from captures.bodies import entities, graphql, json, lines, markup
from captures.bodies.edits import Edit, Unescaped
from captures.bodies.graphql import GraphqlRole
from captures.bodies.json import LeafRole
from captures.bodies.markup import MarkupLeaf, MarkupRole

Back = Callable[[list[Edit]], list[Edit]]
"""Edits of a piece's text to edits of the document."""


_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|(\\?\Z))', re.DOTALL)
_OPEN_STRING = re.compile(rb'"[^"\n]*+\Z')
_JSON_REST = re.compile(rb"(?:[\s\x1e\[\]{}:,]|true|false|null|-?[0-9][0-9.eE+-]*)*+")


def is_all_json(data: bytes) -> bool:
    """Whether ``data`` is nothing but strings, numbers, words and signs of JSON, in whatever order."""
    return _JSON_REST.fullmatch(_beside_strings(data)) is not None


def ends_strings(data: bytes) -> bool:
    """Whether every string of ``data`` ends, so that no value of it can have been cut."""
    return _OPEN_STRING.search(_beside_strings(data)) is None


def _beside_strings(data: bytes) -> bytes:
    """``data`` without its strings; one without an end stays."""
    return _JSON_STRING.sub(lambda string: b"" if string[1] is None else string[0], data)


# Within a line of HTML, whose text goes on behind them; React parts texts by comments.
_INLINE = rb"a|abbr|b|bdi|code|em|font|i|kbd|mark|q|s|small|span|strong|sub|sup|tt|u|var|wbr"
INLINE_TAG = re.compile(rb"<(?:/(?:" + _INLINE + rb")\s*|wbr\s*/?)>", re.IGNORECASE)
"""By such a tag a text that does not begin with one is known to be HTML."""

_INLINE_TAGS = re.compile(
    rb"(?:</?(?:" + _INLINE + rb")(?:\s[^<>]*+)?/?>|<!--(?:[^<>-]++|-(?!->))*+-->)++", re.IGNORECASE
)
_WHOLE_ADDRESS = re.compile(rb"[^@]*@[^@]*\.[A-Za-z]{2,}")
_TORN_WORD = re.compile(rb"[\w.+%@\x80-\xff-]{5,320}+")


class Piece(NamedTuple):
    """One text of a document; ``names`` are those of the fields it is in, the outermost first."""

    text: bytes
    context: Context
    names: tuple[bytes, ...]
    back: Back


def pieces(data: bytes) -> Iterator[Piece]:
    """The pieces of XML, HTML or GraphQL, which together are all of it; none of another text."""
    if b"<" in data and (markup.looks_like_markup(data) or INLINE_TAG.search(data)):
        yield from markup_pieces(data)
    elif b"{" in data and graphql.looks_like_graphql(data):
        yield from graphql_pieces(data)


class _Taken:
    """
    Where something was replaced, which later pieces leave out, so that no two edits overlap.

    It is known in time since whoever takes a piece gives its edits before taking the next one.
    """

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []  # in order, and none overlaps another

    def noted(self, back: Back) -> Back:
        """``back``, whose edits are taken note of."""

        def noting(edits: list[Edit]) -> list[Edit]:
            made = back(edits)
            for edit in made:
                insort(self._spans, (edit.start, edit.stop))
            return made

        return noting

    def free(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """What of ``start:stop`` was not replaced."""
        first = max(0, bisect_right(self._spans, (start, start)) - 1)
        for taken_start, taken_stop in self._spans[first : bisect_left(self._spans, (stop, stop))]:
            if taken_stop > start:
                if start < taken_start:
                    yield start, taken_start
                start = taken_stop
        if start < stop:
            yield start, stop


def markup_pieces(data: bytes) -> Iterator[Piece]:
    """The texts, attributes, comments and scripts of XML or HTML, words over tags, and the tags."""
    found = markup.scan(data)
    people = {number for number, names in found.names.items() if any(map(marks_a_person, names))}
    taken = _Taken()
    yield from _torn(data, found.leaves, taken)
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
        if leaf.role is MarkupRole.RAW:
            yield from _raw(data, leaf.start, leaf.stop, context, names)
            continue
        for start, stop in taken.free(leaf.start, leaf.stop):
            raw = data[start:stop]
            if b"&" not in raw:
                yield Piece(raw, context, names, partial(_moved, by=start, escape=entities.escape))
            else:
                unescaped = markup.unescape(raw)
                yield Piece(unescaped.text, context, names, partial(_unescaped, of=unescaped, by=start))
    yield from _between(data, position, len(data))


def _torn(data: bytes, leaves: Sequence[MarkupLeaf], taken: _Taken) -> Iterator[Piece]:
    """Words that go over tags within a line: ``<em>jane</em>.doe@acme.test``."""
    runs: list[list[MarkupLeaf]] = []
    for leaf in leaves:
        if leaf.role is not MarkupRole.TEXT:
            continue
        if runs and _INLINE_TAGS.fullmatch(data, runs[-1][-1].stop, leaf.start):
            runs[-1].append(leaf)
        else:
            runs.append([leaf])
    for run in runs:
        if len(run) < 2:
            continue
        joined = b"".join(data[leaf.start : leaf.stop] for leaf in run)
        ends = list(accumulate(leaf.stop - leaf.start for leaf in run))
        for word in _TORN_WORD.finditer(joined):
            tears = ends[bisect_right(ends, word.start()) : bisect_left(ends, word.end())]
            # what follows an address without a gap is set apart by its style
            if tears and not any(_WHOLE_ADDRESS.fullmatch(joined, word.start(), end) for end in tears):
                back = taken.noted(partial(_over, run=run, ends=ends, by=word.start()))
                yield Piece(word[0], Context(), (*run[0].path, run[0].key), back)


def _over(edits: list[Edit], run: Sequence[MarkupLeaf], ends: Sequence[int], by: int) -> list[Edit]:
    """Edits of the joined texts of ``run``: what is new stands in the first text that had some of the old."""
    made: list[Edit] = []
    for edit in edits:
        new = edit.new
        for leaf, end in zip(run, ends, strict=True):
            shift = leaf.stop - end
            start, stop = max(edit.start + by + shift, leaf.start), min(edit.stop + by + shift, leaf.stop)
            if start < stop:
                made.append(Edit(start, stop, new, edit.label))
                new = b""
    return made


def _raw(data: bytes, start: int, stop: int, context: Context, names: tuple[bytes, ...]) -> Iterator[Piece]:
    """A script, a comment or characters as they are: all of it, then the values that have names in it."""
    taken = _Taken()
    text = data[start:stop]
    yield Piece(text, context, names, taken.noted(partial(_moved, by=start, escape=_same)))
    position = 0
    for first, last in lines.json_documents(text):
        yield from _fields(text, position, first, names, start, taken)
        yield from _members(text[first:last], names, start + first, taken)
        position = last
    yield from _fields(text, position, len(text), names, start, taken)


def _fields(
    text: bytes, start: int, stop: int, names: tuple[bytes, ...], by: int, taken: _Taken
) -> Iterator[Piece]:
    """The fields of ``text[start:stop]``."""
    part = text[start:stop]
    found = lines.fields(part)
    people = {field.line for field in found if marks_a_person(field.key)}
    for field in found:
        context = Context(key=normal_key(field.key), person=field.line in people)
        for first, last in taken.free(by + start + field.start, by + start + field.stop):
            value = text[first - by : last - by]
            back = taken.noted(partial(_moved, by=first, escape=_same))
            yield Piece(value, context, (*names, field.key), back)


def _members(document: bytes, names: tuple[bytes, ...], by: int, taken: _Taken) -> Iterator[Piece]:
    """The strings and numbers of a JSON ``document``."""
    leaves = json.scan(document)
    people = {leaf.holder for leaf in leaves if leaf.role is LeafRole.KEY and marks_a_person(leaf.key)}
    for leaf in leaves:
        if leaf.role is LeafRole.KEY:
            continue
        context = Context(
            key=normal_key(leaf.key),
            parent=normal_key(leaf.path[-1]) if leaf.path else "",
            person=leaf.holder in people,
            number=leaf.role is LeafRole.NUMBER,
        )
        for first, last in taken.free(by + leaf.start, by + leaf.stop):
            literal = json.unescape(document[first - by : last - by])
            back = taken.noted(partial(_json_unescaped, of=literal, by=first))
            yield Piece(literal.text, context, (*names, *leaf.path, leaf.key), back)


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
