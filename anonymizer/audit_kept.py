"""What a policy leaves as it is on purpose, read from the policy's file by the audit itself."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from captures.errors import UsageError

_KEEP = "keep"
_INDEX = re.compile(r"\[\d+\]")
_KEY = re.compile(r'\["[^"]*"\]')  # a name that is no plain one stands there by its shape


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    action: str
    endpoint: str
    path: str
    kind: str | None

    def specific(self) -> tuple[int, int, bool]:
        """Plain characters of path and endpoint, and whether a kind is named: the most specific rule wins."""
        path, endpoint = (sum(char not in "*?" for char in text) for text in (self.path, self.endpoint))
        return path, endpoint, self.kind is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptOnPurpose:
    """Kinds, field paths and rules under which a value may stand unchanged; by default none may."""

    kinds: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    rules: tuple[_Rule, ...] = ()

    def keeps(self, kind: str, endpoint: str, path: str) -> bool:
        """Whether values of ``kind`` in the field ``path`` of ``endpoint`` are left alone."""
        if any(fnmatchcase(path, pattern) for pattern in self.paths):
            return True
        for rule in self.rules:
            about = rule.kind is None or rule.kind == kind
            if about and fnmatchcase(path, rule.path) and fnmatchcase(endpoint, rule.endpoint):
                return rule.action == _KEEP
        return kind in self.kinds


def read_kept(path: Path) -> KeptOnPurpose:
    """
    What the policy file ``path`` keeps; everything else in it is of no interest here.

    Raises:
        UsageError: it cannot be read or is no policy.

    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        rules = [_rule(table) for table in document.get("rules", [])]
        return KeptOnPurpose(
            kinds=frozenset(kind for kind, action in document.get("kinds", {}).items() if action == _KEEP),
            paths=tuple(_pattern(str(text)) for text in document.get("keep", {}).get("paths", [])),
            rules=tuple(sorted(rules, key=_Rule.specific, reverse=True)),
        )
    except OSError as error:
        raise UsageError(
            f"The policy {path} cannot be read ({error.strerror}); name another file."
        ) from error
    except (ValueError, AttributeError, TypeError):
        raise UsageError(f"{path} is not a policy in TOML; give the file that anonymize was given.") from None


def _rule(table: dict[str, Any]) -> _Rule:
    kind = table.get("kind")
    return _Rule(
        action=str(table.get("action")),
        endpoint=_pattern(str(table.get("endpoint", "*"))),
        path=_pattern(str(table.get("path", "*"))),
        kind=None if kind is None else str(kind),
    )


def _pattern(text: str) -> str:
    """What a policy means: ``{key}`` is any name, ``*`` is anything, and brackets stand for themselves."""
    return text.replace("{key}", "*").replace("[", "[[]")


def field_path(place: str, path: str) -> str:
    """What policies call the field ``path`` of ``place``, for instance ``request.body.user.email``."""
    side, _, part = place.partition(" ")
    if part == "target":
        return f"{side}.query.{path.removeprefix('?')}" if path else f"{side}.path"
    inside = _KEY.sub(".{key}", _INDEX.sub("", path.removeprefix("$")))
    if side == "message":
        return f"{side}.{'sent' if part.endswith('client') else 'received'}{inside}"
    return f"{side}.{part.replace('trailer ', 'header ', 1).replace(' ', '.', 1)}{inside}"
