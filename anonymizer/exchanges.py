"""Exchanges that are in memory, anonymized like a capture of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from anonymizer.exchange_scrubber import ExchangeScrubber
from anonymizer.fields import Fields
from anonymizer.literals import Literals
from anonymizer.policy import Policy
from anonymizer.pseudonyms import PseudonymTable
from anonymizer.report import Report
from anonymizer.scrubber import Scrubber
from captures.keys import Prf
from captures.model import Exchange


def anonymize_exchanges(exchanges: Sequence[Exchange], *, policy: Policy, key: bytes) -> Iterator[Exchange]:
    """``exchanges`` in their order with every sensitive value replaced, the same everywhere."""
    prf = Prf(key)
    report = Report(policy=policy.name, key_fingerprint=prf.fingerprint())
    table = PseudonymTable(prf, policy)

    def fields(*, collecting: bool) -> Fields | None:
        return Fields(policy, table, collecting=collecting) if policy.rules else None

    collector = Scrubber(prf, policy, table)
    collecting = ExchangeScrubber(collector, policy, report, fields(collecting=True))
    for exchange in exchanges:
        collecting.exchange(exchange)
    table.freeze()
    scrubber = Scrubber(prf, policy, table, Literals(table, policy), collector.layouts)
    replacing = ExchangeScrubber(scrubber, policy, report, fields(collecting=False))
    return map(replacing.exchange, exchanges)
