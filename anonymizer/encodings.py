"""
The spellings under which a value may survive: one table, each entry from a value to byte patterns.

The audit looks for every replaced original in every encoding of the table. *Plain* ones spell
the value in letters and digits: they are searched in any letter case and can turn up by chance
inside longer words, so they come with a boundary rule (`needs_boundary`). What can be *undone*
without knowing the value (escapes, hex) is not searched by patterns: the audit undoes it in what
it searches. The rest (base64, hashes) is searched as spelled; it is long enough, or checked after
the hit, so that chance plays no part.
"""

from __future__ import annotations

import hashlib
import html.entities
import re
import unicodedata
from base64 import b32encode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote_from_bytes

LONG_BYTES = 256
"""Values above this size are searched as they are, escaped and in base64 only."""

HASH_BYTES = 16
"""So many leading characters of a hash are searched (64 bits in hex), which also finds cut hashes."""

_TOKEN_TURNS = 8
_TOKEN = re.compile(rb"[0-9A-Za-z+/=_.~-]{20,}")
_TURN = re.compile(rb"(?<=[0-9])[A-Za-z]|(?<=[a-z])[0-9A-Z]|(?<=[A-Z])[0-9]")

_TO_BASE64_URL = bytes.maketrans(b"+/", b"-_")
_SEPARATORS = (b"", b" ", b"-", b".", b"_")
_WORDS = re.compile(rb"[0-9A-Za-z\x80-\xff]+")
_SPACED_DIGITS = re.compile(rb"\+?[(]?\d[\d() ./-]{5,22}\d")
_DIGIT_GROUPS = {9: (3, 2, 4), 10: (3, 3, 4), 11: (1, 3, 3, 4), 15: (4, 6, 5), 16: (4, 4, 4, 4)}
_MIXED = re.compile(rb"(?![a-z]+$|[A-Z]+$|[A-Z][a-z]+$)[0-9A-Za-z]+")


def _never(_value: bytes) -> bool:
    return False


def _always(_value: bytes) -> bool:
    return True


def _printable(value: bytes) -> bool:
    text = _text(value)
    return text is not None and len(text) >= MIN_PATTERN_BYTES and text.isprintable()


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """
    One way to spell a value.

    ``patterns`` gives the byte strings that betray the value, possibly none and possibly the
    value itself. ``plain`` says that they are searched in any letter case and subject to
    `needs_boundary`; ``base64`` that a hit counts only when the text around it decodes to the
    value; ``long`` that the encoding is also used for values above ``LONG_BYTES``, ``token``
    that it is for random tokens too, whose hash for instance tells nothing. ``undone`` says for
    which values the audit undoes the encoding in what it searches, so that text that is partly
    so encoded is found too; the patterns then tell only what the encoding is called.
    """

    name: str
    patterns: Callable[[bytes], Iterator[bytes]]
    plain: bool = False
    base64: bool = False
    long: bool = False
    token: bool = False
    undone: Callable[[bytes], bool] = _never


_DOTTED_NUMBERS = re.compile(rb"\d+(?:\.\d+)+")


def needs_boundary(pattern: bytes) -> bool:
    """
    Whether a hit of a plain pattern counts only with no letter or digit on either side of it.

    - 8 bytes or more, not digits alone: no. Inside a longer word it is still a leak.
    - below 8 bytes: yes for words of one letter case, capitalised words and values with
      punctuation, since `please` inside `pleased` and `v1.2.3` inside `v1.2.34` say nothing
      of anybody; no for those that mix digits or cases, which chance does not make.
    - digits alone: yes below 10 of them, because timestamps, ids and hex digests are full of
      short numbers; no from 10 on, so that a phone number is found behind its country code.
    - numbers and dots: yes, since 192.0.2.1 inside 192.0.2.17 is another address.
    """
    if _DOTTED_NUMBERS.fullmatch(pattern):
        return True
    if pattern.isdigit():
        return len(pattern) < 10
    return len(pattern) < 6 or (len(pattern) < 8 and not _MIXED.fullmatch(pattern))


