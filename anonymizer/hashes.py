"""Plain hashes of known values, as avatar services use them of addresses and analytics of logins."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

from anonymizer.detectors.base import Kind
from anonymizer.policy import Action, Policy
from anonymizer.pseudonyms import FAMILIES, Family, PseudonymTable, fold
from captures.bodies.edits import Edit

_HEX = re.compile(
    rb"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{128}|[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32})(?![0-9A-Za-z])"
)
_BASE64 = re.compile(
    rb"(?<![A-Za-z0-9+/_=])(?:[A-Za-z0-9+/_-]{86}(?:==)?|[A-Za-z0-9+/_-]{43}=?|[A-Za-z0-9+/_-]{27}=?"
    rb"|[A-Za-z0-9+/_-]{22}(?:==)?)(?![A-Za-z0-9+/_=-])"
)
_MIN_TEXT_BYTES = 22
_MAX_VALUE_BYTES = 256
_ALGORITHMS = {16: "md5", 20: "sha1", 32: "sha256", 64: "sha512"}
_KEY_BYTES = 16  # of a digest; enough to tell any two values apart
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class Hashes:
    """Finds MD5, SHA-1, SHA-256 and SHA-512 of known values in hex or base64."""

    __slots__ = ("_known",)

    def __init__(self, table: PseudonymTable, values: list[tuple[bytes, Kind]], policy: Policy) -> None:
        self._known: dict[bytes, tuple[bytes, Kind]] = {}
        for raw, kind in values:
            if FAMILIES[kind] is Family.JWT or not 4 <= len(raw) <= _MAX_VALUE_BYTES:
                continue
            for spelling in _spellings(kind, raw):
                self._add(spelling, table.replacement(kind, spelling), kind)
        if policy.action(Kind.NAME) is not Action.KEEP:
            for words in table.phrases:
                new = b" ".join(table.replacement(Kind.NAME, word) for word in words)
                self._add(b" ".join(words), new, Kind.NAME)
                self._add(fold(b" ".join(words)), fold(new), Kind.NAME)

    def _add(self, value: bytes, new: bytes, kind: Kind) -> None:
        for algorithm in _ALGORITHMS.values():
            self._known.setdefault(_digest(algorithm, value)[:_KEY_BYTES], (new, kind))

    def edits(self, text: bytes) -> list[Edit]:
        """The replacement of every hash of a known value in ``text`` by the same hash of its stand-in."""
        if len(text) < _MIN_TEXT_BYTES or not self._known:
            return []
        found: list[Edit] = []
        for match in _HEX.finditer(text):
            digest = bytes.fromhex(match[0].decode("ascii"))
            known = self._known.get(digest[:_KEY_BYTES])
            if known is not None:
                new = _digest(_ALGORITHMS[len(digest)], known[0]).hex().encode()
                spelled = new if match[0] == match[0].lower() else new.upper()
                found.append(Edit(*match.span(), spelled, known[1]))
        for match in _BASE64.finditer(text):
            raw = match[0].rstrip(b"=")
            try:
                digest = base64.b64decode(raw.translate(_URL_SAFE) + b"=" * (-len(raw) % 4), validate=True)
            except binascii.Error:
                continue
            known = self._known.get(digest[:_KEY_BYTES])
            if known is not None and len(digest) in _ALGORITHMS:
                found.append(Edit(*match.span(), _to_base64(digest, known[0], match[0]), known[1]))
        return found


def _to_base64(digest: bytes, new: bytes, raw: bytes) -> bytes:
    altchars = b"-_" if b"-" in raw or b"_" in raw else None
    encoded = base64.b64encode(_digest(_ALGORITHMS[len(digest)], new), altchars)
    return encoded if raw.endswith(b"=") else encoded.rstrip(b"=")


def _spellings(kind: Kind, raw: bytes) -> Iterator[bytes]:
    yield raw
    if fold(raw) != raw:
        yield fold(raw)
    if kind in {Kind.PHONE, Kind.CARD}:
        digits = bytes(byte for byte in raw if byte in b"0123456789")
        yield digits
        if kind is Kind.PHONE:
            yield b"+" + digits


def _digest(algorithm: str, value: bytes) -> bytes:
    return hashlib.new(algorithm, value, usedforsecurity=False).digest()
