"""
Identities for the copies of a replay, made with the anonymizer's detectors and stand-ins.

The detectors say once, before the first send, which values of the capture are users, ids and
tokens; while requests are compiled these are only looked up and replaced where they stand. Values
that are weak (short, or plain words) count where the detectors found them and where ids stand;
others count wherever they are the whole of a value.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from anonymizer import generators, jwt_tokens, numbers
from anonymizer.detectors import ids
from anonymizer.detectors.base import Context, Kind, normal_key
from anonymizer.detectors.names import marks_a_person
from anonymizer.detectors.registry import Detectors
from anonymizer.policy import Action, Policy
from anonymizer.pseudonyms import PseudonymTable, fold, with_case_of
from anonymizer.reserved import is_common
from captures.bodies import json
from captures.bodies.edits import Edit, splice
from captures.credentials import API_KEY_HEADERS
from captures.errors import UsageError
from captures.keys import Prf
from captures.model import Request
from captures.signatures import SIGNATURE_HEADERS
from replayer.chain import holds_id
from replayer.places import BODY, Spelling, Spot, json_spots, spelled, spots, substituted

VALUES_MAX = 500_000  # different values that are known; some 300 bytes each
SHORT_STAND_INS_MAX = 2_000_000  # of all copies; some 150 bytes each
_MEMO_MAX = 300_000
_VALUE_MAX_BYTES = 2_048
_SHORT_BYTES = 9  # so short a value's stand-ins could meet by chance, within a copy or between copies
_STRONG = re.compile(rb"(?=[^0-9]*[0-9])(?=.*[^0-9]).{6,}|.*@.*|.{16,}|[0-9]{8,}", re.DOTALL)
_OPAQUE = re.compile(rb"(?=[^0-9]*[0-9])[^\s]{6,}|[^\s]{24,}")
_LIMITS = (2**31 - 1, 2**53 - 1, 2**63 - 1)  # what numbers are often stored in
# these hold ids as often as names or whole objects; the first are claims of tokens (RFC 7519)
_ALSO_IDS = {
    "sub": "user_id", "jti": "token_id", "user": "user_id", "customer": "customer_id", "owner": "owner_id",
    "account": "account_id", "member": "member_id", "client": "client_id", "tenant": "tenant_id",
}  # fmt: skip
_PREFIXED = re.compile(rb"(?=[^0-9]*[0-9])[a-z]{2,12}_[A-Za-z0-9]{8,100}")  # cus_9s6XKzkNRiz8i3
_POLICY = Policy(
    name="identities",
    actions={Kind.UUID: Action.PSEUDONYMISE, Kind.ID: Action.PSEUDONYMISE, Kind.DOMAIN: Action.KEEP},
)
_KEPT = frozenset({Kind.DOMAIN, Kind.DATE})


class _Piece(NamedTuple):
    """A part of a value that is a customer's own."""

    kind: Kind
    start: int
    stop: int


class _Weak(NamedTuple):
    """The pieces of a value that means something else elsewhere, and the keys under which it counts."""

    pieces: tuple[_Piece, ...]
    keys: set[str]


