"""Stand-ins keep shapes and cannot be real."""

from __future__ import annotations

import ipaddress
import re

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer import addresses, generators
from anonymizer.detectors.cards import luhn_sum
from captures.keys import Prf

PRF = Prf(b"a key for tests, 32 bytes long..")


@given(st.text(min_size=1, max_size=30).map(str.lower), st.integers(0, 7))
def test_user_names_keep_length_and_classes(value: str, attempt: int) -> None:
    """Letters become letters, digits digits, and punctuation stays."""
    new = generators.username(PRF, value.encode(), attempt).decode()
    assert len(new) == len(value)
    for old_char, char in zip(value, new, strict=True):
        assert old_char.isdigit() == char.isdigit()
        assert old_char.isalpha() == char.isalpha()
        if not old_char.isalnum():
            assert char == old_char
        if old_char.isascii():
            assert char.isascii()


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (b"ghp_" + b"aB3d" * 9, rb"ghp_([a-z][A-Z]\d[a-z]){9}"),
        (b"sk_live_4eC39HqLyjWD", rb"sk_live_\d[a-z][A-Z]\d\d[A-Z][a-z][A-Z][a-z]{2}[A-Z]{2}"),
        (b"AKIAIOSFODNN7EXAMPLE", rb"AKIA[A-Z2-7]{16}"),
        (b"xoxb-1234-abcDEF123", rb"xoxb-\d{4}-[a-z]{3}[A-Z]{3}\d{3}"),
        (b"0123456789abcdef0123", rb"[0-9a-f]{20}"),
        (b"f81d4fae-7dec-41d0-a765-00a0c91e6bf6", rb"[0-9a-f-]{14}4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-z]{12}"),
        (b"s%3Aabc.D", rb"[a-z]%3A[a-z]{3}\.[A-Z]"),
        (b"1234", rb"[1-9]\d{3}"),
    ],
)
def test_secrets_keep_prefix_length_and_classes(value: bytes, shape: bytes) -> None:
    """A token's published prefix, version digits and character classes stay."""
    new = generators.secret(PRF, value)
    assert re.fullmatch(shape, new)
    assert new != value


@given(st.from_regex(rb"4\d{15}|3[47]\d{13}|5[1-5]\d{14}|6011\d{12}", fullmatch=True), st.integers(0, 20))
def test_cards_are_valid_test_cards(value: bytes, attempt: int) -> None:
    """Length and network stay, the check digit is right, the issuer is that of test cards."""
    new = generators.card(PRF, value, attempt)
    assert len(new) == len(value)
    assert new[:1] == value[:1]
    assert luhn_sum(new) % 10 == 0
    if attempt < 8:
        assert new[:6] in {b"424242", b"378282", b"555555", b"601111"}


@given(st.emails(), st.integers(0, 3))
def test_emails_cannot_be_real(address: str, attempt: int) -> None:
    """Every stand-in is under example.com, which nobody can own."""
    new = generators.email(PRF, address.lower().encode(), attempt)
    assert new.endswith(b".example.com")
    assert new.count(b"@") >= 1


def test_equal_domains_stay_equal_and_logins_match() -> None:
    """Colleagues stay colleagues, and a local part that is a login gets the login's stand-in."""
    one, two = generators.email(PRF, b"octocat@corp.com"), generators.email(PRF, b"other.one@corp.com")
    assert one.split(b"@")[1] == two.split(b"@")[1]
    assert one.split(b"@")[0] == generators.username(PRF, b"octocat")
    noreply = generators.email(PRF, b"123+octocat@users.noreply.github.com")
    assert noreply == b"123+%b@users.noreply.github.example.com" % generators.username(PRF, b"octocat")


