"""What a replay is asked for."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from enum import StrEnum

from replayer.credentials import Keyring
from replayer.identities import MakeIdentities
from replayer.keeping import Keep
from replayer.load import Load
from replayer.manners import Manners
from replayer.results import Limits
from replayer.services import Service
from replayer.targets import Target

CHAINS_AUTO_MAX = 200_000  # exchanges; a larger capture takes minutes to analyse


class UseChains(StrEnum):
    """Whether values that the target mints are looked for and followed."""

    AUTO = "auto"  # in captures that are analysed in seconds
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """
    What a replay is asked for.

    ``recorded_host`` and ``recorded_sni`` keep the capture's own Host header and TLS server
    name; otherwise the target's are used. ``services`` say where the traffic recorded for each host
    goes, in place of ``target``, which is that of the first one then. ``tls`` is None for a plain
    target, ``tls_http2`` is the same but for offering HTTP/2; without it a TLS target is never asked
    for that. ``workers`` processes send. ``mark`` is the value of a header that tells replayed
    requests apart, empty for none; ``ids_key`` the run's secret for fresh ids, empty to send them as
    recorded; ``identities`` makes those of further copies, None to send them as recorded; ``keep`` says
    which responses the run keeps, None for none.
    """

    target: Target
    load: Load
    tls: ssl.SSLContext | None
    timeout_ns: int
    tls_http2: ssl.SSLContext | None = None
    keyring: Keyring = field(default_factory=Keyring)
    limits: Limits = field(default_factory=Limits)
    recorded_host: bool = False
    recorded_sni: bool = False
    workers: int = 1
    chains: UseChains = UseChains.AUTO
    manners: Manners = field(default_factory=Manners)
    mark: bytes = b""
    ids_key: bytes = b""
    services: tuple[Service, ...] = ()
    keep: Keep | None = None
    identities: MakeIdentities | None = None

    @property
    def destinations(self) -> tuple[Service, ...]:
        """Where traffic goes: one entry for each service, or one for everything."""
        everything = Service(host="", target=self.target, tls=self.tls, tls_http2=self.tls_http2)
        return self.services or (everything,)
