"""The fields of a capture: what was found in each, and which hold text that nothing is known about."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from anonymizer.audit_paths import masked_shape
from anonymizer.reserved import is_common, is_reserved
from captures.bodies.edits import Edit
from captures.errors import HookreelError
from captures.text import counted

MAX_FIELDS = 10_000
MAX_ENDPOINTS = 1_000
OTHER_FIELDS = "*"
"""The path or endpoint under which all further ones are counted; as a pattern it means any."""

_MAX_SHAPES = 3
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ENUM = re.compile(rb"[A-Za-z]{2,24}(?:[_.:/-][A-Za-z]{2,24}){0,5}")
_STRUCTURAL = re.compile(
    rb"\s*|[+-]?\d{1,4}(?:\.\d{1,4})?|v?\d{1,4}(?:\.\d{1,4}){1,2}|true|false|null|none|yes|no|on|off"
    rb"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?"
    rb"|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
    rb"|(?:application|audio|font|image|multipart|text|video)/[a-z0-9.+-]{1,60}(?:; ?charset=[a-z0-9-]+)?",
    re.IGNORECASE,
)


def is_structural(text: bytes) -> bool:
    """
    Whether ``text`` belongs to the protocol and to nobody.

    Nothing, truth values, small numbers, versions, points in time, UUIDs, media types, and words of
    the trade such as ``check_run`` or ``synchronize``; no names, since those are words too.
    """
    if _STRUCTURAL.fullmatch(text):
        return True
    if not _ENUM.fullmatch(text):
        return False
    words = _WORD.findall(text.decode("ascii"))
    return all(len(word) > 1 and _is_of_the_trade(word) for word in words)


def _is_of_the_trade(word: str) -> bool:
    lower = word.lower()
    if is_reserved(lower.encode()):
        return True
    return lower not in _names_anywhere() and is_common(lower.encode())


@cache
def _names_anywhere() -> frozenset[str]:
    """First and last names of all languages that mimesis has, in lower case."""
    found: set[str] = set()
    for folder in (files("mimesis") / "datasets").iterdir():
        person = folder / "person.json"
        if person.is_file():
            data = json.loads(person.read_text("utf-8"))
            found.update(_texts([data.get("names"), data.get("surnames")]))
    return frozenset(name.lower() for name in found)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)


@dataclass(slots=True)
class UnknownField:
    """A field with text in which nothing was found."""

    count: int = 0
    endpoints: set[str] = field(default_factory=set)
    shapes: dict[str, None] = field(default_factory=dict)  # masked, in the order they were met


@dataclass(slots=True)
class Census:
    """
    Hears of every field (``fields.Watcher``).

    ``found`` counts values by (kind, endpoint, path), ``shapes`` holds a masked one of each kind
    and path. No value is kept.
    """

    found: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    shapes: dict[tuple[str, str], str] = field(default_factory=dict)
    unknown: dict[str, UnknownField] = field(default_factory=dict)
    _endpoints: set[str] = field(default_factory=set)

    def seen(self, endpoint: str, path: str, text: bytes, edits: list[Edit]) -> None:
        """Count what was found in the field ``path``, or that nothing was."""
        if endpoint not in self._endpoints:
            if len(self._endpoints) >= MAX_ENDPOINTS:
                endpoint = OTHER_FIELDS
            self._endpoints.add(endpoint)
        for edit in edits:
            if edit.label:
                self.found[edit.label, endpoint, path] += 1
                shape = (edit.label, path)
                if shape not in self.shapes and len(self.shapes) < MAX_FIELDS:
                    self.shapes[shape] = masked_shape(text[edit.start : edit.stop])
        if not edits and not is_structural(text):
            if path not in self.unknown and len(self.unknown) >= MAX_FIELDS:
                path = OTHER_FIELDS
            known = self.unknown.setdefault(path, UnknownField())
            known.count += 1
            known.endpoints.add(endpoint)
            if len(known.shapes) < _MAX_SHAPES:
                known.shapes[masked_shape(text)] = None


class UnknownFieldsError(HookreelError):
    """
    A strict policy does not name some fields; nothing was written.

    ``fields`` are their paths, each with how often it held text in which nothing was found.
    """

    exit_code = 3

    def __init__(self, fields: dict[str, int]) -> None:
        self.fields = fields
        super().__init__(
            f"Nothing was written, since the policy does not name {counted(len(fields), 'field')} with text "
            "in which nothing was found; list them under [strict], or say under [[rules]] or [keep] what is "
            "done with them."
        )
