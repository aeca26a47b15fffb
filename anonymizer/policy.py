"""What happens to each kind of value, at which endpoints and fields; read from TOML."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from anonymizer.detectors.base import KEPT_BY_DEFAULT, Kind, normal_key
from anonymizer.protocol import is_framing
from captures.errors import UsageError
from captures.model import HmacTemplate, SignatureScheme, SigningRecipe

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Action(StrEnum):
    """What is done with a value."""

    PSEUDONYMISE = "pseudonymise"  # a stand-in of the same shape, the same one everywhere
    MASK = "mask"  # as many asterisks (ones in a number)
    HASH = "hash"  # twelve hex digits, keyed
    DROP = "drop"  # nothing (0 in a number)
    KEEP = "keep"  # left as it is


class Undecodable(StrEnum):
    """What is done with a body that cannot be read."""

    BLANK = "blank"  # zero bytes of the same length, so that sizes and timing stay
    DROP = "drop"  # an empty body


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    What is done at some endpoints and fields.

    ``endpoint`` (``POST /hooks/*``) and ``path`` (``request.body.user.*``) are patterns in which
    ``*`` stands for anything. Without a ``kind`` the rule is about the whole field.
    """

    action: Action
    endpoint: str = "*"
    path: str = "*"
    kind: Kind | None = None

    def rank(self) -> tuple[int, int, bool]:
        """How specific this is: plain characters of path and endpoint, and whether it names a kind."""
        return _plain(self.path), _plain(self.endpoint), self.kind is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    What is done with each kind of value. The default pseudonymises all but identifiers and times.

    ``name_keys`` are more field names that hold people's names, ``own_domains`` are domains that
    are replaced though no e-mail address in the capture is in them, ``prose`` asks for names in
    sentences too, ``keep_paths`` are patterns of
    field paths (``request.body.repository.*``) in which nothing is replaced. ``rules`` stand in
    the order in which they win. ``strict_fields`` (None: not strict) are patterns of further
    fields that somebody has looked at.
    """

    name: str = "default"
    actions: Mapping[Kind, Action] = field(default_factory=dict)
    name_keys: frozenset[str] = frozenset()
    own_domains: tuple[str, ...] = ()
    prose: bool = False
    keep_paths: tuple[str, ...] = ()
    undecodable: Undecodable = Undecodable.BLANK
    rules: tuple[Rule, ...] = ()
    signatures: tuple[SigningRecipe, ...] = ()
    strict_fields: tuple[str, ...] | None = None

    def action(self, kind: Kind) -> Action:
        """What is done with values of ``kind`` where no rule says otherwise; what rules replace is found."""
        usual = self.usual(kind)
        if usual is Action.KEEP and self.rules and any(_replaces(rule, kind) for rule in self.rules):
            return Action.PSEUDONYMISE  # found everywhere, and put back where no rule replaces it
        return usual

    def usual(self, kind: Kind) -> Action:
        """What is done with values of ``kind`` where no rule applies."""
        return self.actions.get(kind, Action.KEEP if kind in KEPT_BY_DEFAULT else Action.PSEUDONYMISE)

    def rules_at(self, endpoint: str, path: str) -> tuple[Rule, ...]:
        """The rules about the field ``path`` of ``endpoint``, the first one wins."""
        return tuple(
            rule
            for rule in self.rules
            if fnmatchcase(path, rule.path) and fnmatchcase(endpoint, rule.endpoint)
        )

    def keeps(self, path: str) -> bool:
        """Whether the field at ``path`` is left as it is."""
        return any(fnmatchcase(path, pattern) for pattern in self.keep_paths)

    def lists(self, path: str) -> bool:
        """Whether the field at ``path`` is one that a strict policy lists."""
        return any(fnmatchcase(path, pattern) for pattern in self.strict_fields or ())


def by_rank(rules: list[Rule]) -> tuple[Rule, ...]:
    """The most specific rules first; of equally specific ones the earlier."""
    return tuple(sorted(rules, key=Rule.rank, reverse=True))


def _plain(pattern: str) -> int:
    return sum(char not in "*?" for char in pattern)


def _replaces(rule: Rule, kind: Kind) -> bool:
    return rule.kind is kind and rule.action is not Action.KEEP


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
    The policy that ``document`` (a read TOML file) says; its own name stands before ``name``.

    Raises:
        UsageError: a key or value is not known; the message names it.

    """
    _only(
        document, "", ("name", "kinds", "names", "domains", "keep", "bodies", "rules", "signatures", "strict")
    )
    kinds = _table(document, "kinds")
    _only(kinds, "kinds.", tuple(Kind))
    names = _table(document, "names")
    _only(names, "names.", ("keys", "prose"))
    own = _table(document, "domains")
    _only(own, "domains.", ("own",))
    keep = _table(document, "keep")
    _only(keep, "keep.", ("paths",))
    bodies = _table(document, "bodies")
    _only(bodies, "bodies.", ("undecodable",))
    strict = _table(document, "strict")
    _only(strict, "strict.", ("fields",))
    own_name = _text(document, "", "name", "")
    return Policy(
        name=f"{own_name} {name}" if own_name else name,
        actions={Kind(kind): Action(_choice(kinds, "kinds.", kind, tuple(Action), "")) for kind in kinds},
        name_keys=frozenset(normal_key(key.encode()) for key in _strings(names, "names", "keys")),
        own_domains=_strings(own, "domains", "own"),
        prose=_flag(names, "names.", "prose"),
        keep_paths=_patterns(keep, "keep", "paths"),
        undecodable=Undecodable(
            _choice(bodies, "bodies.", "undecodable", tuple(Undecodable), Undecodable.BLANK)
        ),
        rules=by_rank([_rule(number, table) for number, table in _tables(document, "rules")]),
        signatures=tuple(_signature(number, table) for number, table in _tables(document, "signatures")),
        strict_fields=_patterns(strict, "strict", "fields") if "strict" in document else None,
    )


