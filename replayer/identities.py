"""
Copies as different customers: each has users, ids and tokens of its own.

Copy 0 is the recorded traffic. What stands for a value in another copy comes from outside (the
anonymizer's stand-ins, with a key for each copy), so that this only says what must stay: values
that the target mints, credentials that are mapped, and requests whose signature nobody can renew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from captures.credentials import find_credentials
from captures.model import Exchange, Request
from replayer.credentials import Keyring


class Identities(Protocol):
    """Stand-ins for users, ids and tokens, the same everywhere in a copy and in each loop of it."""

    def keep(self, value: bytes) -> None:
        """Leave ``value`` as it is in every copy."""

    def learn(self, request: Request) -> None:
        """Take note of what in ``request`` is a customer's own."""

    def learn_message(self, payload: bytes) -> None:
        """Take note of what in a client's text message is a customer's own."""

    def settle(self, copies: int) -> None:
        """
        Make ready for ``copies`` copies; nothing is kept or learnt afterwards.

        Raises:
            UsageError: so many copies need more stand-ins than there is room for.

        """

    def request(self, request: Request, copy: int) -> Request:
        """``request`` as the customers of ``copy`` (from 1) send it."""

    def message(self, payload: bytes, copy: int) -> bytes:
        """A text message as the customers of ``copy`` (from 1) say it."""

    def notes(self) -> tuple[str, ...]:
        """What a reader of the run must know, a sentence each."""


MakeIdentities = Callable[[int], Identities]
"""Makes identities out of a seed: the same seed, the same customers."""


class Copies:
    """
    Gives each exchange the identity of its copy; a callable for ``exchanges_of``.

    ``signs`` tells whether a request may change: one with a recorded signature stays whole unless it is
    signed anew.
    """

    def __init__(self, identities: Identities, copies: int, *, signs: Callable[[Exchange], bool]) -> None:
        self._identities = identities
        self._copies = copies
        self._signs = signs

    def __call__(self, exchange: Exchange, instance: int) -> Exchange:
        """``exchange`` as the copy of ``instance`` (the number of a copy and loop) sends it."""
        copy = instance % self._copies
        if not copy or not self._signs(exchange):
            return exchange
        return replace(exchange, request=self._identities.request(exchange.request, copy))

    def message(self, payload: bytes, instance: int) -> bytes:
        """A text message as the copy of ``instance`` says it."""
        copy = instance % self._copies
        return self._identities.message(payload, copy) if copy else payload


def learnt(
    identities: Identities,
    exchanges: Iterable[Exchange],
    messages: Iterable[bytes] = (),
    *,
    copies: int,
    minted: Iterable[bytes],
    keyring: Keyring,
    salt: bytes,
) -> None:
    """
    Let ``identities`` know all ``exchanges`` and what clients said, and what of them stays.

    That is what is ``minted``, and credentials that are mapped.

    ``salt`` is the capture's ``fingerprint_salt``.
    """
    for value in minted:
        identities.keep(value)
    for exchange in exchanges:
        for credential in find_credentials(exchange.request.headers) if keyring.credentials else ():
            if keyring.value(credential.fingerprint(salt), credential) is not None:
                identities.keep(credential.value)
        identities.learn(exchange.request)
    for payload in messages:
        identities.learn_message(payload)
    identities.settle(copies)
