"""Listening sockets of our own, and mitmproxy's handler for each connection they accept."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mitmproxy import platform
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.master import Master
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler, ServerInstance
from mitmproxy.proxy.mode_specs import ProxyMode, TransparentMode

from captures.errors import UsageError
from recorder.dispatch import HookTable, LeanConnectionHandler
from recorder.latency import LatencyHistogram
from recorder.modes import ListenAddress, Mode
from recorder.speedups import OptionSnapshot
from recorder.versions import version_is_tested

BACKLOG = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """One mode and the sockets bound for it (several when its host has several addresses)."""

    mode: Mode
    listen: ListenAddress
    sockets: tuple[socket.socket, ...]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """How a client writes it."""
        return self.listen.url(self.port, self.mode.scheme)

    def close(self) -> None:
        """Accepts no more."""
        for item in self.sockets:
            item.close()


def bind_all(modes: Sequence[Mode]) -> tuple[Listening, ...]:
    """
    Binds what every mode listens on; all of it or nothing.

    Raises:
        UsageError: an address is in use, not ours, or not known.

    """
    bound: list[Listening] = []
    try:
        for mode in modes:
            assert mode.listen is not None
            bound.append(Listening(mode=mode, listen=mode.listen, sockets=_bind(mode.listen)))
    except BaseException:
        for item in bound:
            item.close()
        raise
    return tuple(bound)


def _bind(listen: ListenAddress) -> tuple[socket.socket, ...]:
    sockets: list[socket.socket] = []
    port = listen.port
    try:
        found = socket.getaddrinfo(listen.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                item = socket.socket(family, kind, protocol)
            except OSError:
                continue  # a machine without IPv6 may still know names that have it
            sockets.append(item)
            item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                item.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            item.setblocking(False)
            item.bind((address[0], port, *address[2:]))
            item.listen(BACKLOG)
            port = item.getsockname()[1]  # one port for all addresses of a name
    except OSError as error:
        for item in sockets:
            item.close()
        raise _listen_error(listen, error) from error
    return tuple(sockets)


class Acceptor:
    """Runs mitmproxy's handler for connections of any mode; ``added`` is what the proxy added to them."""

    def __init__(self, master: Master, proxyserver: Proxyserver, *, added: LatencyHistogram) -> None:
        self._master: Any = master
        self._proxyserver: Any = proxyserver
        self._servers: list[asyncio.Server] = []
        lean = type(
            "BoundHandler", (LeanConnectionHandler,), {"hooks": HookTable(master.addons), "added": added}
        )
        self._handler: Any = lean if version_is_tested() else ProxyConnectionHandler
        self._instances: dict[str, Any] = {}
        self._snapshot: Any = None

    async def accept_from(self, listening: Sequence[Listening]) -> None:
        """Accepts connections from now on."""
        for item in listening:
            spec = item.mode.spec

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, spec: str = spec
            ) -> None:
                await self.serve(spec, reader, writer)

            for bound in item.sockets:
                self._servers.append(await asyncio.start_server(serve, sock=bound, backlog=BACKLOG))

    async def take(self, spec: str, accepted: socket.socket) -> None:
        """Serves one connection that another process accepted for the mode ``spec``."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.serve(spec, reader, writer)

        await loop.connect_accepted_socket(
            lambda: asyncio.StreamReaderProtocol(reader, serve, loop=loop), accepted
        )

    def stop(self) -> None:
        """Accepts no more; connections that are open stay."""
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def serve(self, spec: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client connection to its end."""
        instance = self._instance(spec)
        handler = self._handler(self._master, reader, writer, self._options(), instance.mode)
        handler.layer = instance.make_top_layer(handler.layer.context)
        context = handler.layer.context
        if isinstance(instance.mode, TransparentMode):
            try:
                destination = _original_destination(writer)
            except OSError:
                writer.close()  # it did not come through a redirection
                return
            context.client.sockname = context.server.address = destination
        with self._proxyserver.register_connection(context.client.id, handler):
            await handler.handle_client()

    def _options(self) -> Any:
        if not version_is_tested():
            return self._master.options
        if self._snapshot is None:
            self._snapshot = OptionSnapshot(self._master.options)
        return self._snapshot

    def _instance(self, spec: str) -> Any:
        if spec not in self._instances:
            self._instances[spec] = ServerInstance.make(ProxyMode.parse(spec), self._proxyserver)
        return self._instances[spec]


def _original_destination(writer: asyncio.StreamWriter) -> tuple[str, int]:
    find: Any = platform.original_addr
    if find is None:
        raise OSError
    host, port = find(writer.get_extra_info("socket"))
    return host, port


def _listen_error(listen: ListenAddress, error: OSError) -> UsageError:
    where = f"{listen.host}:{listen.port}"
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"Port {listen.port} on {listen.host} is in use; "
            "stop what uses it or choose another with --listen."
        )
    known = not isinstance(error, socket.gaierror) and error.errno
    reason = os.strerror(known) if known else "the name is not known"
    return UsageError(f"The recorder cannot listen on {where} ({reason}); choose another with --listen.")
