"""IPv4 and IPv6 addresses by their shape; versions and times are told apart."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind

HINT = re.compile(rb"\d\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:")
"""Found in every text that holds an address without a telling key."""

REVERSE = b".in-addr.arpa"
_OCTET = rb"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
# Chrome/100.0.0.0 and v1.2.3.4 are versions: no letter, dot, or product and slash may stand before.
_IPV4 = re.compile(rb"(?<![A-Za-z0-9.-])(?:" + _OCTET + rb"\.){3}" + _OCTET + rb"(?![A-Za-z0-9-]|\.\d)")
_AFTER_PRODUCT = re.compile(rb"(?:^|[^/\w.-])[\w.-]*[A-Za-z]/\Z")  # a path has a slash before its segment too
_REACH_BYTES = 64
_IPV6 = re.compile(
    rb"(?<![\w:.])((?:[0-9A-Fa-f]{0,4}:){2,7}(?:"
    + _OCTET
    + rb"(?:\."
    + _OCTET
    + rb"){3}|[0-9A-Fa-f]{1,4}|))(?![\w:]|\.\d)"
)
_NUMBER_KEY = re.compile(r"(?:^|_)(?:ip|ip_?addr(?:ess)?|ipv4|ip_?(?:int|num|number|long))$")
_NUMBER = re.compile(rb"[1-9]\d{7,9}")  # from 1.0.0.0 on
_VERSION_KEY = re.compile(r"(?:^|_)(?:version|ver|release|build)$")
# Where products are named a version may follow a word; an address stands alone or behind a sign.
_PRODUCTS_KEY = re.compile(r"(?:^|_)(?:user_agent|ua|server|via)$")
_AFTER_SIGN = re.compile(
    rb"(?:^|[^A-Za-z0-9_.\s-]|\b(?:ip|at|from|for|by|via|client|contact|host|addr(?:ess)?)|\b\d\.\d)\s*\Z",
    re.IGNORECASE,
)


def key_tells(key: str) -> bool:
    """Whether a number under ``key`` may be an address."""
    return _NUMBER_KEY.search(key) is not None


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """
    Every address in ``text`` that is not loopback, unspecified, multicast or broadcast.

    Under a telling key an IPv4 address may also be written as one number.
    """
    if _NUMBER_KEY.search(context.key) and _NUMBER.fullmatch(text):
        number = int(text)
        if number < 1 << 32 and _personal(str(ipaddress.IPv4Address(number)).encode()):
            yield Finding(Kind.IP, 0, len(text))
        return
    if context.number or _VERSION_KEY.search(context.key):
        return
    products = _PRODUCTS_KEY.search(context.key) is not None
    longer: list[tuple[int, int]] = []
    if text.count(b":") >= 2:
        for match in _IPV6.finditer(text):
            value = match[1]
            if len(value) >= 6 and any(byte in b"0123456789" for byte in value) and _personal(value):
                longer.append(match.span(1))
                yield Finding(Kind.IP, *match.span(1))
    if text.count(b".") >= 3:
        for match in _IPV4.finditer(text):
            inside = any(start <= match.start() < stop for start, stop in longer)
            before = text[max(0, match.start() - _REACH_BYTES) : match.start()]
            if inside or _AFTER_PRODUCT.search(before) or (products and not _AFTER_SIGN.search(before)):
                continue
            if _personal(match[0]):
                # the name of a reverse look-up has the octets in reverse; both are one value
                stop = match.end() + len(REVERSE) * text.startswith(REVERSE, match.end())
                yield Finding(Kind.IP, match.start(), stop)


def _personal(value: bytes) -> bool:
    try:
        address = ipaddress.ip_address(value.decode("ascii"))
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    if isinstance(address, ipaddress.IPv4Address) and int(address) == 0xFFFFFFFF:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast)
