"""
Identities for the copies of a replay, made with the anonymizer's detectors and stand-ins.

The detectors say once, before the first send, which values of the capture are users, ids and
tokens; while requests are compiled these are only looked up and replaced where they stand.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator

from anonymizer import generators, jwt_tokens, numbers
from anonymizer.detectors.base import Kind
from anonymizer.policy import Action, Policy
from anonymizer.pseudonyms import PseudonymTable, fold, with_case_of
from captures.bodies.edits import Edit, splice
from captures.errors import UsageError
from captures.keys import Prf
from captures.model import Request
from hookreel.customer_spots import BASIC, TEXT, body_spots, request_spots, user_and_password
from hookreel.customer_values import CustomerValues, Piece
from replayer.places import Spelling, Spot, json_spots, spelled, substituted

SHORT_STAND_INS_MAX = 2_000_000  # of all copies; some 150 bytes each
_MEMO_MAX = 300_000
_SHORT_BYTES = 9  # so short a value's stand-ins could meet by chance, within a copy or between copies
_LIMITS = (2**31 - 1, 2**53 - 1, 2**63 - 1)  # what numbers are often stored in
_WORD = re.compile(rb"[A-Za-z0-9_.@+=~/-]*[A-Za-z0-9_=~/]")
_POLICY = Policy(
    name="identities",
    actions={Kind.UUID: Action.PSEUDONYMISE, Kind.ID: Action.PSEUDONYMISE, Kind.DOMAIN: Action.KEEP},
)


class CopyIdentities:
    """
    Identities out of ``seed``: the same one gives the same customers in every run.

    Memory is bounded by ``VALUES_MAX`` and ``SHORT_STAND_INS_MAX``, whatever the capture holds.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._values = CustomerValues()
        self._kept: set[bytes] = set()
        self._short: list[dict[tuple[Kind, bytes], bytes]] = []  # by copy
        self._tables: dict[int, PseudonymTable] = {}
        self._memo: dict[tuple[int, Kind, bytes, bool], bytes] = {}

    # -- before the first send -------------------------------------------------------------

    def keep(self, value: bytes) -> None:
        """Leave ``value`` as it is in every copy."""
        self._kept.add(value)

    def learn(self, request: Request) -> None:
        """Take note of what in ``request`` is a customer's own."""
        self._values.learn(request)

    def learn_message(self, payload: bytes) -> None:
        """Take note of what in a client's text message is a customer's own."""
        self._values.learn_message(payload)

    def settle(self, copies: int) -> None:
        """
        Give short values their stand-ins: no two of them are equal, in one copy or in two.

        Raises:
            UsageError: there would be more than ``SHORT_STAND_INS_MAX``.

        """
        self._values.settle()
        shorts = sorted(
            {
                (piece.kind, fold(value[piece.start : piece.stop]))
                for value, pieces in self._values.each()
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

    def notes(self) -> tuple[str, ...]:
        """What a reader of the run must know, a sentence each."""
        known = len(self._values)
        if not known:
            return ()
        told = (
            f"Each further copy had users, ids and tokens of its own in place of {known} recorded values "
            f"(seed {self._seed}, --keep-identities).",
        )
        if self._values.full:
            return (
                *told,
                "The capture holds more such values than are told apart; all copies share the rest.",
            )
        return told

    # -- while requests are compiled -------------------------------------------------------

    def request(self, request: Request, copy: int) -> Request:
        """``request`` as the customers of ``copy`` (from 1) send it."""
        changes = list(self._changes(request_spots(request), copy))
        return substituted(request, changes) if changes else request

    def message(self, payload: bytes, copy: int) -> bytes:
        """A text message as the customers of ``copy`` (from 1) say it."""
        edits = self._edits(copy, body_spots(payload, b""))
        return splice(payload, edits) if edits else payload

    def _changes(self, found: Iterable[Spot], copy: int) -> Iterator[tuple[Spot, bytes]]:
        strong, known = self._values.strong, self._values.pieces
        for spot in found:
            value = spot.value
            pieces = strong.get(value) or known(spot)
            if value in self._kept:
                continue
            if spot.place == BASIC:
                yield spot, self._basic(value, copy)
            elif spot.place == TEXT or spot.spelling is Spelling.MARKUP:
                new = self._in_pieces(value, pieces, copy, between=self._in_words)
                if new != value:
                    yield spot, new
            elif pieces:
                yield spot, self._in_pieces(value, pieces, copy, number=spot.spelling is Spelling.NUMBER)

    def _in_pieces(
        self,
        value: bytes,
        pieces: tuple[Piece, ...],
        copy: int,
        *,
        number: bool = False,
        between: Callable[[bytes, int], bytes] = lambda text, _copy: text,
    ) -> bytes:
        new: list[bytes] = []
        end = 0
        for kind, start, stop in pieces:
            if start >= end:
                stand_in = self._stand_in(kind, value[start:stop], copy, number=number)
                new += (between(value[end:start], copy), stand_in)
                end = stop
        return b"".join((*new, between(value[end:], copy)))

    def _in_words(self, text: bytes, copy: int) -> bytes:
        """``text`` with the words in it that are known wherever they stand."""

        def fresh(match: re.Match[bytes]) -> bytes:
            word = match[0]
            pieces = self._values.strong.get(word)
            return word if pieces is None or word in self._kept else self._in_pieces(word, pieces, copy)

        return _WORD.sub(fresh, text)

    def _basic(self, value: bytes, copy: int) -> bytes:
        """User and password in base64, each as it is where it stands alone."""
        halves = user_and_password(value)
        if halves is None:
            return value
        return base64.b64encode(b":".join(self._half(half, copy) for half in halves))

    def _half(self, half: bytes, copy: int) -> bytes:
        known = self._values
        pieces = known.strong.get(half) or (known.weak[half].pieces if half in known.weak else ())
        return half if half in self._kept else self._in_pieces(half, pieces, copy)

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
            table.rebuild_jwt = lambda raw: jwt_tokens.rebuild(
                prf, raw, lambda claims: self._edits(copy, json_spots(claims))
            )
        return table

    def _edits(self, copy: int, found: Iterable[Spot]) -> list[Edit]:
        """The edits of the claims of a token, or of a message."""
        return sorted(
            Edit(spot.start, spot.stop, spelled(new, spot.spelling))
            for spot, new in self._changes(found, copy)
        )

    def _prf(self, copy: int) -> Prf:
        return Prf(hashlib.blake2b(b"%d:%d" % (self._seed, copy), person=b"hookreel-copies").digest())


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
