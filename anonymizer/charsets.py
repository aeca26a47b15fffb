"""Which charset a body is written in: by what it states, by its marks, by its zero bytes."""

from __future__ import annotations

import codecs
import re

_CHARSET = re.compile(rb';\s*charset="?([A-Za-z0-9_.:-]{1,40})', re.IGNORECASE)
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# These write other letters with ASCII alone, so that being valid UTF-8 says nothing.
_SHIFTING = re.compile(r"utf-7|hz|iso2022.*")
_WIDE = frozenset({"utf-16", "utf-32"})


def of(data: bytes, content_type: bytes, *, cut: bool = False) -> str | None:
    """The codec that reads ``data``, None if none does; ``cut`` says that its end is missing."""
    stated = _stated(content_type)
    if stated is not None and _SHIFTING.fullmatch(stated):
        return stated
    if _is_utf8(data, cut=cut):
        return "utf-8"
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    if stated in _WIDE or b"\x00" in data:
        return _wide(data)
    return stated


def _stated(content_type: bytes) -> str | None:
    match = _CHARSET.search(content_type)
    if match is None:
        return None
    try:
        info = codecs.lookup(match[1].decode("ascii"))
    except LookupError:
        return None
    return None if info.name == "utf-8" or not info._is_text_encoding else info.name  # noqa: SLF001


def _wide(data: bytes) -> str | None:
    """UTF-16 or UTF-32 by its zero bytes: at least three quarters Latin letters, all else is noise."""
    size = len(data)
    if size % 2 or size < 4:
        return None
    zeros = [data[at::4].count(0) * 4 for at in range(4)]
    if size % 4 == 0 and min(zeros[1:]) >= size * 3 / 4 and not zeros[0]:
        return "utf-32-le"
    if size % 4 == 0 and min(zeros[:3]) >= size * 3 / 4 and not zeros[3]:
        return "utf-32-be"
    even, odd = data[::2].count(0), data[1::2].count(0)
    if odd * 8 >= size * 3 and even * 8 < size:
        return "utf-16-le"
    if even * 8 >= size * 3 and odd * 8 < size:
        return "utf-16-be"
    return None


def _is_utf8(data: bytes, *, cut: bool) -> bool:
    if b"\x00" in data:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
    except UnicodeDecodeError:
        return False
    return True
