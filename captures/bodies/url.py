"""The parts of a request target and of URLs inside text, as byte spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from captures.bodies.form import FormPair

_NAME = rb"([A-Za-z0-9_.\-\[\]%]{1,64})="
_QUERY_PAIR = re.compile(
    rb"(?<=[?&#])" + _NAME + rb"([^&#\s\"'<>\\]*)|(?<=;)" + _NAME + rb"([^&#;/?\s\"'<>\\]*)"
)
_USER_INFO = re.compile(rb"(?<=//)([^\s/?#@:\"'<>]*+)(?::([^\s/?#@\"'<>]*+))?(?=@)")


class TargetParts(NamedTuple):
    """Where path, query and fragment of a target stand; empty parts have equal ends."""

    path_stop: int
    query_start: int
    query_stop: int
    fragment_start: int


def split_target(target: bytes) -> TargetParts:
    """The parts of ``/path?query#fragment``."""
    hash_at = target.find(b"#")
    end = len(target) if hash_at < 0 else hash_at
    fragment_start = len(target) if hash_at < 0 else hash_at + 1
    question_at = target.find(b"?", 0, end)
    if question_at < 0:
        return TargetParts(end, end, end, fragment_start)
    return TargetParts(question_at, question_at + 1, end, fragment_start)


def query_pairs(text: bytes) -> Iterator[FormPair]:
    """The ``name=value`` pairs of every URL, and of its path (``;name=value``), escapes kept."""
    if b"=" not in text:
        return
    for match in _QUERY_PAIR.finditer(text):
        name = 1 if match[3] is None else 3
        yield FormPair(*match.span(name), *match.span(name + 1))


def user_infos(text: bytes) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """The spans of user name and password (or where it would be) of every ``//user:password@host``."""
    if b"//" not in text or b"@" not in text:
        return
    for match in _USER_INFO.finditer(text):
        stop = match.end()
        yield match.span(1), (stop, stop) if match[2] is None else match.span(2)
