"""Detectors of accounts, national ids, cards of networks, places, dates and identifiers: their tables."""

from __future__ import annotations

from typing import Any

import pytest

from anonymizer.detectors import birth_dates, dates, geo, ibans, ids, ips, macs, national_ids
from anonymizer.detectors.base import Context


def values(find: Any, text: str, **context: Any) -> list[str]:
    data = text.encode()
    return [data[found.start : found.stop].decode() for found in find(data, Context(**context))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DE89370400440532013000", ["DE89370400440532013000"]),
        ("pay to DE89 3704 0044 0532 0130 00 today", ["DE89 3704 0044 0532 0130 00"]),
        ("GB29-NWBK-6016-1331-9268-19", ["GB29-NWBK-6016-1331-9268-19"]),
        ("DE89 3704 0044 0532 0130 00 NOW OR NEVER", ["DE89 3704 0044 0532 0130 00"]),
        ("mt84malt011000012345mtlcast001s", ["mt84malt011000012345mtlcast001s"]),
        ("DE89 3704 0044 0532 0130 01", []),
        ("DE00370400440532013000", []),
        ("AB12CDEFGHIJKLMNOPQRSTUV", []),
        ("AKIAIOSFODNN7EXAMPLE", []),
        ("2019-05-15T15:19:25Z", []),
    ],
)
def test_ibans(text: str, expected: list[str]) -> None:
    """The check digits decide; what follows in capitals is no part of the account."""
    assert values(ibans.find, text) == expected


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("00:1B:44:11:3A:B7", "", ["00:1B:44:11:3A:B7"]),
        ("dev 00-1b-44-11-3a-b7 up", "", ["00-1b-44-11-3a-b7"]),
        ("001b.4411.3ab7", "", ["001b.4411.3ab7"]),
        ("001b44113ab7", "mac_address", ["001b44113ab7"]),
        ("001b44113ab7", "sha", []),
        ("00:00:00:00:00:00", "", []),
        ("ff:ff:ff:ff:ff:ff", "mac", []),
        ("2019-05-15T15:19:25", "", []),
        ("00:1B:44:11:3A:B7:00:01", "", []),
        ("00:1B-44:11:3A:B7", "", []),
    ],
)
def test_macs(text: str, key: str, expected: list[str]) -> None:
    """Pairs, groups of four and bare digits under a telling key; times and longer chains are none."""
    assert values(macs.find, text, key=key) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("52.520008", {"key": "lat", "number": True}, ["52.520008"]),
        ("-122.41", {"key": "longitude"}, ["-122.41"]),
        ("13.404954", {"key": "coordinates", "number": True}, ["13.404954"]),
        ("52.5200, 13.4050", {"key": "location"}, ["52.5200", "13.4050"]),
        ("at geo:52.5200,13.4050 now", {}, ["52.5200", "13.4050"]),
        ("48.8583° N, 2.2945° E", {}, ["48.8583° N", "2.2945° E"]),
        ("""48°31'20" N""", {}, ["""48°31'20" N"""]),
        ("180°E and 20.55° warm", {}, []),
        ("52.520008", {"key": "price"}, []),
        ("52", {"key": "lat", "number": True}, []),
        ("52.5", {"key": "lat", "number": True}, []),
        ("199.123456", {"key": "lng"}, []),
        ("52.5200,13.4050", {}, []),
        ("Berlin, 3. OG", {"key": "location"}, []),
    ],
)
def test_geo(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """Coordinates with at least two decimals, under telling keys and in geo: addresses."""
    assert values(geo.find, text, **context) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("1985-04-12", {"key": "date_of_birth"}, ["1985-04-12"]),
        ("1985-04-12T00:00:00Z", {"key": "birthday"}, ["1985-04-12"]),
        ("12/04/1985", {"key": "dob"}, ["12/04/1985"]),
        ("12.4.85", {"key": "geburtsdatum"}, ["12.4.85"]),
        ("April 12, 1985", {"key": "birth_date"}, ["April 12, 1985"]),
        ("12 Apr 1985", {"key": "born"}, ["12 Apr 1985"]),
        ("19850412", {"key": "dob", "number": True}, ["19850412"]),
        ("patient, DOB: 04/12/1985, stable", {}, ["04/12/1985"]),
        ("she was born on 12 April 1985 in Ulm", {}, ["12 April 1985"]),
        ("1985-04-12", {"key": "created_at"}, []),
        ("1985-04-12", {}, []),
        ("unknown", {"key": "dob"}, []),
        ("the birthday cake of 2019-05-15", {}, []),
    ],
)
def test_birth_dates(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """Dates under keys of birth and after its words; any other date is none."""
    assert values(birth_dates.find, text, **context) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("L01X00T47", {"key": "passport_number"}, ["L01X00T47"]),
        ("078-05-1123", {"key": "ssn"}, ["078-05-1123"]),
        ("12/345/67890", {"key": "tax_id"}, ["12/345/67890"]),
        ("078051123", {"key": "us_ssn", "number": True}, ["078051123"]),
        ("078-05-1123", {}, ["078-05-1123"]),
        ("my ssn is 078051123", {}, ["078051123"]),
        ("passport number: L01X00T47, valid", {}, ["L01X00T47"]),
        ("driver's license D1234567", {}, ["D1234567"]),
        ("NHS number 943 476 5919", {}, ["943 476 5919"]),
        ("QQ is none but BC 12 34 56 A is", {}, ["BC 12 34 56 A"]),
        ("12345678Z", {}, ["12345678Z"]),
        ("RSSMRA85T10A562S", {}, ["RSSMRA85T10A562S"]),
        ("131052-308T", {}, ["131052-308T"]),
        ("756.9217.0769.85", {}, ["756.9217.0769.85"]),
        ("111.444.777-35", {}, ["111.444.777-35"]),
        ("Aadhaar 2341 2341 2346", {}, ["2341 2341 2346"]),
        ("PESEL 44051401359", {}, ["44051401359"]),
        ("44051401359", {}, []),
        ("943 476 5919", {}, []),
        ("NHS number 943 476 5918", {}, ["943 476 5918"]),
        ("010594Y9032 is my hetu", {}, ["010594Y9032"]),
        ("020504A902E", {}, ["020504A902E"]),
        ("020504A902F", {}, []),
        ("131052-308T is my hetu", {}, ["131052-308T"]),
        ("078.05.1123 or 078 05 1123", {}, ["078.05.1123", "078 05 1123"]),
        ("My PAN number is ABBPM4567S", {}, ["ABBPM4567S"]),
        ("943 476 5918 is on the page of the NHS", {}, []),
        ("AA1B2**9ABA7", {"key": "driver_license"}, ["AA1B2**9ABA7"]),
        ("000-12-3456", {}, []),
        ("12345678A", {}, []),
        ("passport issued 2024-01-02", {}, []),
        ("none", {"key": "passport"}, []),
        ("E1234", {"key": "pan"}, []),
        ("1557933565", {"key": "created"}, []),
        ("415-555-2671", {}, []),
        ("taxes and licenses since 2019", {}, []),
    ],
)
def test_national_ids(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """A telling key, a telling word with right check digits, or a shape that only such numbers have."""
    assert values(national_ids.find, text, **context) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("3232235796", {"key": "ip", "number": True}, ["3232235796"]),
        ("1359103392", {"key": "client_ip"}, ["1359103392"]),
        ("2130706433", {"key": "ip", "number": True}, []),
        ("3232235796", {"key": "id", "number": True}, []),
        ("99999999999", {"key": "ip", "number": True}, []),
    ],
)
def test_ips_as_numbers(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """Under a key that says so one number is an address; loopback is nobody's."""
    assert values(ips.find, text, **context) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("2019-05-15T15:19:25Z", {}, ["2019-05-15T15:19:25Z"]),
        ("from 2019-05-15 to 2019-05-16 10:00:00+02:00", {}, ["2019-05-15", "2019-05-16 10:00:00+02:00"]),
        ("Tue, 15 Nov 1994 08:12:31 GMT", {}, ["15 Nov 1994 08:12:31 GMT"]),
        ("1557933565", {"key": "exp", "number": True}, ["1557933565"]),
        ("1557933565123", {"key": "created_at"}, ["1557933565123"]),
        ("1557933565", {"key": "id", "number": True}, []),
        ("3600", {"key": "expires", "number": True}, []),
        ("version 2019-5", {}, []),
    ],
)
def test_dates(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """Written dates anywhere, counted seconds under keys of time."""
    assert values(dates.find, text, **context) == expected


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("run f81d4fae-7dec-41d0-a765-00a0c91e6bf6 done", {}, ["f81d4fae-7dec-41d0-a765-00a0c91e6bf6"]),
        ("usr_4eC39HqLyjWD", {"key": "user_id"}, ["usr_4eC39HqLyjWD"]),
        ("21031067", {"key": "id", "number": True}, ["21031067"]),
        ("00000000-0000-0000-0000-000000000000", {}, []),
        ("0", {"key": "id", "number": True}, []),
        ("main", {"key": "id"}, []),
        ("usr_4eC39HqLyjWD", {"key": "name"}, []),
    ],
)
def test_ids(text: str, context: dict[str, Any], expected: list[str]) -> None:
    """UUIDs anywhere, other identifiers under their keys; zeros and words are none."""
    assert values(ids.find, text, **context) == expected


FOUND = [
    (ibans, "DE89370400440532013000"),
    (macs, "00:1B:44:11:3A:B7"),
    (macs, "001b.4411.3ab7"),
    (geo, "geo:52.5200,13.4050"),
    (birth_dates, "DOB: 04/12/1985"),
    (national_ids, "BC 12 34 56 A"),
    (national_ids, "X1234567L"),
    (dates, "Tue, 15 Nov 1994 08:12:31 GMT"),
    (ids, "f81d4fae-7dec-41d0-a765-00a0c91e6bf6"),
    (ips, "2001:4860:4860::8888"),
    (ips, "81.2.69.160"),
]


@pytest.mark.parametrize(("detector", "text"), FOUND)
def test_hints_are_in_whatever_is_found(detector: Any, text: str) -> None:
    """A text in which a detector finds something without a key has its hint in it."""
    assert list(detector.find(text.encode(), Context()))
    assert detector.HINT.search(text.encode())
