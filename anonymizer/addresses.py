"""
Stand-ins for IP addresses: reserved ranges, and private networks within themselves.

Addresses that share their first n bits get stand-ins that share as many, so that networks stay
networks; only after many clashes one moves to the largest of them. That leaves no room in the
documentation ranges of IPv4, which hold 768 addresses
(RFC 5737), so public IPv4 addresses move to the 2**28 of 240.0.0.0/4; public IPv6 addresses move
to the documentation prefix 2001:db8::/32 (RFC 3849).
"""

from __future__ import annotations

import ipaddress

from captures.keys import Prf

_PRIVATE_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")
)
_LARGEST_4 = _PRIVATE_4[0]
_CROWDED = 8  # attempts, after which a network has too few addresses that are not in use
_RESERVED_4 = 0xF0000000  # RFC 1112, section 4: 240.0.0.0/4, which nobody can own and nobody routes
_DOCUMENTATION_6 = 0x20010DB8 << 96  # RFC 3849: 2001:db8::/32


def stand_in(prf: Prf, value: bytes, attempt: int = 0) -> bytes:
    """
    Another address for ``value`` (canonical spelling).

    A public address loses its first 4 bits (IPv4) or 32 bits (IPv6) to the reserved range; what
    stood there goes into the key of the rest, so only addresses that share it stay neighbours.
    """
    address = ipaddress.ip_address(value.decode("ascii"))
    if isinstance(address, ipaddress.IPv4Address):
        return str(_version_4(prf, address, attempt)).encode()
    number = int(address)
    if address.is_private or address.is_link_local:
        new = _permute(prf, number, 128, 64 if address.is_link_local else 8, attempt)
    else:
        new = _permute(prf, number, 128, 0, attempt) & ((1 << 96) - 1) | _DOCUMENTATION_6
    return str(ipaddress.IPv6Address(new)).encode()


def _version_4(prf: Prf, address: ipaddress.IPv4Address, attempt: int) -> ipaddress.IPv4Address:
    number = int(address)
    network = next((private for private in _PRIVATE_4 if address in private), None)
    if network is not None:
        if attempt >= _CROWDED:
            network = _LARGEST_4
            number = int(network[0]) | number & 0xFFFFFF
        return ipaddress.IPv4Address(_permute(prf, number, 32, network.prefixlen, attempt))
    return ipaddress.IPv4Address(_permute(prf, number, 32, 4, attempt) & 0x0FFFFFFF | _RESERVED_4)


def _permute(prf: Prf, number: int, bits: int, kept: int, attempt: int) -> int:
    """A prefix-preserving permutation of the bits after the first ``kept`` (as Crypto-PAn makes it)."""
    flips = 0
    for place in range(kept, bits):
        prefix = number >> (bits - place)
        flip = prf.digest("ip-bit", b"%d:%d:%d:%d" % (attempt, bits, place, prefix), 1)[0] & 1
        flips = flips << 1 | flip
    return number ^ flips
