"""The table: consistent, injective, and the same in every order."""

from __future__ import annotations

import ipaddress
import random
from datetime import date, timedelta
from itertools import product

import pytest

from anonymizer import pseudonyms
from anonymizer.detectors.base import Kind
from anonymizer.policy import Action, Policy
from anonymizer.pseudonyms import PseudonymTable, with_case_of, with_digits
from captures.errors import HookreelError
from captures.keys import Prf

PRF = Prf(b"a key for tests, 32 bytes long..")
COUNT = 100_000
FEWER = 20_000
VALUES = {
    Kind.EMAIL: [b"user%d@corp%d.com" % (at, at % 50) for at in range(COUNT)],
    Kind.USERNAME: [b"u%d" % at for at in range(COUNT)],
    Kind.NAME: [bytes([97 + (at // 26**place) % 26 for place in range(5)]) for at in range(FEWER)],
    Kind.PHONE: [b"+1415%07d" % (2_000_000 + at) for at in range(FEWER)],
    Kind.CARD: [b"4111111111%06d" % at for at in range(FEWER)],
    Kind.TOKEN: [b"ghp_%036d" % at for at in range(COUNT)],
    Kind.IP: [str(ipaddress.ip_address(0x08080000 + at)).encode() for at in range(FEWER)],
    Kind.MAC: [b"001b44%06x" % at for at in range(COUNT)],
    Kind.IBAN: [b"DE89%018d" % at for at in range(COUNT)],
    Kind.NATIONAL_ID: [b"QZ%06d" % at for at in range(FEWER)],
    Kind.BIRTH_DATE: [(date(1950, 1, 1) + timedelta(days=at)).isoformat().encode() for at in range(3_000)],
    Kind.GEO: [b"52.%05d" % at for at in range(FEWER)],
}


def table_of(kind: Kind, values: list[bytes]) -> PseudonymTable:
    table = PseudonymTable(PRF, Policy())
    for value in values:
        table.add(kind, value)
    table.freeze()
    return table


@pytest.mark.parametrize("kind", VALUES)
def test_no_two_values_share_a_stand_in(kind: Kind) -> None:
    """Twenty or a hundred thousand values get as many stand-ins, none of which is an original."""
    values = VALUES[kind]
    table = table_of(kind, values)
    stand_ins = {table.replacement(kind, value) for value in values}
    assert len(stand_ins) == len(values)
    assert stand_ins.isdisjoint(values)


@pytest.mark.parametrize("kind", VALUES)
def test_the_order_does_not_matter(kind: Kind) -> None:
    """The same set of values in another order gives the same stand-ins."""
    values = VALUES[kind][:2_000]
    mixed = values.copy()
    random.Random(1).shuffle(mixed)
    one, other = table_of(kind, values), table_of(kind, mixed)
    assert all(one.replacement(kind, value) == other.replacement(kind, value) for value in values)


CROWDED = {
    "years of two digits": (Kind.BIRTH_DATE, [b"%d/%02d" % at for at in product(range(1, 10), range(100))]),
    "years of four digits": (
        Kind.BIRTH_DATE,
        [b"%d-%02d-%02d" % at for at in product(range(1930, 1940), range(1, 13), range(1, 13))],
    ),
    "numbers of no known form": (Kind.NATIONAL_ID, [b"%03d" % at for at in range(1_000)]),
    "subdomains": (
        Kind.DOMAIN,
        [b"acme-corp.io", *(b"%b.acme-corp.io" % bytes(at) for at in product(b"qwzxkj", repeat=4))],
    ),
    "domains of platforms": (Kind.DOMAIN, [b"github.com", b"github.io", b"github.dev"]),
    "postal codes": (Kind.ADDRESS, [b"%03d" % at for at in range(1_000)]),
    "user names": (Kind.USERNAME, [bytes(at) for at in product(b"abcdefghijklmnopqrstuvwxyz", repeat=2)]),
    "numbers for fiction": (Kind.PHONE, [b"+141555501%02d" % at for at in range(100)]),
    "codes": (Kind.CREDENTIAL, [b"%03d" % at for at in range(1_000)]),
    "whole degrees": (Kind.GEO, [b"%d" % at for at in range(1, 181)]),
}  # fmt: skip


@pytest.mark.parametrize("crowd", CROWDED)
def test_a_shape_with_too_few_stand_ins_gives_way(crowd: str) -> None:
    """Where all that has a value's shape is somebody's, stand-ins get another shape, and none is shared."""
    kind, values = CROWDED[crowd]
    table = table_of(kind, values)
    stand_ins = {table.stand_in(kind, value) for value in values}
    assert len(stand_ins) == len(values)
    assert stand_ins.isdisjoint(values)


def test_a_family_without_stand_ins_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is an end to looking for one, and no value in the sentence that says so."""
    monkeypatch.setitem(pseudonyms._GENERATORS, pseudonyms.Family.MAC, lambda *_: b"02005e000000")
    with pytest.raises(HookreelError, match="kind mac") as told:
        table_of(Kind.MAC, [b"001b44000001", b"001b44000002"])
    assert "001b44" not in str(told.value)


def test_a_domain_that_nobody_can_own_stays() -> None:
    """Also where a policy calls it its own."""
    table = PseudonymTable(PRF, Policy(own_domains=("example.com", "localhost", "acme.test")))
    table.freeze()
    assert list(table.spellings) == [b"acme.test"]
    assert table.replacement(Kind.DOMAIN, b"acme.test") != b"acme.test"


def test_spellings_of_one_value_agree() -> None:
    """Case, separators and country prefix are kept while the value behind them is one."""
    table = PseudonymTable(PRF, Policy())
    for kind, value in [
        (Kind.USERNAME, b"OctoCat"),
        (Kind.USERNAME, b"octocat"),
        (Kind.PHONE, b"+1 (415) 555-2671"),
        (Kind.PHONE, b"415.555.2671"),
        (Kind.CARD, b"4111 1111 1111 1111"),
        (Kind.CARD, b"4111111111111111"),
        (Kind.IP, b"2001:DB9::1"),
        (Kind.IP, b"2001:db9:0::1"),
    ]:
        table.add(kind, value)
    table.freeze()
    login = table.replacement(Kind.USERNAME, b"octocat")
    assert table.replacement(Kind.USERNAME, b"OctoCat").lower() == login
    assert table.replacement(Kind.USERNAME, b"OCTOCAT") == login.upper()
    phone = table.replacement(Kind.PHONE, b"415.555.2671").replace(b".", b"")
    assert table.replacement(Kind.PHONE, b"+1 (415) 555-2671") == b"+1 (%b) %b-%b" % (
        phone[:3],
        phone[3:6],
        phone[6:],
    )
    assert (
        table.replacement(Kind.PHONE, b"+49 30 901820")[4:].replace(b" ", b"")
        == table.replacement(Kind.PHONE, b"4930901820")[2:]
    )
    card = table.replacement(Kind.CARD, b"4111111111111111")
    assert table.replacement(Kind.CARD, b"4111 1111 1111 1111").replace(b" ", b"") == card
    assert table.replacement(Kind.IP, b"2001:DB9::1") == table.replacement(Kind.IP, b"2001:db9:0::1")


def test_a_value_of_two_kinds_has_one_stand_in() -> None:
    """A login that is also used as a token is one value with one stand-in."""
    table = PseudonymTable(PRF, Policy())
    table.add(Kind.TOKEN, b"octocat99")
    table.add(Kind.USERNAME, b"octocat99")
    table.freeze()
    assert table.replacement(Kind.TOKEN, b"octocat99") == table.replacement(Kind.USERNAME, b"octocat99")


def test_no_value_is_shown() -> None:
    """The table's repr holds a count alone."""
    assert repr(table_of(Kind.TOKEN, [b"tok-1"])) == "PseudonymTable(1 values)"


@pytest.mark.parametrize(
    ("raw", "new", "expected"),
    [
        (b"Abc", b"xyz", b"Xyz"),
        (b"ABC", b"wxyz", b"WXYZ"),
        (b"aBc", b"xyz", b"xYz"),
        (b"Alice", b"bo", b"Bo"),
        (b"a-1", b"b-2", b"b-2"),
        ("Ünal".encode(), b"abcd", b"Abcd"),
    ],
)
def test_letter_case_is_copied(raw: bytes, new: bytes, expected: bytes) -> None:
    """Upper case, title case and mixed case of the original come back in the stand-in."""
    assert with_case_of(raw, new) == expected


def test_digits_are_put_in_from_the_right() -> None:
    """Separators stay, and what a stand-in has no digits for stays too."""
    assert with_digits(b"+1 (415) 555-2671", b"2025550123") == b"+1 (202) 555-0123"


def test_the_days_by_which_times_move() -> None:
    """Whole weeks back, by the key, where a policy replaces times; none where it leaves them."""
    moving = Policy(actions={Kind.DATE: Action.PSEUDONYMISE})
    days = PseudonymTable(PRF, moving).days
    assert -130 * 7 <= days <= -26 * 7
    assert days % 7 == 0
    assert PseudonymTable(PRF, Policy()).days == 0
