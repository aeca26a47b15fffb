"""What was replaced, as counts; a report never holds a value."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar, cast

from anonymizer.detectors import names, street_addresses, tokens
from anonymizer.detectors.base import Kind, normal_key
from anonymizer.fields import FIELD

MAX_ENDPOINTS = 1_000
OTHER_ENDPOINT = "OTHER /{other}"
MAX_FIELDS = 100_000
_REST = "*"


class Confidence(StrEnum):
    """How sure it is that what was replaced was of its kind."""

    FORMAT = "format"  # published shape, check digits or a numbering plan
    KEY = "key"  # the field's name says it
    ELSEWHERE = "elsewhere"  # spelled like a value that was found in another field
    RULE = "rule"  # the policy says so


_BY_FORMAT = frozenset(
    {Kind.EMAIL, Kind.PHONE, Kind.CARD, Kind.IP, Kind.MAC, Kind.IBAN, Kind.JWT, Kind.UUID, Kind.DATE}
)
_BY_NAME_OF_FIELD = frozenset({Kind.USERNAME, Kind.NAME, Kind.ADDRESS})


def confidence(kind: str, path: str) -> Confidence:
    """How sure it is that values of ``kind`` in the field ``path`` were such."""
    if kind == FIELD:
        return Confidence.RULE
    if kind in _BY_FORMAT:
        return Confidence.FORMAT
    if kind == Kind.DOMAIN:
        return Confidence.ELSEWHERE
    parent, _, key = path.rpartition(".")
    key = normal_key(key.encode()).removeprefix("x_")
    parent = normal_key(parent.rpartition(".")[2].encode())
    if kind == Kind.TOKEN:
        return Confidence.KEY if tokens.key_tells(key) else Confidence.FORMAT
    if kind in _BY_NAME_OF_FIELD:
        told = names.key_tells(key, parent, person=True) or street_addresses.key_tells(key)
        return Confidence.KEY if told else Confidence.ELSEWHERE
    return Confidence.KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What the audit searched before the capture got its name; ``kept`` values stay on purpose."""

    originals: int
    patterns: int
    searched_bytes: int
    unsearched: int
    kept: int = 0


_Key = TypeVar("_Key", bound=tuple[str, ...])


class FieldCounts(Counter[_Key]):
    """
    Counts by keys that end with a field's path, no more than ``MAX_FIELDS`` where paths can be shorter.

    When there are more, all paths lose their last names (``request.body.users.*``) until they are few.
    How many depends on what is counted and not on its order, so that it is the same however the work
    is shared.
    """

    _names = 0  # that a path has at most; 0: as many as it likes

    def __setitem__(self, key: _Key, count: int) -> None:
        short = self._shortened(key)
        super().__setitem__(short, count if short == key else self[short] + count)
        while len(self) > MAX_FIELDS and self._names != 1:
            self._names = (self._names or max(path.count(".") for *_, path in self) + 1) - 1
            counts = dict(self)
            self.clear()
            for known, number in counts.items():
                self[known] += number

    def _shortened(self, key: _Key) -> _Key:
        *head, path = key
        names = path.split(".")
        if not self._names or len(names) <= self._names or names[self._names :] == [_REST]:
            return key
        return cast("_Key", (*head, ".".join((*names[: self._names], _REST))))


@dataclass(slots=True, kw_only=True)
class Report:
    """Counts of replacements by (kind, endpoint, field), and of bodies that could not be read."""

    policy: str
    key_fingerprint: str
    exchanges: int = 0
    messages: int = 0
    distinct_values: int = 0
    replaced: Counter[tuple[str, str, str]] = field(default_factory=FieldCounts)
    undecodable: Counter[tuple[str, str]] = field(default_factory=FieldCounts)
    signatures: int = 0
    audit: AuditResult | None = None
    _endpoints: set[str] = field(default_factory=set)

    def endpoint(self, label: str) -> str:
        """``label``, or the one for all others once there are very many."""
        if label not in self._endpoints:
            if len(self._endpoints) >= MAX_ENDPOINTS:
                return OTHER_ENDPOINT
            self._endpoints.add(label)
        return label

    def kinds(self) -> dict[str, int]:
        """Replacements by kind, most frequent first."""
        totals: Counter[str] = Counter()
        for (kind, _, _), count in self.replaced.items():
            totals[kind] += count
        return dict(totals.most_common())

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values; all counts are numbers."""
        audit = self.audit
        return {
            "policy": self.policy,
            "key_fingerprint": self.key_fingerprint,
            "exchanges": self.exchanges,
            "messages": self.messages,
            "distinct_values": self.distinct_values,
            "signatures_blanked": self.signatures,
            "audit": audit
            and {
                "originals": audit.originals,
                "patterns": audit.patterns,
                "searched_bytes": audit.searched_bytes,
                "unsearched": audit.unsearched,
                "kept": audit.kept,
            },
            "kinds": self.kinds(),
            "undecodable": sum(self.undecodable.values()),
            "fields": [
                {
                    "kind": kind,
                    "endpoint": endpoint,
                    "field": path,
                    "count": count,
                    "confidence": confidence(kind, path),
                }
                for (kind, endpoint, path), count in sorted(self.replaced.items())
            ],
            "undecodable_fields": [
                {"endpoint": endpoint, "field": path, "count": count}
                for (endpoint, path), count in sorted(self.undecodable.items())
            ],
        }

    def as_json(self) -> str:
        """``as_dict`` as indented JSON text with a line end."""
        return json.dumps(self.as_dict(), indent=2) + "\n"