class CopyIdentities:
    """
    Identities out of ``seed``: the same one gives the same customers in every run.

    Memory is bounded by ``VALUES_MAX`` and ``SHORT_STAND_INS_MAX``, whatever the capture holds.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._detectors = Detectors(frozenset(), _KEPT, prose=None)
        self._kept: set[bytes] = set()
        self._seen: set[int] = set()  # hashes of values and their contexts
        self._strong: dict[bytes, tuple[_Piece, ...]] = {}
        self._weak: dict[bytes, _Weak] = {}
        self._short: list[dict[tuple[Kind, bytes], bytes]] = []  # by copy
        self._tables: dict[int, PseudonymTable] = {}
        self._memo: dict[tuple[int, Kind, bytes, bool], bytes] = {}
        self._full = False

    # -- before the first send -------------------------------------------------------------

    def keep(self, value: bytes) -> None:
        """Leave ``value`` as it is in every copy."""
        self._kept.add(value)

    def learn(self, request: Request) -> None:
        """Take note of what in ``request`` is a customer's own."""
        self._learn(request, list(_open_spots(request)))

    def learn_message(self, payload: bytes) -> None:
        """Take note of what in a client's text message is a customer's own: the values of JSON."""
        if json.looks_like_json(payload):
            self._learn(None, list(json_spots(payload)))

    def _learn(self, request: Request | None, found: list[Spot]) -> None:
        people = {_holder(spot) for spot in found if marks_a_person(_name(spot).encode())}
        for spot in found:
            if len(spot.value) > _VALUE_MAX_BYTES or not _is_text(spot.value):
                continue
            context = _context(request, spot, person=_holder(spot) in people)
            mark = hash((spot.value, context))
            if mark in self._seen:
                continue
            if len(self._seen) >= 2 * VALUES_MAX:
                self._seen.clear()
            self._seen.add(mark)
            if len(self._strong) + len(self._weak) >= VALUES_MAX:
                self._full = True
                return
            pieces = tuple(self._pieces(spot.value, context))
            if not pieces and context.key in _ALSO_IDS:
                pieces = tuple(self._pieces(spot.value, replace(context, key=_ALSO_IDS[context.key])))
            if pieces:
                self._remember(spot.value, pieces, context.key)
            for piece in pieces:
                if piece.kind is Kind.JWT:
                    for text in jwt_tokens.parts(spot.value[piece.start : piece.stop]) or ():
                        self._learn(None, list(json_spots(text)))

    def _pieces(self, value: bytes, context: Context) -> Iterator[_Piece]:
        if context.credential and not _OPAQUE.fullmatch(value):
            return  # a cookie like theme=dark is nobody's
        found = False
        for kind, start, stop in self._detectors.find(value, context):
            if kind not in _KEPT:
                found = True
                yield _Piece(kind, start, stop)
        few_digits = value.isdigit() and value.strip(b"0") and ids.key_tells(context.key)
        if not found and (few_digits or _PREFIXED.fullmatch(value)):
            yield _Piece(Kind.ID, 0, len(value))

    def _remember(self, value: bytes, pieces: tuple[_Piece, ...], key: str) -> None:
        if _STRONG.fullmatch(value):
            self._strong.setdefault(value, pieces)
        else:
            self._weak.setdefault(value, _Weak(pieces, set())).keys.add(key)

    def settle(self, copies: int) -> None:
        """
        Give short values their stand-ins: no two of them are equal, in one copy or in two.

        Raises:
            UsageError: there would be more than ``SHORT_STAND_INS_MAX``.

        """
        self._seen.clear()
        shorts = sorted(
            {
                (piece.kind, fold(value[piece.start : piece.stop]))
                for value, pieces in self._known()
                for piece in pieces
                if _is_short(piece.kind, value[piece.start : piece.stop])
            }
        )
        if len(shorts) * (copies - 1) > SHORT_STAND_INS_MAX:
            raise UsageError(
                f"{copies} copies of {len(shorts)} short ids and names need more stand-ins than there is "
                "room for; give fewer --copies, or send them as recorded with --keep-identities."
            )
        used = {raw for _, raw in shorts}
        for copy in range(1, copies):
            prf = self._prf(copy)
            self._short.append(made := {})
            for kind, raw in shorts:
                attempt = 0
                while (new := _short_stand_in(prf, kind, raw, attempt)) in used:
                    attempt += 1
                used.add(new)
                made[kind, raw] = new

    def _known(self) -> Iterable[tuple[bytes, tuple[_Piece, ...]]]:
        yield from self._strong.items()
        for value, weak in self._weak.items():
            yield value, weak.pieces

    def notes(self) -> tuple[str, ...]:
        """What a reader of the run must know, a sentence each."""
        known = len(self._strong) + len(self._weak)
        if not known:
            return ()
        told = (
            f"Each further copy had users, ids and tokens of its own in place of {known} recorded values "
            f"(seed {self._seed}, --keep-identities).",
        )
        if self._full:
            return (
                *told,
                "The capture holds more such values than are told apart; all copies share the rest.",
            )
        return told

    # -- while requests are compiled -------------------------------------------------------

    def request(self, request: Request, copy: int) -> Request:
        """``request`` as the customers of ``copy`` (from 1) send it."""
        changes = list(self._changes(_open_spots(request), copy))
        return substituted(request, changes) if changes else request

    def message(self, payload: bytes, copy: int) -> bytes:
        """A text message as the customers of ``copy`` (from 1) say it."""
        edits = self._edits(copy, payload) if json.looks_like_json(payload) else []
        return splice(payload, edits) if edits else payload

    def _changes(self, found: Iterable[Spot], copy: int) -> Iterator[tuple[Spot, bytes]]:
        for spot in found:
            value = spot.value
            pieces = self._strong.get(value)
            if pieces is None:
                weak = self._weak.get(value)
                if weak is None or not _counts(weak, spot):
                    continue
                pieces = weak.pieces
            if value in self._kept:
                continue
            number = spot.part == BODY and spot.spelling is Spelling.PLAIN
            new: list[bytes] = []
            end = 0
            for kind, start, stop in pieces:
                if start >= end:
                    new += (value[end:start], self._stand_in(kind, value[start:stop], copy, number=number))
                    end = stop
            yield spot, b"".join((*new, value[end:]))

    def _stand_in(self, kind: Kind, raw: bytes, copy: int, *, number: bool) -> bytes:
        if raw in self._kept:
            return raw
        known = self._memo.get((copy, kind, raw, number))
        if known is None:
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
                self._tables.clear()  # they remember as much; what they give depends on key and value alone
            short = self._short[copy - 1].get((kind, fold(raw)))
            if short is None:
                known = self._table(copy).replacement(kind, raw, number=number)
                if kind is Kind.ID:
                    known = _in_range(self._prf(copy), raw, known)
            else:
                known = with_case_of(raw, short)
            self._memo[copy, kind, raw, number] = known
        return known

    def _table(self, copy: int) -> PseudonymTable:
        table = self._tables.get(copy)
        if table is None:
            prf = self._prf(copy)
            table = self._tables[copy] = PseudonymTable(prf, _POLICY)
            table.rebuild_jwt = lambda raw: jwt_tokens.rebuild(prf, raw, partial(self._edits, copy))
        return table

    def _edits(self, copy: int, text: bytes) -> list[Edit]:
        """The edits of the claims of a token, or of a message."""
        changes = self._changes(json_spots(text), copy)
        return [Edit(spot.start, spot.stop, spelled(new, spot.spelling)) for spot, new in changes]

    def _prf(self, copy: int) -> Prf:
        return Prf(hashlib.blake2b(b"%d:%d" % (self._seed, copy), person=b"hookreel-copies").digest())


