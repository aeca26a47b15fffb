"""JSON Web Tokens (RFC 7519) by their shape."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind

HINT = re.compile(rb"e[wy][A-Za-z0-9_-]{8}")
"""Found in every text that holds a token."""

# base64url of a JSON object's start is eyJ for {" and ewo or eyA where white space follows the brace
JWT = re.compile(
    rb"(?<![A-Za-z0-9])(e[wy][A-Za-z0-9_-]{8,})\.((?:e[wy])[A-Za-z0-9_-]{2,})\.([A-Za-z0-9_-]*)"
    rb"(?![\w-]|\.[A-Za-z0-9_-]{8})"  # five parts are encrypted; what is short is the end of a file's name
)


def find(text: bytes, _context: Context) -> Iterator[Finding]:
    """Every signed or unsecured token in ``text``."""
    if b"." not in text or b"e" not in text:
        return
    for match in JWT.finditer(text):
        yield Finding(Kind.JWT, *match.span())
