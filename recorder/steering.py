"""Which server a request goes to, how it is named and spoken to; the recorder's own addon changes nothing."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mitmproxy import http
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import ClientHelloData, TlsData

from recorder.modes import Routes

HTTP1 = b"http/1.1"
HTTP2 = b"h2"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_OWN_ADDRESS = "The request names the recorder as its server; name the server, and the recorder as the proxy."


class SteeringAddon:
    """
    Sends requests of reverse modes where ``routes`` say.

    ``own_addresses`` are (host, port) pairs the recorder listens on; it never calls itself.
    """

    name = "hookreel-steering"

    def __init__(self, *, routes: Routes, own_addresses: Collection[tuple[str, int]] = ()) -> None:
        self._routes = routes
        self._own = own_addresses

    def next_layer(self, asked: NextLayer) -> None:
        """
        Bytes of a client came whose protocol is not known yet.

        A client that begins with HTTP/2's preface knows without TLS that its server speaks it
        (RFC 9113, section 3.3), as gRPC without TLS does. mitmproxy asks ALPN alone.
        """
        client = asked.context.client
        if not client.tls and _first_bytes(asked).startswith(_PREFACE):
            client.alpn = HTTP2

    def tls_clienthello(self, hello: ClientHelloData) -> None:
        """
        A client begins TLS: when it offers HTTP/2 it gets it, as from any server that speaks it.

        mitmproxy takes the first protocol of the client's list, and some clients name HTTP/1.1 first.
        """
        if HTTP2 in hello.client_hello.alpn_protocols:
            hello.context.client.alpn = HTTP2

    def tls_start_server(self, start: TlsData) -> None:
        """
        TLS to a server begins: it is asked for HTTP/2 first if the client speaks it, else not at all.

        An HTTP/1.1 client could not be given all that HTTP/2 has, such as trailers without chunks.
        A proxy on the way has its own offer already. A client without TLS offered nothing, but
        gRPC needs HTTP/2 behind a recorder that is spoken to in plain text too.
        """
        client, server = start.context.client, start.conn
        if server.alpn_offers:
            return
        others = tuple(offer for offer in client.alpn_offers or (HTTP1,) if offer != HTTP2)
        if client.alpn == HTTP2:
            server.alpn_offers = (HTTP2, *others)
        elif HTTP2 in client.alpn_offers:
            server.alpn_offers = others or (HTTP1,)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """A connection to an upstream was made; one without TLS is used as the client's own."""
        if data.client.alpn == HTTP2 and not data.client.tls and not data.server.tls:
            data.server.alpn = HTTP2

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A request's head was read: its upstream is chosen, its Host header stays."""
        if not self._routes.routes or not isinstance(flow.client_conn.proxy_mode, ReverseMode):
            return
        upstream = self._routes.of(flow.request.host_header or "", flow.request.path)
        if upstream is not None:
            # The properties of the request would change its Host header too.
            data = flow.request.data
            data.host, data.port, data.scheme = upstream.host, upstream.port, upstream.scheme.encode()

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """
        A connection to an upstream is about to be made.

        The Host header that passes is the client's, so without this the name in TLS would be
        the client's too, and the upstream's certificate could not be verified.
        """
        address = data.server.address
        if address is None:
            return
        if isinstance(data.client.proxy_mode, ReverseMode):
            data.server.sni = address[0]
        for host, port in self._own:
            if address[1] == port and (address[0] == host or address[0] in _LOCAL_NAMES):
                data.server.error = _OWN_ADDRESS


def _first_bytes(asked: Any) -> bytes:
    return bytes(asked.data_client())
