"""Stand-ins for numbers that follow rules keep the rules, and cannot be real where that is possible."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import iban as iban_rules

from anonymizer import numbers
from anonymizer.detectors import ibans, national_ids
from anonymizer.detectors.base import Context
from captures.keys import Prf

PRF = Prf(b"a key for tests, 32 bytes long..")


@pytest.mark.parametrize("attempt", [0, 1, 9])
@pytest.mark.parametrize(
    "value", [b"DE89370400440532013000", b"MT84MALT011000012345MTLCAST001S", b"NO9386011117947"]
)
def test_accounts_stay_accounts(value: bytes, attempt: int) -> None:
    """Country, length and classes stay, the check digits are right, and no bank has the number."""
    new = numbers.iban(PRF, value, attempt)
    assert (new[:2], len(new)) == (value[:2], len(value))
    assert iban_rules.is_valid(new.decode(), check_country=False)
    assert set(new[4:8]) <= set(b"0X")
    assert new != value


@pytest.mark.parametrize(
    ("value", "module"),
    [
        (b"9434765919", "gb.nhs"),
        (b"12345678Z", "es.dni"),
        (b"RSSMRA85T10A562S", "it.codicefiscale"),
        (b"11144477735", "br.cpf"),
        (b"234123412346", "in_.aadhaar"),
        (b"7569217076985", "ch.ssn"),
    ],
)
def test_check_digits_of_national_ids_are_right(value: bytes, module: str) -> None:
    """A stand-in of a number whose country is known passes the same check."""
    family = next(family for family in national_ids.FAMILIES if family.module == module)
    assert national_ids.is_valid(family, value)
    found = national_ids.family_of(value)
    assert found is not None
    new = numbers.national_id(PRF, value)
    assert national_ids.is_valid(found, new)
    assert len(new) == len(value)
    assert new != value


def test_american_and_british_numbers_were_never_given_out() -> None:
    """They begin as no real one does; and the detector knows a social security number by that."""
    new = numbers.national_id(PRF, b"078051123")
    assert re.fullmatch(rb"9\d\d[0-4]\d{5}", new)
    assert re.fullmatch(rb"QQ\d{6}A", numbers.national_id(PRF, b"BC123456A"))


@given(st.binary(min_size=6, max_size=6).map(lambda data: data.hex().encode()), st.integers(0, 20))
def test_cards_of_networks_have_no_vendor(value: bytes, attempt: int) -> None:
    """A stand-in is locally administered and for one receiver."""
    new = numbers.mac(PRF, value, attempt)
    assert re.fullmatch(rb"02[0-9a-f]{10}", new)


@given(st.from_regex(rb"-?(1[0-7][0-9]|[0-8]?[0-9])\.[0-9]{2,8}", fullmatch=True), st.integers(0, 7))
def test_coordinates_stay_on_earth(value: bytes, attempt: int) -> None:
    """Sign and digits stay, and so does the range: a latitude stays below 90 degrees."""
    new = numbers.coordinate(PRF, value, attempt)
    assert len(new) == len(value)
    assert new.startswith(b"-") == value.startswith(b"-")
    assert abs(float(new)) < (90 if abs(float(value)) < 100 else 180)


def test_degrees_stay_degrees() -> None:
    """Minutes and seconds stay below sixty, and the direction stays."""
    new = numbers.coordinate(PRF, b"48\xc2\xb031'20\" N")
    assert re.fullmatch(rb"[0-5]{2}\xc2\xb0[0-5]{2}'[0-5]{2}\" N", new)


def test_coordinates_made_coarse() -> None:
    """One decimal is left, which is about 11 km; the number of digits stays."""
    assert numbers.coarse(b"-122.4194") == b"-122.4000"


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (b"1985-04-12", rb"198[3-7]-(0[1-9]|1[0-2])-(0[1-9]|[12]\d)"),
        (b"12/04/1985", rb"(0[1-9]|1[0-2])/(0[1-9]|1[0-2])/198[3-7]"),
        (b"12.4.85", rb"(0[1-9]|1[0-2])\.[1-9]\.\d\d"),
        (b"19850412", rb"198[3-7](0[1-9]|1[0-2])(0[1-9]|[12]\d)"),
        (b"april 12, 1985", rb"[a-z]{3,9} (0[1-9]|1[0-2]), 198[3-7]"),
    ],
)
def test_birth_dates_keep_their_spelling(value: bytes, shape: bytes) -> None:
    """Order, separators and width stay, the year is at most two off, and the date exists."""
    new = {numbers.birth_date(PRF, value, attempt) for attempt in range(8)}
    assert all(re.fullmatch(shape, each) for each in new)
    assert len(new) > 4


def test_identifiers_keep_their_kind() -> None:
    """Version, variant and prefix stay; a number stays one without a leading zero."""
    new = numbers.identifier(PRF, b"f81d4fae-7dec-41d0-a765-00a0c91e6bf6", 0)
    assert re.fullmatch(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", new)
    assert re.fullmatch(rb"usr_\d[a-z][A-Z]\d\d[A-Z][a-z][A-Z]", numbers.identifier(PRF, b"usr_4eC39HqL", 0))
    assert re.fullmatch(rb"[1-9]\d{4}", numbers.identifier(PRF, b"10000", 0))


def milliseconds_of_uuid(value: bytes) -> int:
    return int(value[:8] + value[9:13], 16)


def test_times_inside_identifiers_move_with_the_dates() -> None:
    """A version 7 UUID, a ULID and a snowflake keep their time of day, so many days later."""
    week_ms = 7 * 86_400_000
    uuid = b"018f3c6a-1b2c-7def-8123-456789abcdef"
    new = numbers.identifier(PRF, uuid, -7)
    assert milliseconds_of_uuid(uuid) - milliseconds_of_uuid(new) == week_ms
    assert (new[14:15], new[19:20]) == (b"7", b"8")
    ulid = b"01ARZ3NDEKTSV4RRFFQ69G5FAV"
    assert numbers.identifier(PRF, ulid, 0)[:10] == ulid[:10]
    assert numbers.identifier(PRF, ulid, -7)[:10] < ulid[:10]
    assert numbers.identifier(PRF, ulid.lower(), -7).islower()
    snowflake = b"1174000000000000000"
    moved = int(numbers.identifier(PRF, snowflake, -7))
    assert (int(snowflake) >> 22) - (moved >> 22) == week_ms


@given(st.dates(dt.date(1990, 1, 1), dt.date(2060, 1, 1)))
def test_stand_ins_of_accounts_are_found_again(day: dt.date) -> None:
    """What stands for an account is an account itself, whatever the account."""
    value = f"DE{day:%d}".encode() + day.strftime("%Y%m%d%Y%m%d00").encode()
    new = numbers.iban(PRF, value)
    assert len(list(ibans.find(new, Context()))) == 1