@pytest.mark.parametrize(
    ("address", "account"),
    [
        (b"17589555+mona@mail.corp-nine.io", b"17589555+"),
        (b"1234567-mona@users.noreply.gitlab.com", b"1234567-"),
        (b"1234567-mona@corp-nine.io", b""),
        (b"4155550123+mona@corp-nine.io", b""),  # a phone number
        (b"17589555+7@corp-nine.io", b""),
        (b"mona@corp-nine.io", b""),
    ],
)
def test_the_number_of_an_account_in_an_address_stays(address: bytes, account: bytes) -> None:
    """It stands by itself in links to the account, where it stays as other identifiers do."""
    assert generators.account_of(address) == account
    assert generators.email(PRF, address).startswith(account)
    assert generators.email(PRF, address)[len(account) :] != address[len(account) :]


@given(st.from_regex(rb"[2-9]\d{9}", fullmatch=True), st.integers(0, 3))
def test_phones_are_fictional(value: bytes, attempt: int) -> None:
    """A stand-in has as many digits and ends in 555-01xx."""
    assert re.fullmatch(rb"[2-9]\d{2}55501\d\d", generators.phone(PRF, value, 0, attempt))


@pytest.mark.parametrize(
    "country", ["44", "49", "33", "39", "45", "61", "65", "81", "86", "91", "225", "358"]
)
@pytest.mark.parametrize("attempt", [0, 5, 9])
def test_phones_of_other_countries_are_in_no_plan(country: str, attempt: int) -> None:
    """Where nothing is kept for fiction a stand-in has as many digits as a number, and is none."""
    for number in range(10):
        example = phonenumbers.example_number(phonenumbers.region_code_for_country_code(int(country)))
        national = str(example.national_number)
        value = f"{country}{int(national) + number:0{len(national)}}".encode()
        new = generators.phone(PRF, value, len(country), attempt)
        assert len(new) == len(value)
        assert new.startswith(country.encode())
        assert attempt or re.search(rb"55501\d\d$", new)
        assert not phonenumbers.is_valid_number(phonenumbers.parse(f"+{new.decode()}", None))


@given(st.ip_addresses(v=4), st.integers(0, 20))
def test_ipv4_stand_ins_are_never_public(address: ipaddress.IPv4Address, attempt: int) -> None:
    """Private addresses stay in their network, after clashes in a private one; others are reserved."""
    new = ipaddress.ip_address(addresses.stand_in(PRF, str(address).encode(), attempt).decode())
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"):
        if address in ipaddress.ip_network(network):
            assert new in ipaddress.ip_network(network if attempt < 8 else "10.0.0.0/8")
    assert not new.is_global


@given(st.ip_addresses(v=4), st.integers(4, 32))
def test_ipv4_networks_stay_networks(address: ipaddress.IPv4Address, shared: int) -> None:
    """Two addresses that share their first bits have stand-ins that share as many, also public ones."""
    other = ipaddress.IPv4Address(int(address) ^ ((1 << (32 - shared)) >> 1))
    one, two = (
        int(ipaddress.IPv4Address(addresses.stand_in(PRF, str(each).encode()).decode()))
        for each in (address, other)
    )
    if not any(each.is_private or each in ipaddress.ip_network("100.64.0.0/10") for each in (address, other)):
        assert 32 - (one ^ two).bit_length() == shared


@given(st.ip_addresses(v=6), st.ip_addresses(v=6))
def test_ipv6_stand_ins_are_documentation(one: ipaddress.IPv6Address, two: ipaddress.IPv6Address) -> None:
    """Global addresses move under 2001:db8::/32; equal addresses move alike."""
    new = [ipaddress.ip_address(addresses.stand_in(PRF, str(each).encode()).decode()) for each in (one, two)]
    assert not new[0].is_global or one.is_private
    assert (one != two) or new[0] == new[1]


def test_private_neighbours_stay_neighbours() -> None:
    """Two private addresses of one /24 have stand-ins of one /24, and distinct ones."""
    new = {addresses.stand_in(PRF, b"10.1.2.%d" % host) for host in range(256)}
    assert len(new) == 256
    assert len({address.rpartition(b".")[0] for address in new}) == 1
