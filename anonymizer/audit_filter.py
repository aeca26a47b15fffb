"""
Tell which originals may stand in some bytes, in any spelling of `anonymizer.encodings`.

A filter: it knows a few bytes of each spelling, so it may name an original that is not there, but
leaves none out that is. What groups of bits spell (base64, base32) and digests are computed for
all originals at once; any other spelling is what its encoding makes of the value.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from anonymizer.audit_windows import ROW_BYTES, Rows, Windows
from anonymizer.encodings import ENCODINGS, HASHES, LONG_BYTES, MIN_PATTERN_BYTES, Encoding, is_token

_GROUPED = frozenset({"base64", "base64url", "UTF-16 in base64", "base32"})
_CASES = frozenset({"lower case", "upper case", "title case", "swapped case"})
_SPELLED = tuple(one for one in ENCODINGS if one.name not in _GROUPED and one not in HASHES)
_FOR_LONG = tuple(one for one in _SPELLED if one.long)
_FOR_ASCII = tuple(one for one in _SPELLED if one.name not in _CASES and not one.undone(b"printable"))
_FOR_TOKENS = tuple(one for one in _FOR_ASCII if one.token)

_BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
_BASE64_BITS, _BASE32_BITS = 6, 5
# Wherever a value begins, a group of its bits begins at one of these bits of it.
_BASE64_FIRST_BITS, _BASE32_FIRST_BITS = (0, 2, 4), (0, 1, 2, 3, 4)
_HALF_BITS = 4

_DIGEST_BYTES = ROW_BYTES * _BASE64_BITS // 8
_ALGORITHMS = tuple(
    partial(algorithm, usedforsecurity=False)
    for algorithm in (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.sha512)
)
_NUMBER_SIGNS = b"0123456789() ./+-"


class Filter:
    """
    All ``originals`` at once, each with its number, and ``fields``, which are looked for hashed only.

    Memory: some 2 KB for each.
    """

    def __init__(self, originals: list[tuple[int, bytes]], fields: list[tuple[int, bytes]]) -> None:
        guessable = [one for one in originals if len(one[1]) <= LONG_BYTES and not is_token(one[1])]
        spelled = _rows((number, text) for number, value in originals for text in _spelled(value))
        grouped = _rows((number, text) for number, value in originals for text in {value, value.lower()})
        wide = _rows((number, _utf16(value)) for number, value in guessable)
        digests = _rows((number, one) for number, value in (*guessable, *fields) for one in _digests(value))
        base64 = [
            *_in_groups(grouped, _BASE64_BITS, _BASE64_FIRST_BITS),
            *_in_groups(wide, _BASE64_BITS, _BASE64_FIRST_BITS),
            *_in_groups(digests, _BASE64_BITS, (0,)),
        ]
        base32 = _in_groups(_rows(guessable), _BASE32_BITS, _BASE32_FIRST_BITS)
        self._windows = (
            Windows(Rows.joined([spelled, *_hex(digests)]), _LOWER),
            Windows(Rows.joined(base64), _BASE64_CODES),
            Windows(Rows.joined(base32), _BASE32_CODES),
        )
        self.spellings = sum(len(windows) for windows in self._windows)

    def find(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Where in ``data`` a part of some spelling stands, and the number of its original."""
        for windows in self._windows:
            yield from windows.find(data)


def _rows(texts: Iterable[tuple[int, bytes]]) -> Rows:
    kept = [(number, text) for number, text in texts if len(text) >= MIN_PATTERN_BYTES]
    return Rows.of([text for _, text in kept], [number for number, _ in kept])


def _spelled(value: bytes) -> Iterator[bytes]:
    """The spellings that are neither in groups of bits nor hashed, in lower case."""
    for encoding in _encodings(value):
        if not encoding.undone(value):
            for text in encoding.patterns(value):
                yield text.lower()


def _encodings(value: bytes) -> tuple[Encoding, ...]:
    if len(value) > LONG_BYTES:
        return _FOR_LONG
    if not value.isascii() or not value.decode("ascii").isprintable():
        return _SPELLED
    return _FOR_TOKENS if is_token(value) else _FOR_ASCII


def _utf16(value: bytes) -> bytes:
    try:
        return value.decode().encode("utf-16-le", "surrogatepass")
    except UnicodeDecodeError:
        return b""


def _digests(value: bytes) -> Iterator[bytes]:
    texts = {value, value.strip().lower()}
    number = value.translate(None, b"() ./+-")
    if not value.strip(_NUMBER_SIGNS):
        texts |= {number, b"+" + number}
    for text in texts:
        for algorithm in _ALGORITHMS:
            yield algorithm(text).digest()[:_DIGEST_BYTES]


def _in_groups(rows: Rows, bits: int, first_bits: Iterable[int]) -> list[Rows]:
    """The groups of ``bits`` that ``rows`` alone decide, a byte for each, where they begin at each bit."""
    last = np.zeros((len(rows), 1), np.uint8)
    heads = np.concatenate([rows.text, last], axis=1).astype(np.uint16)
    pairs = heads[:, :-1] << 8 | heads[:, 1:]
    coded = []
    for first in first_bits:
        sizes = np.minimum((rows.size_bytes * 8 - first) // bits, ROW_BYTES)
        begins = [divmod(first + bits * column, 8) for column in range(ROW_BYTES)]
        codes = [pairs[:, byte] >> (16 - bits - bit) & ((1 << bits) - 1) for byte, bit in begins]
        coded.append(Rows(np.stack(codes, axis=1).astype(np.uint8), sizes, rows.owner))
    return coded


def _hex(rows: Rows) -> list[Rows]:
    """The hex digits of ``rows``, which are digests."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    return [
        Rows(digits[halves.text], halves.size_bytes, halves.owner)
        for halves in _in_groups(rows, _HALF_BITS, (0,))
    ]


def _codes(*alphabets: str) -> bytes:
    """From a character to its place in one of ``alphabets``; 255 for those in none."""
    places = {ord(sign): place for alphabet in alphabets for place, sign in enumerate(alphabet)}
    return bytes(places.get(byte, 255) for byte in range(256))


_LOWER = bytes(range(256)).lower()
_BASE64_CODES = _codes(_BASE64, _BASE64[:-2] + "-_")
_BASE32_CODES = _codes(string.ascii_uppercase + "234567", string.ascii_lowercase + "234567")
