"""Captures of several services: which exchange goes to which target."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from captures.errors import UsageError
from captures.model import Exchange
from replayer.dial import Dial, Dials
from replayer.results import UInt16s
from replayer.schedule import Schedule
from replayer.targets import Target

_LISTED_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """
    One target and what goes there: what was recorded for ``host``, everything when that is empty.

    ``host`` is lower case, with or without a port; without one it means every port. ``tls`` is None
    for a plain target, ``tls_http2`` is the same but for offering HTTP/2.
    """

    host: str
    target: Target
    tls: ssl.SSLContext | None
    tls_http2: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Routing:
    """
    Which service the exchanges of a schedule are of.

    ``endpoints`` has the labels that the schedule's endpoint numbers count into, as the capture has
    them; ``service_of`` has for each the place of its service in ``services``.
    """

    services: tuple[Service, ...]
    endpoints: tuple[str, ...]
    service_of: tuple[int, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """For each endpoint the host it was recorded for; empty when there is but one target for all."""
        if not any(service.host for service in self.services):
            return ()
        return tuple(self.services[place].host for place in self.service_of)

    @property
    def labels(self) -> tuple[str, ...]:
        """The endpoints' labels with the host of their service, where there are several."""
        hosts = self.hosts
        if not hosts:
            return self.endpoints
        named = zip(self.endpoints, hosts, strict=True)
        return tuple(label.replace(" ", f" {host}", 1) for label, host in named)

    @property
    def text(self) -> str:
        """Where all of it goes, in words for a run."""
        return ", ".join(
            f"{service.host}={service.target.url}" if service.host else service.target.url
            for service in self.services
        )

    def service(self, schedule: Schedule) -> UInt16s:
        """For each row of ``schedule`` (or of a worker's part of it) the place of its service; uint16."""
        return np.asarray(self.service_of, np.uint16)[schedule.endpoint]

    def counts(self, schedule: Schedule) -> tuple[tuple[Service, int], ...]:
        """Each service with how many exchanges of ``schedule`` are its own."""
        found = np.bincount(self.service(schedule), minlength=len(self.services)).tolist()
        return tuple(zip(self.services, found, strict=True))

    def dials(self, schedule: Schedule, timeout_ns: int) -> Dials:
        """How the targets of ``schedule`` are connected to."""
        each = tuple(
            Dial(target=one.target, tls=one.tls, tls_http2=one.tls_http2, timeout_ns=timeout_ns)
            for one in self.services
        )
        return Dials(each=each, service=self.service(schedule) if len(each) > 1 else None)


def routed(
    schedule: Schedule,
    services: Sequence[Service],
    endpoints: Sequence[str],
    exchanges: Iterable[Exchange],
) -> tuple[Schedule, Routing]:
    """
    ``schedule`` with the endpoints and connections of each service apart, and where its rows go.

    ``exchanges`` are those of the capture, from before the first to after the last scheduled one. They
    are read only if ``services`` are named.

    Raises:
        UsageError: something is to be sent that was recorded for a host which no service names.

    """
    if not any(service.host for service in services):
        return schedule, Routing(
            services=tuple(services), endpoints=tuple(endpoints), service_of=(0,) * len(endpoints)
        )
    place_of = _places(schedule, services, exchanges)
    count = len(services)
    kinds, endpoint = np.unique(schedule.endpoint.astype(np.int64) * count + place_of, return_inverse=True)
    _, connection = np.unique(schedule.connection.astype(np.int64) * count + place_of, return_inverse=True)
    routing = Routing(
        services=tuple(services),
        endpoints=tuple(endpoints[kind // count] for kind in kinds.tolist()),
        service_of=tuple(kind % count for kind in kinds.tolist()),
    )
    apart = replace(schedule, endpoint=endpoint.astype(np.uint32), connection=connection.astype(np.uint32))
    return apart, routing


def _places(schedule: Schedule, services: Sequence[Service], exchanges: Iterable[Exchange]) -> UInt16s:
    """For each row the place of its service."""
    by_host = {service.host: place for place, service in enumerate(services)}
    wanted = np.unique(schedule.seq)
    places = np.zeros(len(wanted), np.uint16)
    known: dict[bytes, int | None] = {}
    strangers: Counter[str] = Counter()
    for exchange in exchanges:
        at = int(np.searchsorted(wanted, exchange.seq))
        if at == len(wanted) or wanted[at] != exchange.seq:
            continue
        authority = exchange.request.authority
        if authority not in known:
            name = authority.decode("latin-1").lower()
            known[authority] = by_host.get(name, by_host.get(_without_port(name)))
        place = known[authority]
        if place is None:
            strangers[authority.decode("latin-1").lower()] += 1
        else:
            places[at] = place
    if strangers:
        names = [host or "(no host)" for host, _ in strangers.most_common(_LISTED_MAX)]
        more = f" and {len(strangers) - _LISTED_MAX} more" if len(strangers) > _LISTED_MAX else ""
        raise UsageError(
            f"No --target names {', '.join(names)}{more}, which {strangers.total()} exchanges were recorded "
            "for; add --target HOST=URL for each, or leave them out with --match host=HOST."
        )
    found: UInt16s = places[np.searchsorted(wanted, schedule.seq)]
    return found


def _without_port(authority: str) -> str:
    host, colon, port = authority.rpartition(":")
    return host if colon and port.isdigit() else authority
