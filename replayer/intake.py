"""
Responses of plain HTTP/1.1 connections, read by one loop of our own instead of a callback for each.

The event loop sees one descriptor that stands for all of these connections. What is usual (a response that
comes whole, with a head that was parsed before) is noted right here, and while rows are late the
connection takes the next at once; the connection sees to everything else.
"""

from __future__ import annotations

import select
import sys
from asyncio import AbstractEventLoop
from contextlib import suppress
from os import read
from time import monotonic_ns
from typing import Protocol

from replayer.backlog import Backlog
from replayer.columns import Columns
from replayer.connection import IDLE, Connection
from replayer.heads import KnownHeads
from replayer.results import Outcome

_READ_BYTES = 65_536
_MOST_ROUNDS = 64  # before the event loop looks after its other descriptors
_COMPLETED = int(Outcome.COMPLETED)


class _Owner(Protocol):
    """Sends what is due when pumped; ``starved`` tells of rows that wait, ``heads`` were parsed before."""

    next_due_ns: int
    starved: bool
    heads: KnownHeads

    def pump(self) -> None:
        """Send everything that is due."""

    def released(self, connection: Connection) -> None:
        """A response came and the connection can take another request."""


class Intake:
    """
    Reads connections until they are forgotten, and sends the rows of ``backlog`` meanwhile.

    Needs epoll, as Linux has it.
    """

    def __init__(self, loop: AbstractEventLoop, owner: _Owner, columns: Columns, backlog: Backlog) -> None:
        self._loop = loop
        self._owner = owner
        self._columns = columns
        self._backlog = backlog
        self._connections: dict[int, Connection] = {}
        self._epoll = select.epoll()
        loop.add_reader(self._epoll.fileno(), self._readable)

    def add(self, fd: int, connection: Connection) -> None:
        """Read ``fd`` for ``connection``, in place of the event loop."""
        self._connections[fd] = connection
        self._epoll.register(fd, select.EPOLLIN)

    def forget(self, fd: int, connection: Connection) -> None:
        """Read it no more; ``fd`` may belong to another connection by now."""
        if self._connections.get(fd) is connection:
            del self._connections[fd]
            with suppress(OSError):  # closed, so the kernel has forgotten it too
                self._epoll.unregister(fd)

    def close(self) -> None:
        """Read nothing more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _readable(self) -> None:
        """Take all that can be read, and again as long as rows wait for connections."""
        for _ in range(_MOST_ROUNDS):
            events = self._epoll.poll(0)
            if not events:
                return
            self._take(events)
            if not self._owner.starved:
                return
            if self._backlog.row >= self._backlog.stop:
                self._owner.pump()

    def _take(self, events: list[tuple[int, int]]) -> None:
        """Read each of ``events``; whoever is due meanwhile is sent before the next is read."""
        columns, owner, backlog = self._columns, self._owner, self._backlog
        connections, heads, zero_ns = self._connections, owner.heads.known, columns.zero_ns
        sent_ns, first_byte_ns, done_ns = columns.sent_ns, columns.first_byte_ns, columns.done_ns
        outcome, status, response_bytes = columns.outcome, columns.status, columns.response_bytes
        for fd, _ in events:
            connection = connections.get(fd)
            if connection is None:
                continue  # closed since
            try:
                data = read(fd, _READ_BYTES)
            except OSError as error:
                self._failed(fd, connection, error)
                continue
            end = data.find(b"\r\n\r\n") + 4
            known = heads.get(data[:end])
            if (
                known is None
                or len(data) - end != known[1]
                or not connection.quick
                or columns.unfinished == 1  # the last has more to it
            ):
                self._pass_on(fd, connection, data)
                continue
            row = connection.row
            now_ns = first_byte_ns[row] = done_ns[row] = monotonic_ns() - zero_ns
            status[row], response_bytes[row] = known
            outcome[row] = _COMPLETED
            columns.unfinished -= 1
            spares = connection.spares
            if backlog.row < backlog.stop and spares is backlog.spares:
                row = connection.row = backlog.row
                backlog.row = row + 1
                place = row - backlog.first
                sent_ns[row] = monotonic_ns() - zero_ns
                connection.put(backlog.wires[backlog.bounds[place] : backlog.bounds[place + 1]])
                continue
            connection.quick = False
            connection.row = IDLE
            if spares is None:
                owner.released(connection)
            else:
                spares.append(connection)
            if now_ns >= owner.next_due_ns:
                owner.pump()

    def _pass_on(self, fd: int, connection: Connection, data: bytes) -> None:
        """What is not so usual, or the end of what comes."""
        if data:
            connection.data_received(data)
            return
        self.forget(fd, connection)
        connection.eof_received()
        connection.close()

    def _failed(self, fd: int, connection: Connection, error: OSError) -> None:
        if not isinstance(error, BlockingIOError):
            self.forget(fd, connection)
            connection.broken()


def make_intake(
    loop: AbstractEventLoop, owner: _Owner, columns: Columns, backlog: Backlog, platform: str = sys.platform
) -> Intake | None:
    """What reads the connections of ``owner``; None where the event loop has to."""
    return Intake(loop, owner, columns, backlog) if platform == "linux" else None
