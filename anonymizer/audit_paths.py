"""Say where a leak is, and what it looks like, without saying what it is."""

from __future__ import annotations

import re
from collections.abc import Callable

_SHAPE_MAX = 40
_SEPARATOR = re.compile(r"[@._:/+ (),-]")
# possessive, so that a long string takes no memory, and one without an end is read once
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,40}")


def masked_shape(value: bytes) -> str:
    """
    Letters as ``a`` and ``A``, digits as ``9``, common separators kept: ``Aaaa.aaa@aaaa.aaa``.

    Other characters are ``?``, and so are all where letters and digits are the fewer: a password may
    be signs alone. At most 40 characters, with the size in bytes after them where more was cut off.
    """
    text = value.decode("utf-8", "replace")
    plain = "".join(_masked(character) for character in text[:_SHAPE_MAX])
    shape = _SEPARATOR.sub("?", plain) if 2 * sum(map(str.isalnum, plain)) < len(plain) else plain
    return shape if len(text) <= _SHAPE_MAX else f"{shape}... ({len(value)} bytes)"


def _masked(character: str) -> str:
    if character.isdigit():
        return "9"
    if character.isalpha():
        return "A" if character.isupper() else "a"
    return character if _SEPARATOR.fullmatch(character) else "?"


def string_offset(data: bytes, holds: Callable[[bytes], bool]) -> int | None:
    """Where the first string of a JSON document starts whose content ``holds`` what is looked for."""
    if data.lstrip()[:1] not in {b"{", b"["}:
        return None
    strings = (match for match in _TOKEN.finditer(data) if match[0].startswith(b'"'))
    return next((match.start() for match in strings if holds(match[0][1:-1])), None)


def json_path(data: bytes, offset: int, holds_original: Callable[[bytes], bool]) -> str:
    """
    The path of the leaf or key at ``offset`` of a JSON document: ``$.user.emails[2]``.

    A key that is no plain identifier, or that holds an original, is given by its shape. The
    result is empty when ``data`` is not JSON as far as ``offset``.
    """
    if data.lstrip()[:1] not in {b"{", b"["}:
        return ""
    stack: list[bytes | int] = []  # a key, or a place in a list
    key_next = False
    for match in _TOKEN.finditer(data):
        token = match[0]
        if token in {b"{", b"["}:
            stack.append(b"" if token == b"{" else 0)
            key_next = token == b"{"
        elif not stack:
            return ""
        elif token in {b"}", b"]"}:
            stack.pop()
            key_next = False
        elif token == b",":
            top = stack[-1]
            stack[-1] = top + 1 if isinstance(top, int) else b""
            key_next = not isinstance(top, int)
        elif token == b":":
            key_next = False
        elif key_next:
            stack[-1] = token[1:-1]
        if match.end() > offset:
            return "$" + "".join(step_of(step, holds_original) for step in stack)
    return ""


def step_of(step: bytes | int, holds_original: Callable[[bytes], bool]) -> str:
    """A key or a place in a list as part of a path."""
    if isinstance(step, int):
        return f"[{step}]"
    if not step:
        return ""
    text = step.decode("utf-8", "replace")
    if _PLAIN_KEY.fullmatch(text) and not holds_original(step):
        return f".{text}"
    return f'["{masked_shape(step)}"]'
