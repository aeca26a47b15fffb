"""
Which values of a capture are a customer's own: users, ids and tokens, found once by the detectors.

Values that are weak (short, or plain words) count where the detectors found them and where ids stand;
others count wherever they are the whole of a value.
"""

from __future__ import annotations

import json as plain_json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from anonymizer import jwt_tokens
from anonymizer.detectors import ids
from anonymizer.detectors.base import Context, Kind, normal_key
from anonymizer.detectors.names import marks_a_person
from anonymizer.detectors.registry import Detectors
from anonymizer.reserved import is_common
from captures.bodies import percent
from captures.credentials import API_KEY_HEADERS
from captures.model import Request
from hookreel.customer_spots import (
    BASIC,
    TEXT,
    body_spots,
    is_text,
    one_header_spots,
    user_and_password,
)
from replayer.chain import holds_id
from replayer.opened import opened
from replayer.places import (
    MAX_BODY_BYTES,
    Spelling,
    Spot,
    content_type,
    is_json,
    json_spots,
    media_type,
    target_spots,
)

VALUES_MAX = 500_000  # different values that are known; some 300 bytes each
_VALUE_MAX_BYTES = 2_048
_STRONG = re.compile(rb"(?=[^0-9]*[0-9])(?=.*[^0-9]).{6,}|.*@.*|.{16,}|[0-9]{8,}", re.DOTALL)
_OPAQUE = re.compile(rb"(?=[^0-9]*[0-9])[^\s]{6,}|[^\s]{24,}")
# these hold ids as often as names or whole objects; the first are claims of tokens (RFC 7519)
_ALSO_IDS = {
    "sub": "user_id", "jti": "token_id", "user": "user_id", "customer": "customer_id", "owner": "owner_id",
    "account": "account_id", "member": "member_id", "client": "client_id", "tenant": "tenant_id",
}  # fmt: skip
_PREFIXED = re.compile(rb"(?=[^0-9]*[0-9])[a-z]{2,12}_[A-Za-z0-9]{8,100}")  # cus_9s6XKzkNRiz8i3
_KEPT = frozenset({Kind.DOMAIN, Kind.DATE})
_ID = re.compile(rb"[0-9a-f]{16,64}|[a-z]{2,12}_(?=[^0-9]*[0-9])[A-Za-z0-9]{8,100}")
_NUMBER_BYTES = 12  # a shorter number is a card's or anybody's only where its key says so
_DETECTORS = Detectors(frozenset(), _KEPT, prose=None)
_SHAPE_ALONE = Context()
_USER, _PASSWORD = Context(key="username"), Context(key="password", credential=True)


class Piece(NamedTuple):
    """A part of a value that is a customer's own."""

    kind: Kind
    start: int
    stop: int


class Weak(NamedTuple):
    """The pieces of a value that means something else elsewhere, and the keys under which it counts."""

    pieces: tuple[Piece, ...]
    keys: set[str]

    def counts(self, spot: Spot) -> bool:
        """Whether it means the same at ``spot``."""
        if spot.place.startswith("path."):
            return not is_common(spot.value)
        name = normal_key(_name(spot).encode())
        return name in self.keys or name.removeprefix("x_") in self.keys or holds_id(spot.place)


