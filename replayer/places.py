"""
The values of requests and responses by the place they stand at.

A place names a value in a way that is the same in every answer of its kind: ``body.run.id``,
``cookie.session``, ``header.etag``, ``path``. Chains are found by it (the same value at a place
of a response and at a place of a later request) and followed by it (what stands at that place of
the fresh response goes to that span of the request).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from captures.bodies import coding, entities, form, json, percent, url
from captures.bodies.edits import Edit, splice
from captures.bodies.json import LeafRole
from captures.credentials import CredentialKind, find_credentials
from captures.model import Headers, Request
from captures.units import MIB
from replayer.json_values import LONGEST_PLACE, ROOT, values_at
from replayer.opened import opened
from replayer.shown import by_sizes

MAX_BODY_BYTES = 4 * MIB  # a larger body is data, not the answer that names a new thing
MAX_VALUE_BYTES = 4096
MIN_VALUE_BYTES = 1
FORM_TYPE = b"application/x-www-form-urlencoded"
BODY = -1  # the part of a request that its body is
_TARGET = -2
_NOT_IN_HEADER = re.compile(rb"[\r\n\x00]")  # RFC 9110, section 5.5
_SET_COOKIE = re.compile(rb"\s*([^=;\s]+)\s*=\s*\"?([^;\"]*)")
_FIELD = re.compile(
    rb"<(?:input|meta)\b[^>]{0,500}?\bname\s*=\s*[\"']([^\"'<>]{1,100})[\"'][^>]{0,500}?"
    rb"\b(?:value|content)\s*=\s*[\"']([^\"'<>]{1,4096})[\"']",
    re.IGNORECASE,
)
# What these say is of the message or the client, never minted by a target for one client.
PLAIN_HEADERS = frozenset(
    {
        b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"connection", b"date",
        b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"server", b"vary",
        b"cache-control", b"expires", b"last-modified", b"if-modified-since", b"keep-alive", b"age", b"via",
        b"origin", b"referer", b"cookie", b"authorization", b"proxy-authorization", b"set-cookie",
        b"location", b"te", b"pragma",
    }
)  # fmt: skip


class Spelling(StrEnum):
    """How a value is written where it stands; a number is one of JSON."""

    PLAIN = "plain"
    PERCENT = "percent"
    FORM = "form"
    JSON = "json"
    NUMBER = "number"
    MARKUP = "markup"


class Spot(NamedTuple):
    """
    A value in a request: bytes ``start:stop`` of a header (by index), the opened body or the target.

    ``value`` is unescaped.
    """

    place: str
    value: bytes
    part: int
    start: int
    stop: int
    spelling: Spelling

    def __repr__(self) -> str:
        """Sizes alone."""
        return by_sizes(self)


class Minted(NamedTuple):
    """A value in a response; ``ordinal`` tells equal places of one response apart."""

    place: str
    ordinal: int
    value: bytes

    def __repr__(self) -> str:
        """Sizes alone."""
        return by_sizes(self)


def spots(request: Request) -> Iterator[Spot]:
    """Every value of ``request`` that may have come from an earlier response."""
    yield from target_spots(request.target)
    yield from header_spots(request.headers)
    body = opened(request).request.body
    if not body or len(body) > MAX_BODY_BYTES:
        return
    kind = media_type(content_type(request.headers))
    if is_json(body, kind):
        yield from json_spots(body)
    elif kind == FORM_TYPE:
        yield from form_spots(body)


def minted(headers: Headers, body: bytes, places: Collection[str] | None = None) -> Iterator[Minted]:
    """
    Every value of a response (body with its content coding) that a client may send back.

    With ``places`` only those that stand there, which takes a fraction of the time.
    """
    seen: dict[str, int] = {}
    for place, value in _response_values(headers, body, places):
        if MIN_VALUE_BYTES <= len(value) <= MAX_VALUE_BYTES and (places is None or place in places):
            ordinal = seen[place] = seen.get(place, -1) + 1
            yield Minted(place, ordinal, value)


def substituted(request: Request, changes: list[tuple[Spot, bytes]]) -> Request:
    """
    ``request`` with fresh values at these spots, which do not overlap; framing is left to the sender.

    Spots of a body with a content coding are those in what it means, and it gets the coding again.
    """
    edits: dict[int, list[Edit]] = {}
    for spot, fresh in changes:
        edits.setdefault(spot.part, []).append(Edit(spot.start, spot.stop, spelled(fresh, spot.spelling)))
    for found in edits.values():
        found.sort()
    headers = tuple(
        (name, splice(value, edits[index]) if index in edits else value)
        for index, (name, value) in enumerate(request.headers)
    )
    target = splice(request.target, edits[_TARGET]) if _TARGET in edits else request.target
    if BODY in edits:
        plain = opened(request)
        request = plain.closed(replace(request, body=splice(plain.request.body, edits[BODY])))
    return replace(request, target=target, headers=headers)


def fits(value: bytes, spelling: Spelling) -> bool:
    """Whether ``value``, which is a target's and may be anything, can be written in such a place."""
    match spelling:
        case Spelling.PLAIN:
            return _NOT_IN_HEADER.search(value) is None
        case Spelling.JSON:
            return json.is_text(value)
        case Spelling.NUMBER:
            return json.is_number(value)
        case _:
            return True


