"""Known shapes: what is taken for a real value, and what only looks like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonymizer.audit_shapes import SHAPES, shaped_values


def shapes_of(text: bytes) -> set[tuple[str, bytes]]:
    return {(shape.name, value) for shape, value in shaped_values(text)}


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        (b'"mail":"jane.doe+x@corp-nine.co.uk"', "e-mail address", b"jane.doe+x@corp-nine.co.uk"),
        (b"mailto:jane@corp-nine.com?x=1", "e-mail address", b"jane@corp-nine.com"),
        (b"a@b.cc,jane@corp-nine.com", "e-mail address", b"jane@corp-nine.com"),
        (b'"card":"4929 1234 5678 9015"', "card number", b"4929 1234 5678 9015"),
        (b'"card":4929123456789015,', "card number", b"4929123456789015"),
        (b"pay to GB29 NWBK 6016 1331 9268 19.", "IBAN", b"GB29 NWBK 6016 1331 9268 19"),
        (b'"tel":"+49 30 901820"', "phone number", b"+49 30 901820"),
        (b"call +1 (415) 867-5309 now", "phone number", b"+1 (415) 867-5309"),
        (b'"ip":"8.31.44.17"', "IP address", b"8.31.44.17"),
        (b"from 2a01:4f8:c0c:1234::2 to", "IPv6 address", b"2a01:4f8:c0c:1234::2"),
        (b"ssn 536-22-8726.", "US social security number", b"536-22-8726"),
        (b"Bearer xoxb-123456789012-abcdef", "Slack token", b"xoxb-123456789012-abcdef"),
        (b"postgres://app:hunter2hunter2@db/x", "password in a URL", b"app:hunter2hunter2"),
        (b"ftp://%b:%b@h" % (b"u" * 64, b"p" * 128), "password in a URL", b"%b:%b" % (b"u" * 64, b"p" * 128)),
    ],
)
def test_a_value_of_a_known_shape_is_found(text, name, value):
    """A value is found with what may stand around it, and nothing of that is taken along."""
    assert (name, value) in shapes_of(text)


@pytest.mark.parametrize(
    "text",
    [
        b"jane@example.com, joe@mail.example.org, x@corp.test, y@printer.local",
        b"49699333+dependabot[bot]@users.noreply.github.com noreply@github.com git@github.com:octo/hello",
        b"logo@2x.png",
        b"4242424242424242 5555555555554444",  # published for tests
        b"4929123456789016",  # no Luhn digit
        b"1234567890123452",  # no network
        b"id 49291234567890151",  # part of a longer number
        b"DE75512108001245126198",  # another check digit
        b"+1 202 555 0143, +12025550199",  # set aside for fiction
        b"+1 123 456 7890",  # no such area code
        b"2021-08-19T12:16:32.000+04:00 1e+1234567890",
        b"10.1.2.3 192.168.0.9 127.0.0.1 192.0.2.14 198.51.100.7 203.0.113.1 240.1.2.3 1.2.3.999",
        b"Chrome/120.0.6099.71 v8.31.44.17 8.31.44.17.5 8.31.0.0/16",
        b"2001:db8::1 fe80::1 ::1 12:16:32",
        b"000-12-3456 123-45-6789 2021-12-3456",
        b"https://api.github.com/users/octocat{/other_user} https://host:8080/x@y",
        b"MDEwOlJlcG9zaXRvcnkxNzI3MzA1MQ== 6113728f27ae82c7b1a177c8d03f9e96e0adf246",
    ],
)
def test_what_only_looks_like_one_is_left_alone(text):
    """Reserved ranges, wrong check digits, versions, times and ids are no findings."""
    assert shapes_of(text) == set()


@given(text=st.binary(max_size=400))
def test_any_bytes_can_be_looked_through(text):
    """Arbitrary bytes never raise, and hide no token that stands between them."""
    token = b"AKIAQRSTUVWX23456723"
    assert ("AWS access key id", token) in shapes_of(text + b" " + token + b" " + text)


def test_every_shape_can_be_reached():
    """A shape with hints is looked for at its hints, so each hint must be one its pattern can start with."""
    assert all(shape.hints or shape.outline_hints or shape.name == "IPv6 address" for shape in SHAPES)
