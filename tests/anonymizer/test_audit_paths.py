"""What a value looks like, without what it is."""

from __future__ import annotations

import pytest

from anonymizer.audit_paths import masked_shape


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (b"Jane.doe@acme-corp.com", "Aaaa.aaa@aaaa-aaaa.aaa"),
        (b"+1 (415) 555-2671", "+9 (999) 999-9999"),
        ("Müller, Eva".encode(), "Aaaaaa, Aaa"),
        (b"2001:db8::1/64", "9999:aa9::9/99"),
        (b"", ""),
        (b"!@#$%^&*()", "??????????"),
        (b"@._:/+ ()-,", "???????????"),
        (b"-.-.a.-.-", "????a????"),
        (b'p"w\\d=1', "a?a?a?9"),
        (b"a" * 50, "a" * 40 + "... (50 bytes)"),
    ],
)
def test_a_shape_tells_no_value(value: bytes, shape: str) -> None:
    """Separators stay between letters and digits; a password of signs alone is not told."""
    assert masked_shape(value) == shape
