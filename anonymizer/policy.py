"""What happens to each kind of value; read from TOML."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from anonymizer.detectors.base import Kind, normal_key
from captures.errors import UsageError


class Action(StrEnum):
    """What is done with a value."""

    PSEUDONYMISE = "pseudonymise"  # a stand-in of the same shape, the same one everywhere
    MASK = "mask"  # as many asterisks (zeros in a number)
    HASH = "hash"  # twelve hex digits, keyed
    DROP = "drop"  # nothing (0 in a number)
    KEEP = "keep"  # left as it is


class Undecodable(StrEnum):
    """What is done with a body that cannot be read."""

    BLANK = "blank"  # zero bytes of the same length, so that sizes and timing stay
    DROP = "drop"  # an empty body


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    What is done with each kind of value. The default pseudonymises all of them.

    ``name_keys`` are more field names that hold people's names, ``keep_paths`` are patterns of
    field paths (``request.body.repository.*``) in which nothing is replaced.
    """

    name: str = "default"
    actions: Mapping[Kind, Action] = field(default_factory=dict)
    name_keys: frozenset[str] = frozenset()
    keep_paths: tuple[str, ...] = ()
    undecodable: Undecodable = Undecodable.BLANK

    def action(self, kind: Kind) -> Action:
        """What is done with values of ``kind``."""
        return self.actions.get(kind, Action.PSEUDONYMISE)

    def keeps(self, path: str) -> bool:
        """Whether the field at ``path`` is left as it is."""
        return any(fnmatchcase(path, pattern) for pattern in self.keep_paths)


def read_policy(path: Path) -> Policy:
    """
    The policy in the TOML file ``path``.

    Raises:
        UsageError: the file is absent, no TOML, or holds a key or value that is not known.

    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"The policy {path} cannot be read ({error.strerror}); give a file that exists."
        ) from error
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The policy {path} is not TOML ({error}); correct it there.") from error
    return parse_policy(document, name=f"sha256:{hashlib.sha256(data).hexdigest()[:12]}")


def parse_policy(document: Mapping[str, Any], *, name: str) -> Policy:
    """
    The policy that ``document`` (a read TOML file) says.

    Raises:
        UsageError: a key or value is not known; the message names it.

    """
    _only(document, "", ("kinds", "names", "keep", "bodies"))
    kinds = _table(document, "kinds")
    _only(kinds, "kinds.", tuple(Kind))
    names = _table(document, "names")
    _only(names, "names.", ("keys",))
    keep = _table(document, "keep")
    _only(keep, "keep.", ("paths",))
    bodies = _table(document, "bodies")
    _only(bodies, "bodies.", ("undecodable",))
    undecodable = bodies.get("undecodable", Undecodable.BLANK)
    if undecodable not in tuple(Undecodable):
        raise UsageError(_wrong_value("bodies.undecodable", tuple(Undecodable)))
    return Policy(
        name=name,
        actions={Kind(kind): _action(kind, value) for kind, value in kinds.items()},
        name_keys=frozenset(normal_key(key.encode()) for key in _strings(names, "names", "keys")),
        keep_paths=_strings(keep, "keep", "paths"),
        undecodable=Undecodable(undecodable),
    )


def _action(kind: str, value: object) -> Action:
    if value not in tuple(Action):
        raise UsageError(_wrong_value(f"kinds.{kind}", tuple(Action)))
    return Action(str(value))


def _only(table: Mapping[str, Any], prefix: str, known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"The policy key {prefix}{key} is not known; use one of {', '.join(known)}.")


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise UsageError(f"The policy key {key} must be a table; write [{key}] above its entries.")
    return value


def _strings(table: Mapping[str, Any], section: str, key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise UsageError(f'The policy key {section}.{key} must be a list of strings, like ["a", "b"].')
    return tuple(value)


def _wrong_value(key: str, known: tuple[str, ...]) -> str:
    return f"The value of the policy key {key} is not known; use one of {', '.join(known)}."
