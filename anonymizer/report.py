"""What was replaced, as counts; a report never holds a value."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MAX_ENDPOINTS = 1_000
OTHER_ENDPOINT = "OTHER /{other}"


@dataclass(slots=True, kw_only=True)
class Report:
    """Counts of replacements by (kind, endpoint, field), and of bodies that could not be read."""

    policy: str
    key_fingerprint: str
    exchanges: int = 0
    messages: int = 0
    distinct_values: int = 0
    replaced: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    undecodable: Counter[tuple[str, str]] = field(default_factory=Counter)
    signatures: int = 0
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
        return {
            "policy": self.policy,
            "key_fingerprint": self.key_fingerprint,
            "exchanges": self.exchanges,
            "messages": self.messages,
            "distinct_values": self.distinct_values,
            "signatures_blanked": self.signatures,
            "kinds": self.kinds(),
            "undecodable": sum(self.undecodable.values()),
            "fields": [
                {"kind": kind, "endpoint": endpoint, "field": path, "count": count}
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
