"""Percent escapes (RFC 3986) and the form variant with + for a space."""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes

from captures.bodies.edits import Unescaped

_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")
_FORM_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})|\+")
_UNRESERVED = "-._~"


def unescape(raw: bytes, *, form: bool = False) -> Unescaped:
    """``raw`` with its percent escapes undone; in a ``form`` a plus sign is a space."""
    return Unescaped(raw, _FORM_ESCAPE if form else _ESCAPE, _undo)


def _undo(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),)) if match[1] else b" "


def escape(text: bytes, *, raw: bytes = b"", form: bool = False) -> bytes:
    """``text`` percent-escaped; reserved characters that ``raw`` had unescaped stay unescaped."""
    kept = "".join(char for char in "@:/!$'()*,;?" if char.encode() in raw)
    quoted = quote_from_bytes(text, safe=_UNRESERVED + kept)
    if form:
        quoted = quoted.replace("%20", "+")
    return quoted.encode()
