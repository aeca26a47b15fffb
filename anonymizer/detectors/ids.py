"""Identifiers: UUIDs by their shape, others by the key they stand under; a policy decides."""

from __future__ import annotations

import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind

HINT = re.compile(rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-")
"""Found in every text that holds a UUID."""

UUID = re.compile(rb"(?<![0-9A-Za-z])[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?![0-9A-Za-z])")
_KEY = re.compile(r"(?:^|_)(?:id|ids|uid|uids|guid|ulid|nid|sid|node_id|gid)$")
_VALUE = re.compile(rb"(?=[^0-9]*[0-9])[A-Za-z0-9][A-Za-z0-9_:=+/.|-]{2,127}")
_NOBODYS = re.compile(rb"0+|[0-]+|[fF-]+")


def key_tells(key: str) -> bool:
    """Whether what stands under ``key`` may be an identifier for that alone."""
    return _KEY.search(key) is not None


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every UUID in ``text``, and all of ``text`` where its key says that it is an identifier."""
    if not context.number and b"-" in text:
        for match in UUID.finditer(text):
            if not _NOBODYS.fullmatch(match[0]):
                yield Finding(Kind.UUID, *match.span())
    if _KEY.search(context.key) and _VALUE.fullmatch(text) and not _NOBODYS.fullmatch(text):
        yield Finding(Kind.ID, 0, len(text))
