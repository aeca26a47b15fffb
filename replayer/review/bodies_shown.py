"""A value of an answer as a report may show it: short, and nothing that could be a secret."""

from __future__ import annotations

import json
import re
from typing import Any

from replayer.review.bodies import Opaque, type_of

_MOST_CHARACTERS = 80
_SECRET_NAME = re.compile(
    r"pass|secret|token|auth|cookie|session|signature|credential|private|bearer|jwt|otp|csrf|api.?key|[._-]key\b",
    re.IGNORECASE,
)
# Words that mix letters and digits and hold a long run of the signs of base64 are made by machines: keys,
# tokens, digests. A word is looked at once, from its start, so the time is in proportion to the text.
_SECRET_SHAPE = re.compile(
    r"(?<!\S)(?=\S*\d)(?=\S*[A-Za-z])\S*?[A-Za-z0-9_\-+/=.]{20}|eyJ[\w-]{5}|-----BEGIN "
)
_MOST_SEARCHED = 2_000  # characters; what begins among the shown ones has its shape long before


def shown(value: Any, path: str) -> str:
    """A JSON value, or what stands for another body, in at most some 80 characters; ``-`` of none."""
    if isinstance(value, Opaque):
        return f"{value.kind or 'body'}, {len(value.data):,} bytes"
    if isinstance(value, dict | list):
        return f"{type_of(value)} of {len(value):,}"
    if isinstance(value, str):
        return shown_text(value, path)
    if _SECRET_NAME.search(path) and type_of(value) == "number":
        return "number, not shown"
    return _cut(json.dumps(value))


def shown_text(text: str, path: str) -> str:
    """A string in quotes, or how long it is where its name or its shape say that it may be secret."""
    if _SECRET_NAME.search(path) or _SECRET_SHAPE.search(text[:_MOST_SEARCHED]):
        return f"{len(text):,} characters, not shown"
    return json.dumps(_cut(text), ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
