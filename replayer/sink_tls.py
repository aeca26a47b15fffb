"""TLS for a sink that is the target's proxy: certificates of the recorder's CA, which the target trusts."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from cryptography import x509
from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME, KEY_SIZE

from captures.errors import UsageError

_HOSTS_MAX = 1_000  # with a context each
_MAX_HEAD_BYTES = 16_384
_CONNECT = b"CONNECT "
_REFUSED = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Authority:
    """Gives a TLS context for a host, signed by the CA that ``hookreel ca`` or a recording made."""

    def __init__(self, store: CertStore, key_file: Path) -> None:
        self._store = store
        self._key_file = key_file
        self._contexts: dict[str, ssl.SSLContext] = {}

    @classmethod
    def in_folder(cls, folder: Path) -> Authority | None:
        """
        The CA in ``folder``; None when there is none.

        Raises:
            UsageError: it cannot be read.

        """
        try:
            key_file = folder.expanduser() / f"{CONF_BASENAME}-ca.pem"
            if not key_file.exists():
                return None
            return cls(CertStore.from_store(key_file.parent, CONF_BASENAME, KEY_SIZE), key_file)
        except (OSError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"The CA in {folder} cannot be read ({type(error).__name__}); name another with --confdir."
            ) from error

    def context(self, host: str) -> ssl.SSLContext:
        """What a server needs to be taken for ``host``."""
        known = self._contexts.get(host)
        if known is None:
            if len(self._contexts) >= _HOSTS_MAX:
                self._contexts.clear()
            known = self._contexts[host] = self._made(host)
        return known

    def _made(self, host: str) -> ssl.SSLContext:
        certificate = self._store.get_cert(host, [_named(host)]).cert
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # a context is loaded from files alone
            file.write(certificate.to_pem())
            file.flush()
            context.load_cert_chain(file.name, self._key_file)
        return context


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Front(asyncio.Protocol):
    """
    Passes a client's connection on to the HTTP server, and opens the tunnel that it may ask for first.

    ``serve`` makes the server's protocol for a connection, ``distrusted`` is told whose certificate a client
    did not take.
    """

    def __init__(
        self,
        serve: Callable[[], asyncio.BaseProtocol],
        authority: Authority | None,
        distrusted: Callable[[str], None],
    ) -> None:
        self._serve = serve
        self._authority = authority
        self._distrusted = distrusted
        self._transport: asyncio.Transport | None = None
        self._held = b""
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for what the client says first."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Decide by the first line; in a tunnel keep what comes until it stands."""
        self._held += data
        if self._transport is None or self._opening is not None:
            return
        if self._authority is None or not _CONNECT.startswith(self._held[: len(_CONNECT)]):
            self._pass_on(self._transport)
        elif b"\r\n\r\n" in self._held:
            asked = self._held.partition(b"\r\n")[0][len(_CONNECT) :].split(b" ", 1)[0]
            host = asked.rpartition(b":")[0].strip(b"[]").decode("latin-1")
            if not host:
                self._transport.write(_REFUSED)
                self._transport.close()
                return
            self._held = b""  # a client waits for the answer before it goes on
            self._transport.pause_reading()  # what it says then is for TLS, which begins to read again
            self._transport.write(_ESTABLISHED)
            self._opening = asyncio.get_running_loop().create_task(self._open(self._transport, host))
        elif len(self._held) > _MAX_HEAD_BYTES:
            self._transport.abort()

    async def _open(self, transport: asyncio.Transport, host: str) -> None:
        assert self._authority is not None
        try:
            context = self._authority.context(host)
            secure = await asyncio.get_running_loop().start_tls(transport, self, context, server_side=True)
        except (
            OSError,
            ValueError,
        ):  # the first are those of TLS, the other names that no certificate can have
            self._distrusted(host)
            transport.abort()
            return
        if secure is not None:
            self._pass_on(secure)

    def _pass_on(self, transport: asyncio.Transport) -> None:
        served = cast("asyncio.Protocol", self._serve())
        transport.set_protocol(served)
        served.connection_made(transport)
        if self._held:
            served.data_received(self._held)
