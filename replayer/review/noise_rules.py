"""What a reviewer says is no difference: a small TOML file of rules by endpoint and path."""

from __future__ import annotations

import fnmatch
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captures.errors import UsageError
from captures.units import parse_share
from replayer.review.answers import Part

_KEYS = frozenset({"path", "endpoint", "ignore", "unordered", "tolerance"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    One rule for the places that match ``path`` at the endpoints that match ``endpoint``.

    ``path`` is a JSON path as a report prints it, ``header:NAME`` or ``status``; in both ``*``
    stands for anything except that ``[*]`` is itself. ``ignore`` leaves the place out with
    everything under it; ``tolerance`` is (relative, absolute).
    """

    path: str
    endpoint: str = "*"
    ignore: bool = False
    unordered: bool = False
    tolerance: tuple[float, float] | None = None

    def about(self, endpoint: str) -> bool:
        """Whether the rule holds at this endpoint."""
        return fnmatch.fnmatchcase(endpoint, self.endpoint.replace("[", "[[]"))

    def covers(self, part: Part, path: str) -> bool:
        """Whether the rule is about this place."""
        name = {Part.STATUS: "status", Part.HEADER: f"header:{path}", Part.BODY: path}[part]
        wanted = self.path.replace("[", "[[]")
        here = fnmatch.fnmatchcase(name, wanted)
        if self.ignore and part is Part.BODY:  # and what is under it
            here = here or any(fnmatch.fnmatchcase(name, f"{wanted}{below}*") for below in (".", "[[]"))
        return here


def read_rules(path: Path) -> tuple[Rule, ...]:
    """
    The rules of a TOML file: ``[[rule]]`` tables with ``path`` and what to do about it.

    Raises:
        UsageError: the file cannot be read, or a rule says nothing or something unknown.

    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); name a file of rules.") from error
    except (ValueError, RecursionError) as error:  # also an integer too long, or brackets too deep, to read
        raise UsageError(f"{path} is no TOML ({error}); correct it.") from error
    tables = found.get("rule")
    if set(found) != {"rule"} or not isinstance(tables, list):
        raise UsageError(f"{path} holds no [[rule]] tables alone; write [[rule]] and under it path = ...")
    return tuple(_rule(path, number, table) for number, table in enumerate(tables, 1))


def _rule(file: Path, number: int, table: Any) -> Rule:
    where = f"Rule {number} of {file}"
    if not isinstance(table, dict):
        raise UsageError(f"{where} is no table; write [[rule]] and under it path = ...")
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise UsageError(f"{where} has {unknown[0]!r}; a rule has {_listed(sorted(_KEYS))}.")
    place, endpoint = table.get("path"), table.get("endpoint", "*")
    if not isinstance(place, str) or not isinstance(endpoint, str) or not place:
        raise UsageError(f'{where} has no path; write path = "$.items[*].at", "header:etag" or "status".')
    ignore, unordered = table.get("ignore", False), table.get("unordered", False)
    if type(ignore) is not bool or type(unordered) is not bool:
        raise UsageError(f"{where}: ignore and unordered are true or false.")
    tolerance = _tolerance(where, table["tolerance"]) if "tolerance" in table else None
    if not (ignore or unordered or tolerance):
        raise UsageError(f"{where} changes nothing; add ignore = true, unordered = true or a tolerance.")
    return Rule(path=place, endpoint=endpoint, ignore=ignore, unordered=unordered, tolerance=tolerance)


def _tolerance(where: str, value: Any) -> tuple[float, float]:
    if isinstance(value, str) and value.endswith("%"):
        return parse_share(value), 0.0
    if isinstance(value, int | float) and type(value) is not bool and 0 <= value <= sys.float_info.max:
        return 0.0, float(value)
    raise UsageError(f'{where}: a tolerance is a share like "1%" or a number like 0.5.')


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
