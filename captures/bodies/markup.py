"""
The leaves of XML and HTML as byte spans (XML 1.0; WHATWG HTML, section 13.2).

The scanner is tolerant: unclosed tags, quotes and comments end with the text, since nothing may
pass by it unseen. It expands no entity, follows no reference and decides nothing about validity.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from captures.bodies import entities
from captures.bodies.edits import Unescaped

_TAG_REST = rb"""(?:[^>"']++|"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z))*+>?"""
_TOKEN = re.compile(
    rb"<!--(?P<comment>.*?)(?:-->|\Z)"
    rb"|<!\[CDATA\[(?P<cdata>.*?)(?:\]\]>|\Z)"
    rb"|<[!?](?P<declaration>[^\[>]*+(?:\[.*?(?:\]\s*>|\Z)|>|\Z))"
    rb"|</(?P<end>[^\s>]*+)[^>]*+>?"
    rb"|<(?P<raw>(?i:script|style))(?=[\s/>])" + _TAG_REST + rb"(?P<inside>.*?)(?=</(?i:script|style)|\Z)"
    rb"|<(?P<start>[A-Za-z_][^\s/>]*+)" + _TAG_REST + rb"|(?P<text>(?:[^<]++|<(?![A-Za-z_/!?]))++)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(rb"""([^\s=/"'>]++)(?:\s*+=\s*+(?:"([^"]*+)"?|'([^']*+)'?|([^\s"'>]++)))?""")
_LOOKS = re.compile(rb"\s*<(?:[A-Za-z_][\w:.-]*[\s/>]|[!?])")
_VOID = frozenset(
    {
        b"area", b"base", b"br", b"col", b"embed", b"hr", b"img", b"input", b"link", b"meta", b"source",
        b"track", b"wbr",
    }
)  # fmt: skip
# Elements and attributes that say nothing of what they hold, and where the name of that stands.
_NAMELESS = frozenset(
    {
        b"add", b"attribute", b"data", b"entry", b"field", b"input", b"item", b"meta", b"option", b"param",
        b"parameter", b"property", b"span", b"div", b"string", b"td", b"text", b"textarea", b"value",
    }
)  # fmt: skip
_VALUES = frozenset({b"value", b"content"})
_NAMES = (b"name", b"key", b"itemprop", b"property", b"id")
_MAX_DEPTH = 200  # elements deeper than this count as being there


class MarkupRole(StrEnum):
    """How a leaf is written."""

    TEXT = "text"  # with entities
    ATTRIBUTE = "attribute"  # with entities
    RAW = "raw"  # as it is: CDATA, a comment, a script, a declaration


class MarkupLeaf(NamedTuple):
    """
    One piece of text, without quotes and delimiters.

    ``key`` is the local name of its element or attribute (or the name that an ``input``,
    ``field`` or the like states), ``path`` the element names above it, ``holder`` the number of
    the element whose parts ``key`` names.
    """

    role: MarkupRole
    start: int
    stop: int
    key: bytes
    path: tuple[bytes, ...]
    holder: int


class Markup(NamedTuple):
    """The leaves in order, and the names of the parts of each element by its number."""

    leaves: list[MarkupLeaf]
    names: dict[int, set[bytes]]


def looks_like_markup(data: bytes) -> bool:
    """Whether ``data`` starts like an element, a declaration or a comment."""
    return _LOOKS.match(data, 0, 400) is not None


def unescape(raw: bytes) -> Unescaped:
    """``raw`` with its character references undone; entities that a document defines stay."""
    return entities.unescape(raw)


def scan(data: bytes) -> Markup:
    """Every leaf of ``data``."""
    return _Scan(data).markup


class _Open(NamedTuple):
    name: bytes
    number: int
    key: bytes  # of its text


class _Scan:
    def __init__(self, data: bytes) -> None:
        self.markup = Markup([], {0: set()})
        self._data = data
        self._stack = [_Open(b"", 0, b"")]
        self._parents = [0]
        self._count = 0
        for match in _TOKEN.finditer(data, 3 if data.startswith(b"\xef\xbb\xbf") else 0):
            kind = match.lastgroup
            if kind == "text":
                self._text(MarkupRole.TEXT, *match.span("text"))
            elif kind == "start":
                self._element(match, "start")
            elif kind == "inside":
                self._element(match, "raw")
                self._text(MarkupRole.RAW, *match.span("inside"))
            elif kind == "end":
                self._close(_local(match["end"]))
            elif kind is not None:
                self._text(MarkupRole.RAW, *match.span(kind))

    def _text(self, role: MarkupRole, start: int, stop: int) -> None:
        if self._data[start:stop].strip():
            top = self._stack[-1]
            self._add(role, start, stop, top.key, self._parents[-1], of_element=True)

    def _add(
        self, role: MarkupRole, start: int, stop: int, key: bytes, holder: int, *, of_element: bool
    ) -> None:
        above = self._stack[1:-1] if of_element else self._stack[1:]
        path = tuple(element.name for element in above)
        self.markup.leaves.append(MarkupLeaf(role, start, stop, key, path, holder))

    def _element(self, match: re.Match[bytes], group: str) -> None:
        name = _local(match[group])
        outer = self._stack[-1].number
        self.markup.names[outer].add(name)
        self._count += 1
        number = self._count
        self.markup.names[number] = set()
        rest_start, rest_stop = match.end(group), match.end()
        if group == "raw":
            rest_stop = match.start("inside")
        attributes: list[tuple[bytes, int, int]] = []
        for found in _ATTRIBUTE.finditer(self._data, rest_start, rest_stop):
            which = found.lastindex or 1
            if which > 1:
                attributes.append((_local(found[1]), *found.span(which)))
        names_it = self._naming(attributes)
        stated = self._data[names_it[1] : names_it[2]] if names_it else b""
        nameless = name.lower() in _NAMELESS
        key = stated if stated and nameless else name
        self.markup.names[outer].add(key)
        self._stack.append(_Open(name, number, key))
        self._parents.append(outer)
        for attribute in attributes:
            own, start, stop = attribute
            if stop == start:
                continue
            says = stated != b"" and own.lower() in _VALUES
            named = stated if says else own
            if attribute == names_it and nameless:
                named = b""  # the name of a field, and no value of one
            self.markup.names[number].add(named)
            self._add(MarkupRole.ATTRIBUTE, start, stop, named, outer if says else number, of_element=says)
        closed = self._data[rest_start:rest_stop].rstrip(b">").endswith(b"/")
        if closed or name.lower() in _VOID or len(self._stack) > _MAX_DEPTH:
            self._stack.pop()
            self._parents.pop()

    def _naming(self, attributes: list[tuple[bytes, int, int]]) -> tuple[bytes, int, int] | None:
        """The attribute in which an element states the name of its value."""
        for wanted in _NAMES:
            for attribute in attributes:
                if attribute[0].lower() == wanted and 0 < attribute[2] - attribute[1] <= 64:
                    return attribute
        return None

    def _close(self, name: bytes) -> None:
        for at in range(len(self._stack) - 1, 0, -1):
            if self._stack[at].name == name:
                del self._stack[at:], self._parents[at:]
                return


def _local(name: bytes) -> bytes:
    return name.rpartition(b":")[2]
