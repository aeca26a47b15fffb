"""
Where a request or a message may hold what is a customer's own, in whatever kind of body.

Bodies that are neither JSON nor a form are taken by what they hold: the parts of multipart, the elements and
attributes of XML and HTML, the fields and lines of other text. MessagePack and other binary kinds have none.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from captures.bodies import entities, lines, markup, multipart
from captures.bodies.markup import MarkupRole
from captures.credentials import CredentialKind, find_credentials
from captures.model import Headers, Request
from captures.signatures import SIGNATURE_HEADERS
from replayer.opened import opened
from replayer.places import (
    BODY,
    FORM_TYPE,
    MAX_BODY_BYTES,
    PLAIN_HEADERS,
    Spelling,
    Spot,
    content_type,
    form_spots,
    header_spots,
    is_json,
    json_spots,
    media_type,
    target_spots,
)

BASIC = "header.basic"
"""The place of user and password in base64, which stand for themselves in no other one."""
TEXT = "text"
"""The place of a line of text that is no field: words in it may be values."""


_AUTHORIZATION = frozenset({b"authorization", b"proxy-authorization"})
_NOBODYS = PLAIN_HEADERS - _AUTHORIZATION - {b"cookie"}
_BREAKS = bytes(byte in b"\r\n" for byte in range(256))
_REST = re.compile(rb"\0{6,}")


def request_spots(request: Request) -> Iterator[Spot]:
    """The values of ``request``; spots do not overlap."""
    yield from target_spots(request.target)
    for index, header in enumerate(request.headers):
        for spot in one_header_spots(header):
            yield spot._replace(part=index)
    yield from body_spots(opened(request).request.body, content_type(request.headers))


def one_header_spots(header: tuple[bytes, bytes]) -> Iterator[Spot]:
    """The values of a header that is no signature: its credentials, else all of it."""
    lower_name = header[0].lower()
    if lower_name in SIGNATURE_HEADERS or lower_name in _NOBODYS:
        return
    headers: Headers = (header,)
    told = False
    for credential in find_credentials(headers) if lower_name in _AUTHORIZATION else ():
        if credential.kind is CredentialKind.BASIC:
            told = True
            yield Spot(BASIC, credential.value, 0, credential.start, credential.stop, Spelling.PLAIN)
    for spot in () if told else header_spots(headers):
        if not told or spot.stop - spot.start < len(header[1]):
            told = True
            yield spot


def body_spots(body: bytes, stated_type: bytes) -> Iterator[Spot]:
    """The values of a body without content coding; ``stated_type`` is its Content-Type, empty for none."""
    if not body or len(body) > MAX_BODY_BYTES:
        return
    kind = media_type(stated_type)
    boundary = multipart.boundary(stated_type) if kind.startswith(b"multipart/") else None
    if boundary is not None:
        yield from _part_spots(body, boundary)
    elif is_json(body, kind):
        yield from json_spots(body)
    elif kind == FORM_TYPE:
        yield from form_spots(body)
    elif is_text(body):
        yield from _markup_spots(body) if markup.looks_like_markup(body) else _line_spots(body)


def is_text(data: bytes) -> bool:
    """Whether ``data`` is UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def user_and_password(value: bytes) -> tuple[bytes, bytes] | None:
    """What Basic credentials say (RFC 7617); None when they are none."""
    try:
        user, colon, password = base64.b64decode(value, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user, password) if colon and is_text(user + password) else None


def _part_spots(body: bytes, boundary: bytes) -> Iterator[Spot]:
    for part in multipart.parts(body, boundary):
        content = body[part.start : part.stop]
        name = part.name.decode("utf-8", "replace")
        if name and not part.content_type and len(content.splitlines()) == 1 and is_text(content):
            yield Spot(f"body.{name}", content, BODY, part.start, part.stop, Spelling.PLAIN)
            continue
        for spot in body_spots(content, part.content_type):
            yield spot._replace(start=spot.start + part.start, stop=spot.stop + part.start)


def _markup_spots(body: bytes) -> Iterator[Spot]:
    for leaf in markup.scan(body).leaves:
        raw = body[leaf.start : leaf.stop]
        if leaf.role is MarkupRole.RAW or not raw.strip():
            continue
        value = entities.unescape(raw).text if b"&" in raw else raw
        names = (*leaf.path[-1:], leaf.key)
        place = ".".join(("body", *(name.decode("utf-8", "replace") for name in names)))
        yield Spot(place, value, BODY, leaf.start, leaf.stop, Spelling.MARKUP)


def _line_spots(body: bytes) -> Iterator[Spot]:
    """The fields of each line, the shorter where two overlap, and what is left of the line."""
    taken = bytearray(body.translate(_BREAKS))
    for field in sorted(lines.fields(body), key=lambda field: field.stop - field.start):
        if 1 not in taken[field.start : field.stop]:
            taken[field.start : field.stop] = b"\1" * (field.stop - field.start)
            value, place = body[field.start : field.stop], f"body.{field.key.decode('utf-8', 'replace')}"
            yield Spot(place, value, BODY, field.start, field.stop, Spelling.PLAIN)
    for rest in _REST.finditer(taken):
        yield Spot(TEXT, body[rest.start() : rest.end()], BODY, rest.start(), rest.end(), Spelling.PLAIN)
