"""mitmproxy inside our own process: started with what recording needs, drained and stopped in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Self

from mitmproxy.addons import core, disable_h2c, next_layer, proxyserver, tlsconfig
from mitmproxy.exceptions import OptionsError
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy import server
from mitmproxy.utils import asyncio_utils

from captures.errors import UsageError
from recorder import http1_layers, speedups
from recorder.addon import RecorderAddon
from recorder.latency import LatencyHistogram
from recorder.listening import Acceptor
from recorder.modes import Routes
from recorder.steering import SteeringAddon

IDLE_S = 24 * 3600
# Each request leaves a few reference cycles, and looking for them among all modules' objects costs
# about a tenth of the rate, so these are frozen. A look every 2,000 allocations then takes 0.4 ms; one
# every 20,000 took 6 ms, more in all, and was the proxy's 99th percentile (measured with gc.callbacks).
GC_ALLOCATIONS = 2_000
_DRAIN_STEP_S = 0.02

Note = Callable[[str], None]
_PROXYSERVER: Any = proxyserver.Proxyserver  # mitmproxy leaves some of its functions untyped


class LeanMaster(Master):
    """A mitmproxy instance with the addons that proxying HTTP needs; one per process."""

    def __init__(self, options: Options, steering: SteeringAddon, recorder: RecorderAddon | None) -> None:
        super().__init__(options, event_loop=asyncio.get_running_loop())
        self.proxyserver: Any = _PROXYSERVER()
        self.is_running = asyncio.Event()
        # mitmproxy's own front ends load 31 addons; each costs a call on every event.
        addons: Any = self.addons
        addons.add(
            core.Core(),
            disable_h2c.DisableH2C(),
            self.proxyserver,
            steering,  # it looks at a client's first bytes before mitmproxy decides
            next_layer.NextLayer(),
            tlsconfig.TlsConfig(),
            *(() if recorder is None else (recorder,)),
        )

    async def run(self) -> None:
        """
        Runs until ``should_exit``.

        mitmproxy's own version would listen, and make tasks start eagerly, for which uvloop and
        Python 3.13 do not agree and which our dispatch of hooks has no use for.
        """
        with asyncio_utils.install_exception_handler(self._asyncio_exception_handler):
            try:
                await self.running()
                self.is_running.set()
                await self.should_exit.wait()
            finally:
                await self.done()


class EmbeddedProxy:
    """
    One running proxy. ``acceptor`` takes its connections; ``added`` is what it adds to exchanges.

    ``addon`` is None for a proxy that records nothing, which is what recording is measured against.
    """

    def __init__(self, master: LeanMaster, addon: RecorderAddon | None, note: Note) -> None:
        self.master = master
        self.added = LatencyHistogram()
        self.acceptor = Acceptor(master, master.proxyserver, added=self.added)
        self.running = asyncio.create_task(master.run())
        self._addon = addon
        self._log = ProxyLog(note, on_crash=self._close_later)
        logging.getLogger().addHandler(self._log)

    @classmethod
    async def start(
        cls,
        options: dict[str, object],
        addon: RecorderAddon | None,
        *,
        routes: Routes,
        own_addresses: Collection[tuple[str, int]],
        note: Note,
    ) -> Self:
        """
        A proxy that serves no connection yet; ``options`` are mitmproxy's.

        Raises:
            UsageError: mitmproxy does not take an option.

        """
        if not (http1_layers.install() and speedups.install()):
            note(
                "This version of mitmproxy is not one that hookreel was tested with: it is used as it is, "
                "slower, and HTTP/1.1 messages with trailers cannot pass."
            )
        steering = SteeringAddon(routes=routes, own_addresses=own_addresses)
        try:
            master = LeanMaster(
                # The sockets are our own, so mitmproxy's proxyserver does not listen.
                Options(server=False),
                steering,
                addon,
            )
            _apply(master.options, options)
        except OptionsError as error:
            raise UsageError(f"The proxy cannot start with these options: {error}.") from error
        proxy = cls(master, addon, note)
        ready = asyncio.create_task(master.is_running.wait())
        await asyncio.wait({ready, proxy.running}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS, 20, 50)
        return proxy

    @property
    def in_flight(self) -> int:
        """Requests that were seen and have no outcome yet."""
        return 0 if self._addon is None else self._addon.in_flight

    async def drain(self, limit_s: float, hurried: asyncio.Event) -> None:
        """
        Lets requests in flight be answered, until ``hurried``, and leaves none that is answered later.

        A keep-alive connection is closed when it has been idle for two looks, so that the answer
        that was just recorded is out; open streams are not waited for and are cut at the end.
        """
        self.acceptor.stop()
        connections = self.master.proxyserver.connections
        deadline_s = time.monotonic() + limit_s
        idle_before: set[object] = set()
        while time.monotonic() < deadline_s and not hurried.is_set():
            busy, streaming = (set(), set()) if self._addon is None else self._addon.busy_clients()
            waited_for = set(connections) - streaming
            if not waited_for:
                break
            idle = waited_for - busy
            for key in idle & idle_before:
                _close_client(connections[key], abort=False)
            idle_before = idle
            await asyncio.sleep(_DRAIN_STEP_S)
        # Cut first, then end the account: in this order and without a pause between them,
        # no client can get an answer that is not counted.
        for handler in list(connections.values()):
            _close_client(handler, abort=True)
        if self._addon is not None:
            self._addon.end()

    async def stop(self) -> None:
        """Ends the proxy; raises what ended it before, if something did."""
        self.acceptor.stop()
        self.master.should_exit.set()
        try:
            await self.running
        finally:
            logging.getLogger().removeHandler(self._log)

    def _close_later(self, address: object) -> None:
        """
        Closes the connection from ``address`` once the proxy is done with the current event.

        After an error in its protocol code mitmproxy leaves a connection open and never answers.
        """

        def close() -> None:
            for handler in list(self.master.proxyserver.connections.values()):
                if handler.client.peername == address:
                    if self._addon is not None:
                        self._addon.proxy_broke(handler.client.id)
                    _close_client(handler, abort=False)

        self.master.event_loop.call_soon_threadsafe(close)


class ProxyLog(logging.Handler):
    """Tells the user once per kind of error that mitmproxy logs, without its text: that may quote traffic."""

    def __init__(self, note: Note, *, on_crash: Callable[[object], None]) -> None:
        super().__init__(logging.ERROR)
        self._note = note
        self._on_crash = on_crash
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one log record; ``on_crash`` gets the client's address when its connection broke."""
        error = record.exc_info[0] if record.exc_info else None
        kind = error.__name__ if error is not None else record.name
        if record.exc_info and (address := getattr(record, "client", None)):
            self._on_crash(address)
        if kind not in self._told:
            self._told.add(kind)
            self._note(
                f"An error inside the proxy cut a connection ({kind}); "
                "what was open on it is recorded as failed."
            )


