"""Text out of traffic cannot steer a terminal or pass for other lines."""

from __future__ import annotations

from captures.text import clean, clean_lines, counted


def test_controls_are_escaped_and_text_is_kept() -> None:
    """Escape sequences, line breaks, direction marks and lone surrogates are shown, not obeyed."""
    assert clean("GET /\x1b]0;pwned\x07") == "GET /\\x1b]0;pwned\\x07"
    assert clean("a\r\n\u202eb\ud800\x9b") == "a\\r\\n\\u202eb\\ud800\\x9b"
    assert clean("POST /café/日本 {id} \\x1b") == "POST /café/日本 {id} \\x1b"
    assert clean("a\tb\n\x1b", keep="\t\n") == "a\tb\n\\x1b"
    assert clean(clean("\x1b")) == clean("\x1b")


def test_lines_are_indented_and_cleaned_each() -> None:
    """A body keeps its lines and tabs, and none of them starts where an own line would."""
    assert clean_lines('{\n\t"a": 1\r\n}\x1b', "    ") == '{\n    \t"a": 1\\r\n    }\\x1b'


def test_one_is_no_plural() -> None:
    """Only 1 has the singular; thousands are set apart when asked for."""
    assert [counted(number, "exchange") for number in (0, 1, 2)] == [
        "0 exchanges",
        "1 exchange",
        "2 exchanges",
    ]
    assert counted(2, "body", "bodies") == "2 bodies"
    assert counted(12_345, "byte", grouped=True) == "12,345 bytes"