def _open_spots(request: Request) -> Iterator[Spot]:
    """The values of ``request`` without signatures; of a header its credentials or all of it."""
    taken = set()
    for spot in spots(request):
        if spot.part >= 0:
            name, value = request.headers[spot.part]
            if name.lower() in SIGNATURE_HEADERS:
                continue
            if spot.part in taken and spot.stop - spot.start == len(value):
                continue
            taken.add(spot.part)
        yield spot


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _name(spot: Spot) -> str:
    return spot.place.rpartition(".")[2]


def _holder(spot: Spot) -> str:
    return spot.place.rpartition(".")[0]


def _context(request: Request | None, spot: Spot, *, person: bool) -> Context:
    """What the detectors are told of a value; in a path only its shape tells."""
    where = spot.place.partition(".")[0]
    if where == "path":
        return Context()
    name = normal_key(_name(spot).encode())
    if where == "body":
        names = spot.place.split(".")
        parent = normal_key(names[-2].encode()) if len(names) > 2 else ""
        number = spot.spelling is Spelling.PLAIN
        return Context(key=name, parent=parent, person=person, number=number)
    if spot.part >= 0 and request is not None:
        lower_name = request.headers[spot.part][0].lower()
        secret = lower_name in {b"authorization", b"cookie"} or lower_name in API_KEY_HEADERS
        return Context(credential=True) if secret else Context(key=name.removeprefix("x_"))
    return Context(key=name)


def _counts(weak: _Weak, spot: Spot) -> bool:
    if spot.place.startswith("path."):
        return not is_common(spot.value)
    name = normal_key(_name(spot).encode())
    return name in weak.keys or name.removeprefix("x_") in weak.keys or holds_id(spot.place)


def _is_short(kind: Kind, raw: bytes) -> bool:
    if kind is Kind.EMAIL:
        return len(raw.partition(b"@")[0]) < _SHORT_BYTES
    return kind in {Kind.ID, Kind.USERNAME, Kind.CREDENTIAL, Kind.TOKEN} and len(raw) < _SHORT_BYTES


def _short_stand_in(prf: Prf, kind: Kind, raw: bytes, attempt: int) -> bytes:
    match kind:
        case Kind.EMAIL:
            return generators.email(prf, raw, attempt, raw.rpartition(b"@")[2])
        case Kind.ID:
            return _in_range(prf, raw, numbers.identifier(prf, raw, 0, attempt))
        case _:
            return generators.username(prf, raw, attempt)


def _in_range(prf: Prf, raw: bytes, new: bytes) -> bytes:
    """For a number ``raw`` a number without a leading zero, that fits wherever ``raw`` does."""
    if not raw.isdigit() or raw[:1] == b"0":
        return new
    if not new.isdigit():  # so many digits may be hex
        new = generators.username(prf, raw)
    if new[:1] == b"0" or any(int(raw) <= limit < int(new) for limit in _LIMITS):
        return b"1" + new[1:]
    return new
