"""How targets are connected to, and which exchange goes to whom."""

from __future__ import annotations

import errno
import ssl
from dataclasses import dataclass

from captures.errors import HookreelError
from replayer.reasons import OUR_SHORTAGES, os_reason, tls_reason
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


def unreachable(target: Target, failure: Exception | None) -> HookreelError:
    """What is told when no address of ``target`` took a connection; ``failure`` is the last one's."""
    if isinstance(failure, ssl.SSLError):
        return HookreelError(
            f"TLS with {target.url} failed ({tls_reason(failure)}); check --cacert, --cert and --sni."
        )
    if isinstance(failure, OSError) and failure.errno in OUR_SHORTAGES - {errno.EADDRNOTAVAIL}:
        return HookreelError(
            f"No connection can be opened on this machine ({os_reason(failure)}); raise its limits."
        )
    reason = "it does not answer" if isinstance(failure, TimeoutError) else os_reason(failure)
    return HookreelError(f"{target.url} cannot be reached ({reason}); start it or check --target.")
