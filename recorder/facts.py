"""What a recorder knows beside the exchanges: TLS of its connections, and its own time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from mitmproxy.connection import Connection

from captures.model import RecorderFacts
from recorder.latency import LatencyHistogram

_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(slots=True)
class TlsTally:
    """Counts TLS connections of one proxy by version, cipher and ALPN protocol."""

    client: Counter[str] = field(default_factory=Counter)
    server: Counter[str] = field(default_factory=Counter)


def facts_of(added: LatencyHistogram, tallies: Iterable[TlsTally]) -> RecorderFacts:
    """The facts of one recording, from each of its proxies."""
    client: Counter[str] = Counter()
    server: Counter[str] = Counter()
    for tally in tallies:
        client += tally.client
        server += tally.server
    added_ns = {name: added.quantile_ns(share) for name, share in _SHARES.items()} | {"max": added.max_ns}
    return RecorderFacts(
        added_ns=added_ns if added.count else {}, client_tls=dict(client), server_tls=dict(server)
    )


def tls_of(connection: Connection) -> str:
    """What a connection agreed on, such as ``"TLSv1.3 TLS_AES_256_GCM_SHA384 h2"``."""
    alpn = (connection.alpn or b"").decode("ascii", errors="replace")
    return " ".join(part for part in (connection.tls_version, connection.cipher, alpn) if part)
