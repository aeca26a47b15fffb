"""
Conditions on exchanges as people write them: ``method=POST path=/api/*``.

A condition is one or more tests with spaces between them, and holds when all of them do. A test
is ``FIELD=PATTERN`` or ``FIELD=PATTERN,PATTERN`` (one of them is enough). In a pattern ``*``
stands for any bytes and ``?`` for one. Quotes keep a space inside: ``header:User-Agent="curl 8*"``.

==============  ===========================================================================
``method``      the request's method, any case
``host``        the host asked for, any case, with or without its port
``path``        the request target up to the query; ``*`` crosses slashes
``status``      ``404``, ``5xx``, ``400-499``, or ``failed`` when there is no whole response
``header:NAME`` a request header's value; one of several headers of that name is enough
==============  ===========================================================================
"""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from captures.errors import UsageError
from captures.model import Exchange, Request, Response

Test: TypeAlias = Callable[[Exchange], bool]

_STATUS = re.compile(r"(?P<class>[1-9])xx|(?P<low>[1-9]\d\d)(?:-(?P<high>[1-9]\d\d))?", re.IGNORECASE)
_FIELDS = "method, host, path, status or header:NAME"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One parsed condition; ``text`` is how it was written."""

    text: str
    tests: tuple[Test, ...] = field(repr=False, compare=False)

    def holds(self, exchange: Exchange) -> bool:
        """Whether ``exchange`` passes every test."""
        return all(test(exchange) for test in self.tests)


def parse_condition(text: str) -> Condition:
    """
    The condition in ``text``.

    Raises:
        UsageError: it is empty, a field is unknown or a status is none.

    """
    try:
        words = shlex.split(text)
    except ValueError:
        raise UsageError(f"{text!r} has a quote without its end; close it.") from None
    if not words:
        raise UsageError(f"A condition is empty; write FIELD=PATTERN with {_FIELDS}.")
    return Condition(text=text, tests=tuple(_parse_test(word) for word in words))


def any_holds(conditions: Sequence[Condition], exchange: Exchange) -> bool:
    """Whether one of ``conditions`` holds."""
    return any(condition.holds(exchange) for condition in conditions)


def _parse_test(word: str) -> Test:
    name, equals, value = word.partition("=")
    field_name = name.lower()
    patterns = [part.strip() for part in value.split(",")]
    if not equals or not all(patterns):
        raise UsageError(f"{word!r} is no condition; write FIELD=PATTERN with {_FIELDS}.")
    if field_name == "status":
        return _status_test(word, patterns)
    if field_name.startswith("header:"):
        return _header_test(word, name[len("header:") :], patterns)
    if field_name == "method":
        matches = _glob(patterns, any_case=True)
        return lambda exchange: matches(exchange.request.method)
    if field_name == "host":
        matches = _glob(patterns, any_case=True)
        return lambda exchange: any(matches(host) for host in _hosts(exchange.request))
    if field_name == "path":
        matches = _glob(patterns, any_case=False)
        return lambda exchange: matches(exchange.request.target.partition(b"?")[0])
    raise UsageError(f"{word!r} has an unknown field; use {_FIELDS}.")


def _glob(patterns: Sequence[str], *, any_case: bool) -> Callable[[bytes], bool]:
    # Only * and ? are special, since [ stands in paths; fnmatch's expressions never backtrack far.
    expressions = (fnmatch.translate(pattern.replace("[", "[[]")) for pattern in patterns)
    flags = re.IGNORECASE if any_case else 0
    compiled = re.compile("|".join(expressions).encode("utf-8", "surrogateescape"), flags)
    return lambda value: compiled.match(value) is not None


def _hosts(request: Request) -> tuple[bytes, bytes]:
    host, colon, port = request.authority.rpartition(b":")
    return request.authority, host if colon and port.isdigit() else request.authority


def _header_test(word: str, name: str, patterns: Sequence[str]) -> Test:
    if not _TOKEN.fullmatch(name):
        raise UsageError(f"{word!r} names no header; write header:X-Env=staging.")
    wanted = name.lower().encode("ascii")
    matches = _glob(patterns, any_case=False)
    return lambda exchange: any(
        header.lower() == wanted and matches(value) for header, value in exchange.request.headers
    )


def _status_test(word: str, patterns: Sequence[str]) -> Test:
    wanted: set[int] = set()
    failed = False
    for pattern in patterns:
        if pattern.lower() == "failed":
            failed = True
            continue
        match = _STATUS.fullmatch(pattern)
        if match is None:
            raise UsageError(f"{word!r} has no status; write 404, 5xx, 400-499 or failed.")
        if match["class"]:
            first = int(match["class"]) * 100
            wanted.update(range(first, first + 100))
        else:
            wanted.update(range(int(match["low"]), int(match["high"] or match["low"]) + 1))

    def test(exchange: Exchange) -> bool:
        outcome = exchange.outcome
        return outcome.status in wanted if isinstance(outcome, Response) else failed

    return test