def _rule(number: int, table: Mapping[str, Any]) -> Rule:
    prefix = f"rules[{number}]."
    _only(table, prefix, ("endpoint", "path", "kind", "action"))
    if "action" not in table or not {"endpoint", "path"} & set(table):
        raise UsageError(
            f"The policy key rules[{number}] needs an action and an endpoint or a path; "
            "what is to hold everywhere stands under [kinds]."
        )
    kind = _choice(table, prefix, "kind", tuple(Kind), "")
    if not kind and "path" not in table:
        raise UsageError(f"The policy key rules[{number}] needs a kind or a path; add the one that is meant.")
    action = Action(_choice(table, prefix, "action", tuple(Action), ""))
    if not kind and action is not Action.KEEP and is_framing(str(table["path"])):
        raise UsageError(
            f"The policy key {prefix}path names a field that says how a message is read, so that it is never "
            "replaced as a whole; name the kind of value that is meant, or another field."
        )
    return Rule(
        action=action,
        endpoint=_pattern(table, prefix, "endpoint"),
        path=_pattern(table, prefix, "path"),
        kind=Kind(kind) if kind else None,
    )


def _patterns(table: Mapping[str, Any], section: str, key: str) -> tuple[str, ...]:
    return tuple(map(_as_pattern, _strings(table, section, key)))


def _pattern(table: Mapping[str, Any], prefix: str, key: str) -> str:
    return _as_pattern(_text(table, prefix, key, "*"))


def _as_pattern(text: str) -> str:
    # a report writes {key} for a name that is a value itself; brackets stand for themselves
    return text.replace("{key}", "*").replace("[", "[[]")


def _signature(number: int, table: Mapping[str, Any]) -> SigningRecipe:
    prefix = f"signatures[{number}]."
    _only(table, prefix, ("header", "algorithm", "encoding", "prefix", "signed", "timestamp_header"))
    header = _text(table, prefix, "header", "")
    stamped = _text(table, prefix, "timestamp_header", "")
    if not _HEADER_NAME.fullmatch(header):
        raise UsageError(f"The policy key {prefix}header must be a header's name, like X-Acme-Signature.")
    if stamped and not _HEADER_NAME.fullmatch(stamped):
        raise UsageError(f"The policy key {prefix}timestamp_header must be a header's name.")
    try:
        template = HmacTemplate(
            algorithm=_text(table, prefix, "algorithm", "sha256"),
            encoding=_text(table, prefix, "encoding", "hex"),
            prefix=_text(table, prefix, "prefix", "").encode(),
            signed=_text(table, prefix, "signed", "{body}").encode(),
            timestamp_header=stamped.encode(),
        )
    except ValueError as error:
        raise UsageError(f"The policy key {prefix}{error}.") from None
    return SigningRecipe(scheme=SignatureScheme.HMAC, header=header.encode(), template=template)


def _choice(table: Mapping[str, Any], prefix: str, key: str, known: tuple[str, ...], usual: str) -> str:
    value = table.get(key, usual)
    if value not in known and (key in table or value != usual):
        raise UsageError(
            f"The value of the policy key {prefix}{key} is not known; use one of {', '.join(known)}."
        )
    return str(value)


def _text(table: Mapping[str, Any], prefix: str, key: str, usual: str) -> str:
    value = table.get(key, usual)
    if not isinstance(value, str) or not value.isprintable() or len(value) > 500:
        raise UsageError(f"The policy key {prefix}{key} must be a text in quotes, on one line.")
    return value


def _flag(table: Mapping[str, Any], prefix: str, key: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise UsageError(f"The policy key {prefix}{key} must be true or false.")
    return value


def _only(table: Mapping[str, Any], prefix: str, known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"The policy key {prefix}{key} is not known; use one of {', '.join(known)}.")


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise UsageError(f"The policy key {key} must be a table; write [{key}] above its entries.")
    return value


def _tables(document: Mapping[str, Any], key: str) -> list[tuple[int, Mapping[str, Any]]]:
    """The tables of a list of them, counted from 1."""
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise UsageError(f"The policy key {key} must be a list of tables; write [[{key}]] above each.")
    return list(enumerate(value, start=1))


def _strings(table: Mapping[str, Any], section: str, key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise UsageError(f'The policy key {section}.{key} must be a list of strings, like ["a", "b"].')
    return tuple(value)
