"""
Headers that say something about a body: made to fit the new one where they fitted the old one.

Lengths and the digests of RFC 1864, RFC 3230 and RFC 9530 are always made anew. What may as
well be something else (an entity tag, a checksum of a part) changes only if it was a digest of
the old body, so that a server's own counters and versions stay. An entity tag that is a digest
gets a stand-in before, the same one in every request that carries it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache

from captures.bodies import coding
from captures.model import Exchange, Headers, Response

_LENGTH = re.compile(rb"[0-9]{1,18}")  # a longer one is that of no body, and int() takes 4,300 digits
_DIGEST_PART = re.compile(rb"(sha-256|sha-512|sha|md5)=(:?)([A-Za-z0-9+/=]+)(:?)", re.IGNORECASE)
_DIGEST_HEADERS = frozenset({b"digest", b"content-digest", b"repr-digest"})
_HASHES = {b"sha-256": "sha256", b"sha-512": "sha512", b"sha": "sha1", b"md5": "md5"}
_CHECKSUM = re.compile(rb"x-amz-checksum-(crc32|crc32c|crc64nvme|sha1|sha256)")
_GOOGLE_PART = re.compile(rb"(crc32c|md5)=([A-Za-z0-9+/]+=*)")
_ETAG = re.compile(rb'(\s*(?:W/)?")([^"]*)(".*)', re.DOTALL)
_TAG_HEADERS = frozenset(
    {b"etag", b"x-checksum", b"x-checksum-md5", b"x-checksum-sha1", b"x-checksum-sha256"}
)


def refitted(headers: Headers, old_body: bytes, body: bytes, content_encoding: bytes = b"") -> Headers:
    """``headers`` or trailers with length and digests of ``body`` where they state those of ``old_body``."""
    if body == old_body:
        return headers
    return tuple(
        (name, _refitted(name.lower(), value, old_body, body, content_encoding)) for name, value in headers
    )


def refitted_target(target: bytes, old_body: bytes, body: bytes) -> bytes:
    """``target`` with the SHA-256 of ``body`` where it states that of ``old_body``, as Twilio's does."""
    if body == old_body or b"bodySHA256=" not in target:
        return target
    old = hashlib.sha256(old_body).hexdigest().encode()
    return target.replace(b"bodySHA256=" + old, b"bodySHA256=" + hashlib.sha256(body).hexdigest().encode())


def _refitted(
    lower_name: bytes, value: bytes, old_body: bytes, body: bytes, content_encoding: bytes
) -> bytes:
    if lower_name == b"content-length" and _LENGTH.fullmatch(value.strip()):
        # a difference, since a truncated body is shorter than its header says
        return b"%d" % max(0, int(value) + len(body) - len(old_body))
    if lower_name == b"content-md5":
        return base64.b64encode(_digest("md5", body))
    if lower_name == b"x-amz-content-sha256" and len(value.strip()) == 64:
        return hashlib.sha256(body).hexdigest().encode()
    if lower_name in _DIGEST_HEADERS:
        return _DIGEST_PART.sub(lambda match: _structured(match, body), value)
    checksum = _CHECKSUM.fullmatch(lower_name)
    if checksum:
        return _swapped(value, checksum[1].decode(), old_body, body)
    if lower_name == b"x-goog-hash":
        return _GOOGLE_PART.sub(
            lambda match: match[1] + b"=" + _swapped(match[2], match[1].decode(), old_body, body), value
        )
    if lower_name in _TAG_HEADERS:
        return _tag(value, old_body, body, content_encoding)
    return value


def _structured(match: re.Match[bytes], body: bytes) -> bytes:
    digest = _digest(_HASHES[match[1].lower()], body)
    return b"%b=%b%b%b" % (match[1], match[2], base64.b64encode(digest), match[4])


def _swapped(value: bytes, algorithm: str, old_body: bytes, body: bytes) -> bytes:
    """``value`` as the base64 digest of ``body``, if it was that of ``old_body``."""
    if value.strip() != base64.b64encode(_digest(algorithm, old_body)):
        return value
    return base64.b64encode(_digest(algorithm, body))


