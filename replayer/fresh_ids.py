"""
Fresh delivery, event and idempotency ids for each run, copy and loop.

A target that takes an id once answers "duplicate" to the second replay of the same capture, so
what is compared would not be the same work. An id is known by where it stands (the headers in
which senders of webhooks put theirs, the usual fields of bodies); wherever a later request of the
capture has it in its path or query, it is replaced alike. Each keeps its length and shape.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from captures.bodies import url
from captures.model import Exchange, Request
from replayer.opened import opened

IDS_MAX = 2_000_000  # remembered for later requests; further ones are replaced where they are known by place

_HEADERS = frozenset(
    {
        b"x-github-delivery", b"x-gitlab-event-uuid", b"x-shopify-webhook-id", b"x-shopify-event-id",
        b"webhook-id", b"svix-id", b"idempotency-key", b"x-idempotency-key", b"x-event-id",
        b"x-delivery-id", b"x-hook-delivery", b"x-webhook-id", b"x-request-id", b"x-correlation-id",
        b"x-message-id", b"ce-id", b"x-twilio-idempotency-token", b"i-twilio-idempotency-token",
    }
)  # fmt: skip
_FIELD = re.compile(
    rb'"(?:delivery_?[iI]d|event_?[iI]d|idempotency_?[kK]ey|message_?[iI]d|request_?[iI]d|webhook_?[iI]d)"'
    rb'\s*:\s*"([A-Za-z0-9_.:-]{8,128})"'
    rb'|"id"\s*:\s*"((?:evt|msg|event|whevt|Ev)_?[A-Za-z0-9_-]{8,120})"'
)
_FORM_FIELD = re.compile(
    rb"(?:^|&)(?:delivery_id|event_id|idempotency_key|message_id|request_id|webhook_id"
    rb"|MessageSid|SmsSid|SmsMessageSid|CallSid)=([A-Za-z0-9_.:-]{8,128})(?=&|$)"
)
_ID = re.compile(rb"(?=[^0-9]*[0-9])[A-Za-z0-9_.:-]{8,128}")
_UUID = re.compile(rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_ULID = re.compile(rb"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_UUID_FIXED = frozenset({14, 19})  # version and variant (RFC 9562)
_ULID_TIME_CHARS = 10
_PREFIX = re.compile(rb"[A-Za-z]{1,12}_|[A-Z]{2}(?=[0-9a-f]{32}$)")
_HEX = re.compile(rb"[0-9a-f]+")
_DIGITS, _LOWER, _UPPER = b"0123456789", b"abcdefghijklmnopqrstuvwxyz", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER_HEX, _UPPER_HEX, _CROCKFORD = (
    b"0123456789abcdef",
    b"0123456789ABCDEF",
    b"0123456789ABCDEFGHJKMNPQRSTVWXYZ",
)


class FreshIds:
    """
    Replaces the ids of exchanges, given in the order in which they are sent.

    ``key`` is a run's own secret. The same id gives the same fresh one within an instance (a copy
    and loop), and another one in every other. ``kept`` values, those that the target mints, stay.
    ``signs`` tells whether a request may change: one with a recorded signature stays whole unless it is
    signed anew.
    """

    def __init__(self, key: bytes, *, signs: Callable[[Exchange], bool], kept: Iterable[bytes] = ()) -> None:
        self._key = key
        self._signs = signs
        self._kept = frozenset(kept)
        self._known: set[bytes] = set()
        self.replaced = 0
        """How many requests got fresh ids."""

    def __call__(self, exchange: Exchange, instance: int) -> Exchange:
        """``exchange`` with fresh ids in its request; every byte else stays where it was."""
        if not self._signs(exchange):
            return exchange
        request = exchange.request
        plain = opened(request)
        ids = self._ids_of(plain.request)
        if not ids:
            return exchange
        fresh = {old: self.fresh(old, instance) for old in ids}
        self.replaced += 1
        made = _with(plain.request, fresh)
        same = made.body == plain.request.body
        made = replace(made, body=request.body) if same else plain.closed(made)
        return replace(exchange, request=made)

    def _ids_of(self, request: Request) -> set[bytes]:
        found = {
            value for name, value in request.headers if name.lower() in _HEADERS and _ID.fullmatch(value)
        }
        if b'id"' in request.body or b'Id"' in request.body or b'ey"' in request.body:
            found.update(first or second for first, second in _FIELD.findall(request.body))
        elif b"id=" in request.body or b"Sid=" in request.body or b"key=" in request.body:
            found.update(_FORM_FIELD.findall(request.body))
        found = {value for value in found if value not in self._kept and _ID.fullmatch(value)}
        if len(self._known) < IDS_MAX:
            self._known |= found
        if self._known:
            parts = url.split_target(request.target)
            pieces = re.split(rb"[/?&=]", request.target[: parts.query_stop])
            found.update(piece for piece in pieces if piece in self._known)
        return found

    def fresh(self, old: bytes, instance: int) -> bytes:
        """What stands for ``old`` in ``instance``: as long, of the same kind of characters, prefix kept."""
        pool = hashlib.shake_256(b"%b\0%d\0%b" % (self._key, instance, old)).digest(2 * len(old))
        prefix = _PREFIX.match(old)
        start = prefix.end() if prefix else 0
        fixed: frozenset[int] = frozenset()
        alphabet: bytes | None = None
        if _UUID.fullmatch(old):
            fixed, alphabet = _UUID_FIXED, _LOWER_HEX if old == old.lower() else _UPPER_HEX
        elif _ULID.fullmatch(old):
            start, alphabet = _ULID_TIME_CHARS, _CROCKFORD
        elif _HEX.fullmatch(old[start:]) and not old[start:].isdigit():
            alphabet = _LOWER_HEX
        new = bytearray(old)
        for at in range(start, len(old)):
            if at not in fixed:
                new[at] = _like(old[at], alphabet, int.from_bytes(pool[2 * at : 2 * at + 2], "big"))
        return bytes(new)


def _like(byte: int, alphabet: bytes | None, number: int) -> int:
    character = bytes((byte,))
    if not character.isalnum():
        return byte
    if alphabet is None:
        alphabet = _DIGITS if character.isdigit() else _LOWER if character.islower() else _UPPER
        if byte != 0x30 and character.isdigit():
            alphabet = alphabet[1:]  # a number keeps its length when it is read as one
    return alphabet[number % len(alphabet)]


def _with(request: Request, fresh: dict[bytes, bytes]) -> Request:
    """``request`` with fresh ids; of two that stand at one place, the longer is meant."""
    target, body, headers = request.target, request.body, request.headers
    for old in sorted(fresh, key=lambda one: (-len(one), one)):
        new = fresh[old]
        target = _replaced(target, old, new)
        body = _replaced(body, old, new)
        headers = tuple((name, _replaced(value, old, new)) for name, value in headers)
    return replace(request, target=target, body=body, headers=headers)


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """``data`` with ``new``, which is as long, for each ``old`` that is no part of a longer word."""
    at = data.find(old)
    if at < 0:
        return data
    made = bytearray(data)
    while at >= 0:
        stop = at + len(old)
        whole = not (data[at - 1 : at].isalnum() or data[stop : stop + 1].isalnum())
        if whole:
            made[at:stop] = new
        at = data.find(old, stop if whole else at + 1)
    return bytes(made)