class CustomerValues:
    """
    What is known of a capture's values; ``full`` says that there were more than ``VALUES_MAX``.

    A value under a key, a header, a target or a body that was seen before is passed over at once.
    """

    def __init__(self) -> None:
        self.strong: dict[bytes, tuple[Piece, ...]] = {}
        self.weak: dict[bytes, Weak] = {}
        self.full = False
        self._seen: set[int] = set()  # hashes

    def __len__(self) -> int:
        return len(self.strong) + len(self.weak)

    def pieces(self, spot: Spot) -> tuple[Piece, ...]:
        """What of a value is a customer's own at its place."""
        found = self.strong.get(spot.value)
        if found is None:
            weak = self.weak.get(spot.value)
            found = () if weak is None or not weak.counts(spot) else weak.pieces
        return found

    def each(self) -> Iterator[tuple[bytes, tuple[Piece, ...]]]:
        """Every value that is known."""
        yield from self.strong.items()
        for value, weak in self.weak.items():
            yield value, weak.pieces

    def learn(self, request: Request) -> None:
        """Take note of what in ``request`` is a customer's own."""
        self._learn_target(request.target)
        for header in request.headers:
            if self._is_new(header):
                self._learn_header(header)
        if request.body and self._is_new((stated_type := content_type(request.headers), request.body)):
            self._learn_body(opened(request).request.body, stated_type)

    def learn_message(self, payload: bytes) -> None:
        """Take note of what in a client's text message is a customer's own."""
        if self._is_new(payload):
            self._learn_body(payload, b"")

    def settle(self) -> None:
        """Nothing is learnt any more."""
        self._seen.clear()

    def _is_new(self, what: object) -> bool:
        mark = hash(what)
        if mark in self._seen:
            return False
        if len(self._seen) >= 2 * VALUES_MAX:
            self._seen.clear()
        self._seen.add(mark)
        return True

    def _learn_target(self, target: bytes) -> None:
        path, _, query = target.partition(b"?")
        for segment in path.split(b"/"):
            if segment and self._is_new(segment):
                value = percent.unescape(segment).text if b"%" in segment else segment
                self._note(value, _SHAPE_ALONE)
        for pair in query.split(b"&"):
            if pair and self._is_new(pair):
                self._note_spots(list(target_spots(b"?" + pair)))

    def _learn_header(self, header: tuple[bytes, bytes]) -> None:
        lower_name = header[0].lower()
        secret = lower_name in {b"authorization", b"cookie"} or lower_name in API_KEY_HEADERS
        for spot in one_header_spots(header):
            if spot.place == BASIC:
                user, password = user_and_password(spot.value) or (b"", b"")
                self._note(user, _USER, whole=Kind.USERNAME)
                self._note(password, _PASSWORD, whole=Kind.CREDENTIAL)
            elif secret:
                self._note(spot.value, Context(credential=True))
            else:
                self._note(spot.value, Context(key=normal_key(_name(spot).encode()).removeprefix("x_")))

    def _learn_body(self, body: bytes, stated_type: bytes) -> None:
        if len(body) > MAX_BODY_BYTES:
            return
        leaves = _leaves(body) if is_json(body, media_type(stated_type)) else None
        if leaves is None:
            self._note_spots(list(body_spots(body, stated_type)))
            return
        people = {path for path, key, _, _ in leaves if _names_a_person(key)}
        seen = self._seen
        for path, key, value, number in leaves:
            sign, context = _json_context(path[-1] if path else "", key, path in people, number)
            if hash((value, sign)) not in seen and self._is_new((value, sign)):
                self._note(value.encode("utf-8", "surrogatepass"), context)

    def _note_spots(self, found: list[Spot]) -> None:
        people = {_holder(spot) for spot in found if _names_a_person(_name(spot))}
        for spot in found:
            context = _context(spot, person=_holder(spot) in people)
            if self._is_new((spot.value, context)):
                self._note(spot.value, context)

    def _note(self, value: bytes, context: Context, *, whole: Kind | None = None) -> None:
        """Look for what is a customer's own in a value; where there is nothing, all of it is ``whole``."""
        if not value or len(value) > _VALUE_MAX_BYTES or not is_text(value):
            return
        if len(self) >= VALUES_MAX:
            self.full = True
            return
        pieces = tuple(self._pieces_of(value, context))
        if not pieces and context.key in _ALSO_IDS:
            key = _ALSO_IDS[context.key]
            as_id = Context(key=key, parent=context.parent, person=context.person, number=context.number)
            pieces = tuple(self._pieces_of(value, as_id))
        if not pieces and whole is not None:
            pieces = (Piece(whole, 0, len(value)),)
        if pieces:
            self._remember(value, pieces, context.key)
        for piece in pieces:
            if piece.kind is Kind.JWT:
                for text in jwt_tokens.parts(value[piece.start : piece.stop]) or ():
                    self._note_spots(list(json_spots(text)))

    def _pieces_of(self, value: bytes, context: Context) -> Iterator[Piece]:
        if context.credential and not _OPAQUE.fullmatch(value):
            return  # a cookie like theme=dark is nobody's
        told, names_id = _told_by(context)
        if names_id and _ID.fullmatch(value):
            yield Piece(Kind.ID, 0, len(value))
            return
        if not told and len(value) <= _NUMBER_BYTES and value.isdigit():
            return
        found = False
        for kind, start, stop in _DETECTORS.find(value, context):
            if kind not in _KEPT:
                found = True
                yield Piece(kind, start, stop)
        few_digits = names_id and value.isdigit() and value.strip(b"0")
        if not found and (few_digits or _PREFIXED.fullmatch(value)):
            yield Piece(Kind.ID, 0, len(value))

    def _remember(self, value: bytes, pieces: tuple[Piece, ...], key: str) -> None:
        if _STRONG.fullmatch(value):
            self.strong.setdefault(value, pieces)
        else:
            self.weak.setdefault(value, Weak(pieces, set())).keys.add(key)


