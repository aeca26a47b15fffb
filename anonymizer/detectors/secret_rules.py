"""The rules for secrets that gitleaks publishes (third-party data, MIT), read for use on single texts."""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import re2

# Their matches hold more than the secret, and it is found by its key or frame without them.
_TOO_WIDE = frozenset(
    {
        "private-key",
        "slack-webhook-url",
        "microsoft-teams-webhook",
        "gitlab-session-cookie",
    }
)
# Their matches begin with the name of the field.
_WITH_NAMES = frozenset({"kubernetes-secret-yaml"})
_NAME_BEFORE = re.compile(rb"[\w.-]+:(?:[ \t]*(?:\||>[-+]?)\s+)?[ \t]*[\"']?")
# What may stand before the word that names a service; it decides nothing, and makes automata large.
_ANYTHING_BEFORE = r"[\w.-]{0,50}?"
_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_MAX_COUNT = 12
# What most families have behind the name of the service: a sign of assignment, and the secret in quotes.
_ASSIGNED = re.compile(
    re.escape(r"""(?:[ \t\w.-]{0,20})[\s'"]{0,3}""")
    + r"(?P<end>\)?)"
    + re.escape(r"""(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}""")
    + r"\((?:\[[^\]]*\](?:\{[0-9,]+\})?|[\w-])+\)"
    + re.escape(r"""(?:[\x60'"\s;]|\\[nr]|$)""")
)
# Of patterns of which an automaton is made slowly: what they all have in them.
_GISTS = {
    "curl-auth-header": r"\bcurl\b",
    "curl-auth-user": r"\bcurl\b",
    "kubernetes-secret-yaml": r"""(?i)\bkind:[ \t]*["']?\bsecret\b""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What a rule's matches are when they are no secrets; ``whole`` asks of the match, not of the secret."""

    patterns: tuple[Any, ...]
    stopwords: tuple[str, ...]
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    One family of secrets.

    ``keywords`` (lower case) are what must stand in a text for the rule to hold, ``group`` is the
    number of the group that is the secret (0 for the first that matched), ``min_entropy_bits`` is
    per character.
    """

    name: str
    pattern: Any
    prefilter: bytes
    keywords: tuple[bytes, ...]
    group: int
    min_entropy_bits: float
    allowed: tuple[Allowed, ...]

    def spans(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Where the secrets of this family stand in ``text``."""
        lower = text.lower()
        if self.keywords and not any(keyword in lower for keyword in self.keywords):
            return
        for match in self.pattern.finditer(text):
            start, stop = match.span(self._group_of(match))
            if self._is_secret(text[start:stop], match[0]):
                named = _NAME_BEFORE.match(text, start, stop) if self.name in _WITH_NAMES else None
                yield named.end() if named else start, stop

    def _group_of(self, match: Any) -> int:
        if self.group:
            return self.group
        return next((at for at, value in enumerate(match.groups(), 1) if value), 0)

    def _is_secret(self, secret: bytes, whole: bytes) -> bool:
        if self.min_entropy_bits and entropy_bits(secret) <= self.min_entropy_bits:
            return False
        return not any(
            _holds(allowed, whole if allowed.whole else secret, secret) for allowed in self.allowed
        )


def entropy_bits(value: bytes) -> float:
    """Shannon's entropy of the bytes of ``value``, in bits per byte."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values())


def _holds(allowed: Allowed, text: bytes, secret: bytes) -> bool:
    if any(pattern.search(text) for pattern in allowed.patterns):
        return True
    lower = secret.lower().decode("utf-8", "replace")
    return any(word in lower for word in allowed.stopwords)


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule that says what a secret looks like, not those for files or whole documents."""
    document = tomllib.loads((files("anonymizer.detectors") / "gitleaks.toml").read_text("utf-8"))
    everywhere = _allowed(document["allowlist"])
    return tuple(
        _rule(entry, everywhere)
        for entry in document["rules"]
        if "regex" in entry and entry["id"] not in _TOO_WIDE
    )


def _rule(entry: Mapping[str, Any], everywhere: Allowed) -> Rule:
    # lists that ask for a file's path or a whole line say nothing about a value on its own
    own = [
        _allowed(listed)
        for listed in entry.get("allowlists", ())
        if "paths" not in listed and listed.get("regexTarget") != "line"
    ]
    pattern = entry["regex"].replace(_ANYTHING_BEFORE, "")
    return Rule(
        name=entry["id"],
        pattern=re2.compile(pattern.encode(), _options()),
        prefilter=_prefilter(_GISTS.get(entry["id"], pattern)),
        keywords=tuple(keyword.lower().encode() for keyword in entry.get("keywords", ())),
        group=entry.get("secretGroup", 0),
        min_entropy_bits=entry.get("entropy", 0.0),
        allowed=(everywhere, *own),
    )


def _prefilter(pattern: str) -> bytes:
    """
    What stands in every text that ``pattern`` matches, for Hyperscan.

    It asks for no secret behind the name of a service and a sign of assignment, as few texts have these.
    Long counted repeats have no upper end in it and a lower one of 12 at most. With both told exactly the
    automaton takes four times as long to be made, and hardly a text less goes through it.
    """

    def count(match: re.Match[str]) -> str:
        low, high = int(match[1]), match[2]
        exact = high is None and low < _MAX_COUNT
        if exact or (high and int(high) < _MAX_COUNT):
            return match[0]
        return f"{{{min(low, _MAX_COUNT)},}}"

    def assigned(match: re.Match[str]) -> str:
        return rf"""[\s\w.'"-]*{match["end"]}[=>:|?,]"""

    # Hyperscan does not have the end of a text by this name
    return _COUNT.sub(count, _ASSIGNED.sub(assigned, pattern).replace(r"\z", "$")).encode()


def _allowed(listed: Mapping[str, Any]) -> Allowed:
    return Allowed(
        patterns=tuple(re2.compile(text.encode(), _options()) for text in listed.get("regexes", ())),
        stopwords=tuple(word.lower() for word in listed.get("stopwords", ())),
        whole=listed.get("regexTarget") == "match",
    )


def _options() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # offsets are bytes, whatever they stand for
    options.log_errors = False
    return options
