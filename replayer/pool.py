"""The connections of a replay: one for each recorded one, and spares for when it is busy."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Collection
from typing import TypeAlias

import numpy as np

from captures.units import NS_PER_S
from replayer.answers import Answered
from replayer.columns import Columns
from replayer.connection import IDLE, Connection
from replayer.dial import Dials, unreachable
from replayer.heads import KnownHeads
from replayer.http2 import USUAL_STREAMS, Http2Connection
from replayer.http2_streams import Sending
from replayer.intake import Intake
from replayer.reasons import OUR_SHORTAGES, os_reason
from replayer.results import NEVER_DUE_NS, NEVER_NS, Outcome, UInt32s
from replayer.streams import Events, Opened, Socket

_MOST_RESERVE = 64
_Like = tuple[int, str, bool]  # service, server name and whether it is HTTP/2: what makes connections alike
AnyConnection: TypeAlias = Connection | Http2Connection
"""A connection of either version; ``row`` is ``IDLE`` while it takes another request."""


class Pool:
    """
    Opens, finds and closes connections, to one target or several.

    A recorded connection is opened when ``prepare`` says that it will be needed, and closed after its last
    exchange. When it is busy at due time the exchange goes on a spare one; a few of these are kept open
    ahead of need. Connections that the target closed are opened anew while more exchanges are announced
    for them. An exchange whose connection this machine could not open is dropped; ``shortages`` counts
    these by reason. When it is ``pooled`` every exchange goes on any connection that is free, and as many
    as were recorded stand ready at the start. HTTP/2 connections take many exchanges at once, until the
    target takes no more. ``starved`` says that a row waits, ``behind`` that there is no time to open ahead.
    """

    def __init__(
        self,
        *,
        dials: Dials,
        columns: Columns,
        connection: UInt32s,
        pump: Callable[[], None],
        pooled: bool = False,
    ) -> None:
        numbers, counts = np.unique(connection, return_counts=True)
        self._remaining = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        self._announced: dict[int, int] = {}
        self._dials = dials.each
        self._addresses = [dial.target.addresses[0] for dial in dials.each]
        # the service of each connection, spares included, that is not of the first
        self._service_of: dict[int, int] = {}
        self._services = [0]
        if (service := dials.service) is not None:
            apart = np.flatnonzero(service)
            self._service_of.update(zip(connection[apart].tolist(), service[apart].tolist(), strict=True))
            self._services = np.unique(service).tolist()
        self._columns = columns
        self._loop = asyncio.get_running_loop()
        self._recorded: dict[int, AnyConnection] = {}
        self._spares: dict[_Like, list[AnyConnection]] = {}
        self._all: set[AnyConnection] = set()
        self._streaming: set[Connection] = set()  # in no sweep, since nothing there can time out
        self._dialling: set[asyncio.Task[None]] = set()
        self._reserve = min(4, max(1, len(numbers) // 2))
        self._stopped = False
        self._spares_made = 0
        self._opened: set[int] = set()
        self.pump = pump
        self._pooled = pooled
        self.answered: Answered = lambda *_: None  # nobody depends on any
        self.stream_opened: Opened = lambda *_, **__: None  # nobody listens
        self.heads = KnownHeads()
        self.intake: Intake | None = None
        self.next_due_ns = NEVER_DUE_NS
        self.starved = self.behind = False
        self.spares_used: set[int] = set()
        self.spare_exchanges = self.reconnections = self.resent = self.http2_open = 0
        self.streams_max = USUAL_STREAMS
        self.shortages: Counter[str] = Counter()

    @property
    def streams(self) -> int:
        """Exchanges that wait for the end of a stream alone."""
        return len(self._streaming) + self.http2_open

    def default_name(self, number: int) -> str:
        """The server name of the connection ``number`` where no recorded one decides."""
        return self._dials[self._service_of.get(number, 0)].target.host

    async def probe(self, http2: Collection[int] = ()) -> None:
        """
        Open a first connection to each target, at the first address that takes one; it becomes a spare.

        ``http2`` has the services whose first exchange goes over HTTP/2.

        Raises:
            HookreelError: a target cannot be reached, or TLS fails.

        """
        for service in self._services:
            await self._probe(service, http2=service in http2)

    async def _probe(self, service: int, *, http2: bool) -> None:
        target = self._dials[service].target
        failure: Exception | None = None
        for address in target.addresses:
            self._addresses[service] = address
            connection = self._new(self._spare_number(service), target.host, http2=http2)
            try:
                await self._connect(connection)
            except (OSError, TimeoutError) as error:
                self._all.discard(connection)
                if isinstance(error, ssl.SSLError):
                    raise unreachable(target, error) from error
                failure = error
            else:
                self._spares.setdefault((service, target.host, http2), []).append(connection)
                return
        raise unreachable(target, failure)

    def prepare(self, number: int, server_name: str, *, http2: bool = False) -> None:
        """Say that an exchange of the recorded connection ``number`` comes soon."""
        if self._pooled:
            return
        self._announced[number] = self._announced.get(number, 0) + 1
        known = self._recorded.get(number)
        if known is None or known.closed:
            self._open_recorded(number, server_name, http2=http2)

    def announce(self, number: int) -> bool:
        """Say so too; False when its connection has to be prepared first, and nothing was noted."""
        known = self._recorded.get(number)
        if known is None or known.closed:
            return self._pooled
        self._announced[number] = self._announced.get(number, 0) + 1
        return True

    def take_own(self, number: int) -> AnyConnection | None:
        """Its own connection for an exchange of ``number`` that is due now, if that stands and is free."""
        own = self._recorded.get(number)
        if own is None or own.row != IDLE or own.closed or own.http2:
            return None
        self._count(number)
        return own

    @property
    def common_spares(self) -> list[AnyConnection] | None:
        """The spares of which any will do for any HTTP/1.1 exchange; None when it is not so simple."""
        if not self._pooled or len(self._dials) > 1:
            return None
        return self._spares.get(self._like(0, self.default_name(0), http2=False))

    def _count(self, number: int) -> None:
        self._remaining[number] -= 1
        announced = self._announced.get(number, 0)
        if announced > 1:
            self._announced[number] = announced - 1
        elif announced:
            del self._announced[number]

    def take(self, number: int, server_name: str, *, http2: bool = False) -> AnyConnection:
        """A connection for an exchange of ``number`` that is due now: its own, or a spare one."""
        if self._pooled:
            return self._take_spare(self._like(number, server_name, http2=http2))
        self._count(number)
        own = self._recorded.get(number)
        if own is None or own.closed:
            own = self._open_recorded(number, server_name, http2=http2)
        if own.row == IDLE and own.http2 is http2:
            return own
        self.spare_exchanges += 1
        spare = self._take_spare(self._like(number, server_name, http2=http2))
        self.spares_used.add(spare.number)
        return spare

    def skip(self, number: int, *, announced: bool = True) -> None:
        """Say that an exchange of ``number`` will not be sent; one that has no bytes was never announced."""
        if announced:
            self._count(number)
        else:
            self._remaining[number] -= 1
        own = self._recorded.get(number)
        if not self._remaining[number] and own is not None and own.row == IDLE:
            own.close()

    def must_open(self, number: int, server_name: str, *, http2: bool = False) -> bool:
        """Whether ``take`` would have to open a spare connection, as all that stand are busy."""
        own = self._recorded.get(number)
        if not self._pooled and (own is None or own.closed or (own.row == IDLE and own.http2 is http2)):
            return False
        like = self._like(number, server_name, http2=http2)
        return not any(spare.connected for spare in reversed(self._spares.get(like, ())))

    async def dialled(self) -> None:
        """Wait until no connection is being opened."""
        while self._dialling:
            await asyncio.wait(self._dialling)

    def open_reserve(self, http2: Collection[int] = ()) -> None:
        """Open spares ahead of need; ``http2`` as for ``probe``."""
        ready = min(_MOST_RESERVE, len(self._remaining)) if self._pooled else self._reserve
        for service in self._services:
            like = (service, self._dials[service].target.host, service in http2)
            spares = self._spares.setdefault(like, [])
            while len(spares) < ready:
                spares.append(self._open_spare(like))

    # -- what connections call -------------------------------------------------------------

    def made(self, connection: AnyConnection) -> None:
        """Count a recorded connection that stands for a second time."""
        if connection.number >= 0:
            self.reconnections += connection.number in self._opened
            self._opened.add(connection.number)

    def released(self, connection: AnyConnection) -> None:
        """Keep a connection for its next exchange, or close it after its last."""
        if self._streaming and connection in self._streaming:
            self._streaming.remove(connection)
            self._all.add(connection)
        if connection.number < 0:
            like = self._like(connection.number, connection.server_name, http2=connection.http2)
            spares = self._spares.setdefault(like, [])
            if not connection.http2 or connection not in spares:  # only HTTP/2 ones may be there
                spares.append(connection)
        elif not self._remaining[connection.number]:
            connection.close()
        if self.starved:
            self.starved = False
            self._loop.call_soon(self.pump)  # once for all that can be read now

    def opened(
        self, connection: Connection, head: bytes, length_ns: int | None, *, socket: bool
    ) -> Socket | Events | None:
        """Leave a connection to its stream."""
        self._all.discard(connection)
        self._streaming.add(connection)
        return self.stream_opened(connection, head, length_ns, socket=socket)

    def resend(self, connection: Http2Connection, sending: Sending) -> None:
        """Send on a spare connection what ``connection`` did not take."""
        if sending.again:
            self.resent += 1
        else:
            self.spare_exchanges += 1
        spare = self._take_spare(self._like(connection.number, connection.server_name, http2=True))
        self.spares_used.add(spare.number)
        if isinstance(spare, Http2Connection):
            spare.take(sending)

    def lost(self, connection: AnyConnection) -> None:
        """Forget a connection; open it anew when an exchange is announced for it."""
        self._all.discard(connection)
        self._streaming.discard(connection)
        number = connection.number
        if self._stopped or number < 0 or self._recorded.get(number) is not connection:
            return
        del self._recorded[number]
        # A target that takes connections and closes them unused must not be stormed.
        if self._announced.get(number) and connection.exchanges:
            self._open_recorded(number, connection.server_name, http2=connection.http2)

    # -- the run's housekeeping ------------------------------------------------------------

    def sweep(self, now_ns: int, timeout_ns: int) -> None:
        """Give up exchanges that have waited longer than ``timeout_ns``."""
        for connection in list(self._all):
            connection.expire(now_ns, timeout_ns)

    def end_endless_streams(self, waiting: int) -> None:
        """Close the streams that have no recorded end, if nothing else is among ``waiting`` rows."""
        endless = [one for one in self._streaming if one.endless]
        others = [one for one in self._all if one.http2 and one.endless]
        if len(endless) + sum(one.endless for one in others) != waiting or not waiting:
            return
        for connection in endless:
            connection.end_stream(connection.row)
        for other in others:
            other.end_endless()

    async def close(self) -> None:
        """Close all connections; exchanges that still wait were interrupted."""
        self._stopped = True
        failed: list[Exception] = []
        for task in self._dialling:
            task.cancel()
        for connection in [*self._all, *self._streaming]:
            try:
                connection.give_up(Outcome.INTERRUPTED, NEVER_NS)
            except Exception as error:  # noqa: BLE001  an event loop with open connections cannot be closed
                failed.append(error)
                connection.abort()
        if self._dialling:
            await asyncio.wait(self._dialling)
        for _ in range(100):  # transports tell their protocols in later iterations
            if not any(connection.attached for connection in (*self._all, *self._streaming)):
                break
            await asyncio.sleep(0.001)
        if failed:
            raise failed[0]

    # -- opening ---------------------------------------------------------------------------

    def _like(self, number: int, server_name: str, *, http2: bool) -> _Like:
        return self._service_of.get(number, 0), server_name, http2

    def _take_spare(self, like: _Like) -> AnyConnection:
        """The spare that was free last, or one that is being opened, or a new one; and see to the reserve."""
        spares = self._spares.setdefault(like, [])
        dialled: list[AnyConnection] = []
        taken: AnyConnection | None = None
        while spares and taken is None:
            spare = spares.pop()
            if spare.closed or spare.row != IDLE:
                continue
            if spare.connected:
                taken = spare
            else:
                dialled.append(spare)
        spares += reversed(dialled)
        if taken is None:
            self._reserve = min(self._reserve + 1, _MOST_RESERVE)
            taken = spares.pop(0) if spares else self._open_spare(like)
        if len(spares) < self._reserve and not self.behind:
            spares.append(self._open_spare(like))
        return taken

    def _spare_number(self, service: int) -> int:
        self._spares_made += 1
        if service:
            self._service_of[-self._spares_made] = service
        return -self._spares_made

    def _open_spare(self, like: _Like) -> AnyConnection:
        service, server_name, http2 = like
        return self._open(self._spare_number(service), server_name, http2=http2)

    def _open_recorded(self, number: int, server_name: str, *, http2: bool) -> AnyConnection:
        connection = self._recorded[number] = self._open(number, server_name, http2=http2)
        return connection

    def _new(self, number: int, server_name: str, *, http2: bool) -> AnyConnection:
        connection = (Http2Connection if http2 else Connection)(
            columns=self._columns, owner=self, loop=self._loop, number=number, server_name=server_name
        )
        self._all.add(connection)
        if number < 0 and isinstance(connection, Connection):
            connection.spares = self._spares.setdefault(self._like(number, server_name, http2=False), [])
        return connection

    def _open(self, number: int, server_name: str, *, http2: bool) -> AnyConnection:
        connection = self._new(number, server_name, http2=http2)
        task = self._loop.create_task(self._dial_for(connection))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return connection

    async def _dial_for(self, connection: AnyConnection) -> None:
        outcome, shortage = Outcome.CONNECT_FAILED, ""
        try:
            await self._connect(connection)
        except ssl.SSLError:
            outcome = Outcome.TLS_FAILED
        except ConnectionRefusedError:
            pass
        except (ConnectionResetError, ConnectionAbortedError):  # in the handshake, if there is one
            secure = self._dials[self._service_of.get(connection.number, 0)].tls is not None
            outcome = Outcome.TLS_FAILED if secure else outcome
        except (OSError, TimeoutError) as error:
            if error.errno in OUR_SHORTAGES:
                outcome, shortage = Outcome.DROPPED, os_reason(error)
        else:
            return
        self._all.discard(connection)
        waiting = connection.connect_failed(outcome)
        if shortage:
            self.shortages[shortage] += waiting

    async def _connect(self, connection: AnyConnection) -> None:
        service = self._service_of.get(connection.number, 0)
        dial = self._dials[service]
        tls = dial.tls_http2 if connection.http2 else dial.tls
        async with asyncio.timeout(dial.timeout_ns / NS_PER_S):
            await self._loop.create_connection(
                lambda: connection,
                self._addresses[service],
                dial.target.port,
                ssl=tls,
                server_hostname=connection.server_name if tls is not None else None,
            )
