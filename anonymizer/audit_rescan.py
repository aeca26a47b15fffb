"""
Look in an anonymized capture for values of known shapes that stood in the original too.

What was replaced is searched elsewhere; this finds what was never replaced, by the audit's own
tables of shapes. A value of such a shape that is not in the original is a stand-in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import unquote_to_bytes

from anonymizer.audit_kept import KeptOnPurpose, field_path
from anonymizer.audit_paths import json_path, masked_shape, step_of, string_offset
from anonymizer.audit_places import Place
from anonymizer.audit_shapes import CREDENTIAL, CREDENTIAL_HEADERS, Shape, shaped_values
from anonymizer.audit_undo import layers

_CREDENTIAL_MIN_BYTES = 8
_FORM = b"application/x-www-form-urlencoded"
_EVENT_DATA = re.compile(rb"^data: ?([^\r\n]*)", re.MULTILINE)

Group: TypeAlias = tuple[int | None, list[Place]]
"""The places of one exchange or message, with the exchange's seq."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreplaced:
    """
    One value of a known shape that the anonymized capture still has.

    ``what`` names the shape and ``kind`` is a policy's word for such values. ``kept`` says that
    the policy leaves it there on purpose. The value itself is never held.
    """

    exchange: int | None
    place: str
    path: str
    what: str
    kind: str
    shape: str
    kept: bool


@dataclass(frozen=True, slots=True)
class _Suspect:
    shape: Shape
    value: bytes = field(repr=False)


@dataclass(slots=True)
class Rescan:
    """Collects suspects while a capture is searched, and then asks the original about them."""

    _known: set[bytes] = field(default_factory=set, repr=False)
    _suspects: dict[tuple[int | None, str], list[_Suspect]] = field(default_factory=dict, repr=False)

    def look(self, groups: list[Group], texts: Iterable[bytes]) -> None:
        """Take the values of known shapes in ``texts``, which stand (or their codings do) in ``groups``."""
        for text in texts:
            for shape, value in shaped_values(text):
                if value not in self._known:
                    self._known.add(value)
                    self._suspect(_group_of(value, groups), _Suspect(shape, value))
        for group in groups:
            for place in [place for place in group[1] if place.name in CREDENTIAL_HEADERS]:
                self._credential(group, place.data)

    def _credential(self, group: Group, data: bytes) -> None:
        if data in self._known:
            return
        self._known.add(data)
        _, space, credential = data.partition(b" ")
        value = credential if space else data
        if len(value) >= _CREDENTIAL_MIN_BYTES:
            self._suspect(group, _Suspect(CREDENTIAL, value))

    def _suspect(self, group: Group | None, suspect: _Suspect) -> None:
        if group is not None:
            self._suspects.setdefault(_name(group), []).append(suspect)

    def unreplaced(
        self,
        originals: Callable[[Container[int | None]], Iterable[Group]],
        endpoint_of: Callable[[int], str],
        kept: KeptOnPurpose,
    ) -> list[Unreplaced]:
        """
        The suspects that stand in the same exchange or message of the original.

        ``originals`` gives the groups of the exchanges with the seqs it is called with.
        """
        found: list[Unreplaced] = []
        if not self._suspects:
            return found
        for group in originals({seq for seq, _ in self._suspects}):
            for suspect in self._suspects.get(_name(group), ()):
                place = _place_of(suspect.value, group[1])
                if place is not None:
                    found.append(_unreplaced(group[0], place, suspect, endpoint_of, kept))
        return found


def _unreplaced(
    seq: int | None, place: Place, suspect: _Suspect, endpoint_of: Callable[[int], str], kept: KeptOnPurpose
) -> Unreplaced:
    path = _path(place, suspect.value)
    endpoint = "" if seq is None else endpoint_of(seq)
    kind = suspect.shape.kind
    return Unreplaced(
        exchange=seq,
        place=masked_shape(place.name.encode()) if _has_shape(place.name.encode()) else place.name,
        path=path,
        what=suspect.shape.name,
        kind=kind,
        shape=masked_shape(suspect.value),
        kept=kept.keeps(kind, endpoint, field_path(place.name, path)),
    )


def _name(group: Group) -> tuple[int | None, str]:
    return group[0], group[1][0].name


def _group_of(value: bytes, groups: list[Group]) -> Group | None:
    """The first of ``groups`` that holds ``value``, if need be under escapes or base64."""
    as_it_is = (group for group in groups if any(value in place.data for place in group[1]))
    return next(as_it_is, None) or next((group for group in groups if _place_of(value, group[1])), None)


def _place_of(value: bytes, places: list[Place]) -> Place | None:
    for place in places:
        if value in place.data:
            return place
    return next((place for place in places if any(value in text for _, text in layers(place.data))), None)


def _path(place: Place, value: bytes) -> str:
    data = place.data
    if place.name == "request target":
        name = _parameter(data.partition(b"?")[2].partition(b"#")[0], value)
        if name is None:
            return ""
        return "?" + (masked_shape(name) if _has_shape(name) else name.decode("utf-8", "replace"))
    if place.content_type.startswith(_FORM):
        name = _parameter(data, value)
        return "" if name is None else "$" + step_of(name, _has_shape)
    if place.name.startswith("message ") and (lines := _EVENT_DATA.findall(data)):
        return "$.data" + _json_path(b"\n".join(lines), value).removeprefix("$")
    return _json_path(data, value)


def _json_path(data: bytes, value: bytes) -> str:
    offset = data.find(value)
    if offset < 0:
        found = string_offset(data, lambda text: any(value in under for _, under in layers(text)))
        offset = -1 if found is None else found
    return "" if offset < 0 else json_path(data, offset, _has_shape)


def _parameter(query: bytes, value: bytes) -> bytes | None:
    """The name of the parameter that holds ``value``, if need be under escapes."""
    for pair in query.split(b"&"):
        name, _, text = pair.partition(b"=")
        if value in text or any(value in under for _, under in layers(text)):
            return unquote_to_bytes(name.replace(b"+", b" "))
    return None


def _has_shape(text: bytes) -> bool:
    return next(shaped_values(text), None) is not None