@lru_cache(maxsize=16_384)
def _told_by(context: Context) -> tuple[bool, bool]:
    """Whether something may be found for its place alone; whether that says that an id stands there."""
    return _DETECTORS.tells(context), ids.key_tells(context.key)


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


class _Members(list[tuple[str, Any]]):
    """The members of an object in their order, equal names each for itself."""


_Leaf = tuple[tuple[str, ...], str, str, bool]
"""The names of the objects above, its own name, the value, and whether that is a number."""


def _leaves(body: bytes) -> list[_Leaf] | None:
    """The strings and numbers of a JSON document as ``json_spots`` names them; None where it is not one."""
    found: list[_Leaf] = []
    try:
        document = plain_json.loads(
            body, object_pairs_hook=_Members, parse_int=_Number, parse_float=_Number, parse_constant=_nothing
        )
        _walk(document, (), "", found)
    except (ValueError, RecursionError):
        return None
    return found


def _nothing(_text: str) -> None:
    return None


def _walk(node: Any, path: tuple[str, ...], key: str, found: list[_Leaf]) -> None:
    kind = type(node)
    if kind is str or kind is _Number:
        if node:
            path, key = (path, key) if key or not path else (path[:-1], path[-1])
            found.append((path, key, node, kind is _Number))
    elif kind is _Members:
        inside = (*path, key) if key else path
        for name, value in node:
            if type(value) is str and name:
                if value:
                    found.append((inside, name, value, False))
            else:
                _walk(value, inside, name, found)
    elif kind is list:
        for value in node:
            _walk(value, path, key, found)


@lru_cache(maxsize=16_384)
def _json_context(parent: str, key: str, person: bool, number: bool) -> tuple[int, Context]:
    """The context of a leaf, and what stands for it in marks."""
    name = key.rpartition(".")[2] if key else parent or "body"
    context = Context(
        key=normal_key(name.encode("utf-8", "surrogatepass")),
        parent=normal_key(parent.rpartition(".")[2].encode("utf-8", "surrogatepass")),
        person=person,
        number=number,
    )
    return hash(context), context


@lru_cache(maxsize=16_384)
def _names_a_person(key: str) -> bool:
    return marks_a_person(key.rpartition(".")[2].encode("utf-8", "surrogatepass"))


def _name(spot: Spot) -> str:
    return spot.place.rpartition(".")[2]


def _holder(spot: Spot) -> str:
    return spot.place.rpartition(".")[0]


def _context(spot: Spot, *, person: bool) -> Context:
    """What the detectors are told of a value that is in no header; in a path only its shape tells."""
    names = spot.place.split(".")
    if names[0] in {"path", TEXT}:
        return _SHAPE_ALONE
    key = normal_key(names[-1].encode())
    if names[0] != "body":
        return Context(key=key)
    parent = normal_key(names[-2].encode()) if len(names) > 2 else ""
    return Context(key=key, parent=parent, person=person, number=spot.spelling is Spelling.NUMBER)
