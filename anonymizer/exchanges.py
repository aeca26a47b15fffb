"""Exchanges that are in memory, anonymized like a capture of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from anonymizer.passes import Passes
from anonymizer.policy import Policy
from anonymizer.report import Report
from captures.keys import Prf
from captures.model import Exchange


def anonymize_exchanges(exchanges: Sequence[Exchange], *, policy: Policy, key: bytes) -> Iterator[Exchange]:
    """``exchanges`` in their order with every sensitive value replaced, the same everywhere."""
    prf = Prf(key)
    passes = Passes(policy, prf, Report(policy=policy.name, key_fingerprint=prf.fingerprint()))
    for exchange in exchanges:
        passes.collecting.exchange(exchange)
    return map(passes.replacing().exchange, exchanges)