def _text(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _as_is(value: bytes) -> Iterator[bytes]:
    yield value


def _cased(convert: Callable[[str], str]) -> Callable[[bytes], Iterator[bytes]]:
    def patterns(value: bytes) -> Iterator[bytes]:
        yield convert(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    return patterns


def _percent_upper(value: bytes) -> Iterator[bytes]:
    yield quote_from_bytes(value, safe="").encode()
    yield quote_from_bytes(value, safe="/:@").encode()


def _lower_escapes(escaped: bytes) -> bytes:
    return re.sub(rb"%[0-9A-F]{2}", lambda match: match[0].lower(), escaped)


def _percent_lower(value: bytes) -> Iterator[bytes]:
    for escaped in _percent_upper(value):
        yield _lower_escapes(escaped)


def _percent_all(value: bytes) -> Iterator[bytes]:
    yield b"".join(b"%%%02X" % byte for byte in value)
    yield b"".join(b"%%%02x" % byte for byte in value)


def _percent_double(value: bytes) -> Iterator[bytes]:
    for escaped in (*_percent_upper(value), *_percent_lower(value)):
        yield escaped.replace(b"%", b"%25")


def _form(value: bytes) -> Iterator[bytes]:
    if b" " in value:
        yield quote_from_bytes(value, safe=" ").replace(" ", "+").encode()


def base64_cores(value: bytes) -> Iterator[bytes]:
    """The base64 characters that ``value`` alone decides, at the three places it can start."""
    for shift in range(3):
        yield b64encode(b"\0" * shift + value)[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6]


def _base32(value: bytes) -> Iterator[bytes]:
    for shift in range(5):
        core = b32encode(b"\0" * shift + value)[-(-8 * shift // 5) : 8 * (shift + len(value)) // 5]
        yield core
        yield core.lower()


@lru_cache(maxsize=16)
def _cores(value: bytes) -> tuple[bytes, ...]:
    lower = value.lower()
    return (*base64_cores(value), *(base64_cores(lower) if lower != value else ()))


def _base64(value: bytes) -> Iterator[bytes]:
    yield from _cores(value)


def _base64_url(value: bytes) -> Iterator[bytes]:
    yield from (core.translate(_TO_BASE64_URL) for core in _cores(value))


def _hexed(convert: Callable[[str], str]) -> Callable[[bytes], Iterator[bytes]]:
    return lambda value: iter((convert(value.hex()).encode(),))


def _utf16_units(text: str) -> Iterator[int]:
    data = text.encode("utf-16-be", "surrogatepass")
    for index in range(0, len(data), 2):
        yield data[index] << 8 | data[index + 1]


def _json_escapes(value: bytes) -> Iterator[bytes]:
    text = _text(value)
    if text is None:
        return
    for digits in ("\\u%04x", "\\u%04X"):
        out = "".join(
            chr(unit) if 32 <= unit < 127 and unit not in b'"\\' else digits % unit
            for unit in _utf16_units(text)
        )
        yield out.encode()
        yield out.replace("/", "\\/").encode()
    short = re.sub(r'["\\]', lambda match: "\\" + match[0], text)
    yield short.encode()
    yield short.replace("/", "\\/").encode()


def _unicode_escapes(value: bytes) -> Iterator[bytes]:
    text = _text(value)
    if text is None:
        return
    for digits in ("\\u%04x", "\\u%04X"):
        yield "".join(digits % unit for unit in _utf16_units(text)).encode()


def _hex_escapes(value: bytes) -> Iterator[bytes]:
    yield b"".join(b"\\x%02x" % byte for byte in value)
    yield b"".join(b"\\x%02X" % byte for byte in value)


def _html_named(value: bytes) -> Iterator[bytes]:
    text = _text(value)
    if text is None:
        return
    yield "".join(
        f"&{html.entities.codepoint2name[ord(character)]};"
        if ord(character) in html.entities.codepoint2name
        else character
        for character in text
    ).encode()
    # html.escape's choice: only the five that markup needs, numbers for the quotes.
    yield re.sub(
        rb"[&<>\"']",
        lambda match: {b"&": b"&amp;", b"<": b"&lt;", b">": b"&gt;"}.get(match[0], b"&#x%x;" % match[0][0]),
        value,
    )


def _html_decimal(value: bytes) -> Iterator[bytes]:
    text = _text(value)
    if text is not None:
        yield "".join(f"&#{ord(character)};" for character in text).encode()


def _html_hex(value: bytes) -> Iterator[bytes]:
    text = _text(value)
    if text is not None:
        yield "".join(f"&#x{ord(character):x};" for character in text).encode()
        yield "".join(f"&#x{ord(character):X};" for character in text).encode()


def _reversed(value: bytes) -> Iterator[bytes]:
    text = _text(value)
    yield value[::-1] if text is None else text[::-1].encode()


def _separators(value: bytes) -> Iterator[bytes]:
    if _SPACED_DIGITS.fullmatch(value):
        digits = bytes(byte for byte in value if 48 <= byte <= 57)
        yield digits
        groups = [match[0] for match in re.finditer(rb"\d+", value)]
        yield from (separator.join(groups) for separator in _SEPARATORS)
        yield from _grouped(digits)
        return
    words = _WORDS.findall(value)
    if 2 <= len(words) <= 6:
        yield from (separator.join(words) for separator in _SEPARATORS)
        lower = [word.lower() for word in words]
        yield from (separator.join(lower) for separator in _SEPARATORS)


def _grouped(digits: bytes) -> Iterator[bytes]:
    sizes = _DIGIT_GROUPS.get(len(digits))
    if sizes is None:
        return
    groups, start = [], 0
    for size in sizes:
        groups.append(digits[start : start + size])
        start += size
    yield from (separator.join(groups) for separator in _SEPARATORS)
    if len(digits) == 10:
        yield b"(%s) %s-%s" % tuple(groups)


def _utf16_base64(value: bytes) -> Iterator[bytes]:
    for units in _utf16(value):
        yield from base64_cores(units)


def _hashed(algorithm: str) -> Callable[[bytes], Iterator[bytes]]:
    def patterns(value: bytes) -> Iterator[bytes]:
        spellings = {value, value.strip().lower()}
        if _SPACED_DIGITS.fullmatch(value):
            number = bytes(byte for byte in value if 48 <= byte <= 57)
            spellings |= {number, b"+" + number}
        for spelling in spellings:
            digest = hashlib.new(algorithm, spelling, usedforsecurity=False).digest()
            digits = digest.hex()[:HASH_BYTES].encode()
            yield digits
            yield digits.upper()
            yield b64encode(digest)[:HASH_BYTES]
            yield b64encode(digest, b"-_")[:HASH_BYTES]

    return patterns


def _accents(value: bytes) -> Iterator[bytes]:
    text = _text(value)
    if text is None or text.isascii():
        return
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    for form in (unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text), bare, bare.lower()):
        yield form.encode("utf-8", "surrogatepass")


def _utf16(value: bytes) -> Iterator[bytes]:
    text = _text(value)
    if text is not None:
        yield text.encode("utf-16-le", "surrogatepass")


ENCODINGS: tuple[Encoding, ...] = (
    Encoding(name="as is", patterns=_as_is, plain=True, long=True, token=True),
    Encoding(name="lower case", patterns=_cased(str.lower), plain=True),
    Encoding(name="upper case", patterns=_cased(str.upper), plain=True),
    Encoding(name="title case", patterns=_cased(str.title), plain=True),
    Encoding(name="swapped case", patterns=_cased(str.swapcase), plain=True),
    Encoding(name="percent escapes", patterns=_percent_upper, undone=_always),
    Encoding(name="percent escapes, lower-case digits", patterns=_percent_lower, undone=_always),
    Encoding(name="percent escapes of every byte", patterns=_percent_all, undone=_always),
    Encoding(name="percent escapes, twice", patterns=_percent_double, undone=_always),
    Encoding(name="form escapes", patterns=_form, plain=True, long=True),
    Encoding(name="JSON escapes", patterns=_json_escapes, undone=_always),
    Encoding(name="unicode escapes of every character", patterns=_unicode_escapes, undone=_always),
    Encoding(name="hex escapes of every byte", patterns=_hex_escapes, undone=_always),
    Encoding(name="HTML entities, named", patterns=_html_named, undone=_always),
    Encoding(name="HTML entities, decimal", patterns=_html_decimal, undone=_always),
    Encoding(name="HTML entities, hex", patterns=_html_hex, undone=_always),
    Encoding(name="base64", patterns=_base64, base64=True, long=True, token=True),
    Encoding(name="base64url", patterns=_base64_url, base64=True, long=True, token=True),
    Encoding(name="hex", patterns=_hexed(str.lower), undone=_printable),
    Encoding(name="hex, upper case", patterns=_hexed(str.upper), undone=_printable),
    Encoding(name="reversed", patterns=_reversed, plain=True, token=True),
    Encoding(name="other separators", patterns=_separators, plain=True),
    Encoding(name="other accents", patterns=_accents, plain=True),
    Encoding(name="UTF-16", patterns=_utf16, undone=bytes.isascii),
    Encoding(name="UTF-16 in base64", patterns=_utf16_base64),
    Encoding(name="base32", patterns=_base32),
    Encoding(name="MD5", patterns=_hashed("md5")),
    Encoding(name="SHA-1", patterns=_hashed("sha1")),
    Encoding(name="SHA-256", patterns=_hashed("sha256")),
    Encoding(name="SHA-512", patterns=_hashed("sha512")),
)
"""Searched in this order: where two encodings spell a value alike, the first one names the leak."""

MIXED_CASE = "mixed case"
"""What a plain spelling is called whose letter case is none of the table's."""

HASHES: tuple[Encoding, ...] = ENCODINGS[-4:]
"""The encodings under which a whole field is searched as well as the part of it that changed."""

MIN_PATTERN_BYTES = 5

_FOR_TOKENS = tuple(encoding for encoding in ENCODINGS if encoding.token)
_FOR_LONG = tuple(encoding for encoding in ENCODINGS if encoding.long)


def is_token(value: bytes) -> bool:
    """
    Whether ``value`` is a long random token, which nobody can guess from its hash.

    20 characters without spaces in which letters, capitals and digits alternate 8 times.
    """
    return _TOKEN.fullmatch(value) is not None and len(_TURN.findall(value)) >= _TOKEN_TURNS


def patterns_of(value: bytes) -> Iterator[tuple[bytes, Encoding]]:
    """
    Every distinct pattern of ``value`` to search for, with the first encoding that spells it so.

    Patterns of a plain encoding are in lower case (of ASCII), as what they are searched in.
    """
    encodings = _FOR_LONG if len(value) > LONG_BYTES else _FOR_TOKENS if is_token(value) else ENCODINGS
    seen: set[tuple[bool, bytes]] = set()
    for encoding in encodings:
        if encoding.undone(value):
            continue
        for spelled in encoding.patterns(value):
            pattern = spelled.lower() if encoding.plain else spelled
            key = encoding.plain, pattern
            if len(pattern) >= MIN_PATTERN_BYTES and key not in seen:
                seen.add(key)
                yield pattern, encoding


def spelling_name(value: bytes, text: bytes) -> str | None:
    """What the plain encoding is called that spells ``value`` exactly as ``text``, None if there is none."""
    plain = (encoding for encoding in ENCODINGS if encoding.plain)
    return next((encoding.name for encoding in plain if text in encoding.patterns(value)), None)


def undone_name(value: bytes, data: bytes) -> str | None:
    """What the undone encoding of ``value`` in ``data`` is called; None when it is a mixed one."""
    for encoding in ENCODINGS:
        if encoding.undone(value) and any(pattern in data for pattern in encoding.patterns(value)):
            return encoding.name
    return None
