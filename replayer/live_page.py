"""The live page: charts of a run in a browser of this machine, told over server-sent events."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from aiohttp import web

from replayer.live_meter import Pulse, Reading
from replayer.stages import Stage

_MOST_PULSES = 3600  # an hour is told to whoever comes late; the run itself has all
_FILES = {
    "/": ("live.html", "text/html"),
    "/live.css": ("live.css", "text/css"),
    "/live.js": ("live.js", "text/javascript"),
    "/uPlot.min.css": ("uplot/uPlot.min.css", "text/css"),
    "/uPlot.iife.min.js": ("uplot/uPlot.iife.min.js", "text/javascript"),
}
# Everything comes from here, and nothing can be sent anywhere else.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_GOODBYE_S = 1.0


class PageView:
    """
    Serves the page on ``page``, a socket that listens.

    It answers to the names of this machine alone, so that no other site can have a browser ask it
    under a name of its own.
    """

    def __init__(self, page: socket.socket, title: str, stages: Sequence[Stage]) -> None:
        self._page = page
        port = page.getsockname()[1]
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        starts = [{"name": stage.text, "start_ns": stage.start_ns} for stage in stages]
        self._title = _event("title", {"title": title, "stages": starts})
        self._pulses: list[dict[str, Any]] = []
        self._reading: Reading | None = None
        self._listeners: set[asyncio.Queue[bytes | None]] = set()
        self._telling: set[asyncio.Task[Any]] = set()
        self._runner = web.ServerRunner(web.Server(self._answer), access_log=None)

    async def open(self) -> None:
        """Answer from now on."""
        await self._runner.setup()
        await web.SockSite(self._runner, self._page).start()

    def show(self, reading: Reading, fresh: Sequence[Pulse]) -> None:
        """Tell every browser of the seconds that ended."""
        pulses = [asdict(pulse) for pulse in fresh]
        self._pulses = [*self._pulses, *pulses][-_MOST_PULSES:]
        self._reading = reading
        said = _event("reading", {"reading": _plain(reading), "pulses": pulses})
        for listener in self._listeners:
            listener.put_nowait(said)

    async def close(self) -> None:
        """Tell every browser that the run is over."""
        for listener in self._listeners:
            listener.put_nowait(None)
        if self._telling:
            await asyncio.wait(self._telling, timeout=_GOODBYE_S)
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.host not in self._hosts:
            return web.Response(status=403, text="This page answers to the names of this machine alone.")
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        if request.path == "/events":
            return await self._tell(request)
        found = _FILES.get(request.path)
        if found is None:
            return web.Response(status=404, text="There is no such page.")
        name, content_type = found
        body = (files("replayer") / "assets" / name).read_bytes()
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)

    async def _tell(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        listener: asyncio.Queue[bytes | None] = asyncio.Queue()
        listener.put_nowait(self._title)
        if self._reading is not None:  # taken now, as what ends later will be told by the queue
            known = {"reading": _plain(self._reading), "pulses": self._pulses}
            listener.put_nowait(_event("reading", known))
        self._listeners.add(listener)
        self._telling.add(task)
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            while (said := await listener.get()) is not None:
                await response.write(said)
            await response.write(_event("end", None))
            await response.write_eof()
        except ConnectionError:
            pass  # the browser has gone
        finally:
            self._listeners.discard(listener)
            self._telling.discard(task)
        return response


def _plain(reading: Reading) -> dict[str, Any]:
    return {name: value for name, value in asdict(reading).items() if name != "pulse"}


def _event(name: str, value: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()
