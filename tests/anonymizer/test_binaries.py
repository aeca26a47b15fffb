"""Binary documents value by value: what stands for a value, and what a text may as well be."""

from __future__ import annotations

from anonymizer.binaries import Value, rebuilt_protobuf


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def upper(value: Value) -> bytes:
    return value.data if value.context.number else value.data.replace(b"jane", b"WILMA")


def test_a_text_that_reads_as_a_message_is_read_as_a_text_too() -> None:
    """A digit and a tab begin a field of eight bytes, which is no reason to pass over a name."""
    text = b"1\tjane123"
    assert rebuilt_protobuf(field(3, text), upper) == field(3, b"1\tWILMA123")


def test_a_message_stays_one() -> None:
    """What is replaced in an inner message changes the lengths around it."""
    inner = field(1, b"jane") + field(2, b"x")
    new = rebuilt_protobuf(field(4, inner), upper)
    assert new == field(4, field(1, b"WILMA") + field(2, b"x"))


def test_bytes_that_are_no_text_stay() -> None:
    """A message of numbers and bytes without a value comes out as it went in."""
    data = field(4, field(1, b"\xff\xfe\x01") + b"\x10\x05")
    assert rebuilt_protobuf(data, upper) == data
