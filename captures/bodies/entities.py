"""Character references of HTML and XML, which stand for one character each."""

from __future__ import annotations

import html
import re

from captures.bodies.edits import Unescaped

_ENTITY = re.compile(rb"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});")


def unescape(raw: bytes) -> Unescaped:
    """``raw`` with its character references undone; what is none stays as it is."""
    return Unescaped(raw, _ENTITY, _undo)


def escape(text: bytes) -> bytes:
    """``text`` (UTF-8) as it may stand in an element or between quotes."""
    return html.escape(text.decode("utf-8", "replace")).encode()


def _undo(match: re.Match[bytes]) -> bytes | None:
    raw = match[0].decode("ascii")
    plain = html.unescape(raw)
    return None if plain == raw else plain.encode("utf-8", "replace")
