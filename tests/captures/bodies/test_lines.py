"""Fields in lines of text: of logs, of lists of keys, and JSON behind a prefix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures.bodies.lines import fields, json_documents, json_spans


def found_in(data: bytes) -> list[tuple[bytes, bytes, int]]:
    return [(field.key, data[field.start : field.stop], field.line) for field in fields(data)]


def test_pairs_of_a_log() -> None:
    """Values with and without quotes are found with their keys and lines; part of a URL is none."""
    data = b'level=info user="Ann B" n=\'x y\'\nip=10.0.0.1, ok=true http://h/?a=b msg="a \\" b"'
    assert found_in(data) == [
        (b"level", b"info", 0),
        (b"user", b"Ann B", 0),
        (b"n", b"x y", 0),
        (b"ip", b"10.0.0.1", 1),
        (b"ok", b"true", 1),
        (b"msg", b'a \\" b', 1),
    ]


def test_lines_of_keys() -> None:
    """A key at the start of a line names the rest of it; containers and times of day do not count."""
    data = b"user:\n  - First Name: Ann  \r\n    age: 5\nat 12:30\nmap: {a: b}\n"
    assert found_in(data) == [(b"First Name", b"Ann", 1), (b"age", b"5", 2)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"call({last_name: 'Ng', b:1234.5});", [(b"last_name", b"Ng"), (b"b", b"1234.5")]),
        (b"got {'last_name': 'Ng', 'x': '\\'y'}", [(b"last_name", b"Ng"), (b"x", b"\\'y")]),
        (b'{"user"=>{"last name"=>"Ng", :b => "c"}}', [(b"last name", b"Ng"), (b"b", b"c")]),
        (b'last_name = "Ng"\nb = c d\n', [(b"last_name", b"Ng"), (b"b", b"c d")]),
        (
            b"last_name: 'Ng'\nb: \"c\"\nd: 'e' f\n",
            [(b"last_name", b"Ng"), (b"b", b"c"), (b"d", b"'e' f"), (b"d", b"e")],
        ),
        (b"name: &#78;g\nanchor: &x\n", [(b"name", b"&#78;g")]),
        (b"at 12:30, std::string, https://h.test", []),
    ],
)
def test_members_of_objects(data: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    """Names and quoted values are found as programs, logs and settings write them."""
    assert [(key, value) for key, value, _ in found_in(data)] == expected


def test_json_in_text() -> None:
    """An object or array is found from its bracket to the one that closes it, else to the end of its line."""
    data = b'INFO sent {"a": [1,\n "}"]} ok\nnone {here}\n["x"]\n{"a": {"b": 1}, "cut\n'
    assert [data[start:stop] for start, stop in json_spans(data)] == [
        b'{"a": [1,\n "}"]}',
        b'["x"]',
        b'{"a": {"b": 1}, "cut',
    ]


def test_json_in_a_script() -> None:
    """Of a script whole documents are taken, and brackets of its code are none."""
    data = b'(function () { window.s = {"a": {"b": 1}}; f([]); })(); let x = {"cut": '
    assert [data[start:stop] for start, stop in json_documents(data)] == [b'{"a": {"b": 1}}']


@given(st.text("a=\"' :\n{[\\-,", max_size=40))
def test_spans_lie_inside(text: str) -> None:
    """Whatever the text is, fields are not empty and lie in it."""
    data = text.encode()
    assert all(0 <= field.start < field.stop <= len(data) for field in fields(data))
    assert all(0 <= start < stop <= len(data) for start, stop in json_spans(data))


@pytest.mark.parametrize(
    "piece",
    [
        b"a=",
        b'a="',
        b"a: ",
        b" a",
        b"a: b   ",
        b"{ {",
        b"a='\\",
        b"- ",
        b"a_",
        b"[[",
        b'["',
        b"'a':",
        b'\\"',
        b'"[\\"',
    ],
)
def test_long_lines_are_gone_through_once(piece: bytes) -> None:
    """A megabyte of one line ends long before the time limit of a test, which quadratic work would not."""
    data = piece * (1_000_000 // len(piece))
    assert all(field.stop <= len(data) for field in fields(data))
    assert all(stop <= len(data) for _, stop in json_spans(data))
