"""Stand-ins for IP addresses: documentation ranges, and private networks within themselves."""

from __future__ import annotations

import ipaddress

from captures.keys import Prf

_PRIVATE_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")
)
_DOCUMENTATION_4 = (0xC0000200, 0xC6336400, 0xCB007100)  # RFC 5737: 192.0.2/24, 198.51.100/24, 203.0.113/24
_BENCHMARK_4 = 0xC6120000  # RFC 2544: 198.18.0.0/15, for when 768 addresses are not enough
_RESERVED_4 = 0xF0000000  # 240.0.0.0/4, never routed
_DOCUMENTATION_6 = 0x20010DB8 << 96  # RFC 3849: 2001:db8::/32


def stand_in(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """
    Another address for ``value`` (canonical spelling).

    Private addresses stay in their network and IPv6 addresses under one documentation prefix;
    there two that share their first n bits get stand-ins that share as many.
    """
    address = ipaddress.ip_address(value.decode("ascii"))
    if isinstance(address, ipaddress.IPv4Address):
        return str(_version_4(prf, address, attempt)).encode()
    number = int(address)
    if address.is_private or address.is_link_local:
        new = _permute(prf, number, 128, 64 if address.is_link_local else 8, attempt)
    else:
        # 32 bits are given to the prefix; what stands there goes into the key of the rest
        new = _permute(prf, number, 128, 0, attempt) & ((1 << 96) - 1) | _DOCUMENTATION_6
    return str(ipaddress.IPv6Address(new)).encode()


def _version_4(prf: Prf, address: ipaddress.IPv4Address, attempt: int) -> ipaddress.IPv4Address:
    number = int(address)
    for network in _PRIVATE_4:
        if address in network:
            return ipaddress.IPv4Address(_permute(prf, number, 32, network.prefixlen, attempt))
    host = prf.number("ip4-host", b"%d:%d" % (attempt, number), 1 << 28)
    if attempt < 4:
        # the /24 decides the documentation network, so neighbours stay neighbours
        base = _DOCUMENTATION_4[prf.number("ip4-net", b"%d:%d" % (attempt, number >> 8), 3)]
        return ipaddress.IPv4Address(base + host % 256)
    if attempt < 12:
        return ipaddress.IPv4Address(_BENCHMARK_4 + host % (1 << 17))
    return ipaddress.IPv4Address(_RESERVED_4 + host)


def _permute(prf: Prf, number: int, bits: int, kept: int, attempt: int) -> int:
    """A prefix-preserving permutation of the bits after the first ``kept`` (as Crypto-PAn makes it)."""
    flips = 0
    for place in range(kept, bits):
        prefix = number >> (bits - place)
        flip = prf.digest("ip-bit", b"%d:%d:%d:%d" % (attempt, bits, place, prefix), 1)[0] & 1
        flips = flips << 1 | flip
    return number ^ flips
