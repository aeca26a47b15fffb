"""Runs of the characters of base64, base32 and base85: what they stand for, and which stand for a text."""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache

from anonymizer.packings import holds_strings, is_opaque, is_text, unpack

BASE64 = re.compile(
    rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{8,}(?:={1,2}(?![A-Za-z0-9+_=-])|(?![A-Za-z0-9+/_=-]))"
)
"""What may be base64 or base64url."""

SEGMENT = re.compile(rb"(?=[a-z_-]*[A-Z0-9])[A-Za-z0-9+_-]{16,}={0,2}")
"""What may be so in a run that is a path: text in base64 has capitals."""

BASE85 = re.compile(
    rb"(?<![0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-])(?=[0-9A-Za-z_+-]*[!#$%&()*;<=>?@^`{|}~])"
    rb"[0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-]{10,}(?![0-9A-Za-z!#$%&()*+;<=>?@^_`{|}~-])"
)
"""What may be base85 (RFC 1924), with at least one sign that base64 lacks."""

BASE85_GROUP = 5
"""So many characters of base85 stand for four bytes."""

# Bytes that are no text have capitals and digits in base64, and some length; words and names do not.
_MIXED = re.compile(
    rb"(?=[a-z0-9/_-]{0,30}[A-Z+])(?=[A-Z0-9/+_-]{0,60}[a-z])(?:(?=[A-Za-z/+_-]{0,60}[0-9]).{16}|.{28})"
    rb"|[0-9A-F]{24}|[0-9a-f]{24}",
    re.DOTALL,
)
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_PADDING = (b"", None, b"==", b"=")  # by the characters of the last group of four; one alone is none
_MAX_DECIDED = 32_768
_MAX_DECIDED_BYTES = 512


def is_mixed(run: bytes) -> bool:
    """Whether ``run`` is written as bytes are that are no text as they stand."""
    return _MIXED.match(run) is not None


def plain(run: bytes) -> bytes | None:
    """What ``run`` stands for, None when it is no base64."""
    body = run.rstrip(b"=")
    padding = _PADDING[len(body) % 4]
    if padding is None:
        return None
    return binascii.a2b_base64(body.translate(_TO_STANDARD) + padding)


def written(data: bytes, run: bytes) -> bytes:
    """``data`` in base64 as ``run`` is written: its alphabet, and padding where it has some."""
    new = base64.b64encode(data)
    if b"-" in run or b"_" in run:
        new = new.translate(_TO_URL_SAFE)
    if not run.endswith(b"=") and (len(run) % 4 or b"-" in run or b"_" in run):
        new = new.rstrip(b"=")
    return new


def holds_text(run: bytes) -> bool:
    """
    Whether a text stands under ``run``, or an image or the like in which one may.

    Most words, names and paths are base64 of nothing: this is what tells, and it is remembered.
    """
    return _holds_text(run) if len(run) > _MAX_DECIDED_BYTES else _known_to_hold(run)


def _holds_text(run: bytes) -> bool:
    data = plain(run)
    if not data:
        return False
    mixed = is_mixed(run)
    return (mixed and holds_strings(data)) or is_opaque(data) or unpack(data, unmarked=mixed) is not None


_known_to_hold = lru_cache(maxsize=_MAX_DECIDED)(_holds_text)


def plain32(run: bytes) -> bytes | None:
    """The text that ``run`` stands for in base32, of either letter case; None when there is none."""
    body = run.rstrip(b"=")
    try:
        data = base64.b32decode(body + b"=" * (-len(body) % 8), casefold=True)
    except binascii.Error:
        return None
    return data if is_text(data) else None


def is_text_in_base32(run: bytes) -> bool:
    """Whether ``run`` stands for a text in base32."""
    return _text_in_base32(run) if len(run) > _MAX_DECIDED_BYTES else _known_in_base32(run)


def _text_in_base32(run: bytes) -> bool:
    return plain32(run) is not None


_known_in_base32 = lru_cache(maxsize=_MAX_DECIDED)(_text_in_base32)


@lru_cache(maxsize=_MAX_DECIDED)
def is_text_in_base85(group: bytes) -> bool:
    """Whether the ``BASE85_GROUP`` characters of ``group`` stand for printable text."""
    try:
        return is_text(base64.b85decode(group))
    except ValueError:
        return False