def spelled(value: bytes, spelling: Spelling) -> bytes:
    """``value``, which fits, as it is written in such a place."""
    match spelling:
        case Spelling.PERCENT:
            return percent.escape(value)
        case Spelling.FORM:
            return percent.escape(value, form=True)
        case Spelling.JSON:
            return json.escape(value)
        case Spelling.MARKUP:
            return entities.escape(value)
        case _:
            return value


def target_spots(target: bytes) -> Iterator[Spot]:
    """The segments of a target's path, and the values of its query."""
    parts = url.split_target(target)
    start = 0
    for number, segment in enumerate(target[: parts.path_stop].split(b"/")):
        if segment:
            value = percent.unescape(segment).text if b"%" in segment else segment
            yield Spot(f"path.{number}", value, _TARGET, start, start + len(segment), Spelling.PERCENT)
        start += len(segment) + 1
    yield from _pair_spots(target, parts.query_start, parts.query_stop, "query", _TARGET, Spelling.FORM)


def _pair_spots(
    data: bytes, start: int, stop: int, where: str, part: int, spelling: Spelling
) -> Iterator[Spot]:
    for pair in form.pairs(data, start, stop):
        if pair.value_stop > pair.value_start:
            name = percent.unescape(data[pair.name_start : pair.name_stop], form=True).text
            value = percent.unescape(data[pair.value_start : pair.value_stop], form=True).text
            place = f"{where}.{name.decode('utf-8', 'replace')}"
            yield Spot(place, value, part, pair.value_start, pair.value_stop, spelling)


def header_spots(headers: Headers) -> Iterator[Spot]:
    """Credentials but for passwords, and headers that say nothing of the message or the client."""
    for credential in find_credentials(headers):
        if credential.kind not in {CredentialKind.BEARER, CredentialKind.COOKIE}:
            continue  # a user's own password, or a whole header, which is below with the others
        cookie = credential.kind is CredentialKind.COOKIE
        place = f"cookie.{credential.name}" if cookie else "header.authorization"
        value = headers[credential.header][1][credential.start : credential.stop]
        yield Spot(place, value, credential.header, credential.start, credential.stop, Spelling.PLAIN)
    for index, (name, value) in enumerate(headers):
        lower_name = name.lower()
        if lower_name not in PLAIN_HEADERS and value:
            place = f"header.{_answered_by(lower_name).decode('latin-1')}"
            yield Spot(place, value, index, 0, len(value), Spelling.PLAIN)


def _answered_by(name: bytes) -> bytes:
    """The response header whose value a request header repeats."""
    return b"etag" if name in {b"if-none-match", b"if-match", b"if-range"} else name


