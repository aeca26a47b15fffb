"""Other spellings of a value under which it may stand: accents, separators, escapes, its parts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from anonymizer import domains
from anonymizer.detectors.base import Kind
from anonymizer.pseudonyms import FAMILIES, Family, fold, with_case_of, with_digits
from anonymizer.reserved import is_common

SEPARATORS = (b" ", b"-", b".", b"_", b"", b"+", b"%20")
_WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]+")
_APOSTROPHE = re.compile(rb"'|\xe2\x80\x99")
_ALNUM = re.compile(rb"[0-9A-Za-z]+")
_DIGITS = re.compile(rb"\d+")
_USUAL_GROUPS = {
    10: re.compile(rb"(\d{3})(\d{3})(\d{4})"),
    11: re.compile(rb"(1)(\d{3})(\d{3})(\d{4})"),
    15: re.compile(rb"(\d{4})(\d{6})(\d{5})"),
    16: re.compile(rb"(\d{4})(\d{4})(\d{4})(\d{4})"),
}
_MAX_WORDS = 6
_LONG_LABEL_BYTES = 8


class Spelling(NamedTuple):
    """
    ``text`` (folded) stands for the whole or a part of a value, and ``new`` stands for it.

    ``part`` says that it is one word of several, which counts elsewhere as a word of a name does.
    """

    text: bytes
    new: bytes
    part: bool = False


def folded(text: bytes) -> bytes:
    """
    ``text`` in lower case with every byte at its place.

    Letters whose other case has another length in UTF-8 stay as they are.
    """
    lower = text.lower()
    if lower.isascii():
        return lower
    try:
        return lower.decode("utf-8").translate(_same_length_lower()).encode()
    except UnicodeDecodeError:
        return lower


@cache
def _same_length_lower() -> dict[int, str]:
    table: dict[int, str] = {}
    for number in (*range(0x80, 0x2100), *range(0xFF21, 0xFF3B)):  # the alphabets that have cases
        char = chr(number)
        lower = char.lower()
        if lower != char and len(lower) == 1 and len(lower.encode()) == len(char.encode()):
            table[number] = lower
    return table


def spellings(kind: Kind, raw: bytes, new: bytes) -> Iterator[Spelling]:
    """
    Every other spelling of the value ``raw``, whose stand-in is ``new``.

    Both are given as they are written; what the caller takes for too short is its own affair.
    """
    match FAMILIES[kind]:
        case Family.WORD:
            yield from _accents(raw, new)
            if kind is Kind.NAME:
                yield from _apostrophes(raw, new)
            else:
                yield from _separated(raw, new)
            if kind is Kind.USERNAME:
                yield from _parts(raw, new)
        case Family.EMAIL:
            yield from _joined(raw, new)
        case Family.PHONE | Family.CARD:
            yield from _grouped(raw, new)
        case Family.DOMAIN:
            yield from _labels(raw, new)
        case Family.IBAN | Family.NATIONAL_ID:
            yield from _without_separators(raw, new)
        case Family.IP if b"." in raw and b":" not in raw:
            for sign in (b"-", b"_"):  # as in ip-10-0-0-5.internal
                yield Spelling(raw.replace(b".", sign), new.replace(b".", sign))
        case Family.SECRET:
            if b"%" in raw:
                yield Spelling(folded(unquote_to_bytes(raw)), unquote_to_bytes(new))
            if b" " in raw and len(raw) <= 64:  # an account number in groups
                yield Spelling(folded(raw.replace(b" ", b"")), new.replace(b" ", b""))
        case _:
            return


def _accents(raw: bytes, new: bytes) -> Iterator[Spelling]:
    if raw.isascii():
        return
    text = fold(raw).decode("utf-8", "replace")
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    for form in (unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text), bare):
        if form != text:
            yield Spelling(folded(form.encode()), new)
    if "ß" in text:
        yield Spelling(folded(text.replace("ß", "ss").encode()), new)


def _apostrophes(raw: bytes, new: bytes) -> Iterator[Spelling]:
    parts = _APOSTROPHE.split(folded(raw))
    if len(parts) > 1:
        for joint in (b"'", b"\xe2\x80\x99", b"", b"-", b"_"):
            yield Spelling(joint.join(parts), new)
        for part in parts:
            yield Spelling(part, new)


def _separated(raw: bytes, new: bytes) -> Iterator[Spelling]:
    words, others = _WORD.findall(folded(raw)), _WORD.findall(new)
    if 2 <= len(words) <= _MAX_WORDS and len(words) == len(others):
        for separator in SEPARATORS[:6]:
            yield Spelling(separator.join(words), separator.join(others))


def _parts(raw: bytes, new: bytes) -> Iterator[Spelling]:
    """Each word of a user name: a team or a host may be called like one of them."""
    words, others = _WORD.findall(folded(raw)), _WORD.findall(new)
    if len(words) == len(others) > 1:
        for word, other in zip(words, others, strict=True):
            yield Spelling(word, other, part=True)


def _joined(raw: bytes, new: bytes) -> Iterator[Spelling]:
    """An address as a name of a file or a key: ``jane_doe_corp_com``."""
    words, others = _WORD.findall(folded(raw)), _WORD.findall(new)
    if len(words) > 2:
        for separator in (b"_", b"-", b""):
            yield Spelling(separator.join(words), separator.join(others))


def _grouped(raw: bytes, new: bytes) -> Iterator[Spelling]:
    """A number in its own groups of digits, and in the usual ones for its length."""
    digits, new_digits = b"".join(_DIGITS.findall(raw)), b"".join(_DIGITS.findall(new))
    groupings = {tuple(_DIGITS.findall(raw))}
    usual = _USUAL_GROUPS[len(digits)].fullmatch(digits) if len(digits) in _USUAL_GROUPS else None
    if usual is not None:
        groupings.add(usual.groups())
    for groups in sorted(groupings):
        for separator in (b" ", b"-", b".", b"_", b"+"):
            text = separator.join(groups)
            yield Spelling(text, with_digits(text, new_digits))


def _without_separators(raw: bytes, new: bytes) -> Iterator[Spelling]:
    """An account or an identity as one word; in the middle of a sentence such words are in capitals."""
    plain = b"".join(_ALNUM.findall(raw))
    if plain != raw:
        yield Spelling(folded(plain), b"".join(_ALNUM.findall(new)).upper())


def _labels(raw: bytes, new: bytes) -> Iterator[Spelling]:
    """The registered label alone, its words with other separators, and each that tells who it is."""
    known = domains.registrable(raw)
    if known != raw:
        above = folded(raw)[: -len(known) - 1].split(b".")
        for label, other in zip(above, new.split(b"."), strict=False):
            if label != other:
                yield Spelling(label, other, part=True)
        return
    old_label, new_label = domains.label(folded(raw)), new.partition(b".")[0]
    yield Spelling(old_label, new_label)
    words, others = _WORD.findall(old_label), _WORD.findall(new_label)
    telling = domains.telling_words(old_label)
    if not all(map(is_common, words)) or len(old_label) >= _LONG_LABEL_BYTES:
        yield from _separated(old_label, new_label)  # of my-app.io "my app" is no name
    if len(words) == len(others) == len(telling) > 1:
        for word, other, tells in zip(words, others, telling, strict=True):
            if tells:
                yield Spelling(word, other)
    if not raw.isascii():
        try:
            yield Spelling(raw.decode("utf-8").encode("idna"), new)
        except UnicodeError:
            return


class Phrase(NamedTuple):
    """
    A name of several words in one spelling.

    ``sizes_bytes`` are the sizes of its words as they are matched, ``new`` their stand-ins.
    """

    sizes_bytes: tuple[int, ...]
    new: tuple[bytes, ...]
    separator: bytes

    def spelled_as(self, matched: bytes) -> bytes:
        """The stand-ins, each in the letter case of its word in ``matched``."""
        parts: list[bytes] = []
        position = 0
        for size_bytes, new in zip(self.sizes_bytes, self.new, strict=True):
            parts.append(with_case_of(matched[position : position + size_bytes], new))
            position += size_bytes + len(self.separator)
        return self.separator.join(parts)


def phrase_spellings(words: tuple[bytes, ...], new: tuple[bytes, ...]) -> Iterator[tuple[bytes, Phrase]]:
    """Every spelling of the name ``words``, whose words have the stand-ins ``new``, in lower case."""
    if len(words) > _MAX_WORDS:
        return
    for separator in SEPARATORS:
        for spelled in _word_spellings(words, separator):
            yield _phrase(spelled, new, separator)
    if len(words) == 2:
        for separator in (b", ", b" "):
            yield _phrase(tuple(map(folded, words[::-1])), new[::-1], separator)


def _phrase(words: tuple[bytes, ...], new: tuple[bytes, ...], separator: bytes) -> tuple[bytes, Phrase]:
    return separator.join(words), Phrase(tuple(map(len, words)), new, separator)


def _word_spellings(words: tuple[bytes, ...], separator: bytes) -> Iterator[tuple[bytes, ...]]:
    plain = tuple(folded(word) for word in words)
    yield plain
    bare = tuple(_bare(word) for word in plain)
    if bare != plain:
        yield bare
    for joint in {b"", separator}:  # jean-luc-d-artagnan and dartagnan
        flat = tuple(_APOSTROPHE.sub(joint, word) for word in bare)
        if flat != bare:
            yield flat


def _bare(word: bytes) -> bytes:
    if word.isascii():
        return word
    decomposed = unicodedata.normalize("NFKD", word.decode("utf-8", "replace"))
    return folded("".join(char for char in decomposed if not unicodedata.combining(char)).encode())
