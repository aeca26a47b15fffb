"""The parts of a multipart body (RFC 2046, RFC 7578) as byte spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_BOUNDARY = re.compile(rb';\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_NAME = re.compile(rb'[;\s]name="([^"]*)"', re.IGNORECASE)
_TYPE = re.compile(rb"(?:^|\n)content-type:[ \t]*([^\r\n]*)", re.IGNORECASE)


class Part(NamedTuple):
    """One part: its header block and its content, and the field name and type it states."""

    head_start: int
    head_stop: int
    start: int
    stop: int
    name: bytes
    content_type: bytes


def boundary(content_type: bytes) -> bytes | None:
    """The boundary that a Content-Type value names, or None."""
    match = _BOUNDARY.search(content_type)
    return (match[1] or match[2]) if match else None


def content_type_span(head: bytes) -> tuple[int, int] | None:
    """Where the value of Content-Type stands in a part's head, or None."""
    match = _TYPE.search(head)
    return match.span(1) if match else None


def delimiters(data: bytes, mark: bytes) -> Iterator[tuple[int, int]]:
    """The span of ``mark`` in every delimiter line of ``data``."""
    delimiter = b"--" + mark
    position = data.find(delimiter)
    while position >= 0:
        if position == 0 or data[position - 1 : position] == b"\n":
            yield position + 2, position + len(delimiter)
        position = data.find(delimiter, position + len(delimiter))


def parts(data: bytes, mark: bytes) -> Iterator[Part]:
    """Every part of ``data`` between lines of ``--mark``; a last part cut short runs to the end."""
    delimiter = b"--" + mark
    position = data.find(delimiter)
    while position >= 0:
        begin = data.find(b"\n", position + len(delimiter))
        following = data.find(b"\n" + delimiter, position + len(delimiter) - 1)
        if begin < 0 or data.startswith(b"--", position + len(delimiter)):
            return
        end = len(data) if following < 0 else following
        if end > begin and data[end - 1 : end] == b"\r" and following >= 0:
            end -= 1
        yield _part(data, begin + 1, max(end, begin + 1))
        position = -1 if following < 0 else following + 1


def _part(data: bytes, start: int, stop: int) -> Part:
    blank = re.compile(rb"\r?\n\r?\n|^\r?\n").search(data, start, stop)
    head_stop, content = (blank.start(), blank.end()) if blank else (start, start)
    head = data[start:head_stop]
    name = _NAME.search(head)
    kind = _TYPE.search(head)
    return Part(start, head_stop, content, stop, name[1] if name else b"", kind[1].strip() if kind else b"")
