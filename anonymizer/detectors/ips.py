"""IPv4 and IPv6 addresses by their shape; versions and times are told apart."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from anonymizer.detectors.base import Context, Finding, Kind

REVERSE = b".in-addr.arpa"
_OCTET = rb"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
# Chrome/100.0.0.0 and v1.2.3.4 are versions: no letter, dot, or letter and slash may stand before.
_IPV4 = re.compile(rb"(?<![\w.-])(?<![A-Za-z]/)(?:" + _OCTET + rb"\.){3}" + _OCTET + rb"(?![\w-]|\.\d)")
_IPV6 = re.compile(
    rb"(?<![\w:.])((?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|"
    + _OCTET
    + rb"(?:\."
    + _OCTET
    + rb"){3}|))(?![\w:])"
)
_VERSION_KEY = re.compile(r"(?:^|_)(?:version|ver|release|user_agent|server|via|build)$")


def find(text: bytes, context: Context) -> Iterator[Finding]:
    """Every address in ``text`` that is not loopback, unspecified, multicast or broadcast."""
    if context.number or _VERSION_KEY.search(context.key):
        return
    if text.count(b".") >= 3:
        for match in _IPV4.finditer(text):
            if _personal(match[0]):
                # the name of a reverse look-up has the octets in reverse; both are one value
                stop = match.end() + len(REVERSE) * text.startswith(REVERSE, match.end())
                yield Finding(Kind.IP, match.start(), stop)
    if text.count(b":") >= 2:
        for match in _IPV6.finditer(text):
            value = match[1]
            if len(value) >= 6 and any(byte in b"0123456789" for byte in value) and _personal(value):
                yield Finding(Kind.IP, *match.span(1))


def _personal(value: bytes) -> bool:
    try:
        address = ipaddress.ip_address(value.decode("ascii"))
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address) and int(address) == 0xFFFFFFFF:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast)
