"""What ``hookreel info`` says about a capture."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from captures.credentials import find_credentials
from captures.model import CaptureHeader, Counters, Exchange
from captures.reader import CaptureReader
from captures.signatures import recognise


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAccount:
    """Traffic of one endpoint; ``statuses`` counts by status, 0 for failures."""

    endpoint: str
    exchanges: int
    statuses: dict[int, int]
    request_bytes: int
    response_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureAccount:
    """
    A capture in numbers.

    ``credentials`` counts requests by credential fingerprint, ``signing`` by
    ``"ENDPOINT scheme"``; neither holds a value.
    """

    header: CaptureHeader
    exchanges: int
    connections: int
    duration_ns: int
    file_bytes: int
    complete: bool
    problems: tuple[str, ...]
    counters: Counters
    endpoints: tuple[EndpointAccount, ...]
    credentials: dict[str, int]
    signing: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Plain values; without the salt, which stays in the file."""
        header = asdict(self.header)
        del header["fingerprint_salt"]
        return {
            **header,
            "exchanges": self.exchanges,
            "connections": self.connections,
            "duration_ns": self.duration_ns,
            "file_bytes": self.file_bytes,
            "complete": self.complete,
            "problems": list(self.problems),
            "counters": asdict(self.counters),
            "endpoints": [asdict(endpoint) for endpoint in self.endpoints],
            "credentials": self.credentials,
            "signing": self.signing,
        }


def account_of(reader: CaptureReader) -> CaptureAccount:
    """Count a capture: endpoints by its index, credentials and signatures by reading all requests."""
    credentials: Counter[str] = Counter()
    signing: Counter[str] = Counter()
    labels = reader.endpoint_labels
    for number, exchange in zip(reader.index.endpoint, reader.exchanges(), strict=True):
        _count_secrets(exchange, labels[number], reader.header.fingerprint_salt, credentials, signing)
    return CaptureAccount(
        header=reader.header,
        exchanges=len(reader),
        connections=len(np.unique(reader.index.connection)),
        duration_ns=reader.duration_ns,
        file_bytes=reader.path.stat().st_size,
        complete=reader.complete,
        problems=reader.problems,
        counters=reader.counters,
        endpoints=_endpoints(reader),
        credentials=dict(credentials.most_common()),
        signing=dict(signing.most_common()),
    )


def _count_secrets(
    exchange: Exchange, label: str, salt: bytes, credentials: Counter[str], signing: Counter[str]
) -> None:
    for name in {credential.fingerprint(salt) for credential in find_credentials(exchange.request.headers)}:
        credentials[name] += 1
    recipe = exchange.signing or recognise(exchange.request.headers)
    if recipe is not None:
        signing[f"{label} {recipe.scheme}"] += 1


def _endpoints(reader: CaptureReader) -> tuple[EndpointAccount, ...]:
    index, accounts = reader.index, []
    for number, label in enumerate(reader.endpoint_labels):
        chosen = index.endpoint == number
        statuses, counts = np.unique(index.status[chosen], return_counts=True)
        if not len(statuses):
            continue
        accounts.append(
            EndpointAccount(
                endpoint=label,
                exchanges=int(chosen.sum()),
                statuses=dict(zip(statuses.tolist(), counts.tolist(), strict=True)),
                request_bytes=int(index.request_bytes[chosen].sum(dtype=np.int64)),
                response_bytes=int(index.response_bytes[chosen].sum(dtype=np.int64)),
            )
        )
    return tuple(sorted(accounts, key=lambda account: (-account.exchanges, account.endpoint)))
