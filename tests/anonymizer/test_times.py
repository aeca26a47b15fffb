"""Points in time move by whole days and keep their spelling."""

from __future__ import annotations

import pytest

from anonymizer import times


@pytest.mark.parametrize(
    ("text", "days", "expected"),
    [
        (b"2024-03-01T10:00:00.250Z", -7, b"2024-02-23T10:00:00.250Z"),
        (b"2024-03-01", -7, b"2024-02-23"),
        (b"05 Mar 2024 08:12:31 GMT", -7, b"27 Feb 2024 08:12:31 GMT"),
        (b"05-Mar-2024 08:12:31 GMT", -7, b"27-Feb-2024 08:12:31 GMT"),
        (b"1557933565", -7, b"1557328765"),
        (b"1557933565123", -7, b"1557328765123"),
        (b"1557933565.000200", -7, b"1557328765.000200"),
        (b"2024-02-31T10:00:00Z", -7, b"2024-02-31T10:00:00Z"),
        (b"soon", -7, b"soon"),
        (b"2024-03-01", 0, b"2024-03-01"),
    ],
)
def test_shifted(text: bytes, days: int, expected: bytes) -> None:
    """The date moves, the time of day, its zone and the fraction stay; what is no date stays whole."""
    assert times.shifted(text, days) == expected