def tags_of_bodies(exchange: Exchange) -> Iterator[bytes]:
    """
    The entity tags in the response to ``exchange`` that are digests of its body, or of what was sent.

    Such a tag tells of the body, and later requests carry it (If-None-Match), so it is a value to replace.
    """
    request, response = exchange.request, exchange.outcome
    if not isinstance(response, Response):
        return
    for name, value in response.headers:
        if name.lower() == b"etag":
            digits = _parted(value)[1]
            make = _maker(digits)
            bodies = (*_plain(response.body, response.headers), *_plain(request.body, request.headers))
            if make is not None and any(make(body) == digits for body in bodies if body):
                yield digits


def _plain(body: bytes, headers: Headers) -> tuple[bytes, ...]:
    content_encoding = b",".join(value for name, value in headers if name.lower() == b"content-encoding")
    return tuple(old for old, _ in _representations(body, body, content_encoding))


def _parted(value: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands before the digits of an entity tag, the digits, and what stands behind them."""
    match = _ETAG.fullmatch(value)
    before, tag, after = match.groups() if match else (b"", value.strip(), b"")
    digits = tag.partition(b"-gzip")[0]  # as Apache marks the tags of compressed variants
    return before, digits, tag[len(digits) :] + after


def _maker(digits: bytes) -> Callable[[bytes], bytes] | None:
    """What may have made the tag ``digits`` of a body, by how it looks."""
    return _express if _EXPRESS.fullmatch(digits) else _TAGS.get(len(digits))


def _tag(value: bytes, old_body: bytes, body: bytes, content_encoding: bytes) -> bytes:
    before, digits, after = _parted(value)
    make = _maker(digits)
    if make is not None:
        for old, new in _representations(old_body, body, content_encoding):
            if make(old) == digits:
                return before + make(new) + after
    return value


def _representations(old_body: bytes, body: bytes, content_encoding: bytes) -> list[tuple[bytes, bytes]]:
    """The old and new bodies as they are, and without their coding: tags are made of either."""
    found = [(old_body, body)]
    if coding.codings(content_encoding):
        try:
            found.append((coding.decode(old_body, content_encoding), coding.decode(body, content_encoding)))
        except coding.CodingError:
            return found
    return found


def _hex(algorithm: str) -> Callable[[bytes], bytes]:
    return lambda data: _digest(algorithm, data).hex().encode()


def _base64(algorithm: str) -> Callable[[bytes], bytes]:
    return lambda data: base64.b64encode(_digest(algorithm, data))


def _express(data: bytes) -> bytes:
    """The tag of Express and its like: length and most of the SHA-1."""
    return b"%x-%b" % (len(data), base64.b64encode(_digest("sha1", data))[:27])


# by their length in characters
_TAGS: Mapping[int, Callable[[bytes], bytes]] = {
    32: _hex("md5"), 40: _hex("sha1"), 64: _hex("sha256"), 128: _hex("sha512"),
    24: _base64("md5"), 28: _base64("sha1"), 44: _base64("sha256"), 88: _base64("sha512"),
}  # fmt: skip
_EXPRESS = re.compile(rb"[0-9a-f]+-[A-Za-z0-9+/]{27}")


def _digest(algorithm: str, data: bytes) -> bytes:
    if algorithm == "crc32":
        return zlib.crc32(data).to_bytes(4)
    if algorithm == "crc32c":
        return _crc(data, 0x82F63B78, 32).to_bytes(4)
    if algorithm == "crc64nvme":
        return _crc(data, 0x9A6C9329AC4BC9B5, 64).to_bytes(8)
    return hashlib.new(algorithm, data, usedforsecurity=False).digest()


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    """A reflected CRC whose start and final exclusive-or are all ones."""
    table = _crc_table(polynomial)
    ones = (1 << bits) - 1
    value = ones
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ ones


@cache
def _crc_table(polynomial: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    return tuple(table)
