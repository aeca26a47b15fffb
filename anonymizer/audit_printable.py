"""Texts that are spelled in printable letters: base64, and base85 as Python and as Adobe write it."""

from __future__ import annotations

import re
import string
from base64 import a85decode, b64decode, b85decode

BASE85_MIN_BYTES = 10
BASE85_LETTERS = (
    string.digits + string.ascii_uppercase + string.ascii_lowercase + "!#$%&()*+-;<=>?@^_`{|}~"
).encode()
"""The letters of base85 in the order of their values, which are those of RFC 1924."""

ADOBE = re.compile(rb"<~([!-uz\s]{8,}?)~>")
"""Base85 between the marks of Adobe's, with letters of its own."""

_MIN_BYTES = 6
_SIGNS = b"!#$%&()*;<=>?@^`{|}~"  # those that base64 lacks
_BASE85 = re.compile(rb"[0-9A-Za-z+_%b-]{%d,}" % (re.escape(_SIGNS), BASE85_MIN_BYTES))
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")


def text_in_base64(text: bytes) -> bytes | None:
    """The content of base64 (or base64url) ``text`` when it is printable UTF-8, else None."""
    core = text.rstrip(b"=").translate(_TO_BASE64)
    try:
        return _printable(b64decode(core + b"=" * (-len(core) % 4), validate=True))
    except ValueError:
        return None


def text_in_base85(text: bytes) -> bytes | None:
    """The printable text that all of ``text`` stands for in base85; None also for mere letters."""
    adobe = ADOBE.fullmatch(text)
    if adobe is None and (not _BASE85.fullmatch(text) or text == text.translate(None, _SIGNS)):
        return None
    try:
        return _printable(b85decode(text) if adobe is None else a85decode(adobe[1]))
    except ValueError:
        return None


def _printable(content: bytes) -> bytes | None:
    try:
        text = content.decode("utf-8").replace("\n", "").replace("\t", "").replace("\r", "")
    except UnicodeDecodeError:
        return None
    return content if text.isprintable() and len(content) >= _MIN_BYTES else None
