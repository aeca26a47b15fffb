"""
Looking on while a run goes on, from a process of its own.

Whoever sends writes its results into memory that all processes share, and knows of no onlooker:
it is asked nothing, so it is not late for it. The onlooker runs at a lower priority.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from time import monotonic_ns
from typing import Protocol

import click
from rich.console import Console

from captures.errors import UsageError
from captures.units import NS_PER_S
from replayer.board import Board
from replayer.live_meter import Meter, Pulse, Reading
from replayer.live_terminal import LinesView, TerminalView
from replayer.schedule import Schedule

_NICENESS = 10
_UNTIL_START_S = 0.05
_LONG_NS = 10 * NS_PER_S  # a shorter run has no line to write
_JOIN_S = 5.0


class View(Protocol):
    """Something that shows how a run goes."""

    async def open(self) -> None:
        """Begin; called in the onlooker's process, in a running event loop."""

    def show(self, reading: Reading, fresh: Sequence[Pulse], /) -> None:
        """Show a reading; ``fresh`` are the seconds that ended since the one before."""

    async def close(self) -> None:
        """The run is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Onlooker:
    """
    What shows a run while it goes: a terminal, lines in a log (both on stderr), a page on ``page``.

    ``page`` is a socket that listens, None for no page.
    """

    terminal: bool = False
    lines: bool = False
    page: socket.socket | None = None

    @contextmanager
    def looking_on(self, schedule: Schedule, board: Board, title: str) -> Iterator[None]:
        """
        Show what is written on ``board`` while this is open, if there is anybody to show it to.

        ``title`` says what is sent where.
        """
        makers = list(self._views(schedule, title))
        if not makers:
            yield
            return
        context = get_context("fork")  # what is shared is there already, and only forked
        ours, theirs = context.Pipe()
        process = context.Process(target=_look_on, args=(schedule, board, makers, ours, theirs), daemon=True)
        process.start()
        theirs.close()
        if self.page is not None:
            self.page.close()
        with suppress(EOFError):
            ours.recv()  # it has loaded what it needs, which would cost the first second's sends
        try:
            yield
        finally:
            ours.close()
            process.join(_JOIN_S)
            if process.is_alive():
                process.kill()
                process.join()

    def _views(self, schedule: Schedule, title: str) -> Iterator[Callable[[], View]]:
        if self.terminal:
            yield lambda: TerminalView(Console(stderr=True), title)
        elif self.lines and schedule.duration_ns >= _LONG_NS:
            yield lambda: LinesView(sys.stderr)
        if self.page is not None:
            yield partial(_page_view, self.page, title, schedule)


def _page_view(page: socket.socket, title: str, schedule: Schedule) -> View:
    # A web server takes a while to import, which a run without a page should not pay.
    from replayer.live_page import PageView  # noqa: PLC0415

    return PageView(page, title, schedule.load.stages)


def listening(place: str) -> socket.socket:
    """
    A socket that listens on ``8090`` or ``[::1]:8090``: a port of this machine, that nobody else can reach.

    Raises:
        UsageError: it is no such place, or the port is taken.

    """
    host, _, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not port.isdecimal() or not port.isascii() or int(port) > 65_535:
        raise UsageError(f"{place!r} is no port for the live page; write --live 8090, or 0 for any.")
    if host not in {"127.0.0.1", "localhost", "::1"}:
        raise UsageError(
            f"The live page is for this machine alone and cannot listen on {host}; write --live {port}, and "
            "reach it from elsewhere through ssh -L."
        )
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    try:
        return socket.create_server(("127.0.0.1" if host == "localhost" else host, int(port)), family=family)
    except OSError as error:
        reason = (error.strerror or "it cannot be listened on").lower()
        raise UsageError(f"Port {port} is not free for the live page ({reason}); give another.") from error


def address(page: socket.socket) -> str:
    """The address of a page in a browser."""
    host, port = page.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _look_on(
    schedule: Schedule,
    board: Board,
    makers: Sequence[Callable[[], View]],
    parents: Connection,
    pipe: Connection,
) -> None:
    """The whole life of the onlooker's process."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent ends the run, and this with it
        signal.signal(number, signal.SIG_IGN)
    parents.close()
    with suppress(OSError):
        os.nice(_NICENESS)
    gc.freeze()  # what was inherited is shared with the parent as long as nobody touches it
    try:
        asyncio.run(_show(schedule, board, makers, pipe))
    except BrokenPipeError:
        pass  # nobody reads the log any more
    except Exception as error:  # noqa: BLE001  the run goes on, whatever became of looking on
        click.echo(f"Note: the live view ended unexpectedly ({type(error).__name__}).", err=True)


async def _show(
    schedule: Schedule, board: Board, makers: Sequence[Callable[[], View]], pipe: Connection
) -> None:
    views = [make() for make in makers]
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), ended.set)
    meter = Meter(schedule, board.shares)
    for view in views:
        await view.open()
    pipe.send(None)
    try:
        while not ended.is_set():
            delay_s = _UNTIL_START_S
            if board.zero_ns is not None:
                now_ns = monotonic_ns() - board.zero_ns
                seen = len(meter.pulses)
                reading = meter.read(now_ns)
                for view in views:
                    view.show(reading, meter.pulses[seen:])
                delay_s = max(0.0, (board.zero_ns + meter.next_ns - monotonic_ns()) / NS_PER_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), delay_s)
        if board.zero_ns is not None:
            seen = len(meter.pulses)
            reading = meter.end(monotonic_ns() - board.zero_ns)
            for view in views:
                view.show(reading, meter.pulses[seen:])
    finally:
        for view in views:
            await view.close()
