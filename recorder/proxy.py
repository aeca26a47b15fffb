"""mitmproxy, embedded: started with what recording needs, drained and stopped in order."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitmproxy.addons import core, disable_h2c, next_layer, proxyserver, tlsconfig
from mitmproxy.exceptions import OptionsError
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy import server
from mitmproxy.proxy.mode_specs import ProxyMode

from captures.errors import HookreelError, UsageError
from captures.units import MIB, NS_PER_S
from captures.writer import CaptureWriter, new_header
from recorder.addon import RecorderAddon
from recorder.ca import ensure_authority
from recorder.modes import ListenAddress, Mode
from recorder.sink import Account, Sink

MAX_BODY_BYTES = 16 * MIB
LARGEST_MAX_BODY_BYTES = 60 * MIB  # two bodies of this and their heads fit the format's largest block
DRAIN_S = 5.0
IDLE_S = 24 * 3600
_DRAIN_STEP_S = 0.02
_SECOND_SIGNAL_EXIT = 130  # as a shell reports a process that SIGINT ended

Note = Callable[[str], None]
_PROXYSERVER: Any = proxyserver.Proxyserver  # mitmproxy leaves some of its functions untyped


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderSettings:
    """
    What one recording does.

    Bodies above ``max_body_bytes`` pass whole and are stored cut. ``upstream_ca`` is a PEM file
    that the upstream's certificate is checked with, instead of the system's. ``duration_ns``
    ends the recording by itself. At the end, requests get ``drain_s`` to be answered.
    """

    mode: Mode
    listen: ListenAddress
    output: Path
    confdir: Path
    max_body_bytes: int = MAX_BODY_BYTES
    ssl_insecure: bool = False
    upstream_ca: Path | None = None
    duration_ns: int | None = None
    drain_s: float = DRAIN_S


class LeanMaster(Master):
    """A mitmproxy instance with the addons that proxying HTTP needs; one per process."""

    def __init__(self, options: Options, recorder: RecorderAddon) -> None:
        super().__init__(options, event_loop=asyncio.get_running_loop())
        self.recorder = recorder
        self.proxyserver: Any = _PROXYSERVER()
        self.listening: asyncio.Future[int] = self.event_loop.create_future()
        """The port, or why there is none."""
        # mitmproxy's own front ends load 31 addons; each costs a call on every event.
        addons: Any = self.addons
        addons.add(
            core.Core(),
            disable_h2c.DisableH2C(),
            self.proxyserver,
            next_layer.NextLayer(),
            tlsconfig.TlsConfig(),
            recorder,
        )

    async def running(self) -> None:
        """Mitmproxy calls this when it has tried to listen."""
        await super().running()
        if self.listening.done():
            return
        for instance in self.proxyserver.servers:
            if instance.last_exception is not None:
                self.listening.set_exception(instance.last_exception)
                return
        self.listening.set_result(self.proxyserver.listen_addrs()[0][1])


def run_recorder(settings: RecorderSettings, *, on_listening: Callable[[str], None], note: Note) -> Account:
    """
    Records until SIGINT, SIGTERM or the duration's end, and gives the account.

    ``on_listening`` gets the URL once connections are accepted; ``note`` gets sentences meant
    for the user. Only one recording runs in a process, in its main thread.

    Raises:
        UsageError: the output exists, the port is in use, a file is absent; nothing was done.
        WriteError: the output cannot be created.

    """
    if settings.upstream_ca is not None and not settings.upstream_ca.is_file():
        raise UsageError(f"The CA file {settings.upstream_ca} is absent; name an existing one.")
    if settings.max_body_bytes > LARGEST_MAX_BODY_BYTES:
        raise UsageError("A capture holds bodies of up to 60MiB; give --max-body that or less.")
    ensure_authority(settings.confdir)
    started_ns = time.monotonic_ns()
    header = new_header(source=f"record {settings.mode.spec}", started_wall_ns=time.time_ns())
    sink = Sink(CaptureWriter.create(settings.output, header), note=note)
    sink.start()
    addon = RecorderAddon(
        sink,
        clock_ns=time.monotonic_ns,
        started_ns=started_ns,
        max_body_bytes=settings.max_body_bytes,
        upstream_host=settings.mode.upstream_host,
        note=note,
    )
    try:
        asyncio.run(_record(settings, addon, on_listening=on_listening, note=note))
    except UsageError:
        sink.close(in_flight=0, connections=0)
        settings.output.unlink(missing_ok=True)  # nothing was recorded
        raise
    except BaseException:
        sink.close(in_flight=addon.end(), connections=addon.connections)
        raise
    return sink.close(in_flight=addon.end(), connections=addon.connections)


async def _record(
    settings: RecorderSettings, addon: RecorderAddon, *, on_listening: Callable[[str], None], note: Note
) -> None:
    master = _make_master(settings, addon)
    running = asyncio.create_task(master.run())
    try:
        port = await master.listening
    except OSError as error:
        master.should_exit.set()
        await running
        raise _listen_error(settings.listen, error) from error
    stop = asyncio.Event()
    _stop_on_signals(stop)
    log = ProxyLog(note, on_crash=lambda address: _close_later(master, addon, address))
    logging.getLogger().addHandler(log)
    try:
        on_listening(settings.listen.url(port))
        if not settings.listen.loopback:
            note(f"Everyone who can reach {settings.listen.host} port {port} can use this proxy.")
        await _until_stopped(stop, running, settings.duration_ns)
        await _drain(master, addon, settings.drain_s)
        master.should_exit.set()
        await running
    finally:
        logging.getLogger().removeHandler(log)


def _make_master(settings: RecorderSettings, addon: RecorderAddon) -> LeanMaster:
    # mitmproxy would listen for HTTP/3 too when the upstream is https. The instance is cached
    # by its text, so this is the one that the proxy will use.
    mode: Any = ProxyMode.parse(settings.mode.spec)
    mode.transport_protocol = "tcp"
    options: Any = Options(
        mode=[settings.mode.spec],
        listen_host=settings.listen.host,
        listen_port=settings.listen.port,
        confdir=str(settings.confdir),
        ssl_insecure=settings.ssl_insecure,
        # With the upstream's certificate looked up first, no request of a client is seen
        # while the upstream is down, and its exchange would be missing instead of failed.
        upstream_cert=False,
    )
    if settings.upstream_ca is not None:
        options.ssl_verify_upstream_trusted_ca = str(settings.upstream_ca)
    try:
        master = LeanMaster(options, addon)
        options.update(
            connection_strategy="lazy",  # as above: a request is read before the upstream is called
            keep_host_header=True,  # the server sees the header the client sent
        )
        _allow_idle(options)
    except OptionsError as error:
        raise UsageError(f"The proxy cannot start with these options: {error}.") from error
    return master


def _allow_idle(options: Any) -> None:
    # mitmproxy cuts connections that were idle for ten minutes, a quiet WebSocket among them.
    if "tcp_timeout" in options.keys():  # noqa: SIM118 - an option manager is no mapping
        options.update(tcp_timeout=IDLE_S)
    else:
        constants: Any = server
        constants.TCP_TIMEOUT = IDLE_S  # what it was before 12.2.1


async def _until_stopped(stop: asyncio.Event, running: asyncio.Task[None], duration_ns: int | None) -> None:
    stopped = asyncio.create_task(stop.wait())
    timeout_s = None if duration_ns is None else duration_ns / NS_PER_S
    await asyncio.wait({stopped, running}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if running.done():
        await running  # raises what ended it
        raise HookreelError("The proxy ended by itself; record again and report this.")


async def _drain(master: LeanMaster, addon: RecorderAddon, limit_s: float) -> None:
    """
    Lets requests in flight be answered, and leaves none that is answered later.

    A keep-alive connection is closed when it has been idle for two looks, so that the answer
    that was just recorded is out; open streams are not waited for and are cut at the end.
    """
    await master.proxyserver.servers.update([])
    deadline_s = time.monotonic() + limit_s
    idle_before: set[object] = set()
    while time.monotonic() < deadline_s:
        busy, streaming = addon.busy_clients()
        waited_for = set(master.proxyserver.connections) - streaming
        if not waited_for:
            break
        idle = waited_for - busy
        for key in idle & idle_before:
            _close_client(master.proxyserver.connections[key], abort=False)
        idle_before = idle
        await asyncio.sleep(_DRAIN_STEP_S)
    # Cut first, then end the account: in this order and without a pause between them,
    # no client can get an answer that is not counted.
    for handler in list(master.proxyserver.connections.values()):
        _close_client(handler, abort=True)
    addon.end()


def _close_client(handler: Any, *, abort: bool) -> None:
    """Closes a client connection; what was written to it still goes out unless it is aborted."""
    link = handler.transports.get(handler.client)
    if link is None:
        return
    if abort and isinstance(link.writer, asyncio.StreamWriter):
        link.writer.transport.abort()
    if link.handler is not None:
        link.handler.cancel("the recording ends")


def _close_later(master: LeanMaster, addon: RecorderAddon, address: object) -> None:
    """
    Closes the connection from ``address`` once the proxy is done with the current event.

    After an error in its protocol code mitmproxy leaves a connection open and never answers.
    """

    def close() -> None:
        for handler in list(master.proxyserver.connections.values()):
            if handler.client.peername == address:
                addon.proxy_broke(handler.client.id)
                _close_client(handler, abort=False)

    master.event_loop.call_soon_threadsafe(close)


def _stop_on_signals(stop: asyncio.Event) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            # The user does not want to wait; the file is whole up to its open block.
            os._exit(_SECOND_SIGNAL_EXIT)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)


def _listen_error(listen: ListenAddress, error: OSError) -> UsageError:
    where = f"{listen.host}:{listen.port}"
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"Port {listen.port} on {listen.host} is in use; "
            "stop what uses it or choose another with --listen."
        )
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else "the name is not known"
    return UsageError(f"The recorder cannot listen on {where} ({reason}); choose another with --listen.")


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
