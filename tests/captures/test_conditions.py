"""Conditions on exchanges, as people write them."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from captures.conditions import any_holds, parse_condition
from captures.errors import UsageError


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("method=POST", True),
        ("method=post", True),
        ("method=GET,POST", True),
        ("method=GET", False),
        ("method=P*", True),
        ("host=api.example.com", True),
        ("host=API.example.com:8443", True),
        ("host=*.example.com", True),
        ("host=example.com", False),
        ("path=/api/*", True),
        ("path=/API/*", False),
        ("path=/api/runs/[7]", True),
        ("path=/api/runs", False),
        ("path=*?debug*", False),
        ("path=/api/?uns/*", True),
        ("status=503", True),
        ("status=5xx", True),
        ("status=5XX,404", True),
        ("status=200-299", False),
        ("status=400-599", True),
        ("status=failed", False),
        ("header:X-Env=staging", True),
        ("header:x-env=prod,stag*", True),
        ("header:X-Env=Staging", False),
        ("header:X-None=*", False),
        ('header:User-Agent="curl 8*"', True),
        ("method=POST path=/api/* status=5xx", True),
        ("method=POST path=/api/* status=200", False),
    ],
)
def test_a_condition_holds_as_it_reads(make_exchange, text: str, holds: bool) -> None:
    """Each field is compared as its documentation says; several tests must all pass."""
    exchange = make_exchange(
        status=503,
        method=b"POST",
        authority=b"api.example.com:8443",
        target=b"/api/runs/[7]?debug=1",
        headers=((b"X-Env", b"dev"), (b"x-env", b"staging"), (b"User-Agent", b"curl 8.1")),
    )
    assert parse_condition(text).holds(exchange) is holds


def test_a_failure_has_its_own_status(make_exchange) -> None:
    """An exchange without a whole response is found by failed, and by no number."""
    failure = make_exchange(status=0)
    assert parse_condition("status=failed").holds(failure)
    assert parse_condition("status=2xx,failed").holds(failure)
    assert not parse_condition("status=100-999").holds(failure)


@pytest.mark.parametrize("authority", [b"[::1]:80", b"h", b"", b":", b"h:x"])
def test_any_authority_can_be_compared(make_exchange, authority: bytes) -> None:
    """An odd host is compared as it is."""
    exchange = make_exchange(authority=authority)
    assert parse_condition("host=*").holds(exchange)


def test_one_of_several_conditions_is_enough(make_exchange) -> None:
    """Repeated conditions are alternatives, and without any none holds."""
    conditions = [parse_condition("method=GET"), parse_condition("status=202")]
    assert any_holds(conditions, make_exchange())
    assert not any_holds([], make_exchange())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("POST", "FIELD=PATTERN"),
        ("method=", "FIELD=PATTERN"),
        ("method=GET,,POST", "FIELD=PATTERN"),
        ("verb=GET", "unknown field"),
        ("status=20", "404, 5xx"),
        ("status=6", "404, 5xx"),
        ("header:=x", "names no header"),
        ("header:a b=x", "FIELD=PATTERN"),
        ("header:X-\u00c4=x", "names no header"),
        ("path='/x", "close it"),
    ],
)
def test_a_wrong_condition_is_a_usage_error(text: str, said: str) -> None:
    """One sentence says what is wrong and how it is written."""
    with pytest.raises(UsageError, match=said):
        parse_condition(text)


_NAMES = ["method", "HOST", "path", "Status", "header:X-A", "header:", "header: x", "verb", ""]
_WORDS = st.tuples(
    st.sampled_from(_NAMES), st.sampled_from(["=", "=", "==", ""]), st.text("5x0a-*,'\" [", max_size=6)
)
_TOKEN = r"[!#$%&'*+.^_`|~0-9a-z-]+"
_WORD = re.compile(
    rf"(?:method|host|path|header:{_TOKEN})=(?P<globs>.+)|status=(?P<statuses>.+)", re.IGNORECASE | re.DOTALL
)


def is_condition(text: str) -> bool:
    """What the page says of conditions, as a grammar."""
    try:
        words = shlex.split(text)
    except ValueError:
        return False
    return bool(words) and all(map(is_test, words))


def is_test(word: str) -> bool:
    match = _WORD.fullmatch(word)
    if match is None:
        return False
    parts = [part.strip() for part in (match["globs"] or match["statuses"]).split(",")]
    status = re.compile(r"failed|[1-9]xx|[1-9]\d\d(-[1-9]\d\d)?", re.IGNORECASE)
    return all(parts) and (match["statuses"] is None or all(map(status.fullmatch, parts)))


@given(st.lists(_WORDS, max_size=3).map(lambda words: " ".join(map("".join, words))) | st.text(max_size=60))
@example("status=404,5xx path=/a")
@example("status=500-599")
def test_text_is_a_condition_by_its_grammar_or_a_usage_error(text: str) -> None:
    """Nothing that can be typed is a crash, and nothing that is no condition is taken for one."""
    if is_condition(text):
        assert parse_condition(text).text == text
    else:
        with pytest.raises(UsageError):
            parse_condition(text)


def glob_holds(pattern: str, text: str) -> bool:
    """Stars and question marks by definition, one character after the other."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return glob_holds(pattern[1:], text) or bool(text and glob_holds(pattern, text[1:]))
    return bool(text) and pattern[0] in {"?", text[0]} and glob_holds(pattern[1:], text[1:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=st.text("ab*?[]!/.", min_size=1, max_size=6), path=st.text("ab[]!/.", max_size=6))
def test_patterns_mean_what_they_say(make_exchange, pattern: str, path: str) -> None:
    """Only * and ? are special; every other character stands for itself."""
    exchange = make_exchange(target=path.encode() + b"?query", headers=((b"X-A", path.encode()),))
    for field in ("path", "header:x-a"):
        condition = parse_condition(f"{field}={shlex.quote(pattern)}")
        assert condition.holds(exchange) == glob_holds(pattern, path)


def test_many_stars_take_no_time(make_exchange) -> None:
    """A pattern of many stars is decided at once on a path that almost matches."""
    exchange = make_exchange(target=b"/" + b"a" * 20_000)
    assert not parse_condition("path=" + "*a" * 40 + "*b").holds(exchange)
