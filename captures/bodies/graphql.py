"""
The literals and comments of a GraphQL document as byte spans (GraphQL, October 2021, section 2.1).

The scanner is tolerant, as the one of JSON is.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

_TOKEN = re.compile(
    rb'"""((?:\\"""|.)*?)(?:"""|\Z)'  # 1 a block string
    rb'|"((?:[^"\\\n]++|\\.)*+)"?'  # 2 a string
    rb"|\#([^\r\n]*+)"  # 3 a comment
    rb"|([_A-Za-z][_0-9A-Za-z]*+)(\s*+:)?"  # 4 a name, 5 of an argument, a field or a variable
    rb"|(-?\d++(?:\.\d++)?(?:[eE][+-]?\d++)?)"  # 6 a number
    rb"|([({])|([)}])",  # 7, 8
    re.DOTALL,
)
_LOOKS = re.compile(
    rb"\s*(?:#[^\n]*\n\s*)*"
    rb"(?:(?:query|mutation|subscription|fragment)\b[^\"'<>;=]{0,200}[({]|\{\s*[_A-Za-z][_0-9A-Za-z]*\s*(?:[({}]|:\s*[_A-Za-z])"
    rb"|\{(?:\s*[_A-Za-z][_0-9A-Za-z]*)+\s*[({}])"
)


class GraphqlRole(StrEnum):
    """How a leaf is written."""

    STRING = "string"  # with the escapes of JSON
    BLOCK = "block"
    NUMBER = "number"
    COMMENT = "comment"


class GraphqlLeaf(NamedTuple):
    """One literal or comment without its quotes; ``key`` is the argument it is given to."""

    role: GraphqlRole
    start: int
    stop: int
    key: bytes
    holder: int


class Document(NamedTuple):
    """The leaves in order, and the names of the arguments in each pair of brackets by its number."""

    leaves: list[GraphqlLeaf]
    names: dict[int, set[bytes]]


def looks_like_graphql(data: bytes) -> bool:
    """Whether ``data`` starts like a GraphQL operation or fragment."""
    return _LOOKS.match(data, 0, 2_000) is not None


def scan(data: bytes) -> Document:
    """Every literal and comment of ``data``."""
    leaves: list[GraphqlLeaf] = []
    names: dict[int, set[bytes]] = {0: set()}
    stack: list[tuple[bytes, int]] = []
    key, holder = b"", 0
    for match in _TOKEN.finditer(data):
        which = match.lastindex
        if which == 5:
            key = match[4]
            names[holder].add(key)
        elif which == 7:
            stack.append((key, holder))
            holder = len(names)
            names[holder] = set()
        elif which == 8:
            if stack:
                key, holder = stack.pop()
        elif which in _ROLES:
            start, stop = match.span(which)
            leaves.append(GraphqlLeaf(_ROLES[which], start, stop, key, holder))
    return Document(leaves, names)


_ROLES = {1: GraphqlRole.BLOCK, 2: GraphqlRole.STRING, 3: GraphqlRole.COMMENT, 6: GraphqlRole.NUMBER}
