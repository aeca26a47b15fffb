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

_HEX = re.compile(rb"(?<![0-9A-Za-z])(?:[0-9a-f]{16,128}|[0-9A-F]{16,128})(?![0-9A-Za-z])")
_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/_=-])([A-Za-z0-9+/_-]{16,86})={0,2}(?![A-Za-z0-9+/_=-])")
_MIN_TEXT_BYTES = 16
_MAX_VALUE_BYTES = 256
_ALGORITHMS = ("md5", "sha1", "sha256", "sha512")
_KEY_BYTES = 8  # so many first bytes tell any two digests apart, and find those that are cut
_HEAD_CHARS = 16  # of base64, which stand for 12 bytes
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class Hashes:
    """Finds MD5, SHA-1, SHA-256 and SHA-512 of known values in hex or base64, whole or cut."""

    __slots__ = ("_heads", "_known")

    def __init__(self, table: PseudonymTable, values: list[tuple[bytes, Kind]], policy: Policy) -> None:
        self._known: dict[bytes, tuple[str, bytes, Kind]] = {}
        self._heads: frozenset[bytes] | None = None
        for raw, kind in values:
            if FAMILIES[kind] is Family.JWT or not 4 <= len(raw) <= _MAX_VALUE_BYTES:
                continue
            for spelling in _spellings(kind, raw):
                self._add(spelling, table.replacement(kind, spelling), kind)
        if policy.action(Kind.NAME) is not Action.KEEP:
            for name, words in sorted(table.full_names):
                new = _with_words(name, words, [table.replacement(Kind.NAME, word) for word in words])
                self._add(name, new, Kind.NAME)
                self._add(fold(name), fold(new), Kind.NAME)

    def _add(self, value: bytes, new: bytes, kind: Kind) -> None:
        for algorithm in _ALGORITHMS:
            self._known.setdefault(_digest(algorithm, value)[:_KEY_BYTES], (algorithm, new, kind))

    @property
    def heads(self) -> frozenset[bytes]:
        """The first four characters of every known hash, in both alphabets of base64."""
        if self._heads is None:
            heads = {binascii.b2a_base64(digest[:3], newline=False) for digest in self._known}
            self._heads = frozenset(heads | {head.translate(_TO_URL_SAFE) for head in heads})
        return self._heads

    def is_known(self, digits: bytes) -> bool:
        """Whether the hex ``digits`` (of one letter case) begin like the hash of a known value."""
        return bytes.fromhex(digits[: 2 * _KEY_BYTES].decode("ascii")) in self._known

    def edits(self, text: bytes) -> list[Edit]:
        """The replacement of every hash of a known value in ``text`` by the same hash of its stand-in."""
        if len(text) < _MIN_TEXT_BYTES or not self._known:
            return []
        found: list[Edit] = []
        for match in _HEX.finditer(text):
            digits = match[0]
            known = self._known.get(bytes.fromhex(digits[: 2 * _KEY_BYTES].decode("ascii")))
            if known is not None:
                new = _digest(known[0], known[1]).hex().encode()[: len(digits)]
                found.append(Edit(*match.span(), new if digits == digits.lower() else new.upper(), known[2]))
        for match in _BASE64.finditer(text):
            head = binascii.a2b_base64(match[1][:_HEAD_CHARS].translate(_TO_STANDARD))
            known = self._known.get(head[:_KEY_BYTES])
            if known is not None:
                altchars = b"-_" if b"-" in match[0] or b"_" in match[0] else None
                new = base64.b64encode(_digest(known[0], known[1]), altchars)
                found.append(Edit(*match.span(1), new[: len(match[1])], known[2]))
        return found


def _with_words(name: bytes, words: tuple[bytes, ...], new: list[bytes]) -> bytes:
    """``name`` with each of its ``words`` replaced by the one in ``new``."""
    parts: list[bytes] = []
    position = 0
    for word, other in zip(words, new, strict=True):
        at = name.index(word, position)
        parts += (name[position:at], other)
        position = at + len(word)
    return b"".join(parts) + name[position:]


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