def form_spots(body: bytes) -> Iterator[Spot]:
    """The values of a form."""
    yield from _pair_spots(body, 0, len(body), "body", BODY, Spelling.FORM)


def json_spots(body: bytes) -> Iterator[Spot]:
    """The strings and numbers of a JSON document, as spots of a body."""
    for leaf in json.scan(body):
        if leaf.role in {LeafRole.STRING, LeafRole.NUMBER} and leaf.stop > leaf.start:
            raw = body[leaf.start : leaf.stop]
            value = json.unescape(raw).text if b"\\" in raw else raw
            spelling = Spelling.JSON if leaf.role is LeafRole.STRING else Spelling.NUMBER
            yield Spot(_json_place(leaf.path, leaf.key), value, BODY, leaf.start, leaf.stop, spelling)


def _json_place(path: tuple[bytes, ...], key: bytes) -> str:
    """The place of a leaf; only the end of a long one, as every value below a long key would repeat it."""
    names = (name[-4 * LONGEST_PLACE :].decode("utf-8", "replace") for name in (*path, key) if name)
    place = ".".join((ROOT, *names))
    return place if len(place) < LONGEST_PLACE else ROOT + "." + place[-LONGEST_PLACE:]


def _response_values(
    headers: Headers, body: bytes, places: Collection[str] | None
) -> Iterator[tuple[str, bytes]]:
    encoding = kind = b""
    for name, value in headers:
        lower_name = name.lower()
        if lower_name == b"set-cookie":
            match = _SET_COOKIE.match(value)
            if match is not None:
                yield f"cookie.{match[1].decode('latin-1')}", match[2].strip()
        elif lower_name == b"location":
            yield from _location_values(value)
        elif lower_name == b"content-encoding":
            encoding = value
        elif lower_name == b"content-type":
            kind = media_type(value)
        elif lower_name not in PLAIN_HEADERS and value:
            yield f"header.{lower_name.decode('latin-1')}", value
    yield from _body_values(body, encoding, kind, places)


def _body_values(
    body: bytes, encoding: bytes, kind: bytes, places: Collection[str] | None
) -> Iterator[tuple[str, bytes]]:
    if not body or len(body) > MAX_BODY_BYTES:
        return
    if places is not None and not any(place.startswith((ROOT, "field.")) for place in places):
        return
    try:
        plain = coding.decode(body, encoding, MAX_BODY_BYTES)
    except coding.CodingError:
        return
    if is_json(plain, kind):
        found = None if places is None else values_at(plain, places)
        yield from ((spot.place, spot.value) for spot in json_spots(plain)) if found is None else found
    elif b"html" in kind:
        for match in _FIELD.finditer(plain):
            yield f"field.{match[1].decode('utf-8', 'replace')}", match[2]


def _location_values(location: bytes) -> Iterator[tuple[str, bytes]]:
    """Path segments counted from the end, as the host before them may differ; and the query's values."""
    path_at = location.find(b"/", location.find(b"://") + 3) if b"://" in location else 0
    target = location[path_at:] if path_at >= 0 else b""
    parts = url.split_target(target)
    for number, segment in enumerate(reversed(target[: parts.path_stop].split(b"/"))):
        if segment:
            yield f"location.-{number + 1}", percent.unescape(segment).text
    for spot in _pair_spots(target, parts.query_start, parts.query_stop, "location", _TARGET, Spelling.FORM):
        yield spot.place, spot.value


def is_json(body: bytes, kind: bytes) -> bool:
    """Whether a body of the media type ``kind`` is JSON, or looks like it."""
    return b"json" in kind or json.looks_like_json(body)


def content_type(headers: Headers) -> bytes:
    """The value of Content-Type, empty without one."""
    return next((value for name, value in headers if name.lower() == b"content-type"), b"")


def media_type(value: bytes) -> bytes:
    """The media type of a Content-Type's value."""
    return value.partition(b";")[0].strip().lower()
