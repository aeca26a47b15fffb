"""What ``hookreel info`` says about a capture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captures.credentials import find_credentials
from captures.model import CaptureHeader, Counters, Exchange, MessageKind, RecorderFacts, Response
from captures.reader import CaptureReader
from captures.signatures import recognise
from hookreel.timeline import MessageSteps, Traffic

BUSIEST = 20  # connections that are listed one by one
JSON_COLUMNS = 120
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_MESSAGE_BATCH = 1 << 16
_NONE_NS = -1  # the service time of an exchange that has none


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAccount:
    """
    Traffic of one endpoint; ``statuses`` counts by status, 0 for failures.

    ``service_time_ns`` has ``p50``, ``p90``, ``p99`` and ``max`` of the time from a request's
    first sight to its response's last byte; it is empty when there is no whole response.
    """

    endpoint: str
    exchanges: int
    statuses: dict[int, int]
    request_bytes: int
    response_bytes: int
    service_time_ns: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class ConnectionAccount:
    """One client connection: what it spoke and when it was used, in ns of the capture's clock."""

    connection: int
    http_version: str
    scheme: str
    first_ns: int
    last_ns: int
    exchanges: int = 0
    streams: int = 0

    @property
    def protocol(self) -> str:
        """Such as ``"HTTP/1.1 over TLS"``."""
        return f"{self.http_version} {'over TLS' if self.scheme == 'https' else 'in the clear'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAccount:
    """WebSocket and SSE streams; ``open`` are those that had not ended when the recording did."""

    websockets: int = 0
    event_streams: int = 0
    open: int = 0
    messages: int = 0
    from_client: int = 0
    message_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CutBodies:
    """
    Exchanges with a body that is not there whole, by why.

    ``kept_in_part``: the response came, and of a body only a part was kept (recorded with --max-body,
    or imported so). ``broken_off``: there is no whole response, so the body ended with the exchange.
    """

    kept_in_part: int = 0
    broken_off: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureAccount:
    """
    A capture in numbers.

    ``protocols`` counts connections by what their first request spoke, such as
    ``"HTTP/1.1 over TLS"``. ``recipients`` are the public keys that an encrypted capture is
    sealed to, ``facts`` what its recorder told. ``credentials`` counts requests by credential fingerprint,
    ``signing`` by ``"ENDPOINT scheme"``; neither holds a value. ``failures`` counts exchanges without
    a whole response by reason. ``counters`` is None when the file has no account. ``complete`` means
    that nothing is missing in the file (``problems``) and in what it was made from
    (``header.source_problems``).
    """

    header: CaptureHeader
    recipients: tuple[str, ...]
    exchanges: int
    connections: int
    duration_ns: int
    file_bytes: int
    complete: bool
    problems: tuple[str, ...]
    counters: Counters | None
    failures: dict[str, int]
    cut_bodies: CutBodies
    service_time_ns: dict[str, int]
    endpoints: tuple[EndpointAccount, ...]
    protocols: dict[str, int]
    busiest: tuple[ConnectionAccount, ...]
    streams: StreamAccount
    credentials: dict[str, int]
    signing: dict[str, int]
    facts: RecorderFacts | None
    traffic: Traffic = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Plain values; without the salt, which stays in the file."""
        header = asdict(self.header)
        del header["fingerprint_salt"]
        return {
            **header,
            "recipients": list(self.recipients),
            "exchanges": self.exchanges,
            "connections": self.connections,
            "duration_ns": self.duration_ns,
            "file_bytes": self.file_bytes,
            "complete": self.complete,
            "problems": list(self.problems),
            "counters": None if self.counters is None else asdict(self.counters),
            "failures": self.failures,
            "cut_bodies": asdict(self.cut_bodies),
            "service_time_ns": self.service_time_ns,
            "endpoints": [asdict(endpoint) for endpoint in self.endpoints],
            "protocols": self.protocols,
            "busiest_connections": [asdict(connection) for connection in self.busiest],
            "streams": asdict(self.streams),
            "credentials": self.credentials,
            "signing": self.signing,
            "recorder": None if self.facts is None else asdict(self.facts),
            "timeline": self.traffic.timeline(JSON_COLUMNS).as_json(),
        }


@dataclass(slots=True)
class _Tally:
    """What is counted while all exchanges are read once; memory grows with connections only."""

    salt: bytes
    credentials: Counter[str] = field(default_factory=Counter)
    signing: Counter[str] = field(default_factory=Counter)
    connections: dict[int, ConnectionAccount] = field(default_factory=dict)
    streams: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)

    def add(self, exchange: Exchange, label: str) -> int:
        """Counts one exchange; its service time in ns, or -1."""
        self._add_secrets(exchange, label)
        self._add_missing(exchange)
        return self._add_times(exchange, self._connection(exchange))

    def _add_secrets(self, exchange: Exchange, label: str) -> None:
        found = find_credentials(exchange.request.headers)
        for name in {credential.fingerprint(self.salt) for credential in found}:
            self.credentials[name] += 1
        recipe = exchange.signing or recognise(exchange.request.headers)
        if recipe is not None:
            self.signing[f"{label} {recipe.scheme}"] += 1

    def _add_missing(self, exchange: Exchange) -> None:
        outcome = exchange.outcome
        if not isinstance(outcome, Response):
            self.failures[outcome.reason.value] += 1
            self.cut["broken_off"] += exchange.request.truncated_bytes > 0
        elif exchange.request.truncated_bytes or outcome.truncated_bytes:
            self.cut["kept_in_part"] += 1

    def _connection(self, exchange: Exchange) -> ConnectionAccount:
        connection = self.connections.get(exchange.connection)
        if connection is None:
            connection = self.connections[exchange.connection] = ConnectionAccount(
                connection=exchange.connection,
                http_version=exchange.request.http_version.decode("latin-1"),
                scheme=exchange.request.scheme.decode("latin-1"),
                first_ns=exchange.offset_ns,
                last_ns=exchange.offset_ns,
            )
        connection.exchanges += 1
        return connection

    def _add_times(self, exchange: Exchange, connection: ConnectionAccount) -> int:
        outcome = exchange.outcome
        end_ns = outcome.end_ns if isinstance(outcome, Response) else outcome.offset_ns
        connection.last_ns = max(connection.last_ns, outcome.offset_ns, end_ns or 0)
        if not isinstance(outcome, Response):
            return _NONE_NS
        if outcome.stream:
            connection.streams += 1
            self.streams["websockets" if _is_websocket(outcome) else "event_streams"] += 1
            self.streams["open"] += outcome.end_ns is None
            return _NONE_NS
        return _NONE_NS if outcome.end_ns is None else max(0, outcome.end_ns - exchange.offset_ns)

    def protocols(self) -> dict[str, int]:
        """Connections by protocol, the most frequent first."""
        counts = Counter(connection.protocol for connection in self.connections.values())
        return dict(counts.most_common())

    def busiest(self) -> tuple[ConnectionAccount, ...]:
        """The connections with the most exchanges."""
        ranked = sorted(self.connections.values(), key=lambda item: (-item.exchanges, item.connection))
        return tuple(ranked[:BUSIEST])


def account_of(reader: CaptureReader) -> CaptureAccount:
    """Count a capture, by its index and by reading all requests and messages once."""
    labels, index = reader.endpoint_labels, reader.index
    tally = _Tally(reader.header.fingerprint_salt)
    service_ns = np.fromiter(
        (
            tally.add(exchange, labels[number])
            for number, exchange in zip(index.endpoint, reader.exchanges(), strict=True)
        ),
        np.int64,
        len(index),
    )
    traffic = Traffic(
        span_ns=reader.duration_ns,
        offset_ns=index.offset_ns,
        status=index.status,
        service_ns=service_ns,
        messages=MessageSteps(
            first_ns=int(index.offset_ns[0]) if len(index) else 0, span_ns=reader.duration_ns
        ),
    )
    _count_messages(reader, traffic.messages, tally.streams)
    return CaptureAccount(
        header=reader.header,
        recipients=reader.recipients,
        exchanges=len(reader),
        connections=len(np.unique(index.connection)),
        duration_ns=reader.duration_ns,
        file_bytes=reader.path.stat().st_size,
        complete=reader.complete and not reader.header.source_problems,
        problems=reader.problems,
        counters=reader.counters if reader.has_account else None,
        failures=dict(tally.failures.most_common()),
        cut_bodies=CutBodies(**tally.cut),
        service_time_ns=_service_time(service_ns),
        endpoints=_endpoints(reader, service_ns),
        protocols=tally.protocols(),
        busiest=tally.busiest(),
        streams=StreamAccount(**tally.streams),
        credentials=dict(tally.credentials.most_common()),
        signing=dict(tally.signing.most_common()),
        facts=reader.facts,
        traffic=traffic,
    )


def _count_messages(reader: CaptureReader, steps: MessageSteps, streams: Counter[str]) -> None:
    def offsets_ns() -> Iterator[int]:
        for message in reader.messages():
            if message.kind is not MessageKind.END:
                streams["messages"] += 1
                streams["from_client"] += message.from_client
                streams["message_bytes"] += len(message.payload)
                yield message.offset_ns

    offsets = offsets_ns()
    while batch := list(islice(offsets, _MESSAGE_BATCH)):
        steps.add(batch)


def _is_websocket(response: Response) -> bool:
    """By 101, or in HTTP/2 (RFC 8441) by a stream that says nothing of events."""
    if response.status == 101 or not response.http_version.startswith(b"HTTP/2"):
        return response.status == 101
    types = (value for name, value in response.headers if name.lower() == b"content-type")
    return not any(value.lower().startswith(b"text/event-stream") for value in types)


def _endpoints(reader: CaptureReader, service_ns: NDArray[np.int64]) -> tuple[EndpointAccount, ...]:
    index, accounts = reader.index, []
    order = np.argsort(index.endpoint, kind="stable")
    numbers, starts = np.unique(index.endpoint[order], return_index=True)
    for number, rows in zip(numbers, np.split(order, starts[1:]), strict=bool(len(order))):
        statuses, counts = np.unique(index.status[rows], return_counts=True)
        accounts.append(
            EndpointAccount(
                endpoint=reader.endpoint_labels[number],
                exchanges=len(rows),
                statuses=dict(zip(statuses.tolist(), counts.tolist(), strict=True)),
                request_bytes=int(index.request_bytes[rows].sum(dtype=np.int64)),
                response_bytes=int(index.response_bytes[rows].sum(dtype=np.int64)),
                service_time_ns=_service_time(service_ns[rows]),
            )
        )
    return tuple(sorted(accounts, key=lambda account: (-account.exchanges, account.endpoint)))


def _service_time(service_ns: NDArray[np.int64]) -> dict[str, int]:
    known_ns = service_ns[service_ns != _NONE_NS]
    if not len(known_ns):
        return {}
    values = np.quantile(known_ns, list(_QUANTILES.values()))
    return {name: round(float(value)) for name, value in zip(_QUANTILES, values, strict=True)}
