"""How targets are connected to, and which exchange goes to whom."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from replayer.results import UInt16s
from replayer.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """
    How one target is connected to.

    ``tls`` is None for plain connections; ``tls_http2`` offers HTTP/2.
    """

    target: Target
    tls: ssl.SSLContext | None
    timeout_ns: int
    tls_http2: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dials:
    """
    How each service is connected to.

    ``service`` numbers, for each row of a schedule, its place in ``each``; None when there is one.
    All exchanges of a connection are of one service.
    """

    each: tuple[Dial, ...]
    service: UInt16s | None = None

    @property
    def timeout_ns(self) -> int:
        """How long a connection or a response is waited for."""
        return self.each[0].timeout_ns
