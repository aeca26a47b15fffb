"""Values that standards set aside: they belong to nobody, so they are neither originals nor findings."""

from __future__ import annotations

import ipaddress
import re

_RESERVED_DOMAIN = re.compile(rb"(?:[\w-]+\.)*(?:example\.(?:com|net|org)|[\w-]+\.example)\.?", re.IGNORECASE)
_PHONE = re.compile(rb"[+(]?\d[\d() ./-]{5,22}\d")
_FICTIONAL = re.compile(rb"(?:1?\d{3})?55501\d\d")  # 555-0100 to 555-0199 under any North American area code
_ADDRESS = re.compile(rb"[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*")
_CARD = re.compile(rb"\d[\d -]{10,22}\d")
# Numbers that card networks and payment processors publish for tests.
_TEST_CARDS = frozenset(
    b"4242424242424242 4111111111111111 4000056655665556 4012888888881881 4000000000000002 4000000000000077 "
    b"5555555555554444 5200828282828210 5105105105105100 2223003122003222 378282246310005 371449635398431 "
    b"378734493671000 6011111111111117 6011000990139424 6011981111111113 3056930009020004 36227206271667 "
    b"30569309025904 38520000023237 3566002020360505 3530111333300000 6555900000604105"
    b" 6200000000000005".split()
)
_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.2.0/24",  # RFC 5737, documentation
        "198.51.100.0/24",
        "203.0.113.0/24",
        "198.18.0.0/15",  # RFC 2544, benchmarks
        "240.0.0.0/4",  # RFC 1112, never given to anybody
        "0.0.0.0/8",
        "127.0.0.0/8",
        "2001:db8::/32",  # RFC 3849, documentation
        "3fff::/20",  # RFC 9637
        "::1/128",
    )
)


def is_reserved_domain(name: bytes) -> bool:
    """Whether ``name`` is one of RFC 2606's for documentation or lies under one."""
    return _RESERVED_DOMAIN.fullmatch(name) is not None


def is_reserved_address(value: bytes) -> bool:
    """Whether ``value`` is an IP address that belongs to nobody."""
    if not _ADDRESS.fullmatch(value):
        return False
    try:
        address = ipaddress.ip_address(value.decode("ascii"))
    except ValueError:
        return False
    return any(address in network for network in _NETWORKS)


def is_test_card(digits: bytes) -> bool:
    """Whether ``digits`` is a card number that payment processors publish for tests."""
    return digits in _TEST_CARDS


def is_fictional_phone(digits: bytes) -> bool:
    """Whether ``digits`` is a North American number that is set aside for fiction."""
    return _FICTIONAL.fullmatch(digits) is not None


def is_filler(value: bytes) -> bool:
    """Whether ``value`` is one sign again and again, as what stands for something left out: `000-000`."""
    signs = set(value.translate(None, b" -._=:"))
    return bool(signs) and len(signs - {0}) <= 1


def cannot_be_real(value: bytes) -> bool:
    """
    Whether ``value`` as a whole is set aside for documentation, tests or fiction, or is filler.

    Ranges like these are small: when stand-ins are anonymized once more, the stand-in of one
    value is soon the original of another, and nothing has leaked.
    """
    local, at, domain = value.rpartition(b"@")
    if at and local and b" " not in value:
        return is_reserved_domain(domain)
    if is_filler(value):
        return True
    digits = bytes(byte for byte in value if 48 <= byte <= 57)
    if _PHONE.fullmatch(value) and is_fictional_phone(digits):
        return True
    if _CARD.fullmatch(value) and is_test_card(digits):
        return True
    return is_reserved_domain(value) or is_reserved_address(value)
