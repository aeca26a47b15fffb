"""What standards set aside, and what only resembles it."""

from __future__ import annotations

import pytest

from anonymizer.audit_reserved import cannot_be_real


@pytest.mark.parametrize(
    "value",
    [
        b"jane@example.com",
        b"jane@mail.example.org",
        b"host1.example.com",
        b"+1 (202) 555-0143",
        b"2025550143",
        b"192.0.2.14",
        b"198.51.100.7",
        b"2001:db8::17",
        b"4242 4242 4242 4242",
    ],
)
def test_reserved_values_belong_to_nobody(value):
    """Documentation ranges, fictional numbers and published test cards are no originals."""
    assert cannot_be_real(value)


@pytest.mark.parametrize(
    "value",
    [
        b"jane@corp-nine.test",
        b"jane@example.com.evil.io",
        b"myexample.com",
        b"example",
        b"+1 415 555 2671",
        b"+49 30 5550143",
        b"10.0.0.7",
        b"8.31.44.17",
        b"4929123456789015",
        b"20255501434",
        b"jane doe wrote to jane@example.com",
        b"",
    ],
)
def test_what_somebody_may_own_is_searched(value):
    """Private networks, other numbers and texts around a reserved value are originals like any other."""
    assert not cannot_be_real(value)


@pytest.mark.parametrize(
    "value", [b"AAAAAAAA==", b"000000", b"xxxx-xxxx", b"\0" * 8, b"00000000-0000-0000-0000-000000000000"]
)
def test_filler_belongs_to_nobody(value):
    """One sign again and again stands for what was left out."""
    assert cannot_be_real(value)
