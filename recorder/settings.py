"""What one recording does, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from captures.units import MIB
from recorder.account import Account
from recorder.facts import TlsTally
from recorder.latency import LatencyHistogram
from recorder.modes import ListenAddress, Mode, Routes
from recorder.options import Choices

MAX_BODY_BYTES = 16 * MIB
LARGEST_MAX_BODY_BYTES = 60 * MIB  # two bodies of this and their heads fit the format's largest block
MAX_WORKERS = 64
DRAIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderSettings:
    """
    What one recording does.

    Every mode has an address. Bodies above ``max_body_bytes`` pass whole and are stored cut.
    ``upstream_ca`` is a PEM file that the upstream's certificate is checked with, instead of the
    system's. ``duration_ns`` ends the recording by itself. At the end, requests get ``drain_s``
    to be answered. With several ``workers`` as many processes share the connections. ``metrics``
    is where counters are served. ``choices`` say what is kept of the traffic.
    """

    modes: tuple[Mode, ...]
    output: Path
    confdir: Path
    routes: Routes = field(default_factory=Routes)
    choices: Choices = field(default_factory=Choices)
    max_body_bytes: int = MAX_BODY_BYTES
    ssl_insecure: bool = False
    upstream_ca: Path | None = None
    duration_ns: int | None = None
    drain_s: float = DRAIN_S
    workers: int = 1
    metrics: ListenAddress | None = None

    @property
    def source(self) -> str:
        """Where the traffic came from, for the capture's header."""
        return "record " + " ".join(mode.spec for mode in self.modes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """
    What a recording came to.

    ``added`` is the proxy's own time per exchange, empty if not known. ``hurried``: the user did
    not want to wait for requests on their way.
    """

    account: Account
    added: LatencyHistogram
    tls: TlsTally
    hurried: bool = False