def proxy_options(*, confdir: Path, ssl_insecure: bool, upstream_ca: Path | None) -> dict[str, object]:
    """Mitmproxy's options for a recorder."""
    options: dict[str, object] = {
        "confdir": str(confdir),
        "ssl_insecure": ssl_insecure,
        # With the upstream's certificate looked up first, no request of a client is seen
        # while the upstream is down, and its exchange would be missing instead of failed.
        "upstream_cert": False,
        "connection_strategy": "lazy",  # as above: a request is read before the upstream is called
        "keep_host_header": True,  # the server sees the header the client sent
    }
    if upstream_ca is not None:
        options["ssl_verify_upstream_trusted_ca"] = str(upstream_ca)
    return options


def _apply(options: Any, values: dict[str, object]) -> None:
    options.update(**values)
    # mitmproxy cuts connections that were idle for ten minutes, a quiet WebSocket among them.
    if "tcp_timeout" in options.keys():  # noqa: SIM118 - an option manager is no mapping
        options.update(tcp_timeout=IDLE_S)
    else:
        constants: Any = server
        constants.TCP_TIMEOUT = IDLE_S  # what it was before 12.2.1


def _close_client(handler: Any, *, abort: bool) -> None:
    """Closes a client connection; what was written to it still goes out unless it is aborted."""
    link = handler.transports.get(handler.client)
    if link is None:
        return
    if abort and isinstance(link.writer, asyncio.StreamWriter):
        link.writer.transport.abort()
    if link.handler is not None:
        link.handler.cancel("the recording ends")
