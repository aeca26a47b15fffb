"""One read of an HTTP/2 connection may bring much: what is due is not kept waiting for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from replayer.columns import Columns
from replayer.http2 import USUAL_STREAMS, Http2Connection
from replayer.http2_wire import FRAME_HEAD_BYTES, PREFACE, SETTINGS, pack_request
from replayer.load import Load
from replayer.results import NEVER_DUE_NS
from replayer.schedule import Schedule

_HEADERS = 1


class Event:
    """Something that the target said of no stream."""


class Owner:
    """Has something due from the start, once."""

    streams_max = USUAL_STREAMS

    def __init__(self, said: list[str]) -> None:
        self.next_due_ns = 0
        self._said = said

    def pump(self) -> None:
        self._said.append("send")
        self.next_due_ns = NEVER_DUE_NS

    def made(self, connection: Http2Connection) -> None:
        pass

    def released(self, connection: Http2Connection) -> None:
        pass


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return Plain() if name == "socket" else None

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def frames(self) -> list[int]:
        """The kinds of the frames after the preface."""
        kinds, at = [], len(PREFACE)
        while at < len(self.written):
            kinds.append(self.written[at + 3])
            at += FRAME_HEAD_BYTES + int.from_bytes(self.written[at : at + 3], "big")
        return kinds


class Plain:
    def fileno(self) -> int:
        return -1


def one_row() -> Schedule:
    return Schedule(
        seq=np.zeros(1, np.int64),
        due_ns=np.zeros(1, np.int64),
        endpoint=np.zeros(1, np.uint32),
        connection=np.zeros(1, np.uint32),
        recorded_status=np.zeros(1, np.uint16),
        instance=np.zeros(1, np.uint32),
        load=Load(),
        pace=Fraction(1),
    )


def test_what_is_due_is_sent_between_the_events_of_one_read(monkeypatch: Any) -> None:
    """A due send comes before the next event, not after the last, and only as long as something is due."""
    said: list[str] = []

    async def run() -> None:
        owner = Owner(said)
        connection = Http2Connection(
            columns=Columns(one_row(), lambda: None),
            owner=owner,  # type: ignore[arg-type]
            loop=asyncio.get_running_loop(),
            number=0,
            server_name="",
        )
        connection.connection_made(Transport())
        monkeypatch.setattr(
            type(connection._streams), "receive", lambda *_: ([Event(), Event(), Event()], [])
        )

        def handle(_self: Http2Connection, _event: Event) -> None:
            said.append("event")
            if said.count("event") == 2:
                owner.next_due_ns = 0  # comes due while the second is handled

        monkeypatch.setattr(Http2Connection, "_handle", handle)
        connection.data_received(b"")

    asyncio.run(run())
    assert said == ["send", "event", "event", "send", "event"]


def at_once(streams: int) -> bytes:
    """A SETTINGS frame that permits so many streams at once."""
    return b"\0\0\x06" + bytes([SETTINGS]) + bytes(5) + b"\0\x03" + streams.to_bytes(4, "big")


def test_what_is_due_while_the_target_takes_less_waits_for_its_word(exchange: Callable[..., Any]) -> None:
    """A limit that was lowered in the very read before whose end a request is due holds for that request."""

    async def run() -> None:
        owner = Owner([])
        columns = Columns(one_row(), lambda: None)
        connection = Http2Connection(
            columns=columns,
            owner=owner,  # type: ignore[arg-type]
            loop=asyncio.get_running_loop(),
            number=0,
            server_name="",
        )
        transport = Transport()
        connection.connection_made(transport)
        connection.data_received(at_once(1))
        wire = pack_request(exchange().request)
        owner.next_due_ns = columns.now_ns()
        owner.pump = lambda: connection.send(0, wire)  # type: ignore[method-assign]
        connection.data_received(at_once(0))
        assert _HEADERS not in transport.frames()
        owner.next_due_ns = NEVER_DUE_NS
        connection.data_received(at_once(1))
        assert transport.frames().count(_HEADERS) == 1

    asyncio.run(run())
